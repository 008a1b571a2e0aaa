"""Measuring a share, on a server whose speed is known, on a virtual clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import trio
import trio.testing

from smbfs.client import speed
from smbfs.client.speed import AT_ONCE, LASTS_S, measure
from smbfs.client.tree_connect import TreeConnect
from smbfs.errors import ServerStatusError
from smbfs.wire.create import CreateOptions, CreateRequest
from smbfs.wire.message import Buffer, Message
from smbfs.wire.ntstatus import NtStatus

PIECE = 1000
WRITE_S, READ_S, ASK_S, FLUSH_S = 0.1, 0.05, 0.002, 0.3


class Server:
    """The tree, and the file that is made in it."""

    def __init__(self) -> None:
        self.tree = self
        self.file_id = (1, 2)
        self.max_write_size = self.max_read_size = PIECE
        self.made: list[CreateRequest] = []
        self.written: dict[int, int] = {}
        self.read_from: list[int] = []
        self.busy = self.most = 0
        self.closed = 0
        self.failure: ServerStatusError | None = None

    async def create(self, request: CreateRequest) -> Server:
        self.made.append(request)
        return self

    async def _take(self, seconds: float) -> None:
        self.busy += 1
        self.most = max(self.most, self.busy)
        await trio.sleep(seconds)
        self.busy -= 1

    async def write(self, offset: int, data: Buffer) -> int:
        if self.failure is not None:
            raise self.failure
        await self._take(WRITE_S)
        self.written[offset] = len(data)
        return len(data)

    async def request(self, message: Message, *, of: Server) -> SimpleNamespace:
        del message
        assert of is self
        await trio.sleep(FLUSH_S)
        return SimpleNamespace()

    async def read(self, offset: int, length: int) -> bytes:
        await self._take(READ_S)
        self.read_from.append(offset)
        return bytes(length)

    async def query_info(self, *_: object) -> bytes:
        await trio.sleep(ASK_S)
        return b""

    async def close(self) -> None:
        self.closed += 1


async def test_what_is_measured_is_what_the_server_takes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    found = await measure(cast(TreeConnect, server), "folder")
    pieces = round(LASTS_S / WRITE_S) * AT_ONCE
    assert sorted(server.written) == [PIECE * n for n in range(pieces)]
    assert sorted(server.read_from) == sorted(server.written)
    assert server.most == AT_ONCE
    assert found.written_per_s == pytest.approx(pieces * PIECE / (LASTS_S + FLUSH_S))
    assert found.read_per_s == pytest.approx(AT_ONCE * PIECE / READ_S)
    assert found.round_trip_s == pytest.approx(ASK_S)


async def test_the_file_goes(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "SIZE_MAX", 5 * PIECE)
    for folder, path in (("", ".smbfs-bench-"), ("folder", "folder\\.smbfs-bench-")):
        server = Server()
        await measure(cast(TreeConnect, server), folder)
        assert len(server.written) == 5
        (made,) = server.made
        assert made.name.startswith(path)
        assert made.create_options & CreateOptions.DELETE_ON_CLOSE
        assert server.closed == 1


async def test_the_file_goes_also_if_the_server_fails(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    server.failure = ServerStatusError(NtStatus.STATUS_DISK_FULL, "WRITE")
    with pytest.raises(ExceptionGroup):
        await measure(cast(TreeConnect, server), "")
    assert server.closed == 1
