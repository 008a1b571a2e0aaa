"""Asking where a file has room, of a server that tells odd things."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import cast

import pytest

from smbfs.client.open import Open
from smbfs.client.sparse import allocated_ranges
from smbfs.errors import ServerStatusError, WireError
from smbfs.wire.file_id import FileId
from smbfs.wire.ioctl import FsctlCode, IoctlRequest, IoctlResponse
from smbfs.wire.ntstatus import NtStatus

KIB = 1024


class Server:
    """Answers as many ranges as there is room for, or refuses."""

    def __init__(
        self, told: bytes, *, room: int = 64 * KIB, status: NtStatus | None = None
    ) -> None:
        self._told, self._room, self._status = told, room, status
        self.asked: list[tuple[int, ...]] = []
        file = SimpleNamespace(tree=self, file_id=FileId(1, 2))
        self.file = cast(Open, file)

    async def request(self, request: IoctlRequest, *, of: Open) -> SimpleNamespace:
        assert of is self.file
        self.asked.append(struct.unpack("<QQ", request.data))
        if self._status is not None and self.asked[-1][1] > self._room:
            raise ServerStatusError(self._status, "IOCTL")
        code = FsctlCode.QUERY_ALLOCATED_RANGES
        body = IoctlResponse(code, request.file_id, memoryview(self._told)).encode()
        return SimpleNamespace(body=memoryview(body))


async def test_ranges_come_in_order() -> None:
    server = Server(struct.pack("<4Q", 70, 10, 20, 30))
    assert await allocated_ranges(server.file, 5, 100) == ([(20, 50), (70, 80)], 100)
    assert server.asked == [(5, 95)]


@pytest.mark.parametrize(
    "status", [NtStatus.STATUS_BUFFER_TOO_SMALL, NtStatus.STATUS_BUFFER_OVERFLOW]
)
async def test_more_ranges_than_fit_are_told_up_to_somewhere(status: NtStatus) -> None:
    server = Server(b"", room=30, status=status)
    assert await allocated_ranges(server.file, 1000, 1100) == ([], 1025)
    assert server.asked == [(1000, 100), (1000, 50), (1000, 25)]


@pytest.mark.parametrize(
    "status", [NtStatus.STATUS_BUFFER_TOO_SMALL, NtStatus.STATUS_INVALID_DEVICE_REQUEST]
)
async def test_a_server_that_tells_nothing_is_not_asked_for_ever(status: NtStatus) -> None:
    server = Server(b"", room=0, status=status)
    with pytest.raises(ServerStatusError):
        await allocated_ranges(server.file, 0, 1 << 60)
    assert len(server.asked) <= 61


async def test_half_a_range() -> None:
    with pytest.raises(WireError):
        await allocated_ranges(Server(bytes(24)).file, 0, 100)
