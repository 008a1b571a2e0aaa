"""Times of what its owner has made read-only: its mode is given back whatever happens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from smbfs.client.open import Open
from smbfs.errors import HandleLost, ServerStatusError, SmbfsError, TransportError
from smbfs.vfs import permissions
from smbfs.vfs.share import Share
from smbfs.wire.file_id import FileId
from smbfs.wire.info import SetInfoRequest
from smbfs.wire.mode_descriptor import encode_mode_descriptor
from smbfs.wire.ntstatus import NtStatus

DENIED = ServerStatusError(NtStatus.STATUS_ACCESS_DENIED, "CREATE")
LOST = TransportError("the connection was lost")


class File:
    """A file of mode 0444 on a server that grants WRITE_ATTRIBUTES with a ``w`` bit alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failure: SmbfsError | None) -> None:
        self.mode = 0o444
        self.modes: list[int] = []
        self.is_open = self.is_lost = False
        self.failure = failure
        """What comes of the times once there is such a bit."""
        tree = SimpleNamespace(request=self._request)
        share = SimpleNamespace(
            posix=True,
            tree=tree,
            create=self._open,
            stat_open=self._stat,
            create_request=lambda *_, **__: None,
        )
        self.share = cast(Share, share)
        monkeypatch.setattr(permissions, "set_attributes", self._set_attributes)
        monkeypatch.setattr(permissions, "set_mode", self._set_mode)

    async def set_times(self) -> None:
        await permissions.set_times(self.share, "file", 1, 1)

    async def _open(self, _create: object) -> Open:
        self.is_open = True
        return cast(Open, SimpleNamespace(file_id=FileId.RELATED, close_unwaited=self._close))

    def _close(self) -> None:
        self.is_open = False

    async def _stat(self, _file: Open) -> SimpleNamespace:
        return SimpleNamespace(mode=0o100000 | self.mode)

    async def _request(self, change: SetInfoRequest, *, of: Open) -> None:
        del of
        if self.is_lost:
            raise HandleLost("the server has forgotten it")
        known = {encode_mode_descriptor(mode): mode for mode in (0o444, 0o644)}
        self._note(known[bytes(change.data)])

    async def _set_mode(self, _share: Share, _path: str, mode: int) -> None:
        self._note(mode)

    def _note(self, mode: int) -> None:
        self.mode = mode
        self.modes.append(mode)

    async def _set_attributes(self, *_: object, **__: object) -> None:
        if not self.mode & 0o200:
            raise DENIED
        if self.failure is not None:
            self.is_lost = self.failure is LOST
            raise self.failure


@pytest.mark.parametrize("failure", [None, DENIED, LOST], ids=["no failure", "denied", "lost"])
async def test_the_mode_is_given_back(
    monkeypatch: pytest.MonkeyPatch, failure: SmbfsError | None
) -> None:
    file = File(monkeypatch, failure)
    if failure is None:
        await file.set_times()
    else:
        with pytest.raises(type(failure)) as caught:
            await file.set_times()
        assert caught.value is failure
    assert file.modes == [0o644, 0o444]
    assert not file.is_open


async def test_who_may_write_is_refused_for_another_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = File(monkeypatch, DENIED)
    file.mode = 0o644
    with pytest.raises(ServerStatusError) as caught:
        await file.set_times()
    assert caught.value is DENIED
    assert file.modes == []
    assert not file.is_open
