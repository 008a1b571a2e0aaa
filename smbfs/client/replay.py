"""What may be sent again when nobody knows whether the server has executed it.

A question may, and so may whatever sets something to a value, as long as the file is still open
there: a WRITE to an offset, attributes, a length. What moves or makes something may not: done twice
it fails, or does harm, and whoever asked has to hear that the outcome is unknown.

Spec: [MS-SMB2] 3.2.4.1 (replays), 3.2.5.1 and 3.3.5.2.10 (ChannelSequence).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from smbfs.wire.close_flush import CloseRequest, FlushRequest
from smbfs.wire.create import CreateDisposition, CreateOptions, CreateRequest
from smbfs.wire.create_contexts import DurableHandleRequestV2
from smbfs.wire.echo_cancel import EchoRequest
from smbfs.wire.file_id import FileId
from smbfs.wire.info import FileInfoClass, InfoType, QueryInfoRequest, SetInfoRequest
from smbfs.wire.ioctl import FsctlCode, IoctlRequest
from smbfs.wire.message import Message
from smbfs.wire.oplock_break import LeaseBreakAcknowledgment, OplockBreakAcknowledgment
from smbfs.wire.query_directory import QueryDirectoryFlags, QueryDirectoryRequest
from smbfs.wire.read_write import ReadRequest, WriteRequest

REPEATS_MAX: Final = 8
"""How often one request is sent again: it may be what the server dies of."""

_REPEATABLE: Final = (
    ReadRequest,
    WriteRequest,
    QueryInfoRequest,
    FlushRequest,
    EchoRequest,
    CloseRequest,
)

_SETS_VALUES: Final[frozenset[int]] = frozenset(
    {
        FileInfoClass.BASIC,
        FileInfoClass.END_OF_FILE,
        FileInfoClass.ALLOCATION,
        FileInfoClass.FULL_EA,
    }
)
_CONTROLS: Final[frozenset[int]] = frozenset(
    {
        FsctlCode.GET_REPARSE_POINT,
        FsctlCode.QUERY_ALLOCATED_RANGES,
        FsctlCode.QUERY_NETWORK_INTERFACE_INFO,
        FsctlCode.SET_SPARSE,
        FsctlCode.SET_ZERO_DATA,
        FsctlCode.SRV_ENUMERATE_SNAPSHOTS,
        FsctlCode.SRV_REQUEST_RESUME_KEY,
    }
)


def is_owed(message: Message) -> bool:
    """Whether the server has to be told for the sake of others, however long that takes.

    They wait until a lease is given back, or its file is closed.
    """
    if isinstance(message, CloseRequest):
        return message.file_id != FileId.RELATED
    return isinstance(message, LeaseBreakAcknowledgment | OplockBreakAcknowledgment)


def may_repeat(messages: Sequence[Message], *, same_session: bool) -> bool:
    """Whether a compound may be sent again; its file, if it is open, is known to be the same.

    ``same_session``: the server knows us still, and finds out about replays.
    """
    first, *rest = messages
    if isinstance(first, CreateRequest):
        return _may_open_again(first, same_session=same_session) and all(map(_may_repeat, rest))
    return _may_repeat(first) and all(map(_may_repeat, rest))


def _may_open_again(create: CreateRequest, *, same_session: bool) -> bool:
    if create.create_options & CreateOptions.DELETE_ON_CLOSE:
        return False
    if create.create_disposition != CreateDisposition.CREATE:
        return True
    # Where the server knows the CreateGuid, it hands out the same open.
    return same_session and any(isinstance(c, DurableHandleRequestV2) for c in create.contexts)


def _may_repeat(message: Message) -> bool:
    match message:
        case SetInfoRequest():  # Security descriptors and quotas are values, too.
            return message.info_type != InfoType.FILE or message.info_class in _SETS_VALUES
        case QueryDirectoryRequest():
            # A listing goes on from where it was, which nobody knows, unless it has just begun.
            begins = bool(message.flags & QueryDirectoryFlags.RESTART_SCANS)
            return begins or message.file_id == FileId.RELATED
        case IoctlRequest():
            return message.control_code in _CONTROLS
    return isinstance(message, _REPEATABLE)
