"""Which way the readers of one open file go: in a row, in equal steps, or anywhere.

Several programs, or threads, may read through one handle, so several *courses* are followed at
once. The kernel splits and slightly reorders what a program reads, so "on course" means near the
last position, not at it. A read that is on no course begins one; only a second one proves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WINDOW_BLOCKS_MAX: Final = 12
"""Blocks requested ahead of a reader that keeps its course."""

COURSES_MAX: Final = 8
"""Readers of one handle that are told apart."""

STEPS_AHEAD: Final = 4
"""Reads that are made ahead of a reader that goes in equal steps."""

DENSE_READS: Final = 4
"""Reads of one block that have it fetched as a whole."""

_PLACES_MAX: Final = 64
"""Blocks whose reads are counted."""

_TOLERANCE_BLOCKS: Final = 2
"""Blocks by which a read may miss the expected position of a course that was kept for a while."""


@dataclass(slots=True)
class Course:
    """One reader, as far as one can tell."""

    expected: int
    """Offset at which it should go on."""
    window: int = 1
    """Blocks to have ahead of it."""


class Courses:
    """The courses of one handle, the one that was used last at the end."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._courses = [Course(0)]  # Who opens a file mostly reads it from its beginning.
        self._step = 0
        self._steps = 0
        self._last_jump = (0, 0)
        self._reads: dict[int, int] = {}

    def follow(self, offset: int, length: int) -> Course | None:
        """Return the course of a read, None if it is on none."""
        course = min(self._courses, key=lambda each: abs(offset - each.expected))
        if abs(offset - course.expected) > self._tolerance(course):
            self._begin(offset, length)
            return None
        self._courses.remove(course)
        self._courses.append(course)
        course.expected = offset + length
        return course

    def _tolerance(self, course: Course) -> int:
        if course.window == 1:
            return self._block_size // 4
        return _TOLERANCE_BLOCKS * self._block_size

    def passed_block(self, course: Course) -> None:
        """The reader has come to the end of a block: trust it with twice as many."""
        course.window = min(2 * course.window, WINDOW_BLOCKS_MAX)

    def share(self, blocks: int) -> int:
        """Return how many of so many blocks one reader may have ahead."""
        trusted = sum(course.window > 1 for course in self._courses)
        return max(1, blocks // max(1, trusted))

    def _begin(self, offset: int, length: int) -> None:
        self._courses.append(Course(offset + length))
        del self._courses[:-COURSES_MAX]
        last, last_length = self._last_jump
        step = offset - last
        is_same = step == self._step and length == last_length
        self._steps = self._steps + 1 if is_same else 0
        self._step, self._last_jump = step, (offset, length)

    def next_steps(self) -> list[int]:
        """Return the offsets at which a reader that jumps in equal steps will read next."""
        if not self._steps:
            return []
        last, _ = self._last_jump
        offsets = (last + self._step * count for count in range(1, STEPS_AHEAD + 1))
        return [offset for offset in offsets if offset >= 0]

    def is_dense(self, index: int) -> bool:
        """Count a read of a block by a jump; return whether it is worth to have all of it."""
        count = self._reads.pop(index, 0) + 1
        self._reads[index] = count
        if len(self._reads) > _PLACES_MAX:
            del self._reads[next(iter(self._reads))]
        return count >= DENSE_READS
