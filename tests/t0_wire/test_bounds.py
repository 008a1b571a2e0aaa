"""Buffers where a peer says they are: offsets count from the header and stay in the body."""

from __future__ import annotations

import gc
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol.connection import SMB2NegotiateResponse
from smbprotocol.create_contexts import (
    SMB2CreateDurableHandleReconnect,
    SMB2CreateTimewarpToken,
)
from smbprotocol.session import SMB2Logoff

from smbfs.errors import WireError
from smbfs.wire.info import QueryInfoResponse
from smbfs.wire.ioctl import IoctlResponse
from smbfs.wire.layout import decode_text, encode_text, slice_body, slice_data
from smbfs.wire.negotiate import NegotiateResponse
from smbfs.wire.oplock_break import (
    LeaseBreakNotification,
    LeaseBreakResponse,
    LeaseState,
    OplockBreakNotification,
    OplockBreakResponse,
    decode_break,
    decode_break_response,
)
from smbfs.wire.query_directory import QueryDirectoryResponse
from smbfs.wire.read_write import ReadResponse, WriteRequest
from smbfs.wire.session_setup import SessionSetupResponse
from smbfs.wire.vocabulary import fill, unpack_structure, value, wire_errors
from tests.t0_wire.strategies import EXAMPLE_FILE_ID
from tests.t0_wire.values import QUICK, names

BODY = memoryview(bytes(range(100)))


@QUICK
@given(st.integers(0, 300), st.integers(0, 300))
def test_slice_body(offset: int, length: int) -> None:
    inside = offset >= 64 and offset - 64 + length <= 100
    if inside or not length:
        expected = BODY[offset - 64 : offset - 64 + length] if length else b""
        assert slice_body(BODY, offset, length, "test") == expected
    else:
        with pytest.raises(WireError):
            slice_body(BODY, offset, length, "test")


@QUICK
@given(st.integers(-300, 300), st.integers(-300, 300))
def test_slice_data(offset: int, length: int) -> None:
    if offset >= 0 and length >= 0 and offset + length <= 100:
        assert slice_data(BODY, offset, length, "test") == BODY[offset : offset + length]
    else:
        with pytest.raises(WireError):
            slice_data(BODY, offset, length, "test")


@QUICK
@given(names)
def test_text_round_trip(text: str) -> None:
    assert decode_text(encode_text(text), "test") == text
    with pytest.raises(WireError):
        decode_text(encode_text(text) + b"x", "test")


def test_read_data_is_a_view() -> None:
    """The payload of READ, QUERY_INFO and QUERY_DIRECTORY is never copied."""
    frame = bytearray(struct.pack("<HBBIII", 17, 80, 0, 4, 0, 0) + b"data")
    data = ReadResponse.decode(memoryview(frame)).data
    frame[-4:] = b"atad"
    assert bytes(data) == b"atad"
    for response in (QueryInfoResponse, QueryDirectoryResponse):
        frame = bytearray(struct.pack("<HHI", 9, 72, 4) + b"data")
        view = response.decode(memoryview(frame)).data
        frame[-4:] = b"atad"
        assert bytes(view) == b"atad"


def test_write_data_is_not_copied() -> None:
    data = memoryview(bytearray(b"data"))
    assert WriteRequest(EXAMPLE_FILE_ID, 0, data).buffers()[1] is data


@pytest.mark.parametrize("offset", [0, 63, 81, 255])
def test_read_data_outside(offset: int) -> None:
    body = struct.pack("<HBBIII", 17, offset, 0, 4, 0, 0) + b"data"
    with pytest.raises(WireError):
        ReadResponse.decode(memoryview(body))


def test_buffers_with_a_gap_in_front() -> None:
    """A server may put the token anywhere; smbprotocol alone would read the gap."""
    body = struct.pack("<HHHH", 9, 0, 80, 5) + b"gap gap token"[:8] + b"token"
    assert SessionSetupResponse.decode(memoryview(body)).security_buffer == b"token"
    fixed = struct.pack("<HHI16sIIIIIIII", 49, 0, 0, bytes(16), 112, 8, 120, 3, 0, 0, 0, 0)[:48]
    response = IoctlResponse.decode(memoryview(fixed + b"in in in" + b"out"))
    assert bytes(response.data) == b"out"


def test_negotiate_response_of_a_newer_server() -> None:
    """Capability bits and security modes without a name here must not end the mount."""
    structure = fill(
        SMB2NegotiateResponse(),
        security_mode=0x8001,
        dialect_revision=0x0302,
        capabilities=0xFFFF_FFFF,
    )
    found = NegotiateResponse.decode(memoryview(structure.pack()))
    assert int(found.capabilities) == 0xFFFF_FFFF


def test_breaks_are_told_apart_by_their_size() -> None:
    state = LeaseState.READ_CACHING
    for notification in (
        OplockBreakNotification(EXAMPLE_FILE_ID, 1),
        LeaseBreakNotification(bytes(16), state, state),
    ):
        assert decode_break(memoryview(notification.encode())) == notification
    for response in (
        OplockBreakResponse(EXAMPLE_FILE_ID, 0),
        LeaseBreakResponse(bytes(16), state),
    ):
        assert decode_break_response(memoryview(response.encode())) == response


@pytest.mark.parametrize("body", [b"", b"\x18", b"\x18\0", b"\x24\0", b"\x2c\0", b"\xff\xff"])
def test_what_is_no_break(body: bytes) -> None:
    with pytest.raises(WireError):
        decode_break(memoryview(body))
    with pytest.raises(WireError):
        decode_break_response(memoryview(body))


@pytest.mark.parametrize(
    ("body", "required"), [(b"\x2c\0\0\0\x01", True), (b"\x2c\0\0\0\0", False)]
)
def test_acknowledgment_required(body: bytes, *, required: bool) -> None:
    notification = LeaseBreakNotification.decode(memoryview(body.ljust(44, b"\0")))
    assert notification.acknowledgment_required is required


def test_any_exception_becomes_a_wire_error_with_its_cause() -> None:
    for error in (ValueError("x"), IndexError(), struct.error(), KeyError(1), TypeError()):
        with pytest.raises(WireError, match="test") as caught, wire_errors("test"):
            raise error
        assert caught.value.__cause__ is error
    original = WireError("inner", 5)
    with pytest.raises(WireError) as caught, wire_errors("outer"):
        raise original
    assert caught.value is original


def test_unpack_structure_checks_what_smbprotocol_does_not() -> None:
    with pytest.raises(WireError, match="short"):
        unpack_structure(SMB2Logoff(), b"\x04\0\0", "short")
    with pytest.raises(WireError, match="bytes"):
        unpack_structure(SMB2CreateDurableHandleReconnect(), bytes(15), "bytes")
    with pytest.raises(WireError, match="StructureSize 5, not 4"):
        unpack_structure(SMB2Logoff(), b"\x05\0\0\0", "size")
    exact = unpack_structure(SMB2CreateTimewarpToken(), b"\x01" + bytes(7) + b"more", "time")
    assert value(exact, "timestamp") == 1


def test_structures_leave_nothing_behind() -> None:
    """Smbprotocol's structures are freed by their last reference, not by a collection."""
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(50):
            SessionSetupResponse.decode(memoryview(struct.pack("<HHHH", 9, 0, 0, 0)))
        grown = len(gc.get_objects()) - before
    finally:
        gc.enable()
    assert grown < 50
