"""Copies by a server that takes its time, does a part, or fails."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from smbfs.client import copychunk
from smbfs.client.open import Open
from smbfs.errors import ServerStatusError, SmbfsError, TransportError, WritesLost
from smbfs.vfs import server_copy
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.server_copy import TURN_S, ServerCopy
from smbfs.vfs.share import ServerLimits
from smbfs.wire.ioctl import SrvCopychunk
from smbfs.wire.ntstatus import NtStatus
from tests.t3_vfs.late_server import LateOpen
from tests.t3_vfs.leased_server import LeasedBed, leased_bed

CHUNK_SIZE = 32 * 1024
REQUEST_SIZE = 4 * CHUNK_SIZE
SIZE = 3 * REQUEST_SIZE
OLD, NEW = b"o" * SIZE, b"n" * SIZE


class Copier:
    """Does what the server does, within its one file: the first half goes to the second."""

    def __init__(self, bed: LeasedBed, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bed = bed
        bed.state.share.limits = ServerLimits()
        self.verb = ServerCopy(bed.state, FileLeases(bed.state))
        self.begins_s, self.takes_s = 0.1, 0.2
        self.failures: list[SmbfsError | None] = []
        """What becomes of the next requests; they are well when there is none left."""
        self.asked: list[int] = []
        """Bytes of each request."""
        self.leaves_out = 0
        """Bytes at the end of each request that are not copied."""
        monkeypatch.setattr(copychunk, "CHUNK_SIZE", CHUNK_SIZE)
        monkeypatch.setattr(copychunk, "REQUEST_SIZE", REQUEST_SIZE)
        monkeypatch.setattr(server_copy, "resume_key", self._resume_key)
        monkeypatch.setattr(server_copy, "copy_chunks", self._copy_chunks)

    async def _resume_key(self, _source: Open) -> bytes:
        await trio.sleep(self.begins_s)
        return bytes(24)

    async def _copy_chunks(self, _to: Open, _key: bytes, chunks: Sequence[SrvCopychunk]) -> int:
        first, contents = chunks[0], self.bed.server.contents
        self.asked.append(sum(chunk.length for chunk in chunks))
        count = max(0, self.asked[-1] - self.leaves_out)
        await trio.sleep(self.takes_s / 2)
        contents[first.target_offset : first.target_offset + count] = contents[
            first.source_offset : first.source_offset + count
        ]
        self.bed.server.change_time += 1
        await trio.sleep(self.takes_s / 2)
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        return count

    async def copy(self, handle: int, length: int = SIZE) -> int:
        return await self.verb.copy(handle, 0, handle, SIZE, length)

    async def is_refused(self, handle: int) -> bool:
        try:
            await self.copy(handle)
        except Refused as refused:
            return refused.reason == Refusal.NOT_SUPPORTED
        return False


@asynccontextmanager
async def copying(
    monkeypatch: pytest.MonkeyPatch, *, leases: bool = True
) -> AsyncIterator[tuple[Copier, int]]:
    """A copier, and a handle for reading and writing."""
    async with leased_bed(NEW + OLD, leases=leases) as bed:
        opened = await bed.open(os.O_RDWR)
        yield Copier(bed, monkeypatch), opened.handle


def failure(status: NtStatus) -> ServerStatusError:
    return ServerStatusError(status, "IOCTL")


async def test_a_copy_goes_in_parts(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with copying(monkeypatch) as (copier, handle):
        assert await copier.copy(handle, SIZE - 1) == SIZE - 1
        assert copier.asked == [REQUEST_SIZE, REQUEST_SIZE, REQUEST_SIZE - 1]
        assert await copier.bed.files.read(handle, SIZE, SIZE) == NEW[1:] + b"o"


async def test_who_copies_hears_of_it_each_second(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with copying(monkeypatch) as (copier, handle):
        copier.takes_s = TURN_S * 0.6
        assert await copier.copy(handle) == 2 * REQUEST_SIZE
        copier.takes_s = TURN_S * 3
        assert await copier.copy(handle) == REQUEST_SIZE


async def test_a_part_is_told_and_the_failure_behind_it_when_asked_again(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with copying(monkeypatch) as (copier, handle):
        copier.failures = [None, failure(NtStatus.STATUS_DISK_FULL)]
        assert await copier.copy(handle) == REQUEST_SIZE
        copier.failures = [failure(NtStatus.STATUS_DISK_FULL)]
        assert await copier.is_refused(handle)
        copier.leaves_out = REQUEST_SIZE - 5
        assert await copier.copy(handle) == 5
        copier.leaves_out = REQUEST_SIZE
        assert await copier.is_refused(handle)
        assert copier.bed.state.share.limits.copies
        asked = len(copier.asked)
        copier.bed.state.share.limits.copies = False
        assert await copier.is_refused(handle)
        assert len(copier.asked) == asked


@pytest.mark.parametrize(
    "lost",
    [failure(NtStatus.STATUS_FILE_LOCK_CONFLICT), TransportError("lost", request_sent=True)],
)
async def test_nobody_knows_what_a_failed_copy_has_changed(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, lost: SmbfsError
) -> None:
    async with copying(monkeypatch) as (copier, handle):
        files, contents = copier.bed.files, copier.bed.server.contents
        assert await files.read(handle, 0, 2 * SIZE) == NEW + OLD
        copier.failures = [lost]
        assert await copier.is_refused(handle)
        assert contents != NEW + OLD
        assert copier.bed.state.handles.get(handle).opened.is_end_doubtful
        assert await files.read(handle, 0, 2 * SIZE) == contents


async def test_a_server_that_can_t_is_asked_once(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with copying(monkeypatch) as (copier, handle):
        copier.failures = [failure(NtStatus.STATUS_INVALID_DEVICE_REQUEST)]
        assert await copier.is_refused(handle)
        assert await copier.is_refused(handle)
        assert len(copier.asked) == 1


async def test_what_is_read_meanwhile_is_not_kept(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with copying(monkeypatch) as (copier, handle), trio.open_nursery() as nursery:
        files = copier.bed.files
        other = (await copier.bed.open(os.O_RDONLY)).handle
        nursery.start_soon(copier.copy, handle)
        await trio.sleep(0.11)
        assert await files.read(other, 0, 2 * SIZE) == NEW + OLD
        await trio.sleep(1.0)
        assert await files.read(other, 0, 2 * SIZE) == NEW * 2
        closing = copier.bed.state.handles.get(handle).opened
        assert (closing.version, closing.server_version, closing.content) == (None, None, None)


async def test_a_file_that_grows(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with copying(monkeypatch) as (copier, handle):
        bed = copier.bed
        assert await copier.verb.copy(handle, 0, handle, 2 * SIZE, SIZE) == SIZE
        opened = bed.state.handles.get(handle).opened
        assert opened.end == opened.server_end == bed.inode.shown_size == 3 * SIZE
        assert bed.inode.changed_s == trio.current_time()


async def test_a_server_that_is_slow_to_begin(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with copying(monkeypatch) as (copier, handle):
        copier.begins_s = 2 * TURN_S
        assert await copier.copy(handle) == REQUEST_SIZE


@pytest.mark.parametrize("leases", [True, False])
async def test_who_may_not_be_alone_writes_the_last_byte(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, leases: bool
) -> None:
    """Others hear of that, and not of the copy."""
    written: list[tuple[int, bytes]] = []

    async def write(_open: LateOpen, offset: int, data: bytes) -> int:
        written.append((offset, bytes(data)))
        return len(data)

    monkeypatch.setattr(LateOpen, "write", write)
    async with copying(monkeypatch, leases=leases) as (copier, handle):
        assert await copier.copy(handle, 5) == 5
        assert written == ([] if leases else [(SIZE + 4, NEW[:1])])


async def fail(_open: LateOpen, _offset: int, _data: object) -> int:
    raise failure(NtStatus.STATUS_DISK_FULL)


async def find_nothing(_open: LateOpen, _offset: int, _length: int) -> memoryview:
    return memoryview(b"")


@pytest.mark.parametrize(("verb", "instead"), [("write", fail), ("read", find_nothing)])
async def test_a_copy_of_which_others_can_t_hear_is_none(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    instead: object,
) -> None:
    async with copying(monkeypatch, leases=False) as (copier, handle):
        monkeypatch.setattr(LateOpen, verb, instead)
        assert await copier.is_refused(handle)


async def test_what_was_gathered_goes_first(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with copying(monkeypatch) as (copier, handle):
        files = copier.bed.files
        await files.write(handle, 0, b"source")
        await files.write(handle, SIZE, b"target")
        assert await copier.copy(handle) == SIZE
        await files.flush(handle)
        assert copier.bed.server.contents == (b"source" + NEW[6:]) * 2


async def test_a_copy_that_was_never_made_stable_may_be_lost(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with copying(monkeypatch) as (copier, handle):
        gather = copier.bed.state.handles.get(handle).gather
        assert gather is not None
        await copier.copy(handle)
        gather.lose(TransportError("the server was away"))
        with pytest.raises(WritesLost, match=f"{SIZE} bytes at {SIZE}"):
            await copier.bed.files.flush(handle)


async def test_handles_that_were_not_opened_for_it(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with copying(monkeypatch) as (copier, handle):
        reads = (await copier.bed.open(os.O_RDONLY)).handle
        writes = (await copier.bed.open(os.O_WRONLY)).handle
        for source, target in ((writes, handle), (handle, reads)):
            with pytest.raises(Refused) as caught:
                await copier.verb.copy(source, 0, target, SIZE, 1)
            assert caught.value.reason == Refusal.BAD_HANDLE
        assert await copier.verb.copy(reads, 0, writes, SIZE, 1) == 1
        with pytest.raises(Refused):  # It may be longer by now: who reads finds out.
            await copier.verb.copy(reads, 2 * SIZE, writes, 0, 1)
