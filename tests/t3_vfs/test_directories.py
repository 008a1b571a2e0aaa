"""Open directories: what the kernel may keep of a listing."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import trio
import trio.testing

from smbfs.client.open import Open
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directories import OpenedDirectory
from smbfs.vfs.directory_stream import Listed
from smbfs.vfs.inode_numbers import ROOT_NUMBER
from smbfs.vfs.lease_policy import LEASED_S
from smbfs.vfs.shown import Entry
from tests.t3_vfs.file_stats import told
from tests.t3_vfs.leased_server import READ_HANDLE, LeasedBed, leased_bed
from tests.t3_vfs.test_known_directories import leased

NAMES = [b"%d" % number for number in range(10)]


def list_root(bed: LeasedBed) -> None:
    """The server has listed the root, under a lease."""
    directories, handle = bed.state.directories, cast(Open, leased(READ_HANDLE, b"r" * 16))
    reading = directories.begin(ROOT_NUMBER, b"r" * 16)
    assert reading is not None
    directories.opened(ROOT_NUMBER, reading, handle, trio.current_time())
    listed = [
        Listed(name, Description(told(size=1, file_id=100 + index)), trio.current_time())
        for index, name in enumerate(NAMES)
    ]
    assert directories.add(ROOT_NUMBER, reading, listed)
    directories.complete(ROOT_NUMBER, reading, handle, is_whole=True, tells_absence=True)


async def read(bed: LeasedBed, opened: OpenedDirectory, start: int = 0, room: float = 100) -> int:
    """Read as the kernel does, and return the position of what comes next."""
    position, _ = await read_names(bed, opened, start, room)
    return position


async def read_names(
    bed: LeasedBed, opened: OpenedDirectory, start: int = 0, room: float = 100
) -> tuple[int, set[bytes]]:
    position, names = start, set[bytes]()

    def emit(name: bytes, _entry: Entry, next_position: int) -> bool:
        nonlocal position, room
        room -= 1
        if room < 0:
            return False
        position = next_position
        names.add(name)
        return True

    await bed.directories.read(opened.handle, start, emit)
    return position, names - {b".", b".."}


async def read_all(bed: LeasedBed) -> OpenedDirectory:
    opened = await bed.directories.open(ROOT_NUMBER)
    await read(bed, opened)
    await bed.directories.release(opened.handle)
    return opened


async def test_a_listing_that_was_told_is_known(autojump_clock: trio.testing.MockClock) -> None:
    async with leased_bed(b"") as bed:
        list_root(bed)
        first, second = await read_all(bed), await read_all(bed)
        assert (first.may_be_kept, first.is_known) == (True, False)
        assert (second.may_be_kept, second.is_known) == (True, True)
        await trio.sleep(LEASED_S - 2)
        assert (await read_all(bed)).is_known
        await trio.sleep(1.5)
        assert not (await read_all(bed)).is_known


@pytest.mark.parametrize("room", [1, 5, math.inf])
async def test_told_means_to_the_end(autojump_clock: trio.testing.MockClock, room: float) -> None:
    async with leased_bed(b"") as bed:
        list_root(bed)
        opened = await bed.directories.open(ROOT_NUMBER)
        await read(bed, opened, room=room)
        await bed.directories.release(opened.handle)
        assert (await read_all(bed)).is_known == (room == math.inf)


async def test_told_piece_by_piece(autojump_clock: trio.testing.MockClock) -> None:
    async with leased_bed(b"") as bed:
        list_root(bed)
        opened = await bed.directories.open(ROOT_NUMBER)
        position = await read(bed, opened, room=5)
        await read(bed, opened, position)
        await bed.directories.release(opened.handle)
        assert (await read_all(bed)).is_known


async def test_of_two_readers_at_once_nothing_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The kernel has one memory for both, and one may have begun before a change."""
    async with leased_bed(b"") as bed:
        list_root(bed)
        first = await bed.directories.open(ROOT_NUMBER)
        second = await bed.directories.open(ROOT_NUMBER)
        await read(bed, first)
        await read(bed, second)
        assert not (await bed.directories.open(ROOT_NUMBER)).is_known
        await bed.directories.release(first.handle)
        await read(bed, second)
        assert not (await bed.directories.open(ROOT_NUMBER)).is_known


async def test_after_a_change_of_ours_it_is_told_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(b"") as bed:
        list_root(bed)
        await read_all(bed)
        with bed.state.directories.changing(ROOT_NUMBER, NAMES[0]) as change:
            change.is_gone = True
        assert not (await read_all(bed)).is_known
        assert (await read_all(bed)).is_known


async def test_who_has_it_open_when_the_lease_breaks_reads_no_pages_of_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(b"") as bed:
        list_root(bed)
        lease = bed.state.directories.of(ROOT_NUMBER).lease
        assert lease is not None
        opened = await bed.directories.open(ROOT_NUMBER)
        await read(bed, opened)
        bed.state.directories.broken(lease)
        assert bed.kernel.inodes == [ROOT_NUMBER]


async def test_what_may_be_stale_at_once_is_not_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A file with several names may be changed by one that no lease here tells of."""
    async with leased_bed(b"") as bed:
        list_root(bed)
        known = bed.state.directories.of(ROOT_NUMBER)
        stat = told(size=1, file_id=100)._replace(link_count=2)
        known.put(Listed(NAMES[0], Description(stat), trio.current_time()))
        await read_all(bed)
        await trio.sleep(0.1)
        assert not (await read_all(bed)).is_known


async def test_who_asks_late_has_read_what_the_kernel_keeps_and_is_told_what_is_new(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It has gone back to the beginning, and the kernel knows that something has changed."""
    async with leased_bed(b"") as bed:
        list_root(bed)
        await read_all(bed)
        opened = await bed.directories.open(ROOT_NUMBER)
        assert opened.is_known
        with bed.state.directories.changing(ROOT_NUMBER, b"new") as change:
            change.description = Description(told(size=1, file_id=200))
        assert await read_names(bed, opened) == (13, {*NAMES, b"new"})


async def test_what_changes_while_a_listing_is_asked_for_is_not_in_what_is_kept(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leased_bed(b"") as bed:
        directories = bed.state.directories
        bed_directories = cast(Any, bed.directories)

        class Source:
            async def next_piece(self, *, restart: bool) -> list[Listed] | None:
                return [] if restart else None

            def close(self) -> None:
                """Nothing to do."""

            is_at_hand = is_large = False

        async def begin(_inode: object) -> Source:
            list_root(bed)
            known = directories.of(ROOT_NUMBER)
            with directories.changing(ROOT_NUMBER, b"new") as change:
                change.description = Description(told(size=1, file_id=200))
            assert known.is_whole
            return Source()

        monkeypatch.setattr(bed_directories._listings, "begin", begin)
        opened = await bed.directories.open(ROOT_NUMBER)
        monkeypatch.undo()
        await bed.directories.read(opened.handle, 2, lambda *_: True)
        assert not (await bed.directories.open(ROOT_NUMBER)).is_known
        await bed.directories.release(opened.handle)
