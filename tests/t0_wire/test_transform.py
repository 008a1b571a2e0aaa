"""The header in front of an encrypted message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol.connection import SMB2TransformHeader

from smbfs.errors import WireError
from smbfs.wire.transform import TRANSFORM_HEADER_SIZE, TransformHeader
from smbfs.wire.vocabulary import fill, pack
from tests.t0_wire.values import QUICK, U32, U64, keys

transform_headers = st.builds(TransformHeader, keys, keys, U32, U64)
EXAMPLE = TransformHeader(bytes(range(16)), bytes(range(16, 32)), 0x01020304, 0x1112131415161718)
EXAMPLE_BYTES = bytes.fromhex(
    "fd534d42 000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f"
    "04030201 0000 0100 1817161514131211"
)


def test_known_bytes() -> None:
    assert EXAMPLE.encode() == EXAMPLE_BYTES
    assert TransformHeader.decode(EXAMPLE_BYTES) == EXAMPLE


def test_associated_data_is_all_after_the_signature() -> None:
    assert EXAMPLE.associated_data == EXAMPLE_BYTES[20:52]


@QUICK
@given(transform_headers, st.binary(max_size=5))
def test_round_trip_at_any_offset(header: TransformHeader, before: bytes) -> None:
    encoded = header.encode()
    assert len(encoded) == TRANSFORM_HEADER_SIZE
    assert TransformHeader.decode(memoryview(before + encoded + b"x"), len(before)) == header


@QUICK
@given(transform_headers)
def test_as_smbprotocol_packs_it(header: TransformHeader) -> None:
    structure = fill(SMB2TransformHeader(), **header._asdict())
    assert header.encode() == pack(structure)


@pytest.mark.parametrize("length", range(TRANSFORM_HEADER_SIZE))
def test_truncation_at_every_length(length: int) -> None:
    with pytest.raises(WireError):
        TransformHeader.decode(EXAMPLE_BYTES[:length])


@pytest.mark.parametrize("flags", [0, 2, 0xFFFF])
def test_flags_other_than_encrypted(flags: int) -> None:
    """3.2.5.1.1: the client MUST discard such a message."""
    damaged = bytearray(EXAMPLE_BYTES)
    damaged[42:44] = flags.to_bytes(2, "little")
    with pytest.raises(WireError):
        TransformHeader.decode(damaged)


def test_another_protocol_id() -> None:
    with pytest.raises(WireError):
        TransformHeader.decode(b"\xfe" + EXAMPLE_BYTES[1:])
