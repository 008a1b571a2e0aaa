"""How to reach a server over QUIC, and whom to believe there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from smbfs.transport.server_memory import ServerMemory

QUIC_PORT: Final = 443
"""UDP port of SMB over QUIC."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificates are believed."""

    authorities: Path | None = None
    """PEM file of those that may sign; None: the system's."""
    pin: str | None = None
    """SHA-256 of the only certificate that is believed, in lower-case hex."""


@dataclass(frozen=True, slots=True)
class QuicSettings:
    """What the options of a mount say of QUIC."""

    port: int = QUIC_PORT
    trust: Trust = field(default_factory=Trust)
    certificate: Path | None = None
    """PEM file of our own certificate (and those that vouch for it), if we have one."""
    key: Path | None = None
    """PEM file of its key; None: it is in the same file."""
    memory: ServerMemory | None = None
    """Where what we learn of servers is kept; None: nowhere."""
    early_data: bool = False
    """Whether the first request may go along with a resumed handshake."""
