"""Asking a server which shares it has. Spec: [MS-SRVS] 3.1.4.8, [MS-SMB2] 3.2.4.20.4."""

from __future__ import annotations

from typing import Final

from smbfs.client.open import Open
from smbfs.client.tree_connect import TreeConnect
from smbfs.errors import RemoteProtocolError, ServerStatusError
from smbfs.wire.create import AccessMask, CreateDisposition, CreateRequest, ShareAccess
from smbfs.wire.ioctl import FsctlCode, IoctlRequest, IoctlResponse
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.read_write import ReadRequest, ReadResponse
from smbfs.wire.rpc import (
    FRAGMENT_SIZE,
    Pdu,
    PduFlags,
    decode_bind_ack,
    decode_fault,
    decode_response,
    encode_bind,
    encode_request,
    pdu_size,
)
from smbfs.wire.srvsvc import (
    INTERFACE,
    INTERFACE_VERSION,
    NETR_SHARE_ENUM,
    PIPE,
    SharedResource,
    decode_share_enum,
    encode_share_enum,
)

ANSWER_MAX: Final = 4 * 1024 * 1024
"""Bytes after which a server has told enough: some twenty thousand shares."""

_CALL: Final = 2
_PIECE: Final = frozenset({NtStatus.STATUS_SUCCESS, NtStatus.STATUS_BUFFER_OVERFLOW})
"""How a pipe answers: with BUFFER_OVERFLOW there is more to read of the same PDU."""

_ACCESS_DENIED: Final = 5
"""The one Win32 error, and RPC fault, that says something of us."""


async def list_shares(tree: TreeConnect, server: str) -> list[SharedResource]:
    """Return the shares of a server, of every kind. ``tree``: its ``IPC$``.

    Raises: ServerStatusError (STATUS_ACCESS_DENIED: not for who we are), RemoteProtocolError,
    TransportError.
    """
    pipe = await tree.create(
        CreateRequest(
            name=PIPE,
            desired_access=AccessMask.READ_DATA | AccessMask.WRITE_DATA,
            share_access=ShareAccess.READ | ShareAccess.WRITE,
            create_disposition=CreateDisposition.OPEN,
        )
    )
    try:
        call = _Call(pipe)
        await call.send(encode_bind(INTERFACE, INTERFACE_VERSION))
        if not decode_bind_ack(await call.receive()):
            raise RemoteProtocolError("the server has no Server Service to ask for its shares")
        await call.send(encode_request(_CALL, NETR_SHARE_ENUM, encode_share_enum(server)))
        shares, status = decode_share_enum(await call.result())
    finally:
        pipe.close_unwaited()
    _check(status)
    return shares


class _Call:
    """One call over a pipe."""

    def __init__(self, pipe: Open) -> None:
        self._pipe = pipe
        self._received = bytearray()

    async def send(self, pdu: bytes) -> None:
        """Write a PDU and read what comes back at once."""
        request = IoctlRequest(
            FsctlCode.PIPE_TRANSCEIVE, self._pipe.file_id, pdu, max_output_response=FRAGMENT_SIZE
        )
        response = await self._pipe.tree.request(request, of=self._pipe, accept=_PIECE)
        self._received += IoctlResponse.decode(response.body).data

    async def receive(self) -> Pdu:
        """Return the next PDU."""
        while len(self._received) < (size := pdu_size(self._received)):
            request = ReadRequest(self._pipe.file_id, 0, FRAGMENT_SIZE)
            response = await self._pipe.tree.request(request, of=self._pipe, accept=_PIECE)
            data = ReadResponse.decode(response.body).data
            if not data:
                raise RemoteProtocolError("the server's answer ends in its middle")
            self._received += data
        pdu = Pdu.decode(memoryview(bytes(self._received[:size])))
        del self._received[:size]
        return pdu

    async def result(self) -> memoryview:
        """Return what the call gives, of however many PDUs."""
        stub = bytearray()
        while len(stub) <= ANSWER_MAX:
            pdu = await self.receive()
            _check(decode_fault(pdu) or 0)
            stub += decode_response(pdu)
            if pdu.flags & PduFlags.LAST_FRAG:
                return memoryview(bytes(stub))
        raise RemoteProtocolError(f"the server's list of shares has more than {ANSWER_MAX} bytes")


def _check(status: int) -> None:
    if status == _ACCESS_DENIED:
        raise ServerStatusError(NtStatus.STATUS_ACCESS_DENIED, "NetrShareEnum")
    if status:
        raise RemoteProtocolError(f"asking for shares ended with the error {status:#x}")
