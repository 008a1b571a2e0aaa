"""Valid inputs of a target, to begin with."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings

from tests.t1_fuzz.contract import Target


@cache
def examples(target: Target, count: int = 4) -> tuple[bytes, ...]:
    """Return valid inputs, the same ones in every run."""
    found: list[bytes] = []

    @settings(max_examples=count, deadline=None, database=None, derandomize=True)
    @given(target.valid)
    def collect(data: bytes) -> None:
        found.append(data)

    collect()
    return tuple(found)
