"""Attributes that change just when the kernel asks for them: it shall take the answer in."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from smbfs.vfs.shown import Entry
from tests.t3_vfs.late_server import DELAY_S
from tests.t3_vfs.leased_server import LeasedBed, leased_bed


@asynccontextmanager
async def opened_file() -> AsyncIterator[tuple[LeasedBed, Entry]]:
    """Open a file for a while, and look at it once. The server is to be asked again, then."""
    async with leased_bed(b"a" * 100) as bed:
        await bed.open(os.O_RDWR)
        seen = await bed.attributes.get(bed.inode.number)
        bed.state.forget_attributes(bed.inode)
        bed.kernel.attributes.clear()
        yield bed, seen


async def ask(bed: LeasedBed, answers: list[Entry]) -> None:
    answers.append(await bed.attributes.get(bed.inode.number))


async def test_who_asks_just_now_is_told_by_the_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The kernel would drop it after news of a change, and go on with the old size."""
    answers: list[Entry] = []
    async with opened_file() as (bed, seen), trio.open_nursery() as nursery:
        nursery.start_soon(ask, bed, answers)
        nursery.start_soon(ask, bed, answers)
        await trio.sleep(DELAY_S / 2)
        bed.state.shown.attributes_lost(bed.inode)
        assert not bed.kernel.attributes
        assert bed.kernel.attributes_later == [bed.inode.number]
        await trio.sleep(DELAY_S)
        assert [each.attributes.size for each in answers] == [100, 100]
        assert [each.attribute_timeout_s for each in answers] == [0.0, 0.0]
        assert bed.state.attributes.get(bed.inode.number, trio.current_time()) is None
        again = await bed.attributes.get(bed.inode.number)
        assert again.attribute_timeout_s == seen.attribute_timeout_s > 0


async def test_what_was_told_by_a_name_meanwhile_is_taken_back_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answers: list[Entry] = []
    async with opened_file() as (bed, seen), trio.open_nursery() as nursery:
        nursery.start_soon(ask, bed, answers)
        await trio.sleep(DELAY_S / 2)
        bed.state.attributes.put(bed.inode.number, seen.attributes, trio.current_time() + 1)
        bed.state.shown.attributes_lost(bed.inode)
        assert bed.kernel.attributes == [bed.inode.number]
        await trio.sleep(DELAY_S)
        assert [each.attribute_timeout_s for each in answers] == [0.0]


async def test_who_was_answered_before_is_told_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answers: list[Entry] = []
    async with opened_file() as (bed, _):
        await ask(bed, answers)
        assert answers[0].attribute_timeout_s > 0
        bed.state.shown.attributes_lost(bed.inode)
        assert bed.kernel.attributes == [bed.inode.number]
        assert not bed.kernel.attributes_later
