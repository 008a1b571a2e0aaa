"""Gathered writes: nothing lost, nothing out of order, errors told once, memory bounded."""

from __future__ import annotations

from random import Random
from typing import cast

import pytest
import trio
import trio.testing

from smbfs.client.open import Open
from smbfs.errors import ServerStatusError
from smbfs.vfs.write_gather import GATHER_S, IN_FLIGHT_MAX, WriteBudget, WriteGather
from tests.t3_vfs.reordering_file import WRITE_SIZE_MAX, ReorderingFile


def gather_for(
    file: ReorderingFile, nursery: trio.Nursery, *, limit: int = 1 << 20
) -> tuple[WriteGather, WriteBudget]:
    budget = WriteBudget(limit, on_change=lambda _size: None)
    gather = WriteGather(
        cast(Open, file), nursery=nursery, budget=budget, on_written=lambda _offset, _data: None
    )
    return gather, budget


@pytest.mark.parametrize("seed", range(40))
async def test_random_writes_end_as_the_model_says(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Overlaps, gaps, short answers and any order of execution: the contents are the model's."""
    random = Random(seed)
    file = ReorderingFile(Random(seed + 1000))
    model = bytearray()
    async with trio.open_nursery() as nursery:
        gather, budget = gather_for(file, nursery, limit=random.choice([1, 5000, 1 << 20]))
        for _ in range(60):
            if random.random() < 0.1:
                await gather.flush()
                assert file.contents == model
                assert gather.dirty_end is None
            offset = random.choice([len(model), random.randint(0, 5000)])
            data = random.randbytes(random.randint(1, 3000))
            assert await gather.write(offset, data) == len(data)
            if len(model) < offset:
                model.extend(bytes(offset - len(model)))
            model[offset : offset + len(data)] = data
        await gather.flush()
        assert file.contents == model
        assert budget.used == 0


async def test_adjacent_small_writes_become_large_ones(
    autojump_clock: trio.testing.MockClock,
) -> None:
    file = ReorderingFile(Random(1))
    async with trio.open_nursery() as nursery:
        gather, _ = gather_for(file, nursery)
        for index in range(100):
            await gather.write(index * 10, b"0123456789")
        await gather.flush()
    assert file.contents == b"0123456789" * 100
    assert file.writes[0][0] == 0
    assert len({offset for offset, _ in file.writes}) < 20  # short answers split them again


async def test_what_is_gathered_leaves_after_a_while(
    autojump_clock: trio.testing.MockClock,
) -> None:
    file = ReorderingFile(Random(1))
    async with trio.open_nursery() as nursery:
        gather, _ = gather_for(file, nursery)
        await gather.write(0, b"x")
        assert gather.dirty_end == 1
        assert not file.writes
        await trio.sleep(GATHER_S + 2)
        assert file.contents == b"x"
        assert gather.dirty_end is None


async def test_an_error_is_told_once_and_later_writes_go_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    file = ReorderingFile(Random(1), fail_at=500)
    async with trio.open_nursery() as nursery:
        gather, budget = gather_for(file, nursery)
        await gather.write(0, bytes(1000))
        with pytest.raises(ServerStatusError, match="DISK_FULL"):
            await gather.flush()
        await gather.flush()
        await gather.write(2000, b"later")
        await gather.flush()
        assert bytes(file.contents[2000:]) == b"later"
        assert budget.used == 0


async def test_an_error_in_the_background_is_told_by_the_next_write(
    autojump_clock: trio.testing.MockClock,
) -> None:
    file = ReorderingFile(Random(1), fail_at=0)
    async with trio.open_nursery() as nursery:
        gather, _ = gather_for(file, nursery)
        await gather.write(0, b"x")
        await trio.sleep(GATHER_S + 2)
        with pytest.raises(ServerStatusError):
            await gather.write(1, b"y")
        await gather.flush()


async def test_writes_under_way_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    file = ReorderingFile(Random(1))
    async with trio.open_nursery() as nursery:
        gather, _ = gather_for(file, nursery)
        for index in range(50):
            await gather.write(index * WRITE_SIZE_MAX, bytes(WRITE_SIZE_MAX))
        await gather.flush()
    assert 2 <= file.most_under_way <= IN_FLIGHT_MAX


async def test_a_spent_budget_makes_writers_wait(autojump_clock: trio.testing.MockClock) -> None:
    file = ReorderingFile(Random(1))
    async with trio.open_nursery() as nursery:
        gather, budget = gather_for(file, nursery, limit=3000)
        for index in range(20):
            await gather.write(index * 500, bytes(500))
            assert budget.used < 3000
        await gather.flush()


async def test_a_busy_writer_holds_nobody_up(autojump_clock: trio.testing.MockClock) -> None:
    """Draining waits for what was written before, not for what comes meanwhile."""
    file = ReorderingFile(Random(1))
    async with trio.open_nursery() as nursery:
        gather, _ = gather_for(file, nursery)

        async def write_on() -> None:
            for index in range(500):
                await gather.write(index * WRITE_SIZE_MAX, bytes(WRITE_SIZE_MAX))

        nursery.start_soon(write_on)
        await trio.sleep(1)
        began = trio.current_time()
        await gather.drain()
        assert trio.current_time() - began < 10
        assert gather.dirty_end is not None


async def test_what_may_not_have_arrived_is_held(autojump_clock: trio.testing.MockClock) -> None:
    file = ReorderingFile(Random(1))
    async with trio.open_nursery() as nursery:
        gather, _ = gather_for(file, nursery)
        await gather.write(100, b"x" * 100)
        assert gather.holds(150, 151)
        assert not gather.holds(200, 300)
        assert not gather.holds(0, 100)
        await gather.drain()
        assert not gather.holds(150, 151)
