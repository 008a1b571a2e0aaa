"""``smbfs login`` and ``logout``: passwords in the user's keyring, checked before they are kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from smbfs.auth.credentials import Credentials
from smbfs.auth.keyring_entries import STANDARD_PORT, KeyringEntry, KeyringQuery
from smbfs.auth.keyring_process import KeyringProcess
from smbfs.auth.ntlm_rule import ntlm_refused
from smbfs.cli.errors import CommandError, ExitCode
from smbfs.cli.passwords import read_password
from smbfs.cli.prepare import login_name, named_user
from smbfs.cli.privileges import keep_secrets
from smbfs.cli.server_argument import Server, parse_server
from smbfs.cli.visit import as_told, connected, resolve_recorded, visit
from smbfs.config.options import GivenOption, ParsedOptions
from smbfs.config.values import split_user
from smbfs.errors import AuthenticationError, ConfigError

_NOT_FOR_LOGIN: Final = {
    "credentials": "the password in that file is found without a keyring.",
    "guest": "a guest has no password.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest:
    """What the command line asks for."""

    server: str
    """The server, or a share of it, in any spelling."""

    given: Sequence[GivenOption] = ()
    """Options of a mount, in order: the server is reached as by a mount."""

    password_stdin: bool = False
    """The password is a line of standard input."""

    check: bool = True
    """Try it at the server first."""


def login(request: LoginRequest) -> int:
    """Check a password at the server, once, and store it in the keyring; return the exit code.

    Raises: UserError; then nothing was stored.
    """
    keep_secrets()
    server = parse_server(request.server)
    parsed = _resolve_options(server, request.given)
    options = parsed.options
    user, domain = named_user(server.unc, options)
    entry = KeyringEntry(
        server=server.unc.server.lower(),
        port=options.port or server.unc.port or STANDARD_PORT,
        share=server.share,
        user=user or login_name(os.environ),
        domain=domain or None,
    )
    with KeyringProcess(os.environ) as keyring:
        # Before anything else: who has no keyring need not type, and the server need not be asked.
        keyring.make_ready(entry.server)
        prompt = f"Password for {entry.qualified_name} at {entry.place}: "
        password = read_password(prompt, from_stdin=request.password_stdin)
        if request.check:
            source = "standard input" if request.password_stdin else "prompt"
            credentials = Credentials(entry.user, entry.domain or "", password, source)
            _check_password(server, parsed, credentials)
        keyring.put(replace(entry, password=password))
    checked = "checked and " if request.check else ""
    print(f"{entry.qualified_name}'s password for {entry.place}: {checked}stored in the keyring")
    return ExitCode.FINE


def logout(server: str, user: str | None) -> int:
    """Remove the passwords of a server or share, or one user's, and say which.

    Returns the exit code. Raises: UserError, also when there are none.
    """
    where = parse_server(server)
    named = user or where.unc.user
    name, domain = split_user(named) if named is not None else (None, None)
    query = KeyringQuery(
        server=where.unc.server,
        port=where.unc.port,
        share=where.share,
        user=name,
        domain=domain,
    )
    with KeyringProcess(os.environ) as keyring:
        removed = keyring.remove(query)
    if not removed:
        whose = f" of {named}" if named is not None else ""
        raise CommandError(
            f"there is no password{whose} for {where.shown} in the keyring",
            "nothing was removed.",
            "check how server and user are spelt.",
            exit_code=ExitCode.USAGE,
        )
    for entry in removed:
        print(f"{entry.qualified_name}'s password for {entry.place}: removed from the keyring")
    return ExitCode.FINE


def _resolve_options(server: Server, given: Sequence[GivenOption]) -> ParsedOptions:
    for option in given:
        if option.name in _NOT_FOR_LOGIN:
            raise ConfigError(
                f"{option.name} has no meaning for a login",
                _NOT_FOR_LOGIN[option.name],
                "leave it out.",
            )
    return resolve_recorded(server.unc, given, shown=server.shown)


def _check_password(server: Server, parsed: ParsedOptions, credentials: Credentials) -> None:
    """Sign on with it, once, and off again. Raises: CommandError in the words of a mount."""
    # A guest's password was not looked at, a ticket would stand in for ours; and what a share is
    # like is of no interest here.
    options = replace(
        parsed.options, guest=False, allow_insecure_guest=False, auth="ntlm", posix=False
    )

    async def sign_on() -> None:
        async with connected(server.unc, options, credentials):
            pass  # So the password is right.

    refused = None
    if options.block_ntlm:
        refused = ntlm_refused(server.shown, "A password is checked with it")
    elif parsed.options.auth == "kerberos":
        refused = _only_kerberos(server.shown)
    try:
        if refused is not None:
            raise as_told(refused, parsed, server.shown, credentials)
        visit(parsed, credentials, sign_on, shown=server.shown)
    except CommandError as error:
        raise CommandError(
            error.what,
            error.why,
            f"{error.do}\nNothing was stored.".lstrip(),
            exit_code=error.exit_code,
        ) from error


def _only_kerberos(server: str) -> AuthenticationError:
    return AuthenticationError(
        f"{server} refused: a password is checked with NTLM, and only Kerberos is to be used",
        "auth=kerberos takes a ticket; nothing was sent.",
        "`smbfs login --kerberos USER@REALM` gets one.",
        rule="auth",
    )
