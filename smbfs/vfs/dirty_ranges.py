"""Bytes of one file that were written and not yet sent, as few ranges as they make.

INVARIANT: ranges are sorted, not empty, and neither overlap nor touch each other.
INVARIANT: ``size`` is the sum of their lengths.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from smbfs.wire.message import Buffer


class DirtyRange(NamedTuple):
    """Bytes that go together."""

    offset: int
    data: Buffer

    @property
    def end(self) -> int:
        """Offset behind the last one."""
        return self.offset + len(self.data)


class DirtyRanges:
    """What one handle has gathered."""

    def __init__(self) -> None:
        self.size = 0
        self._starts: list[int] = []
        self._data: list[bytearray] = []

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def end(self) -> int | None:
        """Offset behind the last byte, None if there is none."""
        return self._starts[-1] + len(self._data[-1]) if self._starts else None

    def holds(self, offset: int, end: int) -> bool:
        """Whether there are bytes between these offsets."""
        first, last = self._between(offset, end)
        # At the borders ranges may only touch.
        return any(
            self._starts[index] < end and offset < self._starts[index] + len(self._data[index])
            for index in range(first, last)
        )

    def joined(self, offset: int, length: int) -> int:
        """Return the length of the range that these bytes would become part of; 0 if none."""
        first, last = self._between(offset, offset + length)
        if first == last:
            return 0
        start = min(offset, self._starts[first])
        return max(offset + length, self._starts[last - 1] + len(self._data[last - 1])) - start

    def put(self, offset: int, data: Buffer) -> int:
        """Take bytes, over what was there before; return the length of their range."""
        end = offset + len(data)
        first, last = self._between(offset, end)
        if first == last:
            self._starts.insert(first, offset)
            self._data.insert(first, bytearray(data))
            self.size += len(data)
            return len(data)
        start, into = self._starts[first], self._data[first]
        before = sum(map(len, self._data[first:last]))
        if offset < start:
            into[:0] = bytes(start - offset)
            self._starts[first] = start = offset
        if last - first > 1:  # The one behind them all may reach further.
            tail = self._data[last - 1][max(0, end - self._starts[last - 1]) :]
            del self._starts[first + 1 : last], self._data[first + 1 : last]
        else:
            tail = into[end - start :]
        into[offset - start :] = data
        into += tail
        self.size += len(into) - before
        return len(into)

    def take(self, offset: int) -> DirtyRange:
        """Take out the range that has the byte at ``offset``."""
        index = bisect_right(self._starts, offset) - 1
        taken = DirtyRange(self._starts.pop(index), self._data.pop(index))
        self.size -= len(taken.data)
        return taken

    def take_all(self) -> list[DirtyRange]:
        """Take out everything, in order."""
        taken = [DirtyRange(*pair) for pair in zip(self._starts, self._data, strict=True)]
        self.size, self._starts, self._data = 0, [], []
        return taken

    def _between(self, offset: int, end: int) -> tuple[int, int]:
        """Return which ranges overlap or touch these bytes: from the first to before the last."""
        first = bisect_left(self._starts, offset)
        if first and self._starts[first - 1] + len(self._data[first - 1]) >= offset:
            first -= 1
        return first, bisect_right(self._starts, end, lo=first)

    def check_invariants(self) -> None:
        """Raise ``AssertionError`` when the books are wrong. Called by tests."""
        assert self.size == sum(map(len, self._data))
        ends = [start + len(data) for start, data in zip(self._starts, self._data, strict=True)]
        assert all(self._data)
        assert all(end < start for end, start in zip(ends, self._starts[1:], strict=False))
