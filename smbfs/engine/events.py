"""What ``Connection.receive_message`` tells its owner."""

from __future__ import annotations

from dataclasses import dataclass

from smbfs.engine.exchange import Exchange
from smbfs.wire.oplock_break import LeaseBreakNotification, OplockBreakNotification


@dataclass(frozen=True, slots=True)
class Completed:
    """Every request of ``exchange`` has its final answer."""

    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Broken:
    """The server takes back an oplock or a lease."""

    notification: OplockBreakNotification | LeaseBreakNotification


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that nobody waits for was discarded, as the specification asks."""

    reason: str


Event = Completed | Broken | Ignored
