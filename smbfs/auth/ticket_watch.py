"""Looking after the Kerberos ticket of a mount while it lives: renewed in time, or its user warned.

A keytab needs nothing of that: it gets another ticket whenever the server wants one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from smbfs.auth.kerberos_cache import Ticket
from smbfs.auth.kerberos_errors import TicketMissing
from smbfs.auth.kerberos_tickets import Tickets

RENEW_AT: Final = 0.25
"""Part of its life that is left of a ticket when it is renewed."""

WARN_S: Final = 900.0
"""Seconds before its end at which the user is warned of a ticket that nobody can renew."""

LOOK_S: Final = 60.0
"""Seconds between two looks, at most: the user may have got another ticket, or the machine may
have slept."""

_LOOK_MIN_S: Final = 1.0

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class TicketWatch:
    """Watches over the tickets of a mount. ``run`` it."""

    tickets: Tickets
    on_ends: Callable[[Ticket, str], None]
    """Called once for each ticket that ends soon and was not renewed, with the reason."""
    latest: Ticket | None = None
    """What was seen last."""
    _warned_of: int = 0

    async def run(self) -> None:
        """Look, renew and warn, until cancelled."""
        while True:
            pause_s = LOOK_S
            try:
                self.latest = await self.tickets.in_thread(self.tickets.look)
                if not self.latest.of_keytab:
                    pause_s = await self._look_after(self.latest)
            except TicketMissing as missing:
                _log.info("%s %s", missing.what, missing.why)
            await trio.sleep(pause_s)

    async def _look_after(self, ticket: Ticket) -> float:
        """Renew the ticket or warn, if it is time; return when to look again, in seconds."""
        left_s = ticket.left_s()
        life_s = ticket.ends_s - ticket.starts_s
        early_s = max(life_s * RENEW_AT, 0.0)
        reason = "it can't be renewed"
        if left_s > 0 and left_s <= early_s and ticket.renewable_until_s > ticket.ends_s:
            try:
                self.latest = await self.tickets.in_thread(self.tickets.renew)
            except TicketMissing as missing:
                reason = f"it was not renewed: {missing.what} {missing.why}"
            else:
                _log.info("the Kerberos ticket was renewed, until %s", self.latest.ends)
                return _LOOK_MIN_S
        elif ticket.renewable_until_s > ticket.ends_s:
            return min(max(left_s - early_s, _LOOK_MIN_S), LOOK_S)
        warn_s = min(WARN_S, early_s)
        if left_s <= warn_s and self._warned_of != ticket.ends_s:
            self._warned_of = ticket.ends_s
            self.on_ends(ticket, reason)
        return min(max(left_s - warn_s, early_s / 4, _LOOK_MIN_S), LOOK_S)
