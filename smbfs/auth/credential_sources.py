"""Where credentials come from, in the documented order, until one source has what signs on.

``credentials=`` file, ``$CREDENTIALS_DIRECTORY/smbfs`` (systemd), Kerberos' ticket cache or
keytab, the keyring, a prompt on a terminal. A user name given by option or URL holds for all of
them. Passwords are for NTLM, and not looked for where that is blocked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smbfs.auth.credential_file import CredentialFile, read_credential_file
from smbfs.auth.credentials import Credentials
from smbfs.auth.kerberos_errors import TicketMissing
from smbfs.auth.kerberos_trial import PATIENCE_S, SHORT_PATIENCE_S, try_tickets
from smbfs.auth.keyring_entries import STANDARD_PORT, KeyringQuery, SeveralUsers
from smbfs.auth.keyring_process import KeyringProcess, KeyringUnusable
from smbfs.auth.keyring_stores import Trouble
from smbfs.auth.ntlm_rule import ntlm_refused
from smbfs.config.model import AuthChoice
from smbfs.errors import AuthenticationError, ConfigError

if TYPE_CHECKING:
    from smbfs.auth.kerberos_tickets import Tickets

_SYSTEMD_NAME: Final = "smbfs"
_OTHER_REMEDIES: Final = (
    "give credentials=FILE (username=, password= and domain= lines, mode 0600), or run this on a "
    "terminal to be asked."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRequest:
    """Whose credentials are looked for, and what may be asked."""

    server: str
    """Server's name, for the keyring and the prompt."""

    login_name: str
    """Who runs this program: the user when nobody names one."""

    environment: Mapping[str, str]
    """Environment variables."""

    port: int = STANDARD_PORT
    """TCP port, which tells servers of one name apart in the keyring."""

    share: str | None = None
    """Share, which may have a password of its own there."""

    user: str | None = None
    """User from options or URL, domain taken off."""

    domain: str | None = None
    """Domain from options or URL."""

    file: Path | None = None
    """The ``credentials=`` file."""

    guest: bool = False
    """Guest access was asked for."""

    auth: AuthChoice = "auto"
    """Which way to sign on."""

    block_ntlm: bool = False
    """NTLM is not to be used, so no password is looked for."""

    tickets: Callable[[str | None], Tickets] | None = None
    """Where a user's Kerberos tickets come from; None: it is not wanted, or not there."""

    ask: Callable[[str], str] | None = None
    """Show a prompt, return what was typed unseen; None: there is no terminal."""

    may_unlock: bool = True
    """The keyring may ask for what unlocks it."""


@dataclass(slots=True)
class _Search:
    request: CredentialRequest
    user: str | None
    domain: str | None
    missed: list[str] = field(default_factory=list)
    keyring_remedy: str = ""
    """What would have the keyring help."""

    before_prompt: str = ""
    """What whoever is asked for a password would wonder about."""

    remark: str = ""
    """Why it is not Kerberos although there are tickets."""

    def __post_init__(self) -> None:
        self.keyring_remedy = f"run `smbfs login {self.request.server}`"

    def found(self, password: str, source: str, *, as_of_ns: int = 0) -> Credentials:
        user = self.user or self.request.login_name
        return Credentials(user, self.domain or "", password, source, as_of_ns, remark=self.remark)


def find_credentials(request: CredentialRequest) -> Credentials:
    """Return the credentials of the first source that has a ticket or a password.

    May wait for a terminal or, some seconds, for a KDC or a keyring.
    Raises: ConfigError for a file that can't be used; TicketMissing when it is to be Kerberos;
    AuthenticationError, saying why for each source, when none has anything.
    """
    if request.block_ntlm and (request.guest or request.auth == "ntlm"):
        raise ntlm_refused(f"//{request.server}", "Guests and auth=ntlm sign on with it")
    if request.guest:
        return Credentials.guest(request.user or "")
    search = _Search(request, request.user, request.domain)
    for source in _sources(request):
        credentials = source(search)
        if credentials is not None:
            return credentials
    if request.block_ntlm:
        missed = "; ".join(search.missed) or "Kerberos is not available"
        raise ntlm_refused(f"//{request.server}", missed)
    user = search.user or request.login_name
    raise AuthenticationError(
        f"there is no password for {user} at {request.server}",
        "; ".join(search.missed) + ".",
        ", ".join(filter(None, (search.keyring_remedy, _OTHER_REMEDIES))),
    )


_Source = Callable[[_Search], Credentials | None]


def _sources(request: CredentialRequest) -> tuple[_Source, ...]:
    if request.auth == "kerberos" or request.block_ntlm:
        return (_user_of_file, _from_kerberos)
    return (_from_file, _from_systemd, _from_kerberos, _from_keyring, _from_prompt)


def _user_of_file(search: _Search) -> Credentials | None:
    """Take the user's name from a credentials file; its password is of no use here."""
    path = search.request.file
    if path is not None:
        _use_file(search, read_credential_file(path), f"credentials file {path}")
    return None


def _from_kerberos(search: _Search) -> Credentials | None:
    request = search.request
    if request.tickets is None:
        return None
    tickets = request.tickets(search.user)
    patience_s = PATIENCE_S if request.auth == "kerberos" else SHORT_PATIENCE_S
    try:
        ticket = try_tickets(tickets, request.server, patience_s)
    except TicketMissing as missing:
        if request.auth == "kerberos":
            raise
        search.missed.append(f"Kerberos: {missing.what} {missing.why}".rstrip("."))
        if not missing.is_absent:
            search.remark = f"Kerberos was not used: {missing.what} {missing.why}"
        return None
    return Credentials(
        ticket.principal,
        source=ticket.source,
        tickets=tickets,
    )


def _from_file(search: _Search) -> Credentials | None:
    path = search.request.file
    if path is None:
        search.missed.append("no credentials= file is given")
        return None
    return _use_file(search, read_credential_file(path), f"credentials file {path}")


def _from_systemd(search: _Search) -> Credentials | None:
    directory = search.request.environment.get("CREDENTIALS_DIRECTORY")
    if not directory:
        search.missed.append("there is no $CREDENTIALS_DIRECTORY")
        return None
    path = Path(directory) / _SYSTEMD_NAME
    if not os.path.exists(path):  # noqa: PTH110 (Path's raises where we may not look)
        search.missed.append(f"there is no {path}")
        return None
    # systemd keeps the directory private; with User= its files are group-readable by ACL.
    return _use_file(search, read_credential_file(path, private=False), f"systemd ({path})")


def _use_file(search: _Search, file: CredentialFile, source: str) -> Credentials | None:
    if file.username:
        if search.user is not None and search.user.lower() != file.username.lower():
            raise ConfigError(
                f"two users are named: {search.user} by option and {file.username} in a file",
                f"the {source} holds {file.username}'s password.",
                "leave user= out, or give the other user's credentials.",
            )
        search.user = file.username
    search.domain = search.domain or file.domain
    if file.password is None:
        search.missed.append(f"the {source} holds no password")
        return None
    return search.found(file.password, source, as_of_ns=file.changed_ns)


def _from_keyring(search: _Search) -> Credentials | None:
    request = search.request
    query = KeyringQuery(
        server=request.server,
        port=request.port,
        share=request.share,
        user=search.user,
        domain=search.domain,
    )
    try:
        with KeyringProcess(request.environment, may_ask=request.may_unlock) as keyring:
            entry = keyring.find(query)
    except KeyringUnusable as error:
        search.missed.append(error.reason)
        search.keyring_remedy = "unlock the keyring" if error.kind is Trouble.LOCKED else ""
        if error.kind is not Trouble.ABSENT:
            search.before_prompt = f"({error.reason})\n"
        return None
    except SeveralUsers as error:
        raise AuthenticationError(
            f"whose password is meant for {request.server}?",
            f"the keyring has several: {', '.join(error.users)}.",
            f"name one: user={error.users[0]}",
        ) from error
    if entry is None:
        search.missed.append("the keyring holds nothing for this server and user")
        return None
    search.user = search.user or entry.user
    search.domain = search.domain or entry.domain
    return search.found(entry.password, "keyring", as_of_ns=entry.changed_ns)


def _from_prompt(search: _Search) -> Credentials | None:
    request = search.request
    if request.ask is None:
        search.missed.append("there is no terminal to ask on")
        return None
    user = search.user or request.login_name
    prompt = f"{search.before_prompt}Password for {user} at {request.server}: "
    return search.found(request.ask(prompt), "prompt")
