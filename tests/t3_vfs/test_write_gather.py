"""Gathered writes: nothing lost, nothing out of order, errors told once, memory bounded."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import cast

import pytest
import trio
import trio.testing

from smbfs.client.open import Open
from smbfs.errors import HandleLost, ServerStatusError, WritesLost
from smbfs.vfs.lease_policy import GATHER, WRITE_BEHIND, WRITE_THROUGH, WriteRule
from smbfs.vfs.write_gather import WriteBudget, WriteGather
from smbfs.vfs.write_queue import IN_FLIGHT_MAX
from tests.t3_vfs.reordering_file import WRITE_SIZE_MAX, ReorderingFile


def gather_for(
    file: ReorderingFile,
    nursery: trio.Nursery,
    *,
    limit: int = 1 << 20,
    rule: Callable[[], WriteRule] = lambda: GATHER,
) -> tuple[WriteGather, WriteBudget]:
    budget = WriteBudget(limit, on_change=lambda _size: None)
    gather = WriteGather(
        cast(Open, file),
        nursery=nursery,
        budget=budget,
        rule=rule,
        on_written=lambda _offset, _data: None,
        on_lost=lambda _offset, _length, _why: None,
    )
    return gather, budget


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("rule", [WRITE_THROUGH, GATHER, WRITE_BEHIND, WriteRule(5.0, 3)])
async def test_random_writes_end_as_the_model_says(
    rule: WriteRule, seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Overlaps, gaps, short answers and any order of execution: the contents are the model's."""
    random = Random(seed)
    file = ReorderingFile(Random(seed + 1000))
    model = bytearray()
    async with trio.open_nursery() as nursery:
        gather, budget = gather_for(
            file, nursery, limit=random.choice([1, 5000, 1 << 20]), rule=lambda: rule
        )
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
        await trio.sleep(GATHER.wait_s + 2)
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
        await trio.sleep(GATHER.wait_s + 2)
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


async def test_written_through_means_that_the_server_has_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    file = ReorderingFile(Random(1), fail_at=500)
    async with trio.open_nursery() as nursery:
        gather, _ = gather_for(file, nursery, rule=lambda: WRITE_THROUGH)
        await gather.write(0, b"x")
        assert file.contents == b"x"
        assert gather.dirty_end is None
        with pytest.raises(ServerStatusError):
            await gather.write(500, b"y")


async def test_what_nobody_can_look_at_is_sent_once_however_often_it_is_written(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A database changes its pages here and there, and again."""
    file = ReorderingFile(Random(1))
    random = Random(2)
    async with trio.open_nursery() as nursery:
        gather, budget = gather_for(file, nursery, rule=lambda: WRITE_BEHIND)
        for round_ in range(20):
            for page in random.sample(range(0, 40, 2), 20):
                await gather.write(page * 100, bytes([round_]) * 100)
        assert file.writes == []
        assert budget.used == 20 * 100
        await gather.flush()
    assert len({offset for offset, _ in file.writes if offset % 200 == 0}) == 20
    assert sum(length for _, length in file.writes) == 20 * 100
    assert file.contents[200:300] == bytes([19]) * 100


async def test_write_behind_leaves_after_a_while(autojump_clock: trio.testing.MockClock) -> None:
    file = ReorderingFile(Random(1))
    async with trio.open_nursery() as nursery:
        gather, _ = gather_for(file, nursery, rule=lambda: WRITE_BEHIND)
        await gather.write(0, b"x")
        await gather.write(100, b"y")
        await trio.sleep(WRITE_BEHIND.wait_s - 0.1)
        assert file.writes == []
        await trio.sleep(2.1)
        assert file.contents == b"x" + bytes(99) + b"y"


async def test_who_may_look_again_does_not_wait_for_as_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The lease was broken in between; the timer still runs for what was gathered before."""
    file = ReorderingFile(Random(1))
    rules = [WRITE_BEHIND]
    async with trio.open_nursery() as nursery:
        gather, _ = gather_for(file, nursery, rule=lambda: rules[-1])
        await gather.write(0, b"x")
        await gather.drain()
        rules.append(GATHER)
        await gather.write(100, b"y")
        await trio.sleep(2 * GATHER.wait_s + 1.1)
        assert len(file.contents) == 101


async def test_too_many_places_are_too_many(autojump_clock: trio.testing.MockClock) -> None:
    file = ReorderingFile(Random(1))
    async with trio.open_nursery() as nursery:
        gather, _ = gather_for(file, nursery, rule=lambda: WRITE_BEHIND)
        for place in range(WRITE_BEHIND.ranges_max):
            await gather.write(place * 10, b"x")
        assert file.writes == []
        assert gather.dirty_end is not None
        await gather.write(100_000, b"x")
        await trio.testing.wait_all_tasks_blocked()
        assert gather.holds(100_000, 100_001)
        await gather.drain()
    assert len(file.contents) == 100_001


async def test_what_no_flush_has_made_stable_can_be_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        gather, _ = gather_for(ReorderingFile(Random(1)), nursery)
        await gather.write(0, b"stable")
        await gather.drain()
        with gather.stabilising():
            await gather.write(10, b"executed meanwhile")
            await gather.drain()
        with pytest.raises(HandleLost), gather.stabilising():
            raise HandleLost("the server refuses")
        gather.lose(HandleLost("it has crashed"))
        with pytest.raises(WritesLost, match="18 bytes at 10"):
            await gather.flush()
        gather.lose(HandleLost("it has crashed again"))
        await gather.flush()
