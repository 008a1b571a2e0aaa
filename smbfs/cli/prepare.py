"""Everything that can be found out about a mount before there is a daemon.

Options, policy, credentials (which may need the terminal), the mount point and FUSE
itself: whatever is wrong there is said at once, and nothing has been started yet.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from smbfs.auth.credential_sources import CredentialRequest, find_credentials
from smbfs.auth.credentials import Credentials
from smbfs.auth.guest import guest_permitted, guest_refused
from smbfs.auth.kerberos_choice import kerberos_tickets
from smbfs.auth.keyring_entries import STANDARD_PORT
from smbfs.cli.cache_folder import prepare_cache_folder
from smbfs.cli.errors import CommandError, ExitCode
from smbfs.cli.kerberos_realms import kdc_proxies, kerberos_realms, realm_of
from smbfs.cli.mount_table import FILE_SYSTEM_TYPE, absolute_path, find_mount
from smbfs.cli.passwords import read_password
from smbfs.cli.runtime import file_stem
from smbfs.config.files import read_policy, read_user_config
from smbfs.config.kdc_proxy import Proxies
from smbfs.config.model import MountOptions
from smbfs.config.options import GivenOption, ParsedOptions, say_who_decided
from smbfs.config.policy import configure, lowered
from smbfs.config.unc import Unc, parse_unc
from smbfs.config.values import split_user
from smbfs.errors import ConfigError, UserError

FUSE_DEVICE: Final = Path("/dev/fuse")
GUEST_WARNING: Final = (
    "mounted as a guest: nothing is signed, so anyone on the network can read and change this "
    "traffic"
)
_FUSE_CONFIG: Final = Path("/etc/fuse.conf")
_AUTOFS: Final = "autofs"


@dataclass(frozen=True, slots=True, kw_only=True)
class MountRequest:
    """What the command line asks for."""

    unc: str
    """The share, in any spelling."""

    mountpoint: str
    """Where it is to appear."""

    given: Sequence[GivenOption] = ()
    """Options of the command line, in order."""

    foreground: bool = False
    """Stay attached to the terminal."""

    verbose: bool = False
    """Say what is done, and log every decision."""

    program: str = "smbfs"
    """The name that messages begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPlan:
    """A mount that can be tried: everything is checked that needs no server."""

    unc: Unc
    """The share."""

    mountpoint: str
    """Absolute path."""

    options: MountOptions
    """After files and policy."""

    decided: Mapping[str, GivenOption]
    """Fields of the options that somebody set, and who did."""

    lowered: Sequence[GivenOption] = ()
    """What was written that protects less than the defaults."""

    credentials: Credentials
    """Who signs on."""

    renew: Callable[[], Credentials]
    """Looks for them again, without asking anybody. It may block, and raise UserError."""

    kdc_proxies: Proxies = field(default_factory=dict)
    """Realms that are reached by KDC proxies."""

    notes: tuple[str, ...] = ()
    """What ``--verbose`` shows: ignored options, the source of the credentials."""

    warnings: tuple[str, ...] = ()
    """What is shown in any case."""


def prepare_mount(request: MountRequest, environment: Mapping[str, str]) -> MountPlan:
    """Check the request and find the credentials. May ask on the terminal.

    Raises: UserError of any kind, saying what is wrong and what to do.
    """
    unc = parse_unc(request.unc)
    parsed = resolve_options(unc, request.given, environment)
    options = parsed.options
    check_fuse(options)
    mountpoint = check_mountpoint(request.mountpoint, nonempty=options.nonempty)
    if options.cache_dir is not None:
        prepare_cache_folder(options.cache_dir, mountpoint)
    proxies = resolve_kdc_proxies(unc, options, environment)
    try:
        with kerberos_realms(proxies, options.kdc_proxy_ca, file_stem(mountpoint)):
            credentials = resolve_credentials(unc, options, environment)
    except UserError as error:
        say_who_decided(error, parsed.decided)
        raise
    request_again = replace(
        _credential_request(unc, options, environment), ask=None, may_unlock=False
    )
    notes = [f"option {name} changes nothing here" for name in parsed.ignored]
    notes.extend(parsed.notes)
    notes.append(f"signing on as {credentials.qualified_name or 'nobody'}, credentials: "
                 f"{credentials.source}")  # fmt: skip
    if credentials.remark:
        notes.append(credentials.remark)
    return MountPlan(
        unc=unc,
        mountpoint=mountpoint,
        options=options,
        decided=parsed.decided,
        lowered=lowered(parsed),
        credentials=credentials,
        renew=partial(find_credentials, request_again),
        kdc_proxies=proxies,
        notes=tuple(notes),
        warnings=warnings_of(parsed),
    )


def warnings_of(parsed: ParsedOptions) -> tuple[str, ...]:
    """Return what is shown of options in any case."""
    return parsed.warnings + ((GUEST_WARNING,) if parsed.options.guest else ())


def resolve_options(
    unc: Unc, given: Sequence[GivenOption], environment: Mapping[str, str]
) -> ParsedOptions:
    """Return what was asked for, after files and policy.

    Raises: ConfigError, of which PolicyRefused is one.
    """
    parsed = configure(unc.server, given, user=read_user_config(environment), policy=read_policy())
    port = parsed.options.port
    if unc.port is not None and port not in (None, unc.port):
        raise ConfigError(
            f"two ports are named: {unc.port} and {port}",
            "one stands in the address, the other in port=.",
            "leave one of them out.",
        )
    return parsed


def resolve_kdc_proxies(unc: Unc, options: MountOptions, environment: Mapping[str, str]) -> Proxies:
    """Return which realms Kerberos reaches by KDC proxies. Raises: ConfigError."""
    realm = realm_of(_credential_request(unc, options, environment).user)
    return kdc_proxies(options, realm)


def resolve_credentials(
    unc: Unc, options: MountOptions, environment: Mapping[str, str]
) -> Credentials:
    """Find out who signs on. May ask on the terminal.

    Raises: AuthenticationError, ConfigError.
    """
    if options.guest and not guest_permitted(options):
        raise guest_refused(str(unc), asked=True)
    request = _credential_request(unc, options, environment)
    if options.auth != "ntlm" and not options.guest:
        request = replace(request, tickets=kerberos_tickets(options))
    return find_credentials(request)


def check_mountpoint(path: str, *, nonempty: bool = False) -> str:
    """Return the absolute path of a directory that can be mounted over.

    Raises: CommandError saying what is wrong with it.
    """
    mountpoint = absolute_path(path)
    mounted = find_mount(mountpoint)
    if mounted is not None and mounted.file_system_type == FILE_SYSTEM_TYPE:
        raise CommandError(
            f"{mountpoint} is already mounted",
            f"{mounted.source} is there.",
            f"`smbfs umount {mountpoint}` first, or choose another directory.",
        )
    if mounted is not None and mounted.file_system_type == _AUTOFS:
        return mountpoint  # Looking inside would wait for the mount that we are about to make.
    entries = _list_directory(mountpoint)
    if entries and not nonempty:
        raise CommandError(
            f"{mountpoint} is not empty",
            "what is in it could not be seen or reached while the share is mounted there.",
            "choose an empty directory, or -o nonempty if this is what you want.",
        )
    if os.geteuid() != 0 and not os.access(mountpoint, os.W_OK):
        raise CommandError(
            f"you may not mount on {mountpoint}",
            "a user can mount only on directories that he or she may write to.",
            "choose a directory of your own.",
            exit_code=ExitCode.USAGE,
        )
    return mountpoint


def _list_directory(mountpoint: str) -> list[str]:
    try:
        info = os.stat(mountpoint)  # noqa: PTH116 (may be undecodable)
        entries = os.listdir(mountpoint) if stat.S_ISDIR(info.st_mode) else []  # noqa: PTH208
    except FileNotFoundError:
        raise CommandError(
            f"there is no directory {mountpoint}",
            "a share is mounted on a directory that exists.",
            f"mkdir -p {mountpoint}",
        ) from None
    except OSError as error:
        raise CommandError(
            f"{mountpoint} can't be used as a mount point",
            f"{error.strerror}.",
            "choose a directory of your own.",
            exit_code=ExitCode.USAGE if isinstance(error, PermissionError) else ExitCode.MOUNT,
        ) from error
    if not stat.S_ISDIR(info.st_mode):
        raise CommandError(
            f"{mountpoint} is not a directory",
            "a share is mounted on a directory.",
            "choose or make one.",
        )
    return entries


def check_fuse(options: MountOptions) -> None:
    """See that this user can mount with FUSE. Raises: CommandError with the remedy."""
    if not FUSE_DEVICE.exists():
        raise CommandError(
            f"{FUSE_DEVICE} is missing",
            "the kernel has no FUSE, or this container was not given it.",
            "run `modprobe fuse`; for a container add --device /dev/fuse (and the capability "
            "SYS_ADMIN).",
            exit_code=ExitCode.SYSTEM,
        )
    try:
        os.close(os.open(FUSE_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise CommandError(
            f"{FUSE_DEVICE} is closed to you",
            f"{error.strerror}.",
            "as root: chmod 666 /dev/fuse (udev does so on desktops); in a container add "
            "--device /dev/fuse.",
            exit_code=ExitCode.SYSTEM,
        ) from error
    if shutil.which("fusermount3") is None:
        raise CommandError(
            "fusermount3 is missing",
            "FUSE mounts are made and ended by it.",
            "install the package fuse3.",
            exit_code=ExitCode.SYSTEM,
        )
    if options.allow_other and os.geteuid() != 0 and not _users_may_allow_other():
        raise CommandError(
            "allow_other is refused",
            f"{_FUSE_CONFIG} does not let users open their mounts to others.",
            f"as root, add the line user_allow_other to {_FUSE_CONFIG}; or leave it out.",
            exit_code=ExitCode.USAGE,
        )


def login_name(environment: Mapping[str, str]) -> str:
    """Return the name of who runs this, also through sudo's and odd containers' eyes."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return environment.get("USER") or str(os.geteuid())


def _users_may_allow_other() -> bool:
    try:
        lines = _FUSE_CONFIG.read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    return any(line.partition("#")[0].strip() == "user_allow_other" for line in lines)


def named_user(unc: Unc, options: MountOptions) -> tuple[str | None, str | None]:
    """Return the user and the domain that options or the URL name."""
    if options.user is None and unc.user is not None:
        user, url_domain = split_user(unc.user)
        return user, options.domain or url_domain
    return options.user, options.domain


def _credential_request(
    unc: Unc, options: MountOptions, environment: Mapping[str, str]
) -> CredentialRequest:
    user, domain = named_user(unc, options)
    return CredentialRequest(
        server=unc.server,
        port=options.port or unc.port or STANDARD_PORT,
        share=unc.share,
        login_name=login_name(environment),
        environment=environment,
        user=user,
        domain=domain,
        file=options.credentials,
        guest=options.guest,
        auth=options.auth,
        block_ntlm=options.block_ntlm,
        ask=(
            partial(read_password, from_stdin=False)
            if sys.stdin is not None and sys.stdin.isatty()
            else None
        ),
    )
