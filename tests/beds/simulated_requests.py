"""What a simulated server does with requests about files.

Spec: [MS-SMB2] 3.3.5.10 and on; CREATE is in ``simulated_creates``.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from smbfs.wire.close_flush import (
    CloseFlags,
    CloseRequest,
    CloseResponse,
    FlushRequest,
    FlushResponse,
)
from smbfs.wire.create import (
    CreateDisposition,
)
from smbfs.wire.create_contexts import (
    LeaseState,
)
from smbfs.wire.file_id import FileId
from smbfs.wire.header import Command, Header, HeaderFlags
from smbfs.wire.info import (
    FileInfoClass,
    InfoType,
    QueryInfoRequest,
    QueryInfoResponse,
    SetInfoRequest,
    SetInfoResponse,
)
from smbfs.wire.ioctl import FsctlCode, IoctlRequest, IoctlResponse
from smbfs.wire.ioctl_payloads import (
    InterfaceCapability,
    NetworkInterfaceInfo,
    encode_network_interfaces,
)
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.oplock_break import LeaseBreakAcknowledgment, LeaseBreakResponse
from smbfs.wire.query_directory import (
    QueryDirectoryFlags,
    QueryDirectoryRequest,
    QueryDirectoryResponse,
)
from smbfs.wire.read_write import ReadRequest, ReadResponse, WriteRequest, WriteResponse
from tests.beds.simulated_creates import Creates, Related, Reply
from tests.beds.simulated_leases import NOTHING, ServerOpen

if TYPE_CHECKING:
    from tests.beds.simulated_server import SimulatedServer
    from tests.beds.simulated_sessions import ServerSession

ADDRESSES = (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"))
"""The server's."""


_OVERWRITES = frozenset(
    {
        CreateDisposition.SUPERSEDE,
        CreateDisposition.OVERWRITE,
        CreateDisposition.OVERWRITE_IF,
    }
)
_OK = NtStatus.STATUS_SUCCESS


class FileRequests:
    """The requests of a session that are about files."""

    def __init__(self, server: SimulatedServer) -> None:
        self._server = server
        self._creates = Creates(server)

    def answer(
        self, session: ServerSession, header: Header, body: memoryview, related: Related
    ) -> Reply:
        """Execute one request."""
        if (header.status - session.sequence) % 0x10000 < 0x8000:
            session.sequence = header.status
        if header.command == Command.CREATE:
            related.open = None
            related.status, created = self._creates.create(session, header, body, related)
            return related.status, created
        if header.command == Command.OPLOCK_BREAK:
            return self._acknowledge(body)
        if header.command == Command.IOCTL:
            return self._tell_interfaces(body)
        if header.command not in _HANDLERS:
            return NtStatus.STATUS_NOT_SUPPORTED, None
        return self._answer_about_open(session, header, body, related)

    def _answer_about_open(
        self, session: ServerSession, header: Header, body: memoryview, related: Related
    ) -> Reply:
        decode, handle = _HANDLERS[header.command]
        request = decode(body)
        if header.flags & HeaderFlags.RELATED_OPERATIONS and request.file_id == FileId.RELATED:
            if related.open is None:
                return related.status or NtStatus.STATUS_INVALID_PARAMETER, None
            open_ = related.open
        else:
            found = self._server.find(session, request.file_id)
            if found is None:
                self._complain(session, header, request.file_id)
                return NtStatus.STATUS_FILE_CLOSED, None
            open_ = related.open = found
        if not self._is_of_this_channel(open_, header):
            if header.status == session.sequence:
                self._server.violations.append(f"{header.command.name} counts channels anew")
            return NtStatus.STATUS_FILE_NOT_AVAILABLE, None
        return handle(self, open_, request)

    @staticmethod
    def _tell_interfaces(body: memoryview) -> Reply:
        request = IoctlRequest.decode(body)
        if request.control_code != FsctlCode.QUERY_NETWORK_INTERFACE_INFO:
            return NtStatus.STATUS_NOT_SUPPORTED, None
        interfaces = [
            NetworkInterfaceInfo(index, InterfaceCapability(0), 10**9, address)
            for index, address in enumerate(ADDRESSES)
        ]
        told = memoryview(encode_network_interfaces(interfaces))
        return _OK, IoctlResponse(request.control_code, request.file_id, told)

    def _complain(self, session: ServerSession, header: Header, file_id: FileId) -> None:
        """No client asks about an open that its session does not have."""
        was_closed = file_id.volatile in session.closed
        is_repeated = header.command == Command.CLOSE  # Nobody may have heard the answer.
        is_late = (session.sequence - header.status) % 0x10000 in range(1, 0x8000)
        # A file may be cut by the handle of another program, which closes it just then.
        is_harmless = header.command in (Command.QUERY_INFO, Command.SET_INFO)
        if not (was_closed and (is_repeated or is_late or is_harmless)):
            self._server.violations.append(
                f"{header.command.name} of {file_id}, which session {session.session_id:#x} has not"
            )

    @staticmethod
    def _is_of_this_channel(open_: ServerOpen, header: Header) -> bool:
        """Whether a request was sent after the client noticed a lost channel. Spec: 3.3.5.2.10."""
        ahead = (header.status - open_.channel_sequence) % 0x10000
        if ahead < 0x8000:
            open_.channel_sequence = header.status & 0xFFFF
            return True
        return header.command not in (Command.WRITE, Command.SET_INFO, Command.IOCTL)

    # ------------------------------------------------------------- the others

    def _acknowledge(self, body: memoryview) -> Reply:
        request = LeaseBreakAcknowledgment.decode(body)
        if not self._server.leases.acknowledge(request.lease_key, request.lease_state):
            return NtStatus.STATUS_INVALID_PARAMETER, None
        return _OK, LeaseBreakResponse(request.lease_key, request.lease_state)

    def _close(self, open_: ServerOpen, request: CloseRequest) -> Reply:
        self._server.leases.close(open_)
        node = open_.node
        if not request.flags & CloseFlags.POSTQUERY_ATTRIB:
            return _OK, CloseResponse()
        size, changed = len(node.data), node.changed
        told = CloseResponse(
            request.flags, node.created, changed, changed, changed, size, size, node.attributes
        )
        return _OK, told

    def _flush(self, open_: ServerOpen, _request: FlushRequest) -> Reply:
        self._server.files.flush(open_.node)
        return _OK, FlushResponse()

    def _read(self, open_: ServerOpen, request: ReadRequest) -> Reply:
        data = bytes(open_.node.data[request.offset : request.offset + request.length])
        if not data:
            return NtStatus.STATUS_END_OF_FILE, None
        return _OK, ReadResponse(memoryview(data))

    def _write(self, open_: ServerOpen, request: WriteRequest) -> Reply:
        key = open_.lease.key if open_.lease is not None else None
        self._server.leases.hinders(open_.node, NOTHING, key)
        self._server.files.write(open_.node, request.offset, bytes(request.data))
        return _OK, WriteResponse(len(request.data))

    def _query_info(self, open_: ServerOpen, request: QueryInfoRequest) -> Reply:
        if request.info_type != InfoType.FILE or request.info_class != FileInfoClass.ALL:
            return NtStatus.STATUS_NOT_SUPPORTED, None
        told = self._server.files.all_information(open_.node)
        return _OK, QueryInfoResponse(memoryview(told))

    def _query_directory(self, open_: ServerOpen, request: QueryDirectoryRequest) -> Reply:
        if request.info_class != FileInfoClass.ID_FULL_DIRECTORY:
            return NtStatus.STATUS_INVALID_INFO_CLASS, None
        if request.flags & QueryDirectoryFlags.RESTART_SCANS:
            open_.was_listed = False
        if open_.was_listed:
            return NtStatus.STATUS_NO_MORE_FILES, None
        open_.was_listed = True
        return _OK, QueryDirectoryResponse(memoryview(self._server.files.listing()))

    def _set_info(self, open_: ServerOpen, request: SetInfoRequest) -> Reply:
        node, files, data = open_.node, self._server.files, bytes(request.data)
        key = open_.lease.key if open_.lease is not None else None
        match request.info_class:
            case FileInfoClass.END_OF_FILE:
                self._server.leases.hinders(node, NOTHING, key)
                files.cut(node, int.from_bytes(data[:8], "little"))
            case FileInfoClass.BASIC:
                node.changed = files.time()
            case FileInfoClass.DISPOSITION:
                open_.is_deleting = bool(data[0])
                node.is_going = open_.is_deleting
                self._server.leases.hinders(node, ~LeaseState.HANDLE_CACHING, key)
                self._creates.directory_changes(open_.parent_key)
            case FileInfoClass.DISPOSITION_EX if self._server.settings.posix_semantics:
                self._server.name_changes += 1
                self._server.leases.hinders(node, ~LeaseState.HANDLE_CACHING, key)
                self._creates.directory_changes(open_.parent_key)
                files.unlink(node)
            case FileInfoClass.RENAME:
                return self._rename(open_, data, is_posix=False)
            case FileInfoClass.RENAME_EX if self._server.settings.posix_semantics:
                return self._rename(open_, data, is_posix=True)
            case _:
                return NtStatus.STATUS_INVALID_INFO_CLASS, None
        return _OK, SetInfoResponse()

    def _rename(self, open_: ServerOpen, data: bytes, *, is_posix: bool) -> Reply:
        """Spec: [MS-FSCC] 2.4.42, 2.4.43."""
        replaces = bool(data[0] & 1)
        length = int.from_bytes(data[16:20], "little")
        name = data[20 : 20 + length].decode("utf-16-le")
        server, node = self._server, open_.node
        target = server.files.names.get(name)
        if target is not None and target is not node:
            if not replaces:
                return NtStatus.STATUS_OBJECT_NAME_COLLISION, None
            if not is_posix and any(each.node is target for each in server.leases.opens):
                return NtStatus.STATUS_ACCESS_DENIED, None
            server.leases.hinders(target, ~LeaseState.HANDLE_CACHING, None)
        key = open_.lease.key if open_.lease is not None else None
        server.leases.hinders(node, ~LeaseState.HANDLE_CACHING, key)
        self._creates.directory_changes(open_.parent_key)
        if node.name is None:
            return NtStatus.STATUS_DELETE_PENDING, None
        server.name_changes += 1
        server.files.rename(node, name)
        return _OK, SetInfoResponse()


_HANDLERS: dict[Command, tuple[Callable[[memoryview], Any], Callable[..., Reply]]] = {
    Command.CLOSE: (CloseRequest.decode, FileRequests._close),
    Command.FLUSH: (FlushRequest.decode, FileRequests._flush),
    Command.READ: (ReadRequest.decode, FileRequests._read),
    Command.WRITE: (WriteRequest.decode, FileRequests._write),
    Command.QUERY_INFO: (QueryInfoRequest.decode, FileRequests._query_info),
    Command.SET_INFO: (SetInfoRequest.decode, FileRequests._set_info),
    Command.QUERY_DIRECTORY: (QueryDirectoryRequest.decode, FileRequests._query_directory),
}
