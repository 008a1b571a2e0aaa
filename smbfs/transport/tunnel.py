"""What a stream runs through, as ``status`` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

EXPIRY_WARNING = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What people want to know of a certificate."""

    subject: str
    names: tuple[str, ...]
    """Its subject alternative names."""
    sha256: str
    """Thumbprint, 64 lower-case hex digits."""
    not_after: datetime

    def ends_soon(self, now: datetime) -> bool:
        """Whether it is time to renew it."""
        return self.not_after - now < EXPIRY_WARNING


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A QUIC connection."""

    certificate: ServerCertificate
    zero_rtt: bool = False
    """Whether the first request went along with the handshake."""
    migrations: int = 0
    """Changes of our address that it has survived."""
    datagram_size: int = 0
    """Bytes of the largest datagram that the path carries, as far as we know."""
