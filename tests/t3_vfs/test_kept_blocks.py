"""What was read stays for the next reader, whatever became of handle and inode."""

from __future__ import annotations

import os
import time

import pytest
import trio
import trio.testing

from smbfs.vfs.block_cache import BLOCK_SIZE, Block
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import Listed
from smbfs.vfs.kept_handles import KEEP_S
from smbfs.vfs.lease_policy import COARSE, Version
from smbfs.vfs.open_files_watch import WATCH_S
from smbfs.vfs.share import stat_of_open
from smbfs.vfs.state import INODE_SIZE
from smbfs.wire.filetime import ns_to_filetime
from smbfs.wire.lease import LeaseState
from tests.t3_vfs.late_server import DELAY_S
from tests.t3_vfs.leased_server import READ_HANDLE, LeasedBed, leased_bed

PIECE = 131072
PAGE = 4096
LARGE = b"a" * (2 * BLOCK_SIZE + 5000)
OTHER = b"b" * len(LARGE)


async def read_all(bed: LeasedBed) -> bytes:
    opened = await bed.open(os.O_RDONLY)
    parts = []
    for offset in range(0, len(bed.server.contents), PIECE):
        whole_pages = -(-(len(bed.server.contents) - offset) // PAGE) * PAGE  # as the kernel asks
        parts.append(bytes(await bed.files.read(opened.handle, offset, min(PIECE, whole_pages))))
    await bed.files.release(opened.handle)
    return b"".join(parts)


async def reads_of(bed: LeasedBed, contents: bytes) -> int:
    """Read it all, see that it is right, and return how many READs that took."""
    before = len(bed.server.reads)
    assert await read_all(bed) == contents
    return len(bed.server.reads) - before


async def test_a_file_is_read_again_from_memory_when_its_handle_has_long_been_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(LARGE) as bed:
        assert await reads_of(bed, LARGE) == 3
        await trio.sleep(2 * KEEP_S)
        assert bed.server.handles == 0
        assert await reads_of(bed, LARGE) == 0


async def test_also_when_the_kernel_had_forgotten_the_file(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(LARGE, handle_cache=False) as bed:
        await read_all(bed)
        inodes = bed.state.inodes
        inodes.forget(bed.inode.number, 1)
        assert inodes.numbers.get(bed.inode.number) is None
        bed.inode = inodes.admit(
            inodes.root, b"file", file_id=bed.server.file_id, file_type=bed.inode.file_type
        )
        inodes.remember(bed.inode)
        assert await reads_of(bed, LARGE) == 0


@pytest.mark.parametrize("is_kept", [True, False])
async def test_what_changed_on_the_server_meanwhile_is_read_anew(
    autojump_clock: trio.testing.MockClock, is_kept: bool
) -> None:
    async with leased_bed(LARGE, handle_cache=is_kept) as bed:
        await read_all(bed)
        await trio.sleep(2 * KEEP_S)
        bed.server.change(OTHER)
        assert await reads_of(bed, OTHER) == 3


async def test_a_break_forgets_what_a_kept_handle_had_vouched_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(LARGE) as bed:
        opened = await bed.open(os.O_RDONLY)
        lease = bed.lease(opened)
        await bed.files.release(opened.handle)
        await read_all(bed)
        bed.server.contents[:] = OTHER  # In the same instant, as far as clocks can tell.
        assert bed.server.break_lease(lease)
        assert await reads_of(bed, OTHER) == 3


async def test_without_a_lease_nothing_is_kept_after_the_close(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(LARGE, leases=False) as bed:
        await read_all(bed)
        bed.server.contents[:] = OTHER
        assert await reads_of(bed, OTHER) == 3


async def test_a_loose_cache_keeps_them_without_a_lease(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(LARGE, leases=False, cache="loose") as bed:
        assert await reads_of(bed, LARGE) == 3
        await trio.sleep(100)
        assert await reads_of(bed, LARGE) == 0
        bed.server.change(OTHER)
        assert await reads_of(bed, OTHER) == 3


async def test_what_arrives_after_the_close_is_not_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its inode may be gone by then, and the number another one's."""
    async with leased_bed(LARGE, handle_cache=False) as bed:
        opened = await bed.open(os.O_RDONLY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bed.files.read, opened.handle, 0, PIECE)
            await trio.sleep(DELAY_S / 2)
            await bed.files.release(opened.handle)
        await trio.sleep(1)
        assert bed.state.blocks.size == 0


async def test_a_write_forgets_no_more_than_it_has_changed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(LARGE) as bed:
        opened = await bed.open(os.O_RDWR)
        for offset in range(0, len(LARGE), PIECE):
            await bed.files.read(opened.handle, offset, PIECE)
        await bed.files.write(opened.handle, BLOCK_SIZE + 10, b"new")
        await bed.files.flush(opened.handle)
        bed.server.reads.clear()
        assert bytes(await bed.files.read(opened.handle, 0, 4096)) == LARGE[:4096]
        assert bed.server.reads == []
        assert bytes(await bed.files.read(opened.handle, BLOCK_SIZE, 20))[10:13] == b"new"
        await bed.files.release(opened.handle)


async def test_a_file_that_grew_is_not_taken_for_as_short_as_it_was(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Written far behind its end: the block in which it ended is full now."""
    async with leased_bed(LARGE) as bed:
        opened = await bed.open(os.O_RDWR)
        for offset in range(0, len(LARGE), PIECE):
            await bed.files.read(opened.handle, offset, PIECE)
        await bed.files.write(opened.handle, 5 * BLOCK_SIZE, b"far")
        got = await bed.files.read(opened.handle, 2 * BLOCK_SIZE, PIECE)
        assert bytes(got) == LARGE[2 * BLOCK_SIZE :].ljust(PIECE, b"\0")
        await bed.files.release(opened.handle)


async def test_what_the_kernel_knows_takes_memory_from_contents(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(LARGE) as bed:
        state = bed.state
        stat = stat_of_open(bed.server.created())
        for number in range(100):
            name = b"another %d" % number
            state.admit(state.inodes.root, name, Description(stat._replace(file_id=1000 + number)))
        assert state.blocks.reserved >= 100 * INODE_SIZE


async def test_what_was_read_after_a_foreign_change_is_not_taken_for_what_was_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The file is put back later, its times included."""
    async with leased_bed(LARGE, handle_cache=False) as bed:
        opened = await bed.open(os.O_RDONLY)
        bed.server.change(OTHER)
        await trio.sleep(2)
        await bed.attributes.get(bed.inode.number)
        assert bytes(await bed.files.read(opened.handle, 0, PAGE)) == OTHER[:PAGE]
        await bed.files.release(opened.handle)
        bed.server.contents[:] = LARGE
        bed.server.change_time -= 1
        again = await bed.open(os.O_RDONLY)
        assert not again.keep_pages
        assert bytes(await bed.files.read(again.handle, 0, PAGE)) == LARGE[:PAGE]


async def test_what_has_just_changed_may_change_again_unnoticed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """In the same tick of the server's clock, once nothing is leased any more."""
    async with leased_bed(LARGE, handle_cache=False) as bed:
        bed.server.change_time = ns_to_filetime(time.time_ns())
        await read_all(bed)
        bed.server.contents[:] = OTHER
        assert await reads_of(bed, OTHER) == 3


@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_broken_directory_lease_leaves_what_is_certain(
    autojump_clock: trio.testing.MockClock, is_ours: bool
) -> None:
    async with leased_bed(LARGE) as bed:
        state, inode = bed.state, bed.inode
        inode.version = Version(5, 1, 0)
        inode.written_tick = 7 if is_ours else -1
        state.blocks.put(inode.number, 0, Block(memoryview(b"small"), 0.0), inode.version)
        state.shown.lost(state.inodes.root.number)
        assert state.blocks.holds(inode.number, 0, not_before_s=0.0) != is_ours
        assert inode.written_tick == -1


@pytest.mark.parametrize(
    ("age_s", "step", "is_kept"),
    [(0, COARSE, False), (0, 10 * COARSE, False), (3600, COARSE, True), (0, 7, True)],
)
async def test_pages_of_a_time_that_may_hide_a_change_are_not_kept(
    autojump_clock: trio.testing.MockClock, age_s: int, step: int, *, is_kept: bool
) -> None:
    """Somebody else may write within the same second, or two, in which servers count no finer."""
    async with leased_bed(LARGE, leases=False) as bed:
        changed = ns_to_filetime(time.time_ns() - age_s * 1_000_000_000)
        bed.server.change_time = changed // COARSE * COARSE + step
        await read_all(bed)
        opened = await bed.open(os.O_RDONLY)
        assert opened.keep_pages is is_kept


@pytest.mark.parametrize(("step", "is_kept"), [(COARSE, False), (7, True)])
async def test_nor_are_pages_of_what_was_just_written(
    autojump_clock: trio.testing.MockClock, step: int, *, is_kept: bool
) -> None:
    async with leased_bed(b"") as bed:
        opened = await bed.open(os.O_RDWR)
        await bed.files.write(opened.handle, 0, LARGE)
        await bed.files.flush(opened.handle)
        bed.server.change_time = ns_to_filetime(time.time_ns()) // COARSE * COARSE + step
        await bed.files.release(opened.handle)
        assert (await bed.open(os.O_RDONLY)).keep_pages is is_kept


@pytest.mark.parametrize("is_leased", [False, True])
async def test_who_writes_reads_again_what_others_have_changed_alone(
    autojump_clock: trio.testing.MockClock, *, is_leased: bool
) -> None:
    async with leased_bed(LARGE, leases=is_leased) as bed:
        handle = (await bed.open(os.O_RDWR)).handle
        await bed.files.write(handle, len(LARGE) - 1, b"z")
        await bed.files.flush(handle)
        contents, shown = bytes(bed.server.contents), bed.state.shown
        shown.present(bed.inode, Description(stat_of_open(bed.server.created())))
        assert await bed.files.read(handle, 0, PAGE) == contents[:PAGE]
        reads = len(bed.server.reads)
        bed.server.change_time += is_leased  # As servers do with a write of ours.
        shown.present(bed.inode, Description(stat_of_open(bed.server.created())))
        assert await bed.files.read(handle, 0, PAGE) == contents[:PAGE]
        assert len(bed.server.reads) == reads


async def test_a_listing_tells_who_writes_what_others_have_changed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The kernel takes the time from it, and reads anew."""
    async with leased_bed(LARGE, leases=False) as bed:
        handle = (await bed.open(os.O_RDWR)).handle
        assert await bed.files.read(handle, 0, PAGE) == LARGE[:PAGE]
        bed.server.change(OTHER)
        listed = Listed(b"file", Description(stat_of_open(bed.server.created())))
        root = bed.state.inodes.root
        bed.state.shown.listed(root, bed.inode, listed, entries=1, is_large=False)
        assert await bed.files.read(handle, 0, PAGE) == OTHER[:PAGE]


@pytest.mark.parametrize(
    ("contents", "options", "are_lost"),
    [
        (LARGE, {"leases": False}, True),
        (LARGE, {"leases": True}, False),
        (LARGE, {"leases": False, "cache": "loose"}, False),
        (b"small", {"leases": False}, False),  # It is as it was when it was opened.
    ],
)
async def test_the_kernel_keeps_pages_of_an_open_file_where_it_would_hear_of_a_change(
    autojump_clock: trio.testing.MockClock,
    contents: bytes,
    options: dict[str, bool | str],
    are_lost: bool,
) -> None:
    async with leased_bed(contents, **options) as bed:
        opened = await bed.open(os.O_RDONLY)
        await trio.sleep(3.5 * WATCH_S)
        assert (bed.inode.number in bed.kernel.inodes) is are_lost
        await bed.files.release(opened.handle)


@pytest.mark.parametrize(
    ("posix", "withholds", "options", "are_kept"),
    [
        (False, True, {}, False),
        (True, True, {}, True),
        (False, False, {}, True),
        (False, True, {"leases": False}, True),
        (False, True, {"cache": "loose"}, True),
    ],
)
async def test_what_was_read_without_a_lease_is_not_kept_where_times_may_stand_still(
    autojump_clock: trio.testing.MockClock,
    posix: bool,
    withholds: bool,
    options: dict[str, bool | str],
    are_kept: bool,
) -> None:
    """Samba tells who has no POSIX extensions no time of writes by who has them."""
    async with leased_bed(LARGE, handle_cache=False, **options) as bed:
        bed.server.posix = posix
        bed.server.grants = LeaseState.NONE if withholds else READ_HANDLE
        first = await bed.open(os.O_RDONLY)
        assert await bed.files.read(first.handle, 0, PAGE) == LARGE[:PAGE]
        time = bed.server.change_time
        bed.server.change(OTHER)
        bed.server.change_time = time
        again = await bed.open(os.O_RDONLY)
        assert again.keep_pages is are_kept
        content = LARGE if are_kept else OTHER
        assert await bed.files.read(again.handle, 0, PAGE) == content[:PAGE]
        await bed.files.release(first.handle)
        await bed.files.release(again.handle)


@pytest.mark.parametrize("contents", [b"small", LARGE])
@pytest.mark.parametrize("grants", [LeaseState.READ_CACHING, READ_HANDLE])
async def test_a_small_file_that_others_have_open_is_not_remembered(
    autojump_clock: trio.testing.MockClock, contents: bytes, grants: LeaseState
) -> None:
    """It would be opened without asking, and nobody tells what they write."""
    async with leased_bed(contents) as bed:
        bed.server.grants = grants
        handle = (await bed.open(os.O_RDONLY)).handle
        assert await bed.files.read(handle, 0, PAGE) == contents[:PAGE]
        await bed.files.release(handle)
        is_remembered = grants == READ_HANDLE or contents == LARGE
        assert (bed.state.blocks.size > 0) is is_remembered
