"""The tickets that a mount signs on with, for as long as it lives.

They are the user's, who gets new ones with ``kinit``, or a keytab's. What is in the user's cache
is copied into one in memory, anew whenever there is a newer ticket: the servers' tickets that
sign-on adds are the mount's own, and leave the user's cache as it was.

Everything here may block, and is for one thread at a time: use :func:`in_thread`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TypeVar

import trio

from smbfs.auth.kerberos_cache import (
    Ticket,
    Wanted,
    load_ticket,
    read_ticket,
    renew_ticket,
    service_ends_s,
)
from smbfs.auth.kerberos_errors import expired
from smbfs.auth.kerberos_helper import UsersTickets

_T = TypeVar("_T")


class Tickets:
    """Where a mount's Kerberos tickets come from, and the ones that it has."""

    def __init__(self, wanted: Wanted, of_user: UsersTickets | None = None) -> None:
        """``of_user``: another user, whose tickets are used (``cruid=``)."""
        self._users = of_user
        self._read = partial(read_ticket, wanted) if of_user is None else of_user.read
        self._renew = partial(renew_ticket, wanted) if of_user is None else of_user.renew
        self._limiter: trio.CapacityLimiter | None = None
        self._name = f"MEMORY:smbfs-{os.getpid()}-{id(self):x}"
        self._latest: Ticket | None = None
        self._loaded: Ticket | None = None
        self._offered_ends_s = 0
        self._session_ends_s = 0
        self._is_over = False

    def attended(self) -> AbstractContextManager[None]:
        """Have everything run that reads them, from before privileges are given up."""
        return nullcontext() if self._users is None else self._users.attended()

    async def in_thread(self, call: Callable[[], _T]) -> _T:
        """Call what uses these tickets, after everybody else who does."""
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(1)
        # libkrb5 waits for the KDC, and nothing can interrupt it.
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)

    def look(self) -> Ticket:
        """Return the ticket that there is, which may have ended. Raises: TicketMissing."""
        held = self._latest
        if held is None or not held.of_keytab or held.left_s() <= 0 or self._is_over:
            self._latest = self._read()
        assert self._latest is not None
        return self._latest

    def renew(self) -> Ticket:
        """Have the KDC renew it, in the user's cache. Raises: TicketMissing."""
        self._latest = self._renew()
        return self._latest

    def session_is_over(self) -> None:
        """The server has said that the ticket of the last sign-on has ended.

        Its clock may be ahead of ours: only one that ends later will do.
        """
        self._is_over = True

    def usable(self) -> Ticket:
        """Return a ticket that can sign on, renewed if need be.

        Raises: TicketMissing.
        """
        ticket = self.look()
        over_s = self._session_ends_s if self._is_over else 0
        if ticket.left_s() > 0 and ticket.ends_s > over_s:
            return ticket
        if ticket.left_s() > 0 and ticket.renewable_until_s > ticket.ends_s:
            ticket = self.renew()
            if ticket.ends_s > over_s:
                return ticket
        raise expired(ticket.principal, ticket.source, ticket.ends)

    def cache(self) -> str:
        """Return the name of a cache, of this process alone, with a ticket that can sign on.

        Raises: TicketMissing.
        """
        ticket = self.usable()
        if self._is_over or self._loaded is None or ticket.content != self._loaded.content:
            load_ticket(ticket, self._name)
            self._loaded = ticket
        return self._name

    def signed_on(self, spn: str) -> None:
        """A ticket for the server was had."""
        self._is_over = False
        self._offered_ends_s = service_ends_s(self._name, spn)

    def session_began(self) -> None:
        """The server has taken the last one, and the session lives by it.

        Not so when a further channel was signed on: that makes no session live longer.
        """
        self._session_ends_s = self._offered_ends_s

    def forget(self) -> None:
        """The server has refused what it was sent: it may have another key by now."""
        self._loaded = None
