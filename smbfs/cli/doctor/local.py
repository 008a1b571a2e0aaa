"""What `smbfs doctor` finds out without the server: machine, options, credentials."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Final

from smbfs.audit.writer import record_once
from smbfs.auth.credentials import Credentials
from smbfs.cli.cache_folder import prepare_cache_folder
from smbfs.cli.doctor.steps import Facts, Report
from smbfs.cli.kdc_proxy_check import check_kdc_proxy
from smbfs.cli.kerberos_realms import kerberos_realms
from smbfs.cli.policy_events import policy_refusal
from smbfs.cli.prepare import (
    FUSE_DEVICE,
    GUEST_WARNING,
    check_fuse,
    resolve_credentials,
    resolve_kdc_proxies,
    resolve_options,
)
from smbfs.config.kdc_proxy import Proxies
from smbfs.config.model import MountOptions
from smbfs.config.options import GivenOption, ParsedOptions
from smbfs.config.policy import PolicyRefused, lowered
from smbfs.config.unc import Unc, parse_unc
from smbfs.errors import UserError

MACHINE: Final = "machine"
OPTIONS: Final = "options"
CACHE_FOLDER: Final = "cache-folder"
KDC_PROXY: Final = "kdc-proxy"
CREDENTIALS: Final = "credentials"

_PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Subject:
    """The mount that is examined."""

    unc: Unc

    options: MountOptions

    credentials: Credentials | None
    """None if none were found."""

    kdc_proxies: Proxies = field(default_factory=dict)
    """Realms that are reached by KDC proxies."""

    lowered: Sequence[GivenOption] = ()
    """What was written that protects less than the defaults."""


def examine_locally(
    report: Report, unc: str, given: Sequence[GivenOption], environment: Mapping[str, str]
) -> Subject | None:
    """Report what there is to know without the server.

    Return what is left to examine; None if nobody can tell where to. May ask on the terminal.
    """
    refusal: UserError | None = None
    resolved: tuple[Unc, ParsedOptions, Proxies] | None = None
    try:
        where = parse_unc(unc)
        report.unc = str(where)
        parsed = resolve_options(where, given, environment)
        resolved = where, parsed, resolve_kdc_proxies(where, parsed.options, environment)
    except PolicyRefused as error:
        record_once(policy_refusal(report.unc, error))
        refusal = error
    except UserError as error:
        refusal = error
    # What the machine has to allow depends on the options.
    _examine_machine(report, resolved[1].options if resolved is not None else MountOptions())
    if resolved is None:
        assert refusal is not None
        report.failed(OPTIONS, {}, refusal)
        return None
    where, parsed, proxies = resolved
    report.decided = parsed.decided
    report.passed(OPTIONS, _options_found(where, parsed), *parsed.warnings)
    if parsed.options.cache_dir is not None:
        _examine_cache_folder(report, parsed.options)
    _examine_kdc_proxies(report, parsed.options, proxies)
    credentials = _examine_credentials(report, where, parsed, proxies, environment)
    return Subject(where, parsed.options, credentials, proxies, lowered(parsed))


def _examine_machine(report: Report, options: MountOptions) -> None:
    facts: Facts = {}
    try:
        check_fuse(options)
        facts["device"] = str(FUSE_DEVICE)
        facts["fusermount3"] = _fusermount_version()
        import smbfs.fuse.mount  # noqa: F401 - whether libfuse can be loaded

        facts["pyfuse3"] = metadata.version("pyfuse3")
    except (UserError, ImportError) as error:
        report.failed(MACHINE, facts, error)
    else:
        report.passed(MACHINE, facts)


def _fusermount_version() -> str:
    """Return what fusermount3 says of itself, or nothing."""
    path = shutil.which("fusermount3")
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().rpartition(" ")[2]


def _options_found(unc: Unc, parsed: ParsedOptions) -> Facts:
    options = parsed.options
    return {
        "server": unc.server,
        "share": unc.share,
        "path": unc.path,
        "transport": options.transport,
        "dialects": "-".join(dict.fromkeys(options.vers)),
        "signing": options.signing,
        "seal": options.seal,
        "ignored": list(parsed.ignored),
    }


def _examine_cache_folder(report: Report, options: MountOptions) -> None:
    assert options.cache_dir is not None
    facts: Facts = {"folder": str(options.cache_dir)}
    try:
        prepare_cache_folder(options.cache_dir, None)
    except UserError as error:
        report.failed(CACHE_FOLDER, facts, error)
    else:
        report.passed(CACHE_FOLDER, facts)


def _examine_kdc_proxies(report: Report, options: MountOptions, proxies: Proxies) -> None:
    for realm, urls in proxies.items():
        for url in urls:
            facts: Facts = {"realm": realm, "url": url}
            try:
                check_kdc_proxy(realm, url, options.kdc_proxy_ca)
            except UserError as error:
                report.failed(KDC_PROXY, facts, error)
            else:
                report.passed(KDC_PROXY, facts)


def _examine_credentials(
    report: Report,
    unc: Unc,
    parsed: ParsedOptions,
    proxies: Proxies,
    environment: Mapping[str, str],
) -> Credentials | None:
    options = parsed.options
    try:
        with kerberos_realms(proxies, options.kdc_proxy_ca, f"doctor-{os.getpid()}"):
            credentials = resolve_credentials(unc, options, environment)
    except UserError as error:
        report.failed(CREDENTIALS, {}, error)
        return None
    facts: Facts = {"user": credentials.qualified_name or None, "source": credentials.source}
    remarks = [credentials.remark] if credentials.remark else []
    if options.guest:
        remarks.append(GUEST_WARNING)
    report.passed(CREDENTIALS, facts, *remarks)
    return credentials
