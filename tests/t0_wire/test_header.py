"""The 64 bytes in front of every message."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol.header import SMB2HeaderAsync, SMB2HeaderRequest, SMB2HeaderResponse

from smbfs.errors import WireError
from smbfs.wire.header import (
    HEADER_SIZE,
    NEXT_COMMAND_OFFSET,
    SIGNATURE_OFFSET,
    Command,
    Header,
    HeaderFlags,
)
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.vocabulary import fill, pack
from tests.t0_wire.values import QUICK, U16, U32, U64, keys

ASYNC = HeaderFlags.ASYNC_COMMAND

flags = U32
sync_headers = st.builds(
    Header,
    credit_charge=U16,
    status=U32,
    command=st.sampled_from(Command),
    credits=U16,
    flags=flags.map(lambda found: found & ~ASYNC),
    next_command=U32,
    message_id=U64,
    async_id=st.just(0),
    tree_id=U32,
    session_id=U64,
    signature=keys,
)
async_headers = st.builds(
    Header,
    credit_charge=U16,
    status=U32,
    command=st.sampled_from(Command),
    credits=U16,
    flags=flags.map(lambda found: found | ASYNC),
    next_command=U32,
    message_id=U64,
    async_id=U64,
    tree_id=st.just(0),
    session_id=U64,
    signature=keys,
)
headers = sync_headers | async_headers

EXAMPLE = Header(
    credit_charge=2,
    status=NtStatus.STATUS_PENDING,
    command=Command.READ,
    credits=32,
    flags=HeaderFlags.SERVER_TO_REDIR | HeaderFlags.SIGNED,
    next_command=104,
    message_id=0x1122334455667788,
    tree_id=5,
    session_id=0x99AABBCCDDEEFF00,
    signature=bytes(range(16)),
)
EXAMPLE_BYTES = bytes.fromhex(
    "fe534d42 4000 0200 03010000 0800 2000 09000000 68000000 8877665544332211"
    "00000000 05000000 00ffeeddccbbaa99 000102030405060708090a0b0c0d0e0f"
)


def test_known_bytes() -> None:
    assert EXAMPLE.encode() == EXAMPLE_BYTES
    assert Header.decode(EXAMPLE_BYTES) == EXAMPLE


def test_async_known_bytes() -> None:
    header = EXAMPLE._replace(
        flags=HeaderFlags.ASYNC_COMMAND, tree_id=0, async_id=0x0102030405060708
    )
    encoded = header.encode()
    assert encoded[32:40] == bytes.fromhex("0807060504030201")
    assert Header.decode(encoded) == header


@QUICK
@given(headers, st.binary(max_size=5), st.binary(max_size=5))
def test_round_trip_at_any_offset(header: Header, before: bytes, after: bytes) -> None:
    encoded = header.encode()
    assert len(encoded) == HEADER_SIZE
    assert Header.decode(memoryview(before + encoded + after), len(before)) == header


@QUICK
@given(sync_headers)
def test_request_as_smbprotocol_packs_it(header: Header) -> None:
    structure = fill(
        SMB2HeaderRequest(),
        credit_charge=header.credit_charge,
        channel_sequence=header.status & 0xFFFF,
        command=int(header.command),
        credit_request=header.credits,
        flags=int(header.flags),
        next_command=header.next_command,
        message_id=header.message_id,
        tree_id=header.tree_id,
        session_id=header.session_id,
        signature=header.signature,
    )
    assert header._replace(status=header.status & 0xFFFF).encode() == pack(structure)


@QUICK
@given(sync_headers)
def test_response_as_smbprotocol_packs_it(header: Header) -> None:
    structure = fill(
        SMB2HeaderResponse(),
        credit_charge=header.credit_charge,
        status=header.status,
        command=int(header.command),
        credit_response=header.credits,
        flags=int(header.flags),
        next_command=header.next_command,
        message_id=header.message_id,
        tree_id=header.tree_id,
        session_id=header.session_id,
        signature=header.signature,
    )
    assert Header.decode(pack(structure)) == header


@QUICK
@given(async_headers)
def test_async_as_smbprotocol_packs_it(header: Header) -> None:
    structure = fill(
        SMB2HeaderAsync(),
        credit_charge=header.credit_charge,
        channel_sequence=header.status & 0xFFFF,
        reserved=header.status >> 16,
        command=int(header.command),
        credit_request=header.credits,
        flags=int(header.flags),
        next_command=header.next_command,
        message_id=header.message_id,
        async_id=header.async_id,
        session_id=header.session_id,
        signature=header.signature,
    )
    assert header.encode() == pack(structure)


def test_offsets_that_others_patch() -> None:
    assert struct.unpack_from("<I", EXAMPLE_BYTES, NEXT_COMMAND_OFFSET) == (104,)
    assert EXAMPLE_BYTES[SIGNATURE_OFFSET:] == EXAMPLE.signature


@pytest.mark.parametrize("length", range(HEADER_SIZE))
def test_truncation_at_every_length(length: int) -> None:
    with pytest.raises(WireError):
        Header.decode(EXAMPLE_BYTES[:length])


@pytest.mark.parametrize("offset", [-64, -1, 1, 64, 1 << 40])
def test_offset_outside(offset: int) -> None:
    with pytest.raises(WireError):
        Header.decode(EXAMPLE_BYTES, offset)


@pytest.mark.parametrize(
    ("position", "wrong"),
    [
        *((0, b"\xffSMB"), (0, b"\xfdSMB"), (0, b"\0\0\0\0")),
        *((4, b"\x3f\0"), (4, b"\0\0")),
        *((12, b"\x13\0"), (12, b"\xff\xff")),
    ],
    ids=["smb1", "transform", "zeros", "size 63", "size 0", "command 0x13", "command 0xFFFF"],
)
def test_what_is_no_smb2_header(position: int, wrong: bytes) -> None:
    damaged = bytearray(EXAMPLE_BYTES)
    damaged[position : position + len(wrong)] = wrong
    with pytest.raises(WireError):
        Header.decode(damaged)


@QUICK
@given(st.binary(min_size=HEADER_SIZE, max_size=80))
def test_random_bytes(noise: bytes) -> None:
    for candidate in (noise, b"\xfeSMB\x40\x00" + noise):
        try:
            Header.decode(candidate)
        except WireError:
            continue
