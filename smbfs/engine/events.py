"""What ``Connection.receive_message`` tells its owner."""

from __future__ import annotations

from dataclasses import dataclass

from smbfs.engine.exchange import Exchange
from smbfs.engine.leases import Lease


@dataclass(frozen=True, slots=True)
class Completed:
    """Every request of ``exchange`` has its final answer."""

    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Broken:
    """The server has taken back some of what a lease allowed: ``lease`` says what is left."""

    lease: Lease
    must_acknowledge: bool
    """Whether the server waits until we say that we agree, or close the file."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that nobody waits for was discarded, as the specification asks."""

    reason: str


Event = Completed | Broken | Ignored
