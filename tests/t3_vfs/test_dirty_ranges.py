"""Ranges of written bytes: always what a plain array of bytes would say, in as few pieces."""

from __future__ import annotations

from random import Random

import pytest

from smbfs.vfs.dirty_ranges import DirtyRanges

SIZE = 200


class Model:
    """Bytes by offset."""

    def __init__(self) -> None:
        self.bytes: dict[int, int] = {}

    def ranges(self) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytearray]] = []
        for offset in sorted(self.bytes):
            if found and found[-1][0] + len(found[-1][1]) == offset:
                found[-1][1].append(self.bytes[offset])
            else:
                found.append((offset, bytearray([self.bytes[offset]])))
        return [(offset, bytes(data)) for offset, data in found]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_written_the_ranges_are_the_models(seed: int) -> None:
    random = Random(seed)
    ranges, model = DirtyRanges(), Model()
    for _ in range(300):
        offset, length = random.randrange(SIZE), random.randint(1, random.choice([3, 40]))
        action = random.random()
        if action < 0.05:
            taken = [(each.offset, bytes(each.data)) for each in ranges.take_all()]
            assert taken == model.ranges()
            model.bytes.clear()
        elif action < 0.1 and model.bytes:
            at = random.choice(list(model.bytes))
            expected = next(r for r in model.ranges() if r[0] <= at < r[0] + len(r[1]))
            piece = ranges.take(at)
            assert (piece.offset, bytes(piece.data)) == expected
            for gone in range(piece.offset, piece.end):
                del model.bytes[gone]
        else:
            data = random.randbytes(length)
            joined = ranges.joined(offset, length)
            becomes = ranges.put(offset, data)
            model.bytes.update(zip(range(offset, offset + length), data, strict=True))
            length_now = next(
                len(r[1]) for r in model.ranges() if r[0] <= offset < r[0] + len(r[1])
            )
            assert becomes == length_now
            assert joined in {0, length_now}
        ranges.check_invariants()
        assert ranges.size == len(model.bytes)
        assert ranges.end == (max(model.bytes) + 1 if model.bytes else None)
        assert len(ranges) == len(model.ranges())
        start = random.randrange(SIZE)
        end = start + random.randint(1, 30)
        assert ranges.holds(start, end) == any(start <= at < end for at in model.bytes)
