"""From what is valid to what is not: the lies that somebody would try who knows the protocol.

Hypothesis draws what is valid and a seed; the seed decides a run of variations. So many inputs
cost one draw.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

_INTERESTING: Final = (0, 1, 2, 7, 8, 15, 16, 24, 0x40, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000)
_LARGE: Final = (0xFFFF, 0x10000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFF0, 0xFFFF_FFFF, (1 << 64) - 1)
_WIDTHS: Final = (1, 2, 4, 8)

_Change = Callable[[random.Random, bytearray], None]


def variations(valid: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Yield ``count`` variations of ``valid``, the same ones for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        data = bytearray(valid)
        for _ in range(chance.choice((1, 1, 1, 2, 2, 4, 8))):
            if not data:
                data += chance.randbytes(chance.randrange(1, 64))
            chance.choice(_CHANGES)(chance, data)
        yield bytes(data)


def _flip(chance: random.Random, data: bytearray) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _overwrite(chance: random.Random, data: bytearray) -> None:
    data[chance.randrange(len(data))] = chance.randrange(256)


def _lie(chance: random.Random, data: bytearray) -> None:
    """Put a number where a length, an offset or a count may stand."""
    width = chance.choice(_WIDTHS)
    at = chance.randrange(len(data)) & -min(width, 4)
    near = (len(data), len(data) - at, at, at + width)
    number = chance.choice((*_INTERESTING, *_LARGE, *near)) + chance.choice((0, 0, 0, 1, -1))
    data[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, "little")


def _cut(chance: random.Random, data: bytearray) -> None:
    del data[chance.randrange(len(data)) :]


def _remove(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 2, 4, 8, 16))]


def _append(chance: random.Random, data: bytearray) -> None:
    data += chance.randbytes(chance.randrange(1, 64))


def _repeat(chance: random.Random, data: bytearray) -> None:
    start = chance.randrange(len(data))
    piece = data[start : start + chance.choice((4, 8, 16, 64, 256))]
    at = chance.randrange(len(data) + 1)
    data[at:at] = piece * chance.choice((1, 1, 2, 8))


def _move(chance: random.Random, data: bytearray) -> None:
    """Copy a piece over another place."""
    size = chance.choice((1, 2, 4, 8, 16))
    start, at = chance.randrange(len(data)), chance.randrange(len(data))
    piece = data[start : start + size]
    data[at : at + len(piece)] = piece


_CHANGES: Final[tuple[_Change, ...]] = (
    *(_flip, _overwrite, _lie, _lie, _lie, _lie),
    *(_cut, _remove, _append, _repeat, _move, _move),
)
