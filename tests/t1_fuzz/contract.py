"""What everything owes that reads foreign bytes, and the books of what was tried.

A target takes bytes and returns: they were accepted, or refused with the error that its
documentation names. Whatever else it raises is a defect. Its memory is bounded by what it was
given: at most ``MEMORY_FACTOR`` times the input and ``MEMORY_BASE``, whatever lengths are stated.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hypothesis import strategies as st

MEMORY_FACTOR: Final = 32
"""Bytes of memory for one of input: a list of numbers of two bytes takes 26."""

MEMORY_BASE: Final = 128 * 1024
"""Bytes of memory for which nobody has to answer: smbprotocol's structures, first uses."""

KEPT_MAX: Final = 1536
"""Bytes that may be left of a few hundred inputs when all of them are forgotten."""

KNOWN_BAD: Final = Path(__file__).parent / "known_bad"
"""Inputs that once were too much, in a folder for each target."""


FAILED: Final = Path(__file__).parents[2] / ".fuzz" / "failed"
"""Where an input goes that was too much for a target: mend it, and move it to ``KNOWN_BAD``."""

_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads foreign bytes."""

    name: str
    """A word: it names folders, too."""
    run: Callable[[bytes], None]
    """Gives it bytes; raises what it must not raise."""
    valid: st.SearchStrategy[bytes]
    """What it accepts, to begin with."""
    reads: tuple[str, ...] = ()
    """The public readers of smbfs.wire that it calls."""
    memory_factor: int = MEMORY_FACTOR
    announced_max: int = 0
    """Bytes that it may take because a length says so, without having got them."""
    prepare: Callable[[], object] = lambda: None
    """What has to be there for the next input, and is not the input's to answer for."""
    is_slow: bool = False
    """Whether an input costs milliseconds, so that fewer are tried."""

    def memory_allowed(self, size: int) -> int:
        """Return how many bytes an input of ``size`` bytes may cost."""
        return self.memory_factor * size + MEMORY_BASE + self.announced_max


@dataclass(slots=True)
class Books:
    """How many inputs were tried."""

    inputs: Counter[str] = field(default_factory=Counter)
    """By the target's name."""
    other_exceptions: int = 0

    def summary(self) -> str:
        """Return one line for people."""
        return (
            f"fuzzing: {self.inputs.total():,} inputs to {len(self.inputs)} targets, "
            f"{self.other_exceptions} other exceptions"
        )


BOOKS: Final = Books()
"""Of this run of pytest."""


def attempt(target: Target, data: bytes) -> None:
    """Give a target one input. What it must not raise comes out with the input noted on it."""
    BOOKS.inputs[target.name] += 1
    try:
        target.run(data)
    except Exception as error:
        BOOKS.other_exceptions += 1
        path = FAILED / target.name  # Of a test that fails, the last one is the smallest.
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        error.add_note(f"the input is in {path}: {data[:_SHOWN].hex()}, {len(data)} bytes")
        raise


def memory_for(target: Target, data: bytes) -> int:
    """Return the most bytes that Python took at one time for one input."""
    target.prepare()
    tracemalloc.start()
    try:
        attempt(target, data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def memory_kept(target: Target, inputs: Iterable[bytes]) -> int:
    """Return the bytes that are left of inputs once all of them were tried."""
    gc.collect()
    tracemalloc.start()
    try:
        for data in inputs:
            attempt(target, data)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
