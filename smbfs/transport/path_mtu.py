"""How large a datagram may be on its way to the peer.

Datagrams of 1,200 bytes get through everywhere, but each costs us about the same, however large it
is. What the path carries is found out by trying: a probe of a certain size either is acknowledged
or is not. The first one is as large as our own link allows, since most paths are as wide as their
first step, on loopback above all.

Spec: RFC 8899 (DPLPMTUD); RFC 9000 section 14.3.
"""

from __future__ import annotations

import math
from typing import Final

BASE: Final = 1200
"""Bytes of a datagram that every path of QUIC's carries."""

SEARCH_AGAIN_S: Final = 600.0
"""Seconds after which a path might have got wider. Spec: RFC 8899 section 5.1.1."""

_ETHERNET: Final = 1452
"""What Ethernet carries, by IPv6 and so by IPv4, too: the likeliest size but the first."""

_TRIES: Final = 3
"""Probes of one size that have to be lost before it is given up: some are lost by bad luck."""

_BLACK_HOLE: Final = 6
"""Large datagrams lost in a row after which it is asked whether the path has become narrower."""

_GAP: Final = 16
"""Bytes that are not worth another probe."""


class PathMtu:
    """The search on one path. Probes are sent one at a time."""

    def __init__(self, ceiling: int) -> None:
        """``ceiling``: bytes of the largest datagram that could get through."""
        self.size = BASE
        """Bytes that a datagram may have."""
        self._ceiling = ceiling
        self._too_large = ceiling + 1
        self._losses = 0
        self._large_lost = 0
        self._is_doubted = False
        self._under_way: int | None = None
        self._search_again_s = math.inf

    def next_probe(self, now_s: float) -> int | None:
        """Return how large a probe to send now, if one is wanted; then one is on its way."""
        if self._under_way is not None:
            return None
        if now_s >= self._search_again_s:
            self._too_large = self._ceiling + 1
            self._search_again_s = math.inf
        candidate = self._candidate()
        if candidate is not None:
            self._under_way = candidate
        elif self.size < self._ceiling and self._search_again_s == math.inf:
            self._search_again_s = now_s + SEARCH_AGAIN_S
        return candidate

    def _candidate(self) -> int | None:
        if self._is_doubted:
            return self.size
        if self._too_large > self._ceiling:
            return self._ceiling if self._ceiling > self.size else None
        if self.size < _ETHERNET < self._too_large:
            return _ETHERNET
        if self._too_large - self.size <= _GAP:
            return None
        return (self.size + self._too_large) // 2

    def probe_arrived(self) -> None:
        """The probe was acknowledged."""
        if self._under_way is not None:
            self.size = max(self.size, self._under_way)
            self._under_way = None
            self._losses = self._large_lost = 0
            self._is_doubted = False

    def probe_lost(self) -> None:
        """The probe was not acknowledged."""
        self._losses += 1
        if self._under_way is not None and self._losses == _TRIES:
            self._losses = 0
            if self._under_way > self.size:
                self._too_large = self._under_way
            else:  # What has got through before does no more.
                self.search_again()
        self._under_way = None

    def search_again(self) -> None:
        """Begin anew with what every path carries: this one may have become narrower."""
        self.size = BASE
        self._too_large = self._ceiling + 1
        self._search_again_s = math.inf
        self._is_doubted = False

    def data_arrived(self, size: int) -> None:
        """Data in a datagram of more than ``size`` bytes was acknowledged."""
        if size >= BASE:
            self._large_lost = 0

    def data_lost(self, size: int) -> None:
        """Data in a datagram of more than ``size`` bytes was not.

        Smaller ones may get through as before, so that the connection does not look dead. Whether
        that is why, a probe of the present size will tell. Spec: RFC 8899 section 4.3.
        """
        if size >= BASE:
            self._large_lost += 1
            self._is_doubted |= self._large_lost >= _BLACK_HOLE
