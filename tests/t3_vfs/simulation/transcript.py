"""A run's frames, as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from smbfs.errors import WireError
from smbfs.wire.close_flush import CloseRequest, FlushRequest
from smbfs.wire.create import CreateRequest, CreateResponse
from smbfs.wire.header import HEADER_SIZE, Command, Header, HeaderFlags
from smbfs.wire.info import QueryInfoRequest, SetInfoRequest
from smbfs.wire.message import Message
from smbfs.wire.ntstatus import NtStatus, status_name
from smbfs.wire.oplock_break import LeaseBreakAcknowledgment, LeaseBreakNotification
from smbfs.wire.query_directory import QueryDirectoryRequest
from smbfs.wire.read_write import ReadRequest, ReadResponse, WriteRequest
from tests.beds.framing import elements_of
from tests.beds.simulated_network import Logged

_REQUESTS: dict[Command, type[Message]] = {
    Command.CREATE: CreateRequest,
    Command.CLOSE: CloseRequest,
    Command.FLUSH: FlushRequest,
    Command.READ: ReadRequest,
    Command.WRITE: WriteRequest,
    Command.QUERY_INFO: QueryInfoRequest,
    Command.SET_INFO: SetInfoRequest,
    Command.QUERY_DIRECTORY: QueryDirectoryRequest,
    Command.OPLOCK_BREAK: LeaseBreakAcknowledgment,
}


def transcript(logged: Iterable[Logged]) -> Iterator[str]:
    """Yield a line for every message."""
    for when_s, link, is_request, frame in logged:
        arrow = "->" if is_request else "<-"
        try:
            for header, element in elements_of(frame):
                told = _told(header, element[HEADER_SIZE:], is_request=is_request)
                yield f"{when_s:8.3f} {link} {arrow} {header.message_id:#x} {told}"
        except (WireError, ValueError) as error:
            yield f"{when_s:8.3f} {link} {arrow} {error}"


def _told(header: Header, body: memoryview, *, is_request: bool) -> str:
    name = header.command.name
    if is_request:
        replay = " REPLAY" if header.flags & HeaderFlags.REPLAY_OPERATION else ""
        request = _REQUESTS.get(header.command)
        what = str(request.decode(body)) if request is not None else ""
        where = f"session {header.session_id:#x} sequence {header.status}"
        return f"{name}{replay} {where} {what.replace('<memory at', '<')}"
    if header.message_id == 0xFFFF_FFFF_FFFF_FFFF:
        return str(LeaseBreakNotification.decode(body))
    if header.status != NtStatus.STATUS_SUCCESS:
        return f"{name} {status_name(header.status)}"
    if header.command == Command.CREATE:
        return str(CreateResponse.decode(body))
    if header.command == Command.READ:
        return f"READ {bytes(ReadResponse.decode(body).data)!r}"
    return name
