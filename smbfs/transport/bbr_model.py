"""What BBR believes of a path: small judgements, each from what a round trip has shown."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

_ROUNDS: Final = 10
"""Rounds for which the best that was seen counts."""

_GROWTH: Final = 1.25
_FULL_ROUNDS: Final = 3
"""Rounds that brought no growth after which the pipe counts as full."""

_LOSS_CUT: Final = 0.7
_BOUND_GROWTH: Final = 1.05


class MaxFilter:
    """The largest of the values of the last rounds."""

    def __init__(self) -> None:
        self._values: deque[tuple[int, float]] = deque()

    @property
    def best(self) -> float:
        """The largest value; 0 if there is none."""
        return self._values[0][1] if self._values else 0.0

    def add(self, round_number: int, value: float) -> None:
        """Take one more, seen in a certain round."""
        while self._values and self._values[-1][1] <= value:
            self._values.pop()
        self._values.append((round_number, value))
        while self._values[0][0] < round_number - _ROUNDS:
            self._values.popleft()


class FullPipe:
    """Whether sending more has stopped to bring more. Spec: section 4.3.2.2 of the draft."""

    def __init__(self) -> None:
        self.is_full = False
        self._best = 0.0
        self._rounds = 0

    def look(self, bandwidth: float, *, is_lossy: bool) -> None:
        """See what a round has brought, in bytes a second."""
        if bandwidth >= self._best * _GROWTH:
            self._best = bandwidth
            self._rounds = 0
        else:
            self._rounds += 1
        self.is_full = self._rounds >= _FULL_ROUNDS or is_lossy


class Aggregation:
    """How much more is acknowledged at once than the path delivers evenly."""

    def __init__(self) -> None:
        self._extra = MaxFilter()
        self._since_s = 0.0
        self._acked = 0

    @property
    def extra(self) -> float:
        """Bytes that should be on the way beyond what the path holds."""
        return self._extra.best

    def look(self, round_number: int, now: float, bandwidth: float, acked: int, most: int) -> None:
        """See what an acknowledgement of ``acked`` bytes adds; ``most`` of it counts."""
        expected = bandwidth * (now - self._since_s)
        if self._acked <= expected:
            self._since_s, self._acked, expected = now, 0, 0.0
        self._acked += acked
        self._extra.add(round_number, min(self._acked - expected, most))


class WindowBound:
    """How much may be on the way without overflowing a buffer that is too small."""

    def __init__(self) -> None:
        self.bound = math.inf
        """Bytes."""

    def look(self, window: int, *, is_lossy: bool) -> None:
        """Keep less on the way than what a round has lost much of, and slowly more again."""
        if is_lossy:
            self.bound = _LOSS_CUT * min(self.bound, window)
        else:
            self.bound *= _BOUND_GROWTH
