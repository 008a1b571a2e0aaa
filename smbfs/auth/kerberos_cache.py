"""The user's Kerberos tickets, by libkrb5: in a cache of any kind, or made with a keytab's key.

Everything here may block: a cache may be kept by another process (KCM), and a keytab's tickets
come from the KDC. The daemon has it done in a thread, and before there is a daemon a process does.

Spec: RFC 4120 5.3 (times and flags); krb5.conf(5), ``default_ccache_name``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import krb5

from smbfs.auth.kerberos_errors import TicketMissing, no_ticket, ticket_missing

_MACHINE_KEYTAB: Final = b"FILE:/etc/krb5.keytab"
_CONFIGURATION: Final = b"X-CACHECONF:"
"""The realm of what a cache holds beside tickets."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose tickets are looked for. Nothing but names: it travels to other processes."""

    user: str | None = None
    """``name`` or ``name@REALM``; None: whoever's tickets are the cache's first."""

    keytab: str | None = None
    """The keytab to use, and no cache."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket that gets tickets for servers (a TGT), and where it was found. Times: Unix's."""

    principal: str
    """Whose it is, ``name@REALM``."""

    source: str
    """``ticket cache FILE:/tmp/krb5cc_1000``, ``keytab FILE:/etc/krb5.keytab``."""

    starts_s: int
    ends_s: int
    renewable_until_s: int
    """0 if it can't be renewed."""

    content: tuple[bytes, ...] = field(repr=False)
    """The tickets themselves, in libkrb5's format for files, to be put into another cache."""

    clock_offset_s: int = 0
    """How far the KDC's clock was ahead of ours when they were made (``kdc_timesync``)."""

    of_keytab: bool = False
    """Whether it was made with a keytab, and another one can be had at any time."""

    @property
    def ends(self) -> str:
        """When it ends, for people."""
        return f"{datetime.fromtimestamp(self.ends_s, UTC).astimezone():%Y-%m-%d %H:%M:%S %Z}"

    def left_s(self) -> float:
        """Seconds until it ends, by the KDC's clock."""
        return self.ends_s - datetime.now(UTC).timestamp() - self.clock_offset_s


def read_ticket(wanted: Wanted) -> Ticket:
    """Return the ticket that signs on: that of the cache, or one that a keytab gets.

    A keytab that was not named is the library's for clients (``KRB5_CLIENT_KTNAME``), and for
    root the machine's if ``user`` names one of its principals, as for mount.cifs.
    Raises: TicketMissing.
    """
    context = _new_context()
    if wanted.keytab is not None:
        return _ticket_of_keytab(context, _resolve_keytab(context, wanted.keytab), wanted.user)
    try:
        ticket = _ticket_of_cache(context, _find_cache(context, wanted.user))
        if ticket.left_s() > 0:
            return ticket
    except TicketMissing as missing:
        keytab = _default_keytab(context, wanted.user)
        if keytab is None:
            raise missing from None
    else:
        keytab = _default_keytab(context, wanted.user)
        if keytab is None:
            return ticket
    return _ticket_of_keytab(context, keytab, wanted.user)


def renew_ticket(wanted: Wanted) -> Ticket:
    """Have the KDC renew the cache's ticket, and put that into the cache, as ``kinit -R`` does.

    Raises: TicketMissing when it can't be.
    """
    context = _new_context()
    cache = _find_cache(context, wanted.user)
    try:
        principal = krb5.cc_get_principal(context, cache)
        renewed = krb5.get_renewed_creds(context, principal, cache)
        krb5.cc_initialize(context, cache, principal)
        krb5.cc_store_cred(context, cache, renewed)
    except krb5.Krb5Error as error:
        raise _missing(error) from error
    return _ticket_of_cache(context, cache)


def load_ticket(ticket: Ticket, name: str) -> None:
    """Put the tickets into the cache ``name``, made anew. Raises: TicketMissing."""
    context = _new_context()
    try:
        if ticket.clock_offset_s:
            now_s = int(datetime.now(UTC).timestamp())
            krb5.set_real_time(context, now_s + ticket.clock_offset_s, -1)
        cache = krb5.cc_resolve(context, name.encode())
        principal = krb5.parse_name_flags(context, ticket.principal.encode())
        krb5.cc_initialize(context, cache, principal)
        for content in ticket.content:
            krb5.cc_store_cred(context, cache, krb5.unmarshal_credentials(context, content))
    except krb5.Krb5Error as error:
        raise _missing(error) from error


def service_ends_s(name: str, spn: str) -> int:
    """Return when the last of the tickets for a server ends that a cache holds; 0 without one.

    Raises: TicketMissing.
    """
    context = _new_context()
    cache = krb5.cc_resolve(context, name.encode())
    servers = [each for each in _tickets(cache) if _text(each.server).startswith(f"{spn}@")]
    return max((each.times.endtime for each in servers), default=0)


def _new_context() -> krb5.Context:
    """Read the configuration, which may be wrong, or just being written. Raises: TicketMissing."""
    try:
        return krb5.init_context()
    except krb5.Krb5Error as error:
        raise _missing(error) from error


def _find_cache(context: krb5.Context, user: str | None) -> krb5.CCache:
    """Return the user's cache, which in a collection need not be the first."""
    try:
        cache = krb5.cc_default(context)
        missing = _missing_in(context, cache)
        if missing is None and _is_wanted(cache, user):
            return cache
        if user is not None:
            for other in krb5.cccol_iter(context):
                if _missing_in(context, other) is None and _is_wanted(other, user):
                    return other
        if missing is not None:
            raise missing
    except krb5.Krb5Error as error:
        raise _missing(error) from error
    holder = _text(cache.principal)
    raise no_ticket(f"the ticket cache {_name_of(cache)} is {holder}'s, not {user}'s")


def _missing_in(context: krb5.Context, cache: krb5.CCache) -> TicketMissing | None:
    try:
        krb5.cc_get_principal(context, cache)
    except krb5.Krb5Error as error:
        return _missing(error)
    return None


def _is_wanted(cache: krb5.CCache, user: str | None) -> bool:
    return user is None or _is_same_user(_text(cache.principal), user)


def _is_same_user(principal: str, user: str) -> bool:
    name, _, realm = principal.rpartition("@")
    wanted, _, wanted_realm = user.partition("@")
    return name.lower() == wanted.lower() and wanted_realm.lower() in {"", realm.lower()}


def _ticket_of_cache(context: krb5.Context, cache: krb5.CCache) -> Ticket:
    where = f"ticket cache {_name_of(cache)}"
    try:
        all_of_them = list(_tickets(cache))
        principal = _text(cache.principal)
    except krb5.Krb5Error as error:
        raise _missing(error) from error
    realm = principal.rpartition("@")[2]
    granting = [each for each in all_of_them if _text(each.server) == f"krbtgt/{realm}@{realm}"]
    if not all_of_them:
        raise no_ticket(f"the {where} is empty")
    # Whoever has no ticket for tickets may have been given some for servers.
    latest = max(granting or all_of_them, key=lambda each: each.times.endtime)
    content = [latest] if granting else all_of_them
    return _ticket(context, latest, content, where)


def _default_keytab(context: krb5.Context, user: str | None) -> krb5.KeyTab | None:
    try:
        keytab = krb5.kt_client_default(context)
        if _principal_in(keytab, user) is not None:
            return keytab
        if os.geteuid() == 0 and user is not None:
            keytab = krb5.kt_resolve(context, _MACHINE_KEYTAB)
            if _principal_in(keytab, user) is not None:
                return keytab
    except krb5.Krb5Error as error:
        raise _missing(error) from error
    return None


def _resolve_keytab(context: krb5.Context, name: str) -> krb5.KeyTab:
    try:
        Path(name.removeprefix("FILE:")).open("rb").close()  # It says more than the library does.
        return krb5.kt_resolve(context, name.encode())
    except OSError as error:
        raise ticket_missing(-1765328203, f"{name}: {error.strerror}") from error
    except krb5.Krb5Error as error:
        raise _missing(error) from error


def _principal_in(keytab: krb5.KeyTab, user: str | None) -> str | None:
    """Return the user's principal in a keytab, the first one for nobody by name."""
    try:
        names = [_text(entry.principal) for entry in keytab]
    except krb5.Krb5Error:
        return None  # there is no such file
    return next((name for name in names if user is None or _is_same_user(name, user)), None)


def _ticket_of_keytab(context: krb5.Context, keytab: krb5.KeyTab, user: str | None) -> Ticket:
    name = _keytab_name(context, keytab)
    principal = _principal_in(keytab, user)
    if principal is None:
        raise ticket_missing(-1765328203, f"{name} holds no key of {user or 'anybody'}")
    try:
        options = krb5.get_init_creds_opt_alloc(context)
        krb5.get_init_creds_opt_set_forwardable(options, False)
        client = krb5.parse_name_flags(context, principal.encode())
        got = krb5.get_init_creds_keytab(context, client, options, keytab)
    except krb5.Krb5Error as error:
        raise _missing(error) from error
    return _ticket(context, got, [got], f"keytab {name}", of_keytab=True)


def _ticket(
    context: krb5.Context,
    latest: krb5.Creds,
    content: list[krb5.Creds],
    source: str,
    *,
    of_keytab: bool = False,
) -> Ticket:
    times, flags = latest.times, latest.ticket_flags
    return Ticket(
        principal=_text(latest.client),
        source=source,
        starts_s=times.starttime or times.authtime,
        ends_s=times.endtime,
        renewable_until_s=times.renew_till if flags & krb5.TicketFlags.renewable else 0,
        content=tuple(krb5.marshal_credentials(context, each) for each in content),
        clock_offset_s=krb5.get_time_offsets(context)[0],
        of_keytab=of_keytab,
    )


def _tickets(cache: krb5.CCache) -> Iterator[krb5.Creds]:
    return (each for each in cache if each.server.realm != _CONFIGURATION)


def _name_of(cache: krb5.CCache) -> str:
    return f"{(cache.cache_type or b'FILE').decode()}:{(cache.name or b'').decode()}"


def _keytab_name(context: krb5.Context, keytab: krb5.KeyTab) -> str:
    return krb5.kt_get_full_name(context, keytab).decode()


def _text(principal: krb5.Principal | None) -> str:
    return "" if principal is None else str(principal)


def _missing(error: krb5.Krb5Error) -> TicketMissing:
    # Its text ends in the code, which says nothing to people.
    return ticket_missing(error.err_code, str(error).rpartition(" ")[0] or str(error))
