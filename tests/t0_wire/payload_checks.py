"""Properties that every payload codec shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs.errors import WireError
from tests.t0_wire.values import QUICK

T = TypeVar("T")
Decode = Callable[[memoryview], object]


def check_round_trip(
    values: st.SearchStrategy[T], encode: Callable[[T], bytes], decode: Decode
) -> None:
    """What was encoded decodes to the same."""

    @QUICK
    @given(values)
    def check(value: T) -> None:
        assert decode(memoryview(encode(value))) == value

    check()


def check_truncation(data: bytes, decode: Decode, *, valid: tuple[int, ...] = ()) -> None:
    """Cut anywhere, ``data`` is refused; ``valid`` are the lengths that mean something else."""
    for length in range(len(data)):
        if length in valid:
            decode(memoryview(data)[:length])
        else:
            with pytest.raises(WireError):
                decode(memoryview(data)[:length])


def check_damage(data: bytes, decode: Decode) -> None:
    """Whatever a few bytes of ``data`` are changed to, and for noise: a value or WireError."""
    damages = st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=6)

    @QUICK
    @given(damages, st.binary(max_size=200))
    def check(damage: list[tuple[int, int]], noise: bytes) -> None:
        damaged = bytearray(data)
        for position, byte in damage:
            damaged[position] = byte
        for candidate in (bytes(damaged), noise):
            try:
                decode(memoryview(candidate))
            except WireError:
                continue

    check()
