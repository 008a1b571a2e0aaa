"""Files: no answer that is older than a change counts, whoever asked for it and whenever."""

from __future__ import annotations

import os
from collections.abc import Sequence
from stat import S_IFREG

import pytest
import trio
import trio.testing

from smbfs.errors import ServerStatusError, TransportError
from smbfs.vfs import changes
from smbfs.vfs.attribute_verbs import AttributeChanges
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directories import OpenDirectory
from smbfs.vfs.directory_stream import DirectoryStream, Listed
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.removal import Removal
from smbfs.vfs.share import stat_of_open
from smbfs.vfs.shown import Entry
from smbfs.wire.create import AccessMask
from smbfs.wire.lease import LeaseState
from smbfs.wire.ntstatus import NtStatus
from tests.t3_vfs.late_server import DELAY_S, LateOpen, bed_for
from tests.t3_vfs.leased_server import LeasedBed, LeasedOpen, leased_bed

PAGE = 4096
LARGE = 200_000


class OnePiece:
    """A listing that came in one piece."""

    def __init__(self, piece: Sequence[Listed]) -> None:
        self._piece: list[Listed] | None = list(piece)

    async def next_piece(self, *, restart: bool) -> list[Listed] | None:
        del restart
        piece, self._piece = self._piece, None
        return piece


async def test_an_entry_listed_before_an_append_does_not_move_the_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bed_for(b"a" * 100) as bed:
        log = await bed.open(os.O_WRONLY | os.O_APPEND)
        listed = Listed(b"file", Description(stat_of_open(bed.server.created())))
        listed.asked_s = trio.current_time()
        listing = OnePiece([listed])
        root = bed.state.inodes.root
        bed.state.inodes.pin(root)
        directory = OpenDirectory(root)
        directory.stream = DirectoryStream(listing)
        number = bed.directories._open.add(directory)
        await bed.files.write(log, 100, b"b" * 50, appends=True)
        await bed.files.flush(log)
        await trio.sleep(30)
        shown: dict[bytes, Entry] = {}
        await bed.directories.read(
            number, 0, lambda name, entry, _: shown.update({name: entry}) is None
        )
        assert shown[b"file"].attributes.size == 150
        await bed.files.write(log, shown[b"file"].attributes.size, b"c" * 50)
        await bed.files.flush(log)
        assert bed.server.contents == b"a" * 100 + b"b" * 50 + b"c" * 50


async def test_overlapping_writes_of_two_handles_keep_their_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bed_for(b"." * 10) as bed:
        first, second = await bed.open(os.O_WRONLY), await bed.open(os.O_WRONLY)
        await bed.files.write(first, 0, b"OLD")
        await bed.files.write(second, 0, b"NEW")
        await bed.files.flush(second)
        await bed.files.flush(first)
        assert bed.server.contents == b"NEW......."


async def test_blocks_of_a_closed_reader_do_not_outlive_a_write(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bed_for(b"o" * LARGE) as bed:
        writer, reader = await bed.open(os.O_WRONLY), await bed.open(os.O_RDONLY)
        await bed.files.read(reader, 0, PAGE)
        await bed.files.release(reader)
        await bed.files.write(writer, PAGE, b"N" * PAGE)
        await bed.files.flush(writer)
        again = await bed.open(os.O_RDONLY)
        assert bytes(await bed.files.read(again, PAGE, 5)) == b"NNNNN"


async def test_a_write_during_a_read_is_read_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The read waits for what was written before it, and may not remember what it missed."""
    async with bed_for(b"o" * LARGE) as bed, trio.open_nursery() as nursery:
        writer, reader = await bed.open(os.O_WRONLY), await bed.open(os.O_RDONLY)
        await bed.files.write(writer, 0, b"1" * PAGE)
        nursery.start_soon(bed.files.read, reader, 0, PAGE)
        await trio.sleep(DELAY_S / 5)
        await bed.files.write(writer, 2 * PAGE, b"2" * PAGE)
        await trio.sleep(4 * DELAY_S)
        await bed.files.flush(writer)
        assert bytes(await bed.files.read(reader, 2 * PAGE, 5)) == b"22222"


async def test_blocks_of_an_older_version_are_not_read_by_a_new_open(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Else the kernel would keep them as pages of the new version."""
    async with bed_for(b"o" * LARGE) as bed:
        held = await bed.open(os.O_RDONLY)
        await bed.files.read(held, 0, PAGE)
        bed.server.change(b"N" * LARGE)
        opened = await bed.opening.open(bed.inode.number, os.O_RDONLY)
        assert not opened.keep_pages
        assert bytes(await bed.files.read(opened.handle, 0, 5)) == b"NNNNN"


async def test_credits_do_not_decide_where_blocks_begin(
    autojump_clock: trio.testing.MockClock,
) -> None:
    contents = b"".join(index.to_bytes(4, "big") for index in range(1 << 20))
    async with bed_for(contents) as bed:
        bed.server.tree.max_read_size = 6 * 65536
        first = await bed.open(os.O_RDONLY)
        for offset in range(0, 7 * 65536, 65536):
            await bed.files.read(first, offset, 65536)
        bed.server.tree.max_read_size = 1 << 20
        second = await bed.open(os.O_RDONLY)
        got = bytes(await bed.files.read(second, 1 << 20, PAGE))
        assert got == contents[1 << 20 : (1 << 20) + PAGE]


async def test_a_small_file_asked_for_before_a_write_is_not_believed_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bed_for(b"old" * 10) as bed:
        opened: dict[str, int] = {}

        async def write() -> None:
            opened["writer"] = await bed.open(os.O_WRONLY)
            await bed.files.write(opened["writer"], 0, b"NEW")

        async def look() -> None:
            await trio.sleep(DELAY_S / 5)
            opened["reader"] = await bed.open(os.O_RDONLY)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            nursery.start_soon(look)
        await bed.files.flush(opened["writer"])
        assert bytes(await bed.files.read(opened["reader"], 0, 6)) == b"NEWold"


async def test_a_small_file_that_was_replaced_leaks_no_handle(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bed_for(b"o" * 100) as bed:
        reader = await bed.open(os.O_RDONLY)
        await trio.sleep(2)
        bed.server.file_id += 1
        for _ in range(5):
            with pytest.raises(Refused):
                await bed.files.read(reader, 0, PAGE)
        await bed.files.release(reader)
        await trio.sleep(1)
        assert bed.server.handles == 0


async def test_a_small_file_closed_while_it_is_opened_for_good_leaks_no_handle(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bed_for(b"o" * 100) as bed, trio.open_nursery() as nursery:
        reader = await bed.open(os.O_RDONLY)
        await trio.sleep(2)
        nursery.start_soon(bed.state.handles.get(reader).server_file)
        await trio.sleep(DELAY_S / 5)
        await bed.files.release(reader)
        await trio.sleep(1)
        assert bed.server.handles == 0


@pytest.mark.parametrize("others", [{}, {"old": 99}], ids=["gone", "another file"])
async def test_a_name_that_leads_elsewhere_is_one_of_several(
    autojump_clock: trio.testing.MockClock, others: dict[str, int]
) -> None:
    """Another client has replaced what is there, or a listing was overtaken by a rename."""

    async def ask(path: str) -> str:
        await trio.lowlevel.checkpoint()
        assert path == "file"
        return path

    async with leased_bed(b"content") as bed:
        inodes, inode = bed.state.inodes, bed.inode
        bed.server.others |= others
        inodes.admit(inodes.root, b"old", file_id=inode.file_id, file_type=S_IFREG)
        assert inode.name == b"old"
        assert await bed.state.at(inode, ask) == "file"
        assert list(inode.names()) == [(inodes.root, b"file")]
        assert bed.kernel.names == [(inodes.root.number, b"old")]  # It may believe in that.


async def test_a_file_that_is_open_is_not_changed_by_a_name_that_is_anothers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(b"content") as bed:
        opened = await bed.open(os.O_RDWR)
        bed.server.break_lease(bed.lease(opened), LeaseState.READ_CACHING)
        bed.server.others["file"] = 99
        with pytest.raises(Refused) as caught:
            await bed.attributes.set(bed.inode.number, AttributeChanges(mode=0o600), None)
        assert caught.value.reason == Refusal.STALE


async def test_who_looks_during_an_append_does_not_move_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The kernel has said where it thinks that the file ends, and is told more only then."""
    async with leased_bed(b"a" * 100, cache="none") as bed, trio.open_nursery() as nursery:
        log = await bed.open(os.O_WRONLY | os.O_APPEND)
        bed.server.change(b"a" * 100 + b"theirs")
        nursery.start_soon(bed.attributes.get, bed.inode.number)
        await trio.sleep(DELAY_S / 2)
        await bed.files.write(log.handle, 100, b"ours", appends=True)
        assert bytes(bed.server.contents) == b"a" * 100 + b"theirsours"


async def test_pages_of_a_mapping_stay_where_they_are(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bed_for(b"." * 10) as bed:
        log = await bed.open(os.O_RDWR | os.O_APPEND)
        await bed.files.write(log, 0, b"NEW")
        await bed.files.write(log, 0, b"end", appends=True)
        await bed.files.flush(log)
        assert bytes(bed.server.contents) == b"NEW.......end"


async def refuse(*_: object, **_options: object) -> int:
    """Stands in for a WRITE that finds no room."""
    await trio.sleep(DELAY_S)
    raise ServerStatusError(NtStatus.STATUS_DISK_FULL, "WRITE")


async def test_an_append_after_a_refused_write_goes_behind_what_there_is(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leased_bed(b"a" * 100) as bed:
        log = (await bed.open(os.O_WRONLY | os.O_APPEND)).handle
        assert bed.state.handles.get(log).opened.is_leased
        with monkeypatch.context() as patched:
            patched.setattr(LateOpen, "write", refuse)
            await bed.files.write(log, 100, b"b" * 50, appends=True)
            with pytest.raises(ServerStatusError):
                await bed.files.flush(log)
        await bed.files.write(
            log, 150, b"c" * 50, appends=True
        )  # The kernel may not have asked since.
        await bed.files.flush(log)
        assert bytes(bed.server.contents) == b"a" * 100 + b"c" * 50


async def test_a_file_tells_its_size_after_a_refused_write(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it is shown with what was taken, which nobody may believe any longer."""
    async with leased_bed(b"a" * 100) as bed:
        log = (await bed.open(os.O_WRONLY | os.O_APPEND)).handle
        monkeypatch.setattr(LateOpen, "write", refuse)
        await bed.files.write(log, 100, b"b" * 50, appends=True)
        told = Description(stat_of_open(bed.server.created()))
        entry = bed.state.shown.new(bed.state.inodes.root, b"file", told)
        assert entry.attributes.size == 150
        with pytest.raises(ServerStatusError):
            await bed.files.flush(log)
        assert (await bed.attributes.get(bed.inode.number)).attributes.size == 100


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR], ids=["reader", "writer"])
async def test_fsync_makes_stable_what_another_handle_took(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, flags: int
) -> None:
    """By a handle that may write: servers refuse to flush one that only reads."""
    flushed: list[tuple[bool, bytes]] = []

    async def flush(file: LeasedOpen, _query: object) -> None:
        await trio.sleep(DELAY_S)
        flushed.append((bool(file.access & AccessMask.WRITE_DATA), bytes(bed.server.contents)))

    async with leased_bed(b"." * 10) as bed:
        monkeypatch.setattr(LeasedOpen, "flush", flush)
        writer, other = await bed.open(os.O_RDWR), await bed.open(flags)
        await bed.files.write(writer.handle, 0, b"NEW")
        await bed.files.synchronise(other.handle)
        assert flushed == [(True, b"NEW.......")]


@pytest.mark.parametrize("closed_s", [DELAY_S / 2, 2 * DELAY_S, 6 * DELAY_S])
async def test_a_file_that_is_closed_while_it_is_removed_goes(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, closed_s: float
) -> None:
    """It was open when that began; nobody else closes the open that removes it."""
    async with leased_bed(b"content") as bed, trio.open_nursery() as nursery:
        remove_late(bed, monkeypatch)
        opened = await bed.open(os.O_RDWR)
        file = bed.state.handles.get(opened.handle).opened
        nursery.start_soon(Removal(bed.state.share).remove_open, "file", file)
        await trio.sleep(closed_s)
        await bed.files.release(opened.handle)
        await trio.sleep(1)
        assert bed.server.handles == 0


async def test_a_removed_file_goes_though_its_close_fails(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(file: LateOpen) -> None:
        file.close_unwaited()
        await trio.sleep(DELAY_S)
        raise TransportError("the connection is lost")

    async with leased_bed(b"content") as bed:
        remove_late(bed, monkeypatch)
        opened = await bed.open(os.O_RDWR)
        file = bed.state.handles.get(opened.handle).opened
        await Removal(bed.state.share).remove_open("file", file)
        monkeypatch.setattr(LeasedOpen, "close_and_query", fail)
        with pytest.raises(TransportError):
            await bed.files.release(opened.handle)
        assert bed.server.handles == 0


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_removed_file_goes_when_it_is_closed_though_nobody_hid_it(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, *, is_closed: bool
) -> None:
    """The connection is lost that the hidden name was asked for on."""

    async def fail(*_: object) -> None:
        await trio.sleep(DELAY_S)
        raise TransportError("the connection is lost")

    async with leased_bed(b"content") as bed, trio.open_nursery() as nursery:
        remove_late(bed, monkeypatch)
        monkeypatch.setattr(changes, "rename_open", fail)
        opened = await bed.open(os.O_RDWR)
        file = bed.state.handles.get(opened.handle).opened
        if is_closed:
            nursery.start_soon(bed.files.release, opened.handle)
        with pytest.raises(TransportError):
            await Removal(bed.state.share).remove_open("file", file)
        assert bed.server.handles == (0 if is_closed else 2)
        assert (file.deleting is None) is is_closed


async def test_a_removed_file_that_nobody_can_hide_goes_at_once(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise ServerStatusError(NtStatus.STATUS_ACCESS_DENIED, "SET_INFO")

    async with leased_bed(b"content") as bed:
        remove_late(bed, monkeypatch)
        monkeypatch.setattr(changes, "rename_open", refuse)
        file = bed.state.handles.get((await bed.open(os.O_RDWR)).handle).opened
        await Removal(bed.state.share).remove_open("file", file)
        assert (bed.server.handles, file.deleting) == (1, None)


def remove_late(bed: LeasedBed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the server open and rename what is to be removed; each takes longer than a close."""

    async def open_to_delete(*_: object, **_keys: object) -> LateOpen:
        await trio.sleep(4 * DELAY_S)
        return LateOpen(bed.server)

    async def rename_open(*_: object) -> None:
        await trio.sleep(4 * DELAY_S)

    monkeypatch.setattr(changes, "open_to_delete", open_to_delete)
    monkeypatch.setattr(changes, "rename_open", rename_open)
