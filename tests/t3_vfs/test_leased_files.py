"""What is kept of a file under a lease, and that it is never of an older version."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing

from smbfs.vfs.descriptions import Description
from smbfs.vfs.directories import OpenDirectory
from smbfs.vfs.directory_stream import DirectoryStream, Listed
from smbfs.vfs.inode_numbers import ROOT_NUMBER
from smbfs.vfs.share import stat_of_open
from smbfs.vfs.shown import Entry
from smbfs.wire.lease import LeaseState
from tests.t3_vfs.late_server import DELAY_S
from tests.t3_vfs.leased_server import LeasedBed, leased_bed

PAGE = 4096
LARGE = 200_000


async def read_and_close(bed: LeasedBed, length: int = PAGE) -> bytes:
    opened = await bed.open(os.O_RDONLY)
    data = bytes(await bed.files.read(opened.handle, 0, length))
    await bed.files.release(opened.handle)
    return data


async def test_a_second_open_needs_no_handle_and_keeps_the_pages(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(b"a" * LARGE) as bed:
        await read_and_close(bed)
        began = trio.current_time()
        again = await bed.open(os.O_RDONLY)
        assert trio.current_time() == began
        assert again.keep_pages
        assert bed.server.handles == 1


@pytest.mark.parametrize("option", ["leases", "handle_cache"])
async def test_nothing_is_kept_against_the_users_will(
    autojump_clock: trio.testing.MockClock, option: str
) -> None:
    async with leased_bed(b"a" * LARGE, **{option: False}) as bed:
        await read_and_close(bed)
        assert bed.server.handles == 0
        writer = await bed.open(os.O_WRONLY)
        await bed.files.write(writer.handle, 0, b"new")
        await bed.files.release(writer.handle)
        assert bed.server.handles == 0


async def test_a_break_closes_what_is_kept_and_is_told_to_the_kernel(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(b"o" * 100) as bed:
        opened = await bed.open(os.O_RDONLY)
        lease = bed.lease(opened)
        await bed.files.release(opened.handle)
        bed.server.change(b"N" * 100)
        assert bed.server.break_lease(lease)
        assert bed.server.handles == 0
        assert bed.kernel.inodes == [bed.inode.number]
        assert await read_and_close(bed) == b"N" * 100


async def test_who_has_it_open_reads_again_after_a_break(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(b"o" * 100) as bed:
        opened = await bed.open(os.O_RDONLY)
        bed.server.change(b"N" * 100)
        assert bytes(await bed.files.read(opened.handle, 0, PAGE)) == b"o" * 100  # Not told yet.
        assert bed.server.break_lease(bed.lease(opened))
        assert bytes(await bed.files.read(opened.handle, 0, PAGE)) == b"N" * 100
        assert bed.kernel.inodes == [bed.inode.number]


async def test_a_break_of_the_handle_alone_leaves_what_was_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(b"o" * 100) as bed:
        opened = await bed.open(os.O_RDONLY)
        assert bed.server.break_lease(bed.lease(opened), LeaseState.READ_CACHING)
        assert bed.kernel.inodes == []
        await bed.files.release(opened.handle)
        assert bed.server.handles == 0


async def test_who_has_written_keeps_its_pages_and_not_the_handle(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Others learn what was written when the handle is closed."""
    async with leased_bed(b"") as bed:
        writer = await bed.open(os.O_WRONLY)
        await bed.files.write(writer.handle, 0, b"new")
        await bed.files.flush(writer.handle)
        await bed.files.release(writer.handle)
        assert bed.server.handles == 0
        again = await bed.open(os.O_RDONLY)
        assert again.keep_pages
        assert bytes(await bed.files.read(again.handle, 0, PAGE)) == b"new"


async def test_pages_of_before_a_change_on_the_server_itself_are_not_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """No lease is broken by that; a stat through the open reader tells it."""
    async with leased_bed(b"o" * LARGE) as bed:
        reader = await bed.open(os.O_RDONLY)
        await bed.files.read(reader.handle, 0, PAGE)
        bed.server.change(b"N" * LARGE)
        await trio.sleep(2.0)
        await bed.attributes.get(bed.inode.number)
        await bed.files.release(reader.handle)
        again = await bed.open(os.O_RDONLY)
        assert not again.keep_pages
        assert bytes(await bed.files.read(again.handle, 0, 3)) == b"NNN"


async def test_the_version_after_our_write_vouches_for_no_page_that_it_did_not_write(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(b"o" * LARGE) as bed:
        await read_and_close(bed)
        writer = await bed.open(os.O_WRONLY)
        bed.server.change(b"N" * LARGE)
        await bed.files.write(writer.handle, 10 * PAGE, b"w" * 100)
        await bed.files.flush(writer.handle)
        await bed.files.release(writer.handle)
        again = await bed.open(os.O_RDONLY)
        assert not again.keep_pages


async def test_a_break_that_comes_while_the_file_is_closed_concerns_us(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(b"o" * LARGE, handle_cache=False) as bed:
        opened = await bed.open(os.O_RDONLY)
        lease = bed.lease(opened)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bed.files.release, opened.handle)
            await trio.sleep(DELAY_S / 2)
            assert bed.server.break_lease(lease)
        assert bed.server.handles == 0


async def test_a_file_is_not_kept_beside_an_open_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(b"a" * LARGE) as bed:
        reader = await bed.open(os.O_RDONLY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bed.open, os.O_WRONLY)
            await trio.sleep(DELAY_S / 2)
            await bed.files.release(reader.handle)
        assert bed.state.handles.opened(bed.inode) is not None
        assert len(bed.state.kept) == 0
        assert bed.server.handles == 1


class OnePiece:
    """A directory with one entry."""

    def __init__(self, listed: Listed) -> None:
        self._piece: list[Listed] | None = [listed]

    async def next_piece(self, **_options: bool) -> list[Listed] | None:
        piece, self._piece = self._piece, None
        return piece


async def test_a_listing_shows_an_inode_that_only_a_kept_handle_needs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What it tells closes that handle, and the kernel is given the number all the same."""
    async with leased_bed(b"a" * 100) as bed:
        await read_and_close(bed)
        bed.state.inodes.forget(bed.inode.number, 1)
        bed.server.change(b"b" * 100)
        listed = Listed(b"file", Description(stat_of_open(bed.server.created())))
        root = bed.state.inodes.root
        bed.state.inodes.pin(root)
        directory = OpenDirectory(root)
        listed.asked_s = trio.current_time()
        directory.stream = DirectoryStream(OnePiece(listed))
        number = bed.directories._open.add(directory)
        shown: list[int] = []

        def emit(_name: bytes, entry: Entry, _position: int) -> bool:
            shown.append(entry.number)
            return True

        await bed.directories.read(number, 2, emit)
        assert bed.server.handles == 0
        assert bed.state.inodes.get(shown[0]) is bed.inode


NAME = (ROOT_NUMBER, b"file")


async def test_the_name_of_an_open_file_is_looked_up_again_when_its_directory_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(b"a" * LARGE) as bed:
        await bed.open(os.O_RDONLY)
        bed.state.shown.lost(ROOT_NUMBER)
        assert bed.kernel.names == [NAME]


async def test_the_name_of_a_file_is_looked_up_again_when_it_is_opened_after_that(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """By then the kernel may believe in the name for long, and a handle answers for the file."""
    async with leased_bed(b"a" * LARGE) as bed:
        bed.state.shown.lost(ROOT_NUMBER)
        assert bed.kernel.names == []  # There may be very many.
        await bed.open(os.O_RDONLY)
        assert bed.kernel.names == [NAME]
        await bed.open(os.O_RDONLY)
        assert bed.kernel.names == [NAME]


async def test_a_name_that_was_told_again_is_not_doubted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(b"a" * LARGE) as bed:
        bed.state.shown.lost(ROOT_NUMBER)
        description = Description(stat_of_open(bed.server.created()))
        bed.state.shown.new(bed.state.inodes.root, b"file", description)
        await bed.open(os.O_RDONLY)
        assert bed.kernel.names == []


@pytest.mark.parametrize("are_leases", [True, False])
async def test_a_kept_handle_stands_for_the_name_where_a_lease_tells_of_that(
    autojump_clock: trio.testing.MockClock, *, are_leases: bool
) -> None:
    async with leased_bed(b"a" * LARGE) as bed:
        bed.server.tree.grants_leases = are_leases
        await read_and_close(bed)
        bed.state.shown.lost(ROOT_NUMBER)
        assert bed.kernel.names == ([] if are_leases else [NAME])
