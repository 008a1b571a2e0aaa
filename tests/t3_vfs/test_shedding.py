"""Setuid bits that a writer may not keep, when they can't be taken away at once."""

from __future__ import annotations

import os
import struct
from stat import S_IFREG
from types import SimpleNamespace
from typing import cast

import pytest
import trio.testing

from smbfs.errors import ServerStatusError, SmbfsError, TransportError
from smbfs.fuse.operations import handlers
from smbfs.fuse.protocol import OPEN_KILL_SUIDGID, Opcode
from smbfs.vfs.attribute_verbs import AttributeChanges
from smbfs.vfs.filesystem import FileSystem
from smbfs.vfs.opened_files import OpenedFile
from smbfs.vfs.shown import Entry
from smbfs.wire.ntstatus import NtStatus
from tests.t3_vfs.leased_server import LeasedBed, leased_bed

FAILED = ServerStatusError(NtStatus.STATUS_INSUFFICIENT_RESOURCES, "SET_INFO")
LOST = TransportError("the connection was lost")


class Modes:
    """What became of the attempts to set a mode."""

    def __init__(self, bed: LeasedBed, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[int | None] = []
        self.failure: SmbfsError | None = None
        self._get = bed.attributes.get
        monkeypatch.setattr(bed.attributes, "get", self._shown)
        monkeypatch.setattr(bed.attributes, "set", self._set)

    async def _shown(self, number: int) -> Entry:
        entry = await self._get(number)
        attributes = entry.attributes._replace(mode=S_IFREG | 0o4755)
        return Entry(entry.number, attributes, 0.0, 0.0)

    async def _set(self, number: int, wanted: AttributeChanges, _handle: int | None) -> Entry:
        self.asked.append(wanted.mode)
        if self.failure is not None:
            raise self.failure
        return await self._get(number)


@pytest.mark.parametrize("failure", [FAILED, LOST])
async def test_what_failed_is_tried_again_before_the_next_write(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, failure: SmbfsError
) -> None:
    async with leased_bed(b"content") as bed:
        opened, modes = await bed.open(os.O_WRONLY), Modes(bed, monkeypatch)
        bed.state.handles.get(opened.handle).sheds = True
        modes.failure = failure
        for _ in range(2):
            with pytest.raises(type(failure)):
                await bed.attributes.shed_by(opened.handle)
        modes.failure = None
        for _ in range(2):
            await bed.attributes.shed_by(opened.handle)
        assert modes.asked == [0o755] * 3


@pytest.mark.parametrize("opcode", [Opcode.COPY_FILE_RANGE, Opcode.FALLOCATE])
async def test_what_the_server_changes_itself_sheds_like_a_write(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, opcode: Opcode
) -> None:
    async with leased_bed(b"content") as bed:
        modes = Modes(bed, monkeypatch)
        opened = await bed.open(os.O_WRONLY)
        bed.state.handles.get(opened.handle).sheds = True
        executed: list[tuple[int, ...]] = []

        async def executes(*asked: int) -> int:
            assert modes.asked == [0o755]
            executed.append(asked)
            return 5

        rooms = ("opening", "files", "access", "names", "links", "renames", "directories", "space")
        filesystem = SimpleNamespace(
            server_copy=SimpleNamespace(copy=executes),
            allocation=SimpleNamespace(allocate=executes, seek=None),
            attributes=bed.attributes,
            extended_attributes=SimpleNamespace(are_offered=False),
            **dict.fromkeys(rooms),
        )
        serve = handlers(cast(FileSystem, filesystem))[opcode]
        if opcode == Opcode.COPY_FILE_RANGE:
            asked = struct.pack("=7Q", 3, 10, bed.inode.number, opened.handle, 20, 30, 0)
            assert await serve(1, asked) == struct.pack("=II", 5, 0)
            assert executed == [(3, 10, opened.handle, 20, 30)]
        else:
            assert await serve(1, struct.pack("=QQQII", opened.handle, 10, 20, 3, 0)) == b""
            assert executed == [(opened.handle, 10, 20, 3)]


@pytest.mark.parametrize("opcode", [Opcode.OPEN, Opcode.CREATE])
async def test_an_open_that_fails_leaves_nothing_behind(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, opcode: Opcode
) -> None:
    """The kernel releases no handle, and forgets no inode, of which it was not told."""
    async with leased_bed(b"content") as bed:
        modes = Modes(bed, monkeypatch)
        modes.failure = LOST
        forgotten: list[tuple[int, int]] = []

        async def opens(*_: object) -> OpenedFile:
            opened = await bed.open(os.O_WRONLY)
            bed.state.handles.get(opened.handle).sheds = True
            return opened

        async def creates(*_: object) -> tuple[OpenedFile, Entry]:
            return await opens(), await bed.attributes.get(bed.inode.number)

        filesystem = SimpleNamespace(
            opening=SimpleNamespace(open=opens, create=creates),
            files=bed.files,
            attributes=bed.attributes,
            access=None,
            names=SimpleNamespace(forget=lambda *what: forgotten.append(what)),
            extended_attributes=SimpleNamespace(are_offered=False),
            **dict.fromkeys(("links", "renames", "directories", "space")),
            **dict.fromkeys(("server_copy", "allocation")),
        )
        serve = handlers(cast(FileSystem, filesystem))[opcode]
        layout = "=II" if opcode == Opcode.OPEN else "=II4xI"
        values = (os.O_WRONLY, OPEN_KILL_SUIDGID)
        fields = values if opcode == Opcode.OPEN else (values[0], 0o644, values[1])
        with pytest.raises(TransportError):
            await serve(bed.inode.number, struct.pack(layout, *fields) + b"name\0")
        assert modes.asked == [0o755]
        assert bed.server.handles == 0
        assert forgotten == ([(bed.inode.number, 1)] if opcode == Opcode.CREATE else [])
