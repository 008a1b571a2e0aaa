"""What goes in and comes out of file system controls."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from hypothesis import strategies as st
from smbprotocol import ioctl as theirs

from smbfs.errors import WireError
from smbfs.wire.dialect import Dialect
from smbfs.wire.ioctl import (
    InterfaceCapability,
    NetworkInterfaceInfo,
    SrvCopychunk,
    SrvCopychunkCopy,
    SrvCopychunkResponse,
    ValidateNegotiateInfoRequest,
    ValidateNegotiateInfoResponse,
    decode_network_interfaces,
    decode_ranges,
    decode_resume_key,
    decode_snapshots,
    encode_network_interfaces,
    encode_range,
    encode_zero_data,
)
from smbfs.wire.negotiate import Capabilities, SecurityMode
from smbfs.wire.vocabulary import pack
from tests.t0_wire.payload_checks import check_damage, check_round_trip, check_truncation
from tests.t0_wire.values import U32, U64

GUID = UUID("00112233-4455-6677-8899-aabbccddeeff")
_modes = st.integers(0, 3).map(SecurityMode)
_capabilities = st.integers(0, 0xFF).map(Capabilities)
_dialects = st.lists(st.sampled_from(Dialect), max_size=6).map(tuple)
_interfaces = st.builds(
    NetworkInterfaceInfo,
    U32,
    st.integers(0, 3).map(InterfaceCapability),
    U64,
    st.ip_addresses(),
)
KEY = bytes(range(24))
SNAPSHOTS = ("@GMT-2026.01.31-12.00.00", "@GMT-2025.12.24-00.00.00")


def test_validate_negotiate_request() -> None:
    request = ValidateNegotiateInfoRequest(
        Capabilities.DFS, GUID, SecurityMode(3), (Dialect.SMB_3_0, Dialect.SMB_3_0_2)
    )
    expected = "01000000 33221100 5544 7766 8899aabbccddeeff 0300 0200 0003 0203"
    assert request.encode() == bytes.fromhex(expected)
    check_truncation(request.encode(), ValidateNegotiateInfoRequest.decode)
    check_damage(request.encode(), ValidateNegotiateInfoRequest.decode)
    check_round_trip(
        st.builds(ValidateNegotiateInfoRequest, _capabilities, st.uuids(), _modes, _dialects),
        ValidateNegotiateInfoRequest.encode,
        ValidateNegotiateInfoRequest.decode,
    )


def test_validate_negotiate_response() -> None:
    response = ValidateNegotiateInfoResponse(
        Capabilities.NOTIFICATIONS, GUID, SecurityMode(1), Dialect.SMB_3_0_2
    )
    expected = "80000000 33221100 5544 7766 8899aabbccddeeff 0100 0203"
    assert response.encode() == bytes.fromhex(expected)
    check_truncation(response.encode(), ValidateNegotiateInfoResponse.decode)
    check_damage(response.encode(), ValidateNegotiateInfoResponse.decode)
    check_round_trip(
        st.builds(
            ValidateNegotiateInfoResponse,
            *(_capabilities, st.uuids(), _modes, st.sampled_from(Dialect)),
        ),
        ValidateNegotiateInfoResponse.encode,
        ValidateNegotiateInfoResponse.decode,
    )


def test_validate_negotiate_of_an_unknown_dialect() -> None:
    response = ValidateNegotiateInfoResponse(
        Capabilities(0), GUID, SecurityMode(1), Dialect.SMB_3_0
    )
    with pytest.raises(WireError):
        ValidateNegotiateInfoResponse.decode(response.encode()[:-2] + b"\x99\x09")


def test_copychunk() -> None:
    copy = SrvCopychunkCopy(KEY, (SrvCopychunk(1, 2, 3), SrvCopychunk(4, 5, 6)))
    expected = (
        "02000000 00000000"
        "0100000000000000 0200000000000000 03000000 00000000"
        "0400000000000000 0500000000000000 06000000 00000000"
    )
    assert copy.encode() == KEY + bytes.fromhex(expected)
    check_truncation(copy.encode(), SrvCopychunkCopy.decode)
    check_damage(copy.encode(), SrvCopychunkCopy.decode)
    chunks = st.lists(st.builds(SrvCopychunk, U64, U64, U32), max_size=4).map(tuple)
    check_round_trip(
        st.builds(SrvCopychunkCopy, st.binary(min_size=24, max_size=24), chunks),
        SrvCopychunkCopy.encode,
        SrvCopychunkCopy.decode,
    )


def test_copychunk_response() -> None:
    response = SrvCopychunkResponse(1, 2, 3)
    assert response.encode() == struct.pack("<III", 1, 2, 3)
    check_truncation(response.encode(), SrvCopychunkResponse.decode)
    check_round_trip(
        st.builds(SrvCopychunkResponse, U32, U32, U32),
        SrvCopychunkResponse.encode,
        SrvCopychunkResponse.decode,
    )


def test_resume_key() -> None:
    assert decode_resume_key(memoryview(KEY + bytes(4))) == KEY
    check_truncation(KEY, decode_resume_key)


def test_network_interfaces() -> None:
    check_round_trip(
        st.lists(_interfaces, max_size=3).map(tuple),
        encode_network_interfaces,
        decode_network_interfaces,
    )


@pytest.mark.parametrize(
    ("storage", "address"),
    [
        (theirs.SockAddrIn, "192.168.7.9"),
        (theirs.SockAddrIn6, "fe80:0000:0000:0000:0000:0000:0000:0001"),
    ],
)
def test_network_interfaces_as_smbprotocol_packs_them(
    storage: type[theirs.SockAddrIn], address: str
) -> None:
    is_ipv4 = storage is theirs.SockAddrIn
    socket_address = storage()
    socket_address.set_ipaddress(address)
    storage_structure = theirs.SockAddrStorage()
    family = theirs.SockAddrFamily
    storage_structure["family"] = family.INTER_NETWORK if is_ipv4 else family.INTER_NETWORK_V6
    storage_structure["buffer"] = socket_address
    information = theirs.SMB2NetworkInterfaceInfo()
    information["if_index"] = 7
    information["capability"] = 1
    information["link_speed"] = 10**10
    information["sock_addr_storage"] = storage_structure
    data = pack(information)
    (found,) = decode_network_interfaces(memoryview(data))
    assert (found.interface_index, found.link_speed) == (7, 10**10)
    assert found.capability is InterfaceCapability.RSS_CAPABLE
    assert found.address.exploded == address
    assert encode_network_interfaces([found]) == data


def test_network_interfaces_of_another_family_are_left_out() -> None:
    data = bytearray(152)
    struct.pack_into("<H", data, 24, 0x0099)
    assert decode_network_interfaces(memoryview(data)) == ()


@pytest.mark.parametrize("step", [1, 24, 151, 2**32 - 152])
def test_network_interfaces_that_do_not_move_on_or_leave(step: int) -> None:
    data = bytearray(304)
    struct.pack_into("<I", data, 0, step)
    with pytest.raises(WireError):
        decode_network_interfaces(memoryview(data))


def test_network_interfaces_cut_and_damaged() -> None:
    data = bytes(152)
    check_truncation(data, decode_network_interfaces, valid=(0,))
    check_damage(data, decode_network_interfaces)


def test_ranges_of_a_file() -> None:
    assert encode_zero_data(1, 0x200) == bytes.fromhex("0100000000000000 0002000000000000")
    assert encode_range(1, 0x200) == encode_zero_data(1, 0x200)
    both = encode_range(0, 4096) + encode_range(8192, 1)
    assert decode_ranges(memoryview(both)) == ((0, 4096), (8192, 1))
    check_truncation(both, decode_ranges, valid=(0, 16))


def snapshots_answer(names: tuple[str, ...], room: int = 1 << 16) -> bytes:
    """Return what a server answers that has these, and so many bytes for them."""
    text = "".join(f"{name}\0" for name in names) + "\0"
    listed = text.encode("utf-16-le") if len(text) * 2 + 12 <= room else b""
    shown = len(names) if listed else 0
    return struct.pack("<III", len(names), shown, len(text) * 2) + (listed or bytes(4))


def test_snapshots() -> None:
    told = snapshots_answer(SNAPSHOTS)
    assert decode_snapshots(memoryview(told)) == (SNAPSHOTS, len(told))
    assert decode_snapshots(memoryview(snapshots_answer(SNAPSHOTS, 16))) == ((), len(told))
    assert decode_snapshots(memoryview(snapshots_answer(()))) == ((), 14)
    check_truncation(told, decode_snapshots)
    check_damage(told, decode_snapshots)
