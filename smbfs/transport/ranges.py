"""Which parts of a stream have arrived behind a gap."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable


class Ranges:
    """As much of aioquic's ``RangeSet`` as the receiving side of a stream asks for.

    That one walks through its ranges for each that is added, so that a peer which leaves gaps on
    purpose, byte by byte, keeps us busy for minutes with a megabyte.
    """

    def __init__(self, ranges: Iterable[range] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for each in ranges:
            self.add(each.start, each.stop)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> range:
        return range(self._starts[index], self._stops[index])

    def add(self, start: int, stop: int) -> None:
        """Add a range; it becomes one with those that it touches."""
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def shift(self) -> range:
        """Take the first range out."""
        return range(self._starts.pop(0), self._stops.pop(0))
