"""Writes that nobody can look at wait, and whoever wants to look waits for them."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing

from smbfs.errors import ServerStatusError
from smbfs.vfs.lease_policy import WRITE_BEHIND
from smbfs.wire.lease import LeaseState
from smbfs.wire.ntstatus import NtStatus
from tests.t3_vfs.late_server import DELAY_S, LateOpen
from tests.t3_vfs.leased_server import READ_HANDLE, leased_bed

OLD = b"o" * 10_000
CHUNK = 1 << 20


async def test_small_writes_wait_until_somebody_wants_to_know(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(OLD) as bed:
        opened = await bed.open(os.O_WRONLY)
        began = trio.current_time()
        for place in range(100):
            await bed.files.write(opened.handle, place * 50, b"N")
        assert trio.current_time() == began
        await trio.sleep(WRITE_BEHIND.wait_s / 2)
        assert bytes(bed.server.contents) == OLD
        await bed.files.flush(opened.handle)
        assert bytes(bed.server.contents) == (b"N" + b"o" * 49) * 100 + OLD[5000:]


async def test_they_do_not_wait_for_longer_than_that(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(OLD) as bed:
        opened = await bed.open(os.O_WRONLY)
        await bed.files.write(opened.handle, 5, b"N")
        await trio.sleep(WRITE_BEHIND.wait_s + 1)
        assert bed.server.contents[5:6] == b"N"


@pytest.mark.parametrize("left", [READ_HANDLE, LeaseState.READ_CACHING, LeaseState.NONE])
async def test_a_break_is_acknowledged_when_our_data_is_there(
    autojump_clock: trio.testing.MockClock, left: LeaseState
) -> None:
    new = b"N" * (20 * CHUNK)
    async with leased_bed(b"") as bed:
        opened = await bed.open(os.O_RDWR)
        for offset in range(0, len(new), CHUNK):
            await bed.files.write(opened.handle, offset, new[offset : offset + CHUNK])
        await bed.files.write(opened.handle, 7, b"small")
        assert bed.server.break_lease(bed.lease(opened), left)
        assert bed.server.acknowledged == []
        await trio.sleep(2)
        expected = new[:7] + b"small" + new[12:]
        assert bed.server.acknowledged == [(left, expected)]


async def test_who_has_nothing_to_write_acknowledges_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(OLD) as bed:
        opened = await bed.open(os.O_RDWR)
        assert bed.server.break_lease(bed.lease(opened), READ_HANDLE)
        assert bed.server.acknowledged == [(READ_HANDLE, OLD)]


async def test_writes_of_both_handles_are_there_before_others_look(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(OLD) as bed:
        first, second = await bed.open(os.O_WRONLY), await bed.open(os.O_WRONLY)
        await bed.files.write(first.handle, 0, b"first")
        await bed.files.write(second.handle, 100, b"second")
        assert bed.server.break_lease(bed.lease(first), READ_HANDLE)
        await trio.sleep(1)
        expected = b"first" + OLD[5:100] + b"second" + OLD[106:]
        assert bed.server.acknowledged == [(READ_HANDLE, expected)]


async def test_after_a_break_writes_wait_for_company_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(OLD) as bed:
        opened = await bed.open(os.O_WRONLY)
        await bed.files.write(opened.handle, 0, b"N")
        assert bed.server.break_lease(bed.lease(opened), READ_HANDLE)
        await bed.files.write(opened.handle, 100, b"N")
        await trio.sleep(2.5)
        assert bed.server.contents[100:101] == b"N"


async def test_what_fails_while_others_wait_is_told_to_who_wrote(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_file: LateOpen, _offset: int, _data: bytes, **_kinds: bool) -> int:
        await trio.sleep(DELAY_S)
        raise ServerStatusError(NtStatus.STATUS_DISK_FULL, "WRITE")

    async with leased_bed(OLD) as bed:
        opened = await bed.open(os.O_WRONLY)
        await bed.files.write(opened.handle, 0, b"N")
        monkeypatch.setattr(LateOpen, "write", refuse)
        assert bed.server.break_lease(bed.lease(opened), READ_HANDLE)
        await trio.sleep(1)
        assert bed.server.acknowledged == [(READ_HANDLE, OLD)]
        with pytest.raises(ServerStatusError, match="DISK_FULL"):
            await bed.files.flush(opened.handle)


async def test_reading_elsewhere_does_not_wait_for_what_was_written(
    autojump_clock: trio.testing.MockClock,
) -> None:
    contents = bytes(range(256)) * 40_000
    async with leased_bed(contents) as bed:
        opened = await bed.open(os.O_RDWR)
        await bed.files.write(opened.handle, 5_000_000, b"new")
        assert bytes(await bed.files.read(opened.handle, 0, 4096)) == contents[:4096]
        assert bytes(bed.server.contents) == contents
        got = bytes(await bed.files.read(opened.handle, 5_000_000 - 4, 4096))
        assert got == contents[4_999_996:5_000_000] + b"new" + contents[5_000_003:5_004_092]


async def test_reading_behind_the_servers_end_finds_what_was_written(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And zeros before it, not the end of the file."""
    async with leased_bed(OLD) as bed:
        opened = await bed.open(os.O_RDWR)
        await bed.files.write(opened.handle, 50_000, b"far")
        got = bytes(await bed.files.read(opened.handle, 8192, 4096))
        assert got == OLD[8192:] + bytes(4096 - len(OLD) + 8192)


async def test_cache_none_writes_through(autojump_clock: trio.testing.MockClock) -> None:
    async with leased_bed(OLD, cache="none") as bed:
        opened = await bed.open(os.O_WRONLY)
        await bed.files.write(opened.handle, 0, b"N")
        assert bed.server.contents[:1] == b"N"


async def test_a_break_that_asks_for_no_answer_gets_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with leased_bed(OLD) as bed:
        opened = await bed.open(os.O_WRONLY)
        await bed.files.write(opened.handle, 0, b"N")
        assert not bed.server.tree.on_break(bed.lease(opened), False)
        await trio.sleep(1)
        assert bed.server.acknowledged == []
