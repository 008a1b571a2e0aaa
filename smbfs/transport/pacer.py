"""When the next datagram may leave: not all at once what a window allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

_BURST_S: Final = 0.004
"""Seconds of sending that may leave at once: what a busy program may oversleep."""

_BURST_MAX: Final = 256 * 1024
_WAIT_MIN_S: Final = 0.0002
"""Seconds that waiting is worth."""


class Pacer:
    """A bucket that fills at a certain rate, in the shape that aioquic's recovery asks for.

    aioquic plans packets (``update_after_send``), whatever their sizes, and then builds them; only
    :meth:`settle` says what they came to.
    """

    def __init__(self, rate: Callable[[], float], datagram_size: int) -> None:
        """``rate`` tells bytes a second, and may say that they are infinite."""
        self.datagram_size = datagram_size
        self._rate = rate
        self._credit = float(_BURST_MAX)
        self._planned = 0
        self._filled_s = 0.0

    def next_send_time(self, now: float) -> float | None:
        """Return when the next packet may leave; None: at once."""
        rate = self._rate()
        if rate == math.inf:
            return None
        burst = max(2.0 * self.datagram_size, min(rate * _BURST_S, _BURST_MAX))
        self._credit = min(self._credit + max(0.0, now - self._filled_s) * rate, burst)
        self._filled_s = now
        available = self._credit - self._planned
        if available > 0:
            return None
        return now + max((burst / 2 - available) / rate, _WAIT_MIN_S)

    def update_after_send(self, now: float) -> None:  # noqa: ARG002 - aioquic's signature
        """Plan a packet."""
        self._planned += self.datagram_size

    def settle(self, sent: int) -> None:
        """Charge what was sent: ``sent`` bytes that count as in flight."""
        self._planned = 0
        self._credit -= sent

    def update_rate(self, congestion_window: int, smoothed_rtt: float) -> None:
        """Nothing: the rate is asked for."""
