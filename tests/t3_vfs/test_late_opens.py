"""What an open tells of a file, when that is older than what was done to it here meanwhile.

The answers of two channels overtake each other, and a server answers in any order.
"""

from __future__ import annotations

import os
from functools import partial

import pytest
import trio
import trio.testing

from smbfs.client.open import Open
from smbfs.vfs.contents import content_changed, forget_foreign
from smbfs.vfs.inode_numbers import ROOT_NUMBER
from smbfs.vfs.written_files import ASKED_MAX
from smbfs.wire.create import CreateResponse
from smbfs.wire.fscc import FileStat
from tests.t3_vfs.late_server import DELAY_S, LateServer
from tests.t3_vfs.leased_server import LeasedBed, LeasedServer, leased_bed

OLD = b"a" * 100_000
LATE_S = 10 * DELAY_S


async def open_late(
    bed: LeasedBed, monkeypatch: pytest.MonkeyPatch, flags: int, *, by_name: bool = False
) -> list[int]:
    """Begin to open the file, which is answered late; return where its handle will be.

    ``by_name``: as the kernel does that does not know whether there is one.
    """
    opened: list[int] = []
    answer = LeasedServer.open

    async def late(server: LeasedServer, path: str, access: int, **options: object) -> Open:
        file = await answer(server, path, access, **options)
        await trio.sleep(LATE_S)
        return file

    async def opens() -> None:
        if by_name:
            file, _ = await bed.opening.create(ROOT_NUMBER, b"file", 0o644, flags)
        else:
            file = await bed.open(flags)
        opened.append(file.handle)

    with monkeypatch.context() as patched:
        patched.setattr(LeasedServer, "open", late)
        bed.state.nursery.start_soon(opens)
        await trio.sleep(DELAY_S / 5)
    return opened


@pytest.mark.parametrize(
    ("flags", "by_name"), [(os.O_RDONLY, False), (os.O_RDWR, False), (os.O_RDWR, True)]
)
async def test_an_open_does_not_move_the_end_back(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    flags: int,
    by_name: bool,
) -> None:
    async with leased_bed(OLD) as bed:
        log = (await bed.open(os.O_RDWR)).handle
        opening = await open_late(bed, monkeypatch, flags, by_name=by_name)
        await bed.files.write(log, len(OLD), b"first", appends=True)
        await bed.files.flush(log)
        await trio.sleep(LATE_S)
        (other,) = opening
        opened = bed.state.handles.get(other).opened
        assert (opened.version, opened.server_version) == (None, None)
        await bed.files.write(log, len(OLD), b"second", appends=True)
        assert await bed.files.read(other, len(OLD), 20) == b"firstsecond"
        await bed.files.flush(log)
        assert bed.server.contents == OLD + b"firstsecond"


@pytest.mark.parametrize("is_leased", [False, True])
async def test_neither_does_one_that_brings_a_small_file(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, *, is_leased: bool
) -> None:
    answer = LateServer.read_small

    async def late(server: LateServer, path: str, size: int) -> tuple[CreateResponse, memoryview]:
        answered = await answer(server, path, size)
        await trio.sleep(LATE_S)
        return answered

    monkeypatch.setattr(LateServer, "read_small", late)
    async with leased_bed(b"small", leases=is_leased) as bed:
        opening = await open_late(bed, monkeypatch, os.O_RDONLY)
        log = (await bed.open(os.O_RDWR)).handle
        await bed.files.write(log, 5, b"first", appends=True)
        await bed.files.flush(log)
        assert not opening
        await trio.sleep(2 * LATE_S)
        opened = bed.state.handles.get(opening[0]).opened
        assert (opened.end, opened.version) == (10, None)
        assert bed.state.blocks.size == 0
        await bed.files.write(log, 10, b"second", appends=True)
        await bed.files.flush(log)
        assert bed.server.contents == b"smallfirstsecond"


async def test_an_open_knows_what_was_gathered_while_it_waited_for_older_writes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(OLD) as bed:
        log = (await bed.open(os.O_RDWR)).handle
        await bed.files.write(log, len(OLD), b"first")
        bed.state.nursery.start_soon(bed.open, os.O_RDWR)
        await trio.sleep(DELAY_S / 5)
        await bed.files.write(log, len(OLD) + 5, b"second")
        await trio.sleep(LATE_S)
        assert len(bed.state.handles) == 2
        assert bed.server.contents == OLD + b"first"
        await bed.files.write(log, len(OLD) + 11, b"third", appends=True)
        await bed.files.flush(log)
        assert bed.server.contents == OLD + b"firstsecondthird"


async def test_an_open_that_cuts_the_file_leaves_what_comes_after_it(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leased_bed(OLD) as bed:
        log = (await bed.open(os.O_RDWR)).handle
        await open_late(bed, monkeypatch, os.O_WRONLY | os.O_TRUNC)
        bed.server.contents.clear()
        await bed.files.write(log, len(OLD), b"first", appends=True)
        await bed.files.flush(log)
        await trio.sleep(LATE_S)
        assert not bed.state.handles.get(log).opened.is_all_ours
        await bed.files.write(log, len(OLD), b"second", appends=True)
        await bed.files.flush(log)
        assert bed.server.contents == bytes(len(OLD)) + b"firstsecond"


async def test_what_was_cut_meanwhile_stays_cut(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leased_bed(OLD) as bed:
        log = (await bed.open(os.O_RDWR)).handle
        await open_late(bed, monkeypatch, os.O_RDWR)
        bed.server.contents.clear()
        content_changed(bed.state, bed.inode, bed.inode.number)
        opened = bed.state.handles.get(log).opened
        opened.end = opened.server_end = 0
        await trio.sleep(LATE_S)
        await bed.files.write(log, 0, b"first", appends=True)
        await bed.files.flush(log)
        assert bed.server.contents == b"first"


async def test_where_a_file_ends_may_be_told_late(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each append asks where nobody vouches for the end; it goes behind one that was quicker."""
    tell = LeasedServer.stat_open

    async def late(server: LeasedServer, file: Open) -> FileStat:
        stat = await tell(server, file)
        await trio.sleep(LATE_S)
        return stat

    async with leased_bed(OLD, leases=False) as bed, trio.open_nursery() as nursery:
        log, other = (await bed.open(os.O_RDWR)).handle, (await bed.open(os.O_RDWR)).handle
        with monkeypatch.context() as patched:
            patched.setattr(LeasedServer, "stat_open", late)
            nursery.start_soon(partial(bed.files.write, log, len(OLD), b"second", appends=True))
            await trio.sleep(2 * DELAY_S)
        await bed.files.write(other, len(OLD), b"first", appends=True)
        assert bed.server.contents == OLD + b"first"
        await trio.sleep(2 * LATE_S)
        assert bed.server.contents == OLD + b"firstsecond"


async def test_who_hears_meanwhile_that_others_write_goes_behind_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(OLD, leases=False) as bed, trio.open_nursery() as nursery:
        log = (await bed.open(os.O_RDWR)).handle
        bed.server.change(OLD + b"theirs")
        nursery.start_soon(partial(bed.files.write, log, len(OLD), b"ours", appends=True))
        for _ in range(2 * ASKED_MAX):  # As often as somebody looks at it.
            await trio.sleep(DELAY_S * 0.7)
            forget_foreign(bed.state, bed.inode)
        await trio.sleep(LATE_S)
        assert bed.server.contents == OLD + b"theirsours"


async def test_who_hears_meanwhile_that_others_have_cut_it_asks_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(OLD, leases=False) as bed, trio.open_nursery() as nursery:
        log = (await bed.open(os.O_RDWR)).handle
        nursery.start_soon(partial(bed.files.write, log, len(OLD), b"ours", appends=True))
        await trio.sleep(DELAY_S * 0.7)
        bed.server.change(b"")
        forget_foreign(bed.state, bed.inode)
        bed.state.handles.get(log).opened.end = 0
        await trio.sleep(LATE_S)
        assert bed.server.contents == b"ours"
