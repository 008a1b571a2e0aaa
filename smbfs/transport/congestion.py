"""Which congestion control a QUIC connection has: the one that this machine's TCP has.

So whoever runs the machine decides it in one place, and a share over QUIC neither starves beside
TCP on the same line nor starves it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from smbfs.transport.bbr import BBR

CUBIC: Final = "cubic"
"""aioquic's."""

_TCP: Final = Path("/proc/sys/net/ipv4/tcp_congestion_control")


def congestion_control(tcp: Path = _TCP) -> str:
    """Return aioquic's name of the algorithm: BBR where TCP has it, else CUBIC."""
    try:
        return BBR if tcp.read_text().strip().startswith(BBR) else CUBIC
    except OSError:  # No such file where the kernel has no IPv4.
        return CUBIC
