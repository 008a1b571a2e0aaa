"""The hot messages again, packed by smbprotocol: two independent readings of one document."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from smbprotocol import create_contexts as their_contexts
from smbprotocol import open as their_open
from smbprotocol.connection import SMB2CancelRequest, SMB2Echo
from smbprotocol.exceptions import SMB2ErrorContextResponse, SMB2ErrorResponse
from smbprotocol.structure import Structure

from smbfs.wire.close_flush import CloseRequest, CloseResponse, FlushRequest, FlushResponse
from smbfs.wire.create import CreateRequest, CreateResponse
from smbfs.wire.echo_cancel import CancelRequest, EchoRequest, EchoResponse
from smbfs.wire.error_response import ErrorResponse
from smbfs.wire.file_id import FileId
from smbfs.wire.info import QueryInfoRequest, QueryInfoResponse, SetInfoRequest, SetInfoResponse
from smbfs.wire.layout import encode_text
from smbfs.wire.lock import LockRequest, LockResponse
from smbfs.wire.message import Message
from smbfs.wire.query_directory import QueryDirectoryRequest, QueryDirectoryResponse
from smbfs.wire.read_write import ReadRequest, ReadResponse, WriteRequest, WriteResponse
from smbfs.wire.vocabulary import fill, pack
from tests.t0_wire.strategies import CASES
from tests.t0_wire.values import QUICK

Oracle = Callable[[Any], Structure]


def identifier(file_id: FileId) -> bytes:
    return struct.pack("<QQ", *file_id)


def contexts(
    message: CreateRequest | CreateResponse,
) -> list[their_contexts.SMB2CreateContextRequest]:
    """Their chain is a list of entries, each of which needs to know its own Next."""
    entries = []
    for context in message.contexts:
        entry = their_contexts.SMB2CreateContextRequest()
        entry["buffer_name"] = context.name
        entry["buffer_data"] = context.encode_data()
        entries.append(entry)
    for entry in entries[:-1]:
        entry["next"] = len(entry)
    if entries:
        # Theirs pads the last entry too; nothing has to follow it.
        entries[-1].fields["padding2"].size = 0
        entries[-1]["padding2"] = b""
    return entries


def create_request(message: CreateRequest) -> Structure:
    return fill(
        their_open.SMB2CreateRequest(),
        requested_oplock_level=message.oplock_level,
        impersonation_level=message.impersonation_level,
        desired_access=message.desired_access,
        file_attributes=message.file_attributes,
        share_access=message.share_access,
        create_disposition=message.create_disposition,
        create_options=message.create_options,
        buffer_path=encode_text(message.name) or b"\0\0",
        buffer_contexts=contexts(message),
    )


def create_response(message: CreateResponse) -> Structure:
    return fill(
        their_open.SMB2CreateResponse(),
        oplock_level=int(message.oplock_level),
        flag=message.flags,
        create_action=int(message.create_action),
        creation_time=message.creation_time,
        last_access_time=message.last_access_time,
        last_write_time=message.last_write_time,
        change_time=message.change_time,
        allocation_size=message.allocation_size,
        end_of_file=message.end_of_file,
        file_attributes=message.file_attributes,
        file_id=identifier(message.file_id),
        buffer=contexts(message),
    )


def close_response(message: CloseResponse) -> Structure:
    return fill(
        their_open.SMB2CloseResponse(),
        flags=message.flags,
        creation_time=message.creation_time,
        last_access_time=message.last_access_time,
        last_write_time=message.last_write_time,
        change_time=message.change_time,
        allocation_size=message.allocation_size,
        end_of_file=message.end_of_file,
        file_attributes=message.file_attributes,
    )


def read_request(message: ReadRequest) -> Structure:
    return fill(
        their_open.SMB2ReadRequest(),
        padding=0x50,
        flags=message.flags,
        length=message.length,
        offset=message.offset,
        file_id=identifier(message.file_id),
        minimum_count=message.minimum_count,
        remaining_bytes=message.remaining_bytes,
    )


def write_request(message: WriteRequest) -> Structure:
    return fill(
        their_open.SMB2WriteRequest(),
        offset=message.offset,
        file_id=identifier(message.file_id),
        flags=message.flags,
        buffer=bytes(message.data),
    )


def query_directory_request(message: QueryDirectoryRequest) -> Structure:
    return fill(
        their_open.SMB2QueryDirectoryRequest(),
        file_information_class=message.info_class,
        flags=message.flags,
        file_index=message.file_index,
        file_id=identifier(message.file_id),
        file_name_offset=96,
        output_buffer_length=message.output_buffer_length,
        buffer=encode_text(message.pattern),
    )


def query_info_request(message: QueryInfoRequest) -> Structure:
    return fill(
        their_open.SMB2QueryInfoRequest(),
        info_type=message.info_type,
        file_info_class=message.info_class,
        output_buffer_length=message.output_buffer_length,
        additional_information=message.additional_information,
        flags=message.flags,
        file_id=identifier(message.file_id),
        buffer=message.input_buffer,
    )


def set_info_request(message: SetInfoRequest) -> Structure:
    return fill(
        their_open.SMB2SetInfoRequest(),
        info_type=message.info_type,
        file_info_class=message.info_class,
        additional_information=message.additional_information,
        file_id=identifier(message.file_id),
        buffer=bytes(message.data),
    )


def lock_request(message: LockRequest) -> Structure:
    locks = []
    for offset, length, flags in message.elements:
        signed = struct.unpack("<q", struct.pack("<Q", length))[0]
        element = their_open.SMB2LockElement()
        locks.append(fill(element, offset=offset, length=signed, flags=flags))
    return fill(
        their_open.SMB2LockRequest(),
        lock_sequence=message.lock_sequence,
        file_id=identifier(message.file_id),
        locks=locks,
    )


def error_response(message: ErrorResponse) -> Structure:
    """Theirs can't pad between contexts, so one is compared."""
    first = [
        fill(SMB2ErrorContextResponse(), error_id=error_id, error_context_data=data)
        for error_id, data in message.error_contexts[:1]
    ]
    return fill(SMB2ErrorResponse(), error_data=first)


def data_response(structure_type: type[Structure], empty_offset: int) -> Oracle:
    """QUERY_INFO and QUERY_DIRECTORY responses; theirs has an offset even without data."""

    def oracle(message: QueryInfoResponse | QueryDirectoryResponse) -> Structure:
        structure = fill(structure_type(), buffer=bytes(message.data))
        if not len(message.data):
            structure["output_buffer_offset"] = empty_offset
        return structure

    return oracle


ORACLES: dict[type[Message], Oracle] = {
    CreateRequest: create_request,
    CreateResponse: create_response,
    CloseRequest: lambda message: fill(
        their_open.SMB2CloseRequest(), flags=message.flags, file_id=identifier(message.file_id)
    ),
    CloseResponse: close_response,
    FlushRequest: lambda message: fill(
        their_open.SMB2FlushRequest(), file_id=identifier(message.file_id)
    ),
    FlushResponse: lambda _: their_open.SMB2FlushResponse(),
    ReadRequest: read_request,
    ReadResponse: lambda message: fill(
        their_open.SMB2ReadResponse(), data_offset=0x50, buffer=bytes(message.data)
    ),
    WriteRequest: write_request,
    WriteResponse: lambda message: fill(their_open.SMB2WriteResponse(), count=message.count),
    QueryDirectoryRequest: query_directory_request,
    QueryDirectoryResponse: data_response(their_open.SMB2QueryDirectoryResponse, 0),
    QueryInfoRequest: query_info_request,
    QueryInfoResponse: data_response(their_open.SMB2QueryInfoResponse, 0),
    SetInfoRequest: set_info_request,
    SetInfoResponse: lambda _: their_open.SMB2SetInfoResponse(),
    LockRequest: lock_request,
    LockResponse: lambda _: their_open.SMB2LockResponse(),
    EchoRequest: lambda _: SMB2Echo(),
    EchoResponse: lambda _: SMB2Echo(),
    CancelRequest: lambda _: SMB2CancelRequest(),
}


@pytest.mark.parametrize(
    ("message_type", "oracle"), ORACLES.items(), ids=[message.__name__ for message in ORACLES]
)
def test_same_bytes(message_type: type[Message], oracle: Oracle) -> None:
    """Ours are theirs, followed by nothing but the filler of an empty buffer."""
    case = CASES[message_type]

    @QUICK
    @given(case.instances)
    def check(message: Message) -> None:
        # Theirs takes this name, which no file has, for the filler of an empty one.
        assume(not isinstance(message, CreateRequest) or message.name != "\0")
        theirs = pack(oracle(message))
        ours = message.encode()
        filler = case.filler(message)
        if isinstance(message, CreateRequest) and filler:
            # Theirs has two bytes that stand for an empty name.
            filler -= 2
        assert ours == theirs + bytes(filler)
        assert message_type.decode(memoryview(theirs)) == message

    check()


def test_error_with_one_context() -> None:
    @QUICK
    @given(CASES[ErrorResponse].instances)
    def check(message: Message) -> None:
        assert isinstance(message, ErrorResponse)
        one = ErrorResponse(error_contexts=message.error_contexts[:1])
        theirs = pack(error_response(one))
        assert one.encode() == theirs + bytes(CASES[ErrorResponse].filler(one))

    check()
