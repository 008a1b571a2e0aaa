"""What a finished handshake of QUIC's tells, for who wants to see more than that it worked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from smbfs.transport.judgment import Judgment
from smbfs.transport.tunnel import ServerCertificate


@dataclass(frozen=True, slots=True)
class Handshake:
    """A handshake that both sides have ended; whether the certificate is believed is open."""

    address: str
    """The server's."""
    port: int
    round_trip_s: float
    """As QUIC has measured it; it has to know before it can send much."""
    cipher: str
    """TLS's name of the cipher suite. Its version is 1.3, the only one that QUIC has."""
    alpn: str
    """The protocol that was agreed upon."""
    judgments: tuple[Judgment, ...]
    """What the server's certificate is worth, requirement by requirement."""
    certificate: ServerCertificate | None
    """What it says of itself, if it can be read."""


OnHandshake = Callable[[Handshake], None]
"""Called once there is a handshake, before the certificate is believed or refused."""
