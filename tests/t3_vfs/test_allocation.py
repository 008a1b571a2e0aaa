"""Room and holes on servers that can't, fail, or tell odd things."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import cast

import pytest
import trio.testing

from smbfs.client.open import Open
from smbfs.errors import ServerStatusError, SmbfsError, TransportError, WritesLost
from smbfs.vfs import allocation
from smbfs.vfs.allocation import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, Allocation
from smbfs.vfs.attribute_verbs import AttributeChanges
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.space import Space
from smbfs.wire.ntstatus import NtStatus
from tests.t3_vfs.leased_server import LeasedBed, leased_bed

SIZE = 100_000
CONTENT = b"c" * SIZE
UNKNOWN = ServerStatusError(NtStatus.STATUS_INVALID_DEVICE_REQUEST, "IOCTL")
FAILED = ServerStatusError(NtStatus.STATUS_IO_DEVICE_ERROR, "IOCTL")
LOST = TransportError("lost", request_sent=True)


class Holes:
    """Does what the server does with its one file."""

    def __init__(self, bed: LeasedBed, monkeypatch: pytest.MonkeyPatch) -> None:
        self._bed = bed
        space = SimpleNamespace(get=self._space)
        leases = FileLeases(bed.state)
        self.verb = Allocation(bed.state, leases, bed.attributes, cast(Space, space))
        self.failure: SmbfsError | None = None
        self.zeroed: list[tuple[int, int]] = []
        self.is_sparse = False
        self.blocks = 0
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens while the server is asked how much room there is."""
        self.told: list[tuple[Sequence[tuple[int, int]], int]] = []
        """What is told of allocated ranges, one after the other."""
        self.asked: list[tuple[int, int]] = []
        for name in ("make_sparse", "zero", "allocated_ranges"):
            monkeypatch.setattr(allocation, name, getattr(self, f"_{name}"))

    async def _make_sparse(self, _file: Open) -> None:
        self.is_sparse = True

    async def _zero(self, _file: Open, offset: int, end: int) -> None:
        self.zeroed.append((offset, end))
        self._bed.server.contents[offset : (offset + end) // 2] = bytes((end - offset) // 2)
        self._bed.server.change_time += 1
        if self.failure is not None:
            raise self.failure
        self._bed.server.contents[offset:end] = bytes(end - offset)

    def made(self, handle: int) -> int:
        """Have holes in an open file, whose number is returned."""
        self._bed.state.handles.get(handle).opened.is_sparse = True
        return handle

    async def _allocated_ranges(
        self, _file: Open, offset: int, end: int
    ) -> tuple[Sequence[tuple[int, int]], int]:
        if self.failure is not None:
            raise self.failure
        self.asked.append((offset, end))
        return self.told.pop(0)

    async def _space(self) -> SimpleNamespace:
        self.meanwhile()
        await trio.testing.wait_all_tasks_blocked()
        return SimpleNamespace(blocks=self.blocks, block_size=10, available_blocks=50)


@pytest.mark.parametrize("failure", [FAILED, LOST, UNKNOWN])
async def test_nobody_knows_what_failed_zeros_have_changed(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, failure: SmbfsError
) -> None:
    async with leased_bed(CONTENT) as bed:
        handle, holes = (await bed.open(os.O_RDWR)).handle, Holes(bed, monkeypatch)
        assert await bed.files.read(handle, 0, SIZE) == CONTENT
        holes.failure = failure
        expected = Refused if failure is UNKNOWN else type(failure)
        with pytest.raises(expected):
            await holes.verb.allocate(handle, 10, 1000, ZERO_RANGE)
        assert await bed.files.read(handle, 0, SIZE) == bed.server.contents
        assert bed.state.handles.get(handle).opened.is_end_doubtful


async def test_zeros_end_with_the_file_and_wait_for_what_was_written(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leased_bed(CONTENT) as bed:
        handle, holes = (await bed.open(os.O_RDWR)).handle, Holes(bed, monkeypatch)
        await bed.files.write(handle, 0, b"written")
        await holes.verb.allocate(handle, 5, SIZE, PUNCH_HOLE | KEEP_SIZE)
        assert holes.is_sparse
        assert holes.zeroed == [(5, SIZE)]
        await holes.verb.allocate(handle, SIZE, 5, ZERO_RANGE | KEEP_SIZE)
        assert holes.zeroed == [(5, SIZE)]
        await bed.files.flush(handle)
        assert bed.server.contents == b"writt" + bytes(SIZE - 5)
        assert await bed.files.read(handle, 0, SIZE) == bed.server.contents
        opened = bed.state.handles.get(handle).opened
        assert (opened.version, opened.server_version, opened.content) == (None, None, None)


async def test_zeros_that_were_never_made_stable_may_be_lost(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leased_bed(CONTENT) as bed:
        handle, holes = (await bed.open(os.O_RDWR)).handle, Holes(bed, monkeypatch)
        await holes.verb.allocate(handle, 5, 100, ZERO_RANGE)
        gather = bed.state.handles.get(handle).gather
        assert gather is not None
        gather.lose(TransportError("the server was away"))
        with pytest.raises(WritesLost, match="100 bytes at 5"):
            await bed.files.flush(handle)


async def test_a_full_server(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leased_bed(CONTENT) as bed:
        handle, holes = (await bed.open(os.O_RDWR)).handle, Holes(bed, monkeypatch)
        holes.blocks = 1000
        with pytest.raises(Refused) as raised:
            await holes.verb.allocate(handle, SIZE, 501, 0)
        assert raised.value.reason == Refusal.FULL
        assert len(bed.server.contents) == SIZE


async def test_what_somebody_appends_while_room_is_looked_for_is_not_cut_off(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leased_bed(CONTENT) as bed:
        opened, holes = await bed.open(os.O_RDWR), Holes(bed, monkeypatch)
        holes.meanwhile = lambda: bed.server.break_lease(bed.lease(opened))
        with pytest.raises(Refused) as raised:
            await holes.verb.allocate(opened.handle, SIZE, 10, 0)
        assert raised.value.reason == Refusal.NOT_SUPPORTED
        assert len(bed.server.contents) == SIZE


async def test_what_is_written_here_while_room_is_looked_for_is_not_cut_off(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel lets others write as soon as who asked for room was killed."""
    async with leased_bed(CONTENT) as bed:
        handle, holes = (await bed.open(os.O_RDWR)).handle, Holes(bed, monkeypatch)
        write, sizes = partial(bed.files.write, handle, SIZE, b"more than that"), []

        async def set_attributes(_number: int, wanted: AttributeChanges, _handle: int) -> None:
            sizes.append(wanted.size)

        holes.meanwhile = lambda: bed.state.nursery.start_soon(write)
        monkeypatch.setattr(bed.attributes, "set", set_attributes)
        await holes.verb.allocate(handle, 0, SIZE + 5, 0)
        assert sizes == [SIZE + 14]


async def test_what_is_refused_has_changed_nothing(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leased_bed(CONTENT, leases=False) as bed:
        handle, holes = (await bed.open(os.O_RDWR)).handle, Holes(bed, monkeypatch)
        with pytest.raises(Refused) as raised:
            await holes.verb.allocate(handle, 0, SIZE + 1, ZERO_RANGE)
        assert raised.value.reason == Refusal.NOT_SUPPORTED
        assert bed.server.contents == CONTENT


async def test_only_who_writes_makes_room(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leased_bed(CONTENT) as bed:
        handle, holes = (await bed.open(os.O_RDONLY)).handle, Holes(bed, monkeypatch)
        with pytest.raises(Refused) as raised:
            await holes.verb.allocate(handle, 0, 10, 0)
        assert raised.value.reason == Refusal.BAD_HANDLE


async def test_what_a_server_says_nothing_of_is_data(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leased_bed(CONTENT) as bed:
        handle, holes = (await bed.open(os.O_RDWR)).handle, Holes(bed, monkeypatch)
        holes.failure = UNKNOWN
        assert await holes.verb.seek(holes.made(handle), 7, os.SEEK_DATA) == 7
        assert await holes.verb.seek(holes.made(handle), 7, os.SEEK_HOLE) == SIZE
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            with pytest.raises(Refused) as raised:
                await holes.verb.seek(holes.made(handle), SIZE, whence)
            assert raised.value.reason == Refusal.NOTHING_THERE
        holes.failure = FAILED
        with pytest.raises(ServerStatusError):
            await holes.verb.seek(holes.made(handle), 7, os.SEEK_DATA)


@pytest.mark.parametrize(
    ("whence", "found", "asked"),
    [
        (os.SEEK_DATA, 60_000, [(10, SIZE), (40_000, SIZE)]),
        (os.SEEK_HOLE, 10, [(10, SIZE)]),
    ],
)
async def test_a_server_that_tells_of_a_part_alone(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    whence: int,
    found: int,
    asked: list[tuple[int, int]],
) -> None:
    async with leased_bed(CONTENT) as bed:
        handle, holes = (await bed.open(os.O_RDWR)).handle, Holes(bed, monkeypatch)
        holes.told = [([], 40_000), ([(60_000, 70_000)], SIZE)]
        assert await holes.verb.seek(holes.made(handle), 10, whence) == found
        assert holes.asked == asked


@pytest.mark.parametrize(
    ("whence", "at", "found"),
    [
        (os.SEEK_DATA, 50, 50),
        (os.SEEK_DATA, 2_000, 4_096),
        (os.SEEK_HOLE, 50, 1_024),
        (os.SEEK_HOLE, 2_000, 2_000),
        (os.SEEK_HOLE, 5_000, SIZE),
    ],
)
async def test_ranges_that_are_larger_than_asked_for_and_touch(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    whence: int,
    at: int,
    found: int,
) -> None:
    async with leased_bed(CONTENT) as bed:
        handle, holes = (await bed.open(os.O_RDWR)).handle, Holes(bed, monkeypatch)
        ranges = [(0, 1_024), (4_096, 8_192), (8_192, 2 * SIZE)]
        holes.told = [(ranges, SIZE)]
        assert await holes.verb.seek(holes.made(handle), at, whence) == found


async def test_data_behind_the_end_are_none(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leased_bed(CONTENT) as bed:
        handle, holes = (await bed.open(os.O_RDWR)).handle, Holes(bed, monkeypatch)
        holes.told = [([(SIZE + 5, SIZE + 10)], SIZE)]
        with pytest.raises(Refused):
            await holes.verb.seek(holes.made(handle), 0, os.SEEK_DATA)


@pytest.mark.parametrize("is_leased", [False, True])
async def test_a_file_that_has_no_holes_is_not_looked_through(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, *, is_leased: bool
) -> None:
    """Programs that search files look for a hole in each."""
    async with leased_bed(CONTENT, leases=is_leased) as bed:
        handle, holes = (await bed.open(os.O_RDWR)).handle, Holes(bed, monkeypatch)
        began_s = trio.current_time()
        assert await holes.verb.seek(handle, 7, os.SEEK_HOLE) == SIZE
        assert await holes.verb.seek(handle, 7, os.SEEK_DATA) == 7
        assert not holes.asked
        assert (trio.current_time() == began_s) is is_leased
        await bed.files.write(handle, SIZE, b"more")
        assert await holes.verb.seek(handle, 7, os.SEEK_HOLE) == SIZE + 4
        assert bed.server.contents == CONTENT + b"more"
