"""An open file or directory of the server.

Spec: [MS-SMB2] 3.2.1.6 (Open), 3.2.4.5 to 3.2.4.14.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from smbfs.client.answers import SUCCESS, answer
from smbfs.errors import DeadlineExceeded, HandleLost, RemoteProtocolError, TransportError
from smbfs.wire.change_notify import ChangeNotifyFlags, ChangeNotifyRequest, ChangeNotifyResponse
from smbfs.wire.close_flush import CloseFlags, CloseRequest, CloseResponse, FlushRequest
from smbfs.wire.create import CreateResponse, FileId
from smbfs.wire.create_contexts import PosixCreateResponse
from smbfs.wire.info import (
    InfoType,
    QueryInfoRequest,
    QueryInfoResponse,
    SetInfoRequest,
)
from smbfs.wire.message import Buffer, Message
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.query_directory import (
    QueryDirectoryFlags,
    QueryDirectoryRequest,
    QueryDirectoryResponse,
)
from smbfs.wire.read_write import ReadRequest, ReadResponse, WriteRequest, WriteResponse

if TYPE_CHECKING:
    from smbfs.client.durable import DurableRequest
    from smbfs.client.tree_connect import TreeConnect
    from smbfs.engine.exchange import Exchange, Response
    from smbfs.engine.leases import Lease

READ_STATUSES = frozenset({NtStatus.STATUS_SUCCESS, NtStatus.STATUS_END_OF_FILE})
"""How a READ may end well: at the end of the file there is nothing."""

_LIST_STATUSES = frozenset({NtStatus.STATUS_SUCCESS, NtStatus.STATUS_NO_MORE_FILES})
_CLOSED = frozenset({NtStatus.STATUS_SUCCESS, NtStatus.STATUS_FILE_CLOSED})
"""How a CLOSE may end well: it may be there twice, when nobody knows what became of the first."""

_NOTHING = memoryview(b"")
_SMALL_FRAME = 64 * 1024
"""Bytes of an answer that may be kept alive by however little of it."""


class Open:
    """What a successful CREATE gave us. Close it once; every verb raises ServerStatusError."""

    __slots__ = (
        "access",
        "created",
        "durable",
        "epoch",
        "file_id",
        "is_lost",
        "is_posix",
        "lease",
        "tree",
    )

    def __init__(
        self,
        tree: TreeConnect,
        created: CreateResponse,
        *,
        access: int = 0,
        lease: Lease | None = None,
    ) -> None:
        """``access``: what was asked for, and so is allowed (AccessMask)."""
        self.tree = tree
        self.created = created
        self.file_id = created.file_id
        self.access = access
        self.lease = lease
        """The lease that it shares with other opens of the file, if it was opened with one."""
        self.durable: DurableRequest | None = None
        """What the server has granted: it keeps the open for us when the connection is lost."""
        self.epoch = tree.line.epoch
        """The session that it is of (``Lifeline.epoch``)."""
        self.is_posix = created.context(PosixCreateResponse) is not None
        """Whether the server takes it for a POSIX open."""
        self.is_lost = False
        """Whether it is gone for good: closed, or not brought into the session that we have."""

    @property
    def is_vouched_for(self) -> bool:
        """Whether a lease says that nobody else has changed the contents."""
        return self.lease is not None and self.lease.may_read

    @property
    def is_known(self) -> bool:
        """Whether the session that we have now knows it."""
        return not self.is_lost and self.epoch == self.tree.line.epoch

    def addressed(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Return requests about this open as the server knows it now. Raises: HandleLost."""
        if not self.is_known:
            raise HandleLost("the server has forgotten an open file")
        if getattr(messages[0], "file_id", self.file_id) == self.file_id:
            return messages
        return (replace(messages[0], file_id=self.file_id), *messages[1:])  # type: ignore[type-var]

    def revive(self, created: CreateResponse, epoch: int) -> None:
        """The session ``epoch`` has it, under another id."""
        self.file_id = created.file_id
        self.is_posix = created.context(PosixCreateResponse) is not None
        self.epoch = epoch

    def lose(self) -> None:
        """It is gone, and never comes back."""
        self.is_lost = True
        self.leave_lease()

    async def _request(self, message: Message, *, accept: Container[int] = SUCCESS) -> Response:
        return await self.tree.request(message, of=self, accept=accept)

    async def read(self, offset: int, length: int) -> memoryview:
        """Return up to ``length`` bytes from ``offset``; nothing at the end of the file.

        ``length`` is at most ``tree.max_read_size``. The view is of the received frame, unless
        that is large and mostly something else: whoever keeps the data must not keep that.
        Spec: [MS-SMB2] 3.2.4.6.
        """
        request = ReadRequest(self.file_id, offset, length)
        return self.data_of(await self._request(request, accept=READ_STATUSES), length)

    def data_of(self, response: Response, length: int) -> memoryview:
        """Return what a READ of ``length`` bytes was answered. Raises: RemoteProtocolError."""
        if response.header.status == NtStatus.STATUS_END_OF_FILE:
            return _NOTHING
        data = ReadResponse.decode(response.body).data
        if len(data) > length:
            raise RemoteProtocolError(f"READ of {length} bytes answered with {len(data)}")
        self.tree.line.counters.read_bytes += len(data)
        if len(response.body) > _SMALL_FRAME and len(data) * 2 < len(response.body):
            return memoryview(bytes(data))
        return data

    async def write(self, offset: int, data: Buffer, *, patient: bool = False) -> int:
        """Write ``data`` (at most ``tree.max_write_size`` bytes), return how much was taken.

        ``data`` must not change until the answer is here; ``patient``: no program waits for that.
        Spec: [MS-SMB2] 3.2.4.7.
        """
        request = WriteRequest(self.file_id, offset, data)
        response = answer(await self.tree.perform(request, of=self, patient=patient))
        count = WriteResponse.decode(response.body).count
        if count > len(data):
            raise RemoteProtocolError(f"WRITE of {len(data)} bytes answered with {count}")
        self.tree.line.counters.written_bytes += count
        return count

    async def flush(self, query: Message) -> memoryview | None:
        """Return when the server has the file on stable storage, and what it answers to ``query``.

        None if that went wrong; it is a request about the same file (``FileId.RELATED``).
        Spec: [MS-SMB2] 3.2.4.8.
        """
        exchange = await self.tree.perform(FlushRequest(self.file_id), query, of=self)
        answer(exchange)
        told = exchange.response(1)
        return told.body if told.header.status == NtStatus.STATUS_SUCCESS else None

    async def close(self) -> None:
        """Give the handle back, if the server still has it. Spec: [MS-SMB2] 3.2.4.5."""
        with _closing(self), suppress(HandleLost):
            await self._request(CloseRequest(self.file_id), accept=_CLOSED)

    async def close_and_query(self) -> CloseResponse | None:
        """Give the handle back and return what the file is then.

        None if the server does not tell, or if somebody else may have written to it, too.
        """
        request = CloseRequest(self.file_id, CloseFlags.POSTQUERY_ATTRIB)
        try:
            with _closing(self):
                response = await self._request(request, accept=_CLOSED)
                is_leased = self.lease is not None and self.lease.may_read
        except HandleLost:
            return None
        if response.header.status != NtStatus.STATUS_SUCCESS:
            return None
        told = CloseResponse.decode(response.body)
        return told if is_leased and told.flags & CloseFlags.POSTQUERY_ATTRIB else None

    def close_unwaited(self) -> None:
        """Give the handle back without waiting for the answer, which says nothing new."""
        self.leave_lease()
        if self.is_known:
            self.tree.send(CloseRequest(self.file_id))
        self.is_lost = True

    def leave_lease(self) -> None:
        """Nobody tells this open any more what others do."""
        lease, self.lease = self.lease, None
        if lease is not None:
            self.tree.leases.closed(lease)

    async def query_info(
        self,
        info_type: InfoType,
        info_class: int,
        *,
        length: int = 65536,
        additional_information: int = 0,
        input_buffer: bytes = b"",
    ) -> memoryview:
        """Return an information class of at most ``length`` bytes. Spec: [MS-SMB2] 3.2.4.9."""
        request = QueryInfoRequest(
            self.file_id,
            info_type,
            info_class,
            output_buffer_length=length,
            additional_information=additional_information,
            input_buffer=input_buffer,
        )
        response = await self._request(request)
        return QueryInfoResponse.decode(response.body).data

    async def set_info(
        self,
        info_type: InfoType,
        info_class: int,
        data: Buffer,
        *,
        additional_information: int = 0,
    ) -> None:
        """Set an information class. Spec: [MS-SMB2] 3.2.4.10."""
        request = SetInfoRequest(
            self.file_id,
            info_type,
            info_class,
            data,
            additional_information=additional_information,
        )
        await self._request(request)

    async def list_again(self, info_class: int, *, length: int) -> tuple[list[memoryview], bool]:
        """Begin the listing anew, in one round trip.

        Return up to two pieces of it, of at most ``length`` bytes, and whether that is all. What
        goes wrong is left to who goes on with the listing.
        """
        query = QueryDirectoryRequest(
            self.file_id,
            info_class,
            "*",
            output_buffer_length=length,
            flags=QueryDirectoryFlags.RESTART_SCANS,
        )
        more = replace(query, file_id=FileId.RELATED, flags=QueryDirectoryFlags(0))
        return listed(await self.tree.perform(query, more, of=self), 0)

    async def query_directory(
        self, info_class: int, pattern: str = "*", *, restart: bool = False
    ) -> memoryview | None:
        """Return the next piece of the listing, or None at its end.

        Spec: [MS-SMB2] 3.2.4.17.
        """
        request = QueryDirectoryRequest(
            self.file_id,
            info_class,
            pattern,
            output_buffer_length=self.tree.max_transact_size,
            flags=QueryDirectoryFlags.RESTART_SCANS if restart else QueryDirectoryFlags(0),
        )
        response = await self._request(request, accept=_LIST_STATUSES)
        if response.header.status == NtStatus.STATUS_NO_MORE_FILES:
            return None
        return QueryDirectoryResponse.decode(response.body).data

    async def change_notify(
        self, completion_filter: int, *, watch_tree: bool = False
    ) -> memoryview:
        """Wait until something in this directory changes, and return what.

        Spec: [MS-SMB2] 3.2.4.18.
        """
        request = ChangeNotifyRequest(
            self.file_id,
            completion_filter,
            flags=ChangeNotifyFlags.WATCH_TREE if watch_tree else 0,
        )
        response = await self._request(request)
        return ChangeNotifyResponse.decode(response.body).data


@contextmanager
def _closing(file: Open) -> Iterator[None]:
    """The block has the server close a file. Until then a break concerns us."""
    try:
        yield
    except (TransportError, DeadlineExceeded):
        file.close_unwaited()  # It may be there yet when the server is.
        raise
    finally:
        file.lose()


def listed(exchange: Exchange, first: int) -> tuple[list[memoryview], bool]:
    """Return what the QUERY_DIRECTORYs from ``first`` on were answered, and whether that is all.

    What goes wrong is left to who goes on with the listing.
    """
    pieces: list[memoryview] = []
    for index in range(first, len(exchange.requests)):
        response = exchange.response(index)
        if response.header.status != NtStatus.STATUS_SUCCESS:
            return pieces, response.header.status == NtStatus.STATUS_NO_MORE_FILES
        pieces.append(QueryDirectoryResponse.decode(response.body).data)
    return pieces, False
