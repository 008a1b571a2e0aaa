"""For every message a way to make any instance of it, and what its body must have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from hypothesis import strategies as st

from smbfs.wire.change_notify import ChangeNotifyRequest, ChangeNotifyResponse
from smbfs.wire.close_flush import CloseRequest, CloseResponse, FlushRequest, FlushResponse
from smbfs.wire.create import (
    AccessMask,
    CreateAction,
    CreateRequest,
    CreateResponse,
    FileId,
    OplockLevel,
)
from smbfs.wire.dialect import Dialect
from smbfs.wire.echo_cancel import CancelRequest, EchoRequest, EchoResponse
from smbfs.wire.error_response import ErrorContext, ErrorResponse
from smbfs.wire.info import (
    QueryInfoRequest,
    QueryInfoResponse,
    SetInfoRequest,
    SetInfoResponse,
)
from smbfs.wire.ioctl import IoctlRequest, IoctlResponse
from smbfs.wire.lease import LeaseState
from smbfs.wire.lock import LockElement, LockRequest, LockResponse
from smbfs.wire.message import Message
from smbfs.wire.negotiate import Capabilities, NegotiateRequest, NegotiateResponse, SecurityMode
from smbfs.wire.oplock_break import (
    LeaseBreakAcknowledgment,
    LeaseBreakNotification,
    LeaseBreakResponse,
    OplockBreakAcknowledgment,
    OplockBreakNotification,
    OplockBreakResponse,
)
from smbfs.wire.query_directory import QueryDirectoryRequest, QueryDirectoryResponse
from smbfs.wire.read_write import ReadRequest, ReadResponse, WriteRequest, WriteResponse
from smbfs.wire.session_setup import (
    LogoffRequest,
    LogoffResponse,
    SessionFlags,
    SessionSetupRequest,
    SessionSetupResponse,
)
from smbfs.wire.tree_connect import (
    ShareCapabilities,
    ShareFlags,
    ShareType,
    TreeConnectRequest,
    TreeConnectResponse,
    TreeDisconnectRequest,
    TreeDisconnectResponse,
)
from tests.t0_wire.contexts import (
    create_request_contexts,
    create_response_contexts,
    negotiate_contexts,
)
from tests.t0_wire.values import U8, U16, U32, U64, file_ids, keys, names, payloads, views


@dataclass(frozen=True, slots=True)
class Case:
    """How to test one message."""

    instances: st.SearchStrategy[Message]
    structure_size: int
    filler: Callable[[Message], int]
    """Bytes at the end of an encoded body that a decoder can do without: the one byte (two or
    eight in some messages) that stands for an empty buffer and carries nothing."""


def _no_filler(message: Message) -> int:
    del message
    return 0


def _of_empty(field: str, length: int = 1) -> Callable[[Message], int]:
    """Filler is there when this field is empty."""

    def filler(message: Message) -> int:
        return 0 if len(getattr(message, field)) else length

    return filler


def _always(length: int) -> Callable[[Message], int]:
    def filler(message: Message) -> int:
        del message
        return length

    return filler


def _create_request_filler(message: Message) -> int:
    """An empty name has eight bytes behind it; with contexts these are needed padding."""
    request = cast(CreateRequest, message)
    return 0 if request.name or request.contexts else 8


def _error_filler(message: Message) -> int:
    response = cast(ErrorResponse, message)
    return 0 if response.data or response.error_contexts else 1


def _negotiate_requests() -> st.SearchStrategy[NegotiateRequest]:
    """Contexts travel only where 3.1.1 is offered."""
    dialects = st.lists(st.sampled_from(Dialect), max_size=6).map(tuple)
    return dialects.flatmap(
        lambda offered: st.builds(
            NegotiateRequest,
            st.just(offered),
            st.integers(0, 3).map(SecurityMode),
            st.integers(0, 0xFF).map(Capabilities),
            st.uuids(),
            negotiate_contexts() if Dialect.SMB_3_1_1 in offered else st.just(()),
        )
    )


def _negotiate_responses() -> st.SearchStrategy[NegotiateResponse]:
    return st.sampled_from(Dialect).flatmap(
        lambda dialect: st.builds(
            NegotiateResponse,
            st.integers(0, 3).map(SecurityMode),
            st.just(dialect),
            st.uuids(),
            st.integers(0, 0xFF).map(Capabilities),
            *(U32, U32, U32, U64, U64, payloads),
            negotiate_contexts() if dialect is Dialect.SMB_3_1_1 else st.just(()),
        )
    )


_create_requests = st.builds(
    CreateRequest,
    names,
    *(U32, U32, U32, U32, U32, U32, U8),
    create_request_contexts(),
)
_create_responses = st.builds(
    CreateResponse,
    st.sampled_from(OplockLevel),
    U8,
    st.sampled_from(CreateAction),
    *(U64, U64, U64, U64, U64, U64, U32),
    file_ids,
    create_response_contexts(),
)
_error_responses = st.one_of(
    st.builds(ErrorResponse, payloads),
    st.lists(st.builds(ErrorContext, U32, payloads), min_size=1, max_size=3).map(
        lambda contexts: ErrorResponse(error_contexts=tuple(contexts))
    ),
)
_lock_elements = st.lists(st.builds(LockElement, U64, U64, U32), min_size=1, max_size=4)
_lease_states = st.integers(0, 7).map(LeaseState)
_tree_connect_responses = st.builds(
    TreeConnectResponse,
    st.sampled_from(ShareType),
    st.sampled_from([ShareFlags.DFS, ShareFlags.ENCRYPT_DATA, ShareFlags(0x8000_0000)]),
    st.sampled_from([ShareCapabilities(0), ShareCapabilities.DFS, ShareCapabilities(0x200)]),
    st.sampled_from([AccessMask(0x001F_01FF), AccessMask(0x0012_00A9)]),
)

_SESSION_FLAGS = st.integers(0, 7).map(SessionFlags)
_MODES = st.integers(0, 3).map(SecurityMode)

CASES: dict[type[Message], Case] = {
    NegotiateRequest: Case(_negotiate_requests(), 36, _no_filler),
    NegotiateResponse: Case(_negotiate_responses(), 65, _no_filler),
    SessionSetupRequest: Case(
        st.builds(
            SessionSetupRequest, _MODES, st.integers(0, 255).map(Capabilities), payloads, U64, U8
        ),
        25,
        _no_filler,
    ),
    SessionSetupResponse: Case(
        st.builds(SessionSetupResponse, _SESSION_FLAGS, payloads), 9, _no_filler
    ),
    LogoffRequest: Case(st.just(LogoffRequest()), 4, _no_filler),
    LogoffResponse: Case(st.just(LogoffResponse()), 4, _no_filler),
    TreeConnectRequest: Case(st.builds(TreeConnectRequest, names, U16), 9, _no_filler),
    TreeConnectResponse: Case(_tree_connect_responses, 16, _no_filler),
    TreeDisconnectRequest: Case(st.just(TreeDisconnectRequest()), 4, _no_filler),
    TreeDisconnectResponse: Case(st.just(TreeDisconnectResponse()), 4, _no_filler),
    CreateRequest: Case(_create_requests, 57, _create_request_filler),
    CreateResponse: Case(_create_responses, 89, _of_empty("contexts")),
    CloseRequest: Case(st.builds(CloseRequest, file_ids, U16), 24, _no_filler),
    CloseResponse: Case(
        st.builds(CloseResponse, U16, U64, U64, U64, U64, U64, U64, U32), 60, _no_filler
    ),
    FlushRequest: Case(st.builds(FlushRequest, file_ids), 24, _no_filler),
    FlushResponse: Case(st.just(FlushResponse()), 4, _no_filler),
    ReadRequest: Case(st.builds(ReadRequest, file_ids, U64, U32, U32, U8, U32), 49, _no_filler),
    ReadResponse: Case(st.builds(ReadResponse, views), 17, _of_empty("data")),
    WriteRequest: Case(
        st.builds(WriteRequest, file_ids, U64, payloads, U32), 49, _of_empty("data")
    ),
    # 17 counts a byte of Buffer that never carries anything.
    WriteResponse: Case(st.builds(WriteResponse, U32), 17, _always(1)),
    LockRequest: Case(
        st.builds(LockRequest, file_ids, _lock_elements.map(tuple), U32), 48, _no_filler
    ),
    LockResponse: Case(st.just(LockResponse()), 4, _no_filler),
    IoctlRequest: Case(
        st.builds(IoctlRequest, U32, file_ids, payloads, U32, U32), 57, _of_empty("data")
    ),
    IoctlResponse: Case(st.builds(IoctlResponse, U32, file_ids, views, U32), 49, _of_empty("data")),
    CancelRequest: Case(st.just(CancelRequest()), 4, _no_filler),
    EchoRequest: Case(st.just(EchoRequest()), 4, _no_filler),
    EchoResponse: Case(st.just(EchoResponse()), 4, _no_filler),
    QueryDirectoryRequest: Case(
        st.builds(QueryDirectoryRequest, file_ids, U8, names, U32, U8, U32),
        33,
        _of_empty("pattern", 2),
    ),
    QueryDirectoryResponse: Case(st.builds(QueryDirectoryResponse, views), 9, _of_empty("data")),
    ChangeNotifyRequest: Case(
        st.builds(ChangeNotifyRequest, file_ids, U32, U32, U16), 32, _no_filler
    ),
    ChangeNotifyResponse: Case(st.builds(ChangeNotifyResponse, views), 9, _no_filler),
    QueryInfoRequest: Case(
        st.builds(QueryInfoRequest, file_ids, U8, U8, U32, U32, U32, payloads),
        41,
        _of_empty("input_buffer"),
    ),
    QueryInfoResponse: Case(st.builds(QueryInfoResponse, views), 9, _of_empty("data")),
    SetInfoRequest: Case(
        st.builds(SetInfoRequest, file_ids, U8, U8, payloads, U32), 33, _of_empty("data")
    ),
    SetInfoResponse: Case(st.just(SetInfoResponse()), 2, _no_filler),
    OplockBreakNotification: Case(st.builds(OplockBreakNotification, file_ids, U8), 24, _no_filler),
    OplockBreakAcknowledgment: Case(
        st.builds(OplockBreakAcknowledgment, file_ids, U8), 24, _no_filler
    ),
    OplockBreakResponse: Case(st.builds(OplockBreakResponse, file_ids, U8), 24, _no_filler),
    LeaseBreakNotification: Case(
        st.builds(LeaseBreakNotification, keys, _lease_states, _lease_states, U16, U32),
        44,
        _no_filler,
    ),
    LeaseBreakAcknowledgment: Case(
        st.builds(LeaseBreakAcknowledgment, keys, _lease_states), 36, _no_filler
    ),
    LeaseBreakResponse: Case(st.builds(LeaseBreakResponse, keys, _lease_states), 36, _no_filler),
    ErrorResponse: Case(_error_responses, 9, _error_filler),
}
"""Every message that there is; test_registry.py holds this against the package."""

EXAMPLE_FILE_ID = FileId(0x0102030405060708, 0x1112131415161718)
