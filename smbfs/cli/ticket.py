"""``smbfs login --kerberos USER@REALM``: a ticket, where the user's programs look for tickets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from smbfs.audit.events import CredentialUsed
from smbfs.audit.writer import record_once
from smbfs.auth.krb5_refusals import krb5_refusal
from smbfs.cli.errors import CommandError, ExitCode
from smbfs.cli.failure_events import failure_event
from smbfs.cli.kerberos_realms import kdc_proxies, kerberos_realms, realm_of
from smbfs.cli.passwords import read_password
from smbfs.cli.policy_events import policy_refusal
from smbfs.cli.privileges import keep_secrets
from smbfs.config.files import read_policy, read_user_config
from smbfs.config.options import GivenOption
from smbfs.config.policy import PolicyRefused, configure
from smbfs.errors import AuthenticationError

if TYPE_CHECKING:
    import krb5

_PARSE_MALFORMED: Final = -1765328250
_RENEWABLE_FOR_S: Final = 7 * 24 * 3600
"""Asked for; the KDC grants what it allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRequest:
    """What the command line asks for."""

    principal: str
    """``USER@REALM``."""

    given: Sequence[GivenOption] = ()
    """Mount options: ``kdc_proxy`` and ``kdc_proxy_ca`` are those that matter."""

    password_stdin: bool = False
    """The password is the first line of standard input."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket-granting ticket that was put into a cache."""

    ends: datetime
    """When it ends."""

    renewable_until: datetime | None
    """Until when it can be renewed without a password; None: it can't."""

    cache: str
    """Where it is, as ``KRB5CCNAME`` names it."""


def get_ticket(request: TicketRequest) -> int:
    """Sign on and keep the ticket; say until when it is valid. Raises: UserError."""
    keep_secrets()
    if not realm_of(request.principal) or request.principal.startswith("@"):
        raise CommandError(
            f"{request.principal} names no realm",
            "a Kerberos user is written USER@REALM.",
            "smbfs login --kerberos alice@CORP.EXAMPLE.ORG",
            exit_code=ExitCode.USAGE,
        )
    _check_library()
    policy, user = read_policy(), read_user_config(os.environ)
    try:
        options = configure("", request.given, user=user, policy=policy).options
    except PolicyRefused as error:
        record_once(policy_refusal(request.principal, error))
        raise
    options = replace(options, auth="kerberos", guest=False)
    proxies = kdc_proxies(options, realm_of(request.principal))
    prompt = f"Password for {request.principal}: "
    password = read_password(prompt, from_stdin=request.password_stdin)
    who = request.principal
    record_once(CredentialUsed(who, who, "password for a Kerberos ticket"))
    try:
        with kerberos_realms(proxies, options.kdc_proxy_ca, f"login-{os.getpid()}"):
            ticket = obtain_ticket(who, password)
    except AuthenticationError as error:
        record_once(failure_event(error, who, who))
        raise
    told = f"{request.principal} is signed on until {_told(ticket.ends)}"
    if ticket.renewable_until is not None:
        told += f", renewable until {_told(ticket.renewable_until)}"
    print(f"{told} ({ticket.cache})")
    return int(ExitCode.FINE)


def obtain_ticket(principal: str, password: str) -> Ticket:
    """Get a ticket, as ``kinit`` does, into the cache of ``KRB5CCNAME`` or the default one.

    It blocks for as long as libkrb5 waits for a KDC.
    Raises: AuthenticationError.
    """
    import krb5

    try:
        context = krb5.init_context()
        name = krb5.parse_name_flags(context, principal.encode())
        cache = _cache_for(context, name)
        wishes = krb5.get_init_creds_opt_alloc(context)
        krb5.get_init_creds_opt_set_renew_life(wishes, _RENEWABLE_FOR_S)
        krb5.get_init_creds_opt_set_out_ccache(context, wishes, cache)
        ticket = krb5.get_init_creds_password(context, name, wishes, password.encode())
        kind = cache.cache_type or b""
        if krb5.cc_support_switch(context, kind):
            krb5.cc_switch(context, cache)
    except krb5.Krb5Error as error:
        raise krb5_refusal(error.err_code, _words(error), principal) from error
    except UnicodeEncodeError:
        raise krb5_refusal(_PARSE_MALFORMED, "the name is not UTF-8", principal) from None
    times = ticket.times
    is_renewable = krb5.TicketFlags.renewable in ticket.ticket_flags
    return Ticket(
        _time(times.endtime),
        _time(times.renew_till) if is_renewable else None,
        f"{kind.decode()}:{os.fsdecode(cache.name or b'')}",
    )


def _cache_for(context: krb5.Context, principal: krb5.Principal) -> krb5.CCache:
    """In a collection of caches, each user has one; elsewhere there is but one to overwrite."""
    import krb5

    default = krb5.cc_default(context)
    if not krb5.cc_support_switch(context, default.cache_type or b""):
        return default
    with suppress(krb5.Krb5Error):
        return krb5.cc_cache_match(context, principal)
    try:
        krb5.cc_get_principal(context, default)
    except krb5.Krb5Error:
        return default  # Nobody's yet.
    return krb5.cc_new_unique(context, default.cache_type or b"")


def _words(error: krb5.Krb5Error) -> str:
    return str(error).partition(f" {error.err_code}")[0]


def _time(seconds: int) -> datetime:
    # Kerberos' 32 bits are read without a sign, so that they last until 2106.
    return datetime.fromtimestamp(seconds & 0xFFFF_FFFF).astimezone()


def _told(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M}"


def _check_library() -> None:
    try:
        import krb5  # noqa: F401
    except ImportError as error:
        raise CommandError(
            "Kerberos is not available here",
            f"{error}.",
            "install smbfs with it: pip install 'smbfs[kerberos]' (it needs libkrb5-dev and gcc).",
            exit_code=ExitCode.SYSTEM,
        ) from error
