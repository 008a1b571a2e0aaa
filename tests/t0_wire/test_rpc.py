"""DCE/RPC, and the one call that is made by it."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs.errors import WireError
from smbfs.wire.layout import Buffer, encode_text, padding
from smbfs.wire.rpc import (
    HEADER_SIZE,
    Pdu,
    PduFlags,
    PduType,
    decode_bind_ack,
    decode_fault,
    decode_response,
    encode_bind,
    encode_pdu,
    encode_request,
    pdu_size,
)
from smbfs.wire.srvsvc import (
    SharedResource,
    ShareTypeFlags,
    decode_share_enum,
    encode_share_enum,
)
from tests.t0_wire.payload_checks import check_damage, check_truncation
from tests.t0_wire.values import QUICK

WHOLE = PduFlags.FIRST_FRAG | PduFlags.LAST_FRAG
INTERFACE = UUID("4b324fc8-1670-01d3-1278-5a47bf6ee188")
ACCEPTED = struct.pack("<HHIH", 4280, 4280, 7, 3) + b"13\0" + bytes(3) + b"\1\0\0\0" + bytes(24)


def pdu(kind: PduType, body: Buffer) -> Pdu:
    return Pdu.decode(memoryview(encode_pdu(kind, WHOLE, 1, body)))


def ndr_text(text: str) -> bytes:
    data = encode_text(text + "\0")
    count = len(data) // 2
    return struct.pack("<III", count, 0, count) + data + padding(len(data), 4)


def share_enum(shares: list[SharedResource], status: int = 0, resume: bytes = bytes(4)) -> bytes:
    rows = b"".join(struct.pack("<III", 1, s.kind | s.flags, 1) for s in shares)
    texts = b"".join(ndr_text(s.name) + ndr_text(s.remark) for s in shares)
    count = len(shares)
    head = struct.pack("<IIIIII", 1, 1, 1, count, 1, count)
    return head + rows + texts + struct.pack("<I", count) + resume + struct.pack("<I", status)


def test_bind() -> None:
    assert encode_bind(INTERFACE, 3) == bytes.fromhex(
        "05000b03 10000000 4800 0000 01000000 b810b810 00000000 01000000 00000100"
        "c84f324b 7016 d301 1278 5a47bf6ee188 03000000"
        "045d888a eb1c c911 9fe8 08002b104860 02000000"
    )


def test_request() -> None:
    assert encode_request(2, 15, b"stub") == bytes.fromhex(
        "05000003 10000000 1c00 0000 02000000 04000000 0000 0f00 73747562"
    )


def test_an_interface_that_is_known_or_not() -> None:
    assert decode_bind_ack(pdu(PduType.BIND_ACK, ACCEPTED))
    refused = ACCEPTED.replace(b"\1\0\0\0" + bytes(2), b"\1\0\0\0\2\0")
    assert not decode_bind_ack(pdu(PduType.BIND_ACK, refused))
    assert not decode_bind_ack(pdu(PduType.BIND_NAK, b"\0\0"))
    with pytest.raises(WireError):
        decode_bind_ack(pdu(PduType.RESPONSE, ACCEPTED))
    used = len(ACCEPTED) - 20  # What the transfer syntax is was said by us.
    check_truncation(ACCEPTED[:used], lambda data: decode_bind_ack(pdu(PduType.BIND_ACK, data)))


def test_fault() -> None:
    assert decode_fault(pdu(PduType.FAULT, bytes(8) + b"\5\0\0\0")) == 5
    assert decode_fault(pdu(PduType.RESPONSE, bytes(12))) is None
    with pytest.raises(WireError):
        decode_fault(pdu(PduType.FAULT, bytes(11)))


def test_response() -> None:
    assert bytes(decode_response(pdu(PduType.RESPONSE, bytes(8) + b"stub"))) == b"stub"
    for wrong in (pdu(PduType.RESPONSE, bytes(7)), pdu(PduType.BIND_ACK, bytes(8))):
        with pytest.raises(WireError):
            decode_response(wrong)


def test_the_size_of_what_has_begun() -> None:
    whole = encode_pdu(PduType.RESPONSE, WHOLE, 1, bytes(300))
    assert pdu_size(whole[: HEADER_SIZE - 1]) == HEADER_SIZE
    assert pdu_size(whole[:HEADER_SIZE]) == len(whole)
    check_truncation(whole, Pdu.decode)


@pytest.mark.parametrize(("at", "byte"), [(0, 4), (4, 0), (8, 15)])
def test_another_version_byte_order_or_size(at: int, byte: int) -> None:
    damaged = bytearray(encode_pdu(PduType.RESPONSE, WHOLE, 1, b""))
    damaged[at] = byte
    with pytest.raises(WireError):
        Pdu.decode(memoryview(bytes(damaged)))


def test_asking_for_shares() -> None:
    assert encode_share_enum("nas") == bytes.fromhex(
        "00000200 06000000 00000000 06000000 5c005c006e0061007300 0000"
        "01000000 01000000 00000200 00000000 00000000 ffffffff 00000000"
    )
    assert len(encode_share_enum("host")) % 4 == 0


_shares = st.lists(
    st.builds(
        SharedResource,
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9),
        st.integers(0, 255),
        st.sampled_from([ShareTypeFlags(0), ShareTypeFlags.SPECIAL]),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9),
    ),
    max_size=4,
)


@QUICK
@given(_shares, st.integers(0, 1 << 31), st.sampled_from([bytes(4), b"\1\0\0\0\7\0\0\0"]))
def test_shares(shares: list[SharedResource], status: int, resume: bytes) -> None:
    told = memoryview(share_enum(shares, status, resume))
    assert decode_share_enum(told) == (shares, status)


def test_shares_that_are_cut_off_or_damaged() -> None:
    one = share_enum([SharedResource("films", 0, ShareTypeFlags(0), "Ä")])
    check_truncation(one, decode_share_enum)
    check_damage(one, decode_share_enum)


@pytest.mark.parametrize(
    "told",
    [
        struct.pack("<IIIII", 1, 1, 0, 0, 0) + struct.pack("<I", 5),
        struct.pack("<IIIII", 1, 1, 1, 0, 0) + struct.pack("<III", 0, 0, 5),
    ],
    ids=["no container", "no entries"],
)
def test_nothing_but_a_status(told: bytes) -> None:
    assert decode_share_enum(memoryview(told)) == ([], 5)


@pytest.mark.parametrize(
    ("at", "number"),
    [(0, 2), (4, 2), (20, 2), (36, 5), (40, 1)],
    ids=["level", "union", "count", "text longer than its room", "text that begins later"],
)
def test_shares_that_contradict_themselves(at: int, number: int) -> None:
    told = bytearray(share_enum([SharedResource("abcdef", 0, ShareTypeFlags(0), "")]))
    struct.pack_into("<I", told, at, number)
    with pytest.raises(WireError):
        decode_share_enum(memoryview(bytes(told)))


def test_what_clusters_add_to_a_type() -> None:
    told = share_enum([SharedResource("abc", 0x0200_0000, ShareTypeFlags.SPECIAL, "")])
    ((share,), _) = decode_share_enum(memoryview(told))
    assert (share.kind, share.flags) == (0, ShareTypeFlags.SPECIAL)
