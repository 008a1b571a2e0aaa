"""Asking for shares: answers in pieces, refusals, and servers that never come to an end."""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from smbfs.client import shares
from smbfs.client.shares import list_shares
from smbfs.client.tree_connect import TreeConnect
from smbfs.errors import RemoteProtocolError, ServerStatusError, WireError
from smbfs.wire.file_id import FileId
from smbfs.wire.ioctl import FsctlCode, IoctlRequest, IoctlResponse
from smbfs.wire.message import Message
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.read_write import ReadResponse
from smbfs.wire.rpc import PduFlags, PduType, encode_pdu
from smbfs.wire.srvsvc import SharedResource, ShareTypeFlags
from tests.t0_wire.test_rpc import ACCEPTED, WHOLE, share_enum

FOUND = [SharedResource(f"share-{n}", 0, ShareTypeFlags(0), "remark") for n in range(40)]
BOUND = encode_pdu(PduType.BIND_ACK, WHOLE, 1, ACCEPTED)


def answer(stub: bytes, *, fragment: int = 1 << 20) -> bytes:
    """Return the PDUs that a stub comes in."""
    pieces = [stub[at : at + fragment] for at in range(0, len(stub), fragment)]
    flags = [PduFlags(0)] * len(pieces)
    flags[0] |= PduFlags.FIRST_FRAG
    flags[-1] |= PduFlags.LAST_FRAG
    pdus = zip(flags, pieces, strict=True)
    return b"".join(encode_pdu(PduType.RESPONSE, f, 2, bytes(8) + p) for f, p in pdus)


class Pipe:
    """The tree and its one pipe, which tells what it has in pieces."""

    def __init__(self, *answers: bytes, piece: int = 1 << 20) -> None:
        self._answers = list(answers)
        self._piece = piece
        self._waiting = b""
        self.file_id = FileId(1, 2)
        self.tree = self
        self.closed = 0

    async def create(self, request: Message) -> Pipe:
        del request
        return self

    async def request(
        self, message: Message, *, of: Pipe, accept: frozenset[int]
    ) -> SimpleNamespace:
        assert of is self
        assert NtStatus.STATUS_BUFFER_OVERFLOW in accept
        if isinstance(message, IoctlRequest):
            self._waiting += self._answers.pop(0)
        data, self._waiting = self._waiting[: self._piece], self._waiting[self._piece :]
        view = memoryview(data)
        if isinstance(message, IoctlRequest):
            body = IoctlResponse(FsctlCode.PIPE_TRANSCEIVE, self.file_id, view).encode()
        else:
            body = ReadResponse(view).encode()
        return SimpleNamespace(body=memoryview(body))

    def close_unwaited(self) -> None:
        self.closed += 1

    async def list(self) -> list[SharedResource]:
        try:
            return await list_shares(cast(TreeConnect, self), "nas")
        finally:
            assert self.closed == 1


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("fragment", [11, 1000, 1 << 20])
async def test_an_answer_comes_in_any_pieces(piece: int, fragment: int) -> None:
    pipe = Pipe(BOUND, answer(share_enum(FOUND), fragment=fragment), piece=piece)
    assert await pipe.list() == FOUND


def fault(status: int) -> bytes:
    return encode_pdu(PduType.FAULT, WHOLE, 2, bytes(8) + struct.pack("<I", status))


@pytest.mark.parametrize("told", [fault(5), answer(share_enum([], 5))], ids=["fault", "status"])
async def test_who_may_not_ask(told: bytes) -> None:
    with pytest.raises(ServerStatusError) as raised:
        await Pipe(BOUND, told).list()
    assert raised.value.status == NtStatus.STATUS_ACCESS_DENIED


@pytest.mark.parametrize(
    "answers",
    [
        (encode_pdu(PduType.BIND_NAK, WHOLE, 1, b"\0\0"),),
        (BOUND, fault(0x1C01_0002)),
        (BOUND, answer(share_enum([], 124))),
        (BOUND, answer(share_enum(FOUND))[:-1]),
        (BOUND[:-5],),
    ],
    ids=["no such interface", "fault", "status", "cut off", "cut off at once"],
)
async def test_what_else_goes_wrong(answers: tuple[bytes, ...]) -> None:
    with pytest.raises(RemoteProtocolError):
        await Pipe(*answers).list()


@pytest.mark.parametrize("change", [lambda pdu: b"\4" + pdu[1:], lambda _pdu: bytes(500)])
async def test_what_is_no_answer(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(WireError):
        await Pipe(BOUND, change(answer(share_enum(FOUND)))).list()


async def test_a_server_that_never_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "ANSWER_MAX", 1000)
    endless = encode_pdu(PduType.RESPONSE, PduFlags(0), 2, bytes(100))
    with pytest.raises(RemoteProtocolError, match="more than 1000"):
        await Pipe(BOUND, endless * 20).list()
