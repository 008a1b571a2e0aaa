"""Asking for snapshots, of servers that have many or none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from smbfs.client import snapshots
from smbfs.client.snapshots import list_snapshots
from smbfs.client.tree_connect import TreeConnect
from smbfs.errors import ServerStatusError
from smbfs.wire.create import CreateRequest
from smbfs.wire.file_id import FileId
from smbfs.wire.ioctl import FsctlCode, IoctlRequest, IoctlResponse
from smbfs.wire.ntstatus import NtStatus
from tests.t0_wire.test_ioctl_payloads import SNAPSHOTS, snapshots_answer


class Server:
    """One folder, and how it answers."""

    def __init__(self, status: NtStatus | None = None) -> None:
        self._status = status
        self.tree = self
        self.file_id = FileId(1, 2)
        self.max_transact_size = 1000
        self.asked: list[int] = []
        self.opened: list[str] = []

    async def create(self, request: CreateRequest) -> Server:
        self.opened.append(request.name)
        return self

    async def request(self, request: IoctlRequest, *, of: Server) -> SimpleNamespace:
        assert of is self
        assert request.control_code == FsctlCode.SRV_ENUMERATE_SNAPSHOTS
        self.asked.append(request.max_output_response)
        if self._status is not None:
            raise ServerStatusError(self._status, "IOCTL")
        data = memoryview(snapshots_answer(SNAPSHOTS, self.asked[-1]))
        body = IoctlResponse(request.control_code, self.file_id, data).encode()
        return SimpleNamespace(body=memoryview(body))

    def close_unwaited(self) -> None:
        self.opened.pop()

    async def list(self) -> tuple[str, ...]:
        try:
            return await list_snapshots(cast(TreeConnect, self), "folder")
        finally:
            assert not self.opened


async def test_more_than_there_was_room_for_are_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server()
    assert await server.list() == SNAPSHOTS
    monkeypatch.setattr(snapshots, "_ANSWER_SIZE", 50)
    assert await server.list() == SNAPSHOTS
    assert server.asked == [64 * 1024, 50, len(snapshots_answer(SNAPSHOTS))]


async def test_who_tells_of_more_than_can_be_asked_for_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server()
    monkeypatch.setattr(snapshots, "_ANSWER_SIZE", 50)
    server.max_transact_size = 60
    assert await server.list() == ()
    assert server.asked == [50, 60]


async def test_a_server_without_snapshots() -> None:
    assert await Server(NtStatus.STATUS_INVALID_DEVICE_REQUEST).list() == ()
    with pytest.raises(ServerStatusError):
        await Server(NtStatus.STATUS_ACCESS_DENIED).list()
