"""Extended attributes, streams and notifications: chains of entries with NextEntryOffset."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol import file_info

from smbfs.errors import WireError
from smbfs.wire.change_notify import (
    FileAction,
    NotifyInformation,
    iterate_notify_information,
)
from smbfs.wire.fscc import (
    ExtendedAttribute,
    StreamInformation,
    decode_full_ea_list,
    decode_stream_information,
    encode_full_ea_list,
    encode_get_ea_list,
)
from smbfs.wire.vocabulary import fill, pack
from tests.t0_wire.contexts import extended_attribute_lists
from tests.t0_wire.payload_checks import Decode, check_damage, check_round_trip, check_truncation
from tests.t0_wire.payloads import encode_notify_information, encode_stream_information
from tests.t0_wire.values import QUICK, U32, U64, names

ATTRIBUTES = (
    ExtendedAttribute(b"user.one", b"first"),
    ExtendedAttribute(b"USER.TWO", b"", 0x80),
    ExtendedAttribute(b"", b"value"),
)
STREAMS = (StreamInformation("::$DATA", 10, 4096), StreamInformation(":täg:$DATA", 1, 8))
CHANGES = (
    NotifyInformation(FileAction.RENAMED_OLD_NAME, "old"),
    NotifyInformation(FileAction.RENAMED_NEW_NAME, "dir\\new"),
)


def decode_notify_information(data: memoryview) -> tuple[NotifyInformation, ...]:
    return tuple(iterate_notify_information(data))


LISTS: dict[str, tuple[bytes, Decode]] = {
    "extended attributes": (encode_full_ea_list(ATTRIBUTES), decode_full_ea_list),
    "streams": (encode_stream_information(STREAMS), decode_stream_information),
    "changes": (encode_notify_information(CHANGES), decode_notify_information),
}
every_list = pytest.mark.parametrize(("data", "decode"), LISTS.values(), ids=LISTS)


def test_round_trips() -> None:
    check_round_trip(extended_attribute_lists, encode_full_ea_list, decode_full_ea_list)
    check_round_trip(
        st.lists(st.builds(StreamInformation, names, U64, U64), max_size=4).map(tuple),
        encode_stream_information,
        decode_stream_information,
    )
    check_round_trip(
        st.lists(st.builds(NotifyInformation, U32, names), max_size=4).map(tuple),
        encode_notify_information,
        decode_notify_information,
    )


@every_list
def test_cut_at_every_length(data: bytes, decode: Decode) -> None:
    """Nothing at all is an empty list."""
    check_truncation(data, decode, valid=(0,))


@every_list
def test_damage(data: bytes, decode: Decode) -> None:
    check_damage(data, decode)


@every_list
@pytest.mark.parametrize("step", [1, 4, 7, 2**31, 2**32 - 4])
def test_next_that_does_not_move_on_or_leaves(data: bytes, decode: Decode, step: int) -> None:
    damaged = bytearray(data)
    struct.pack_into("<I", damaged, 0, step)
    with pytest.raises(WireError):
        decode(memoryview(damaged))


def test_values_may_not_overlap() -> None:
    """Entries inside each other's values would be many times larger than what was sent."""
    overlapping = struct.pack("<IBBH", 8, 0, 0, 4000) * 100
    last = struct.pack("<IBBH", 0, 0, 0, 4000) + bytes(4001)
    with pytest.raises(WireError):
        decode_full_ea_list(memoryview(overlapping + last))


@QUICK
@given(extended_attribute_lists.filter(lambda attributes: len(attributes) == 1))
def test_attribute_as_smbprotocol_packs_it(attributes: tuple[ExtendedAttribute, ...]) -> None:
    ((name, value, flags),) = attributes
    structure = fill(file_info.FileFullEaInformation(), flags=flags, ea_name=name, ea_value=value)
    assert encode_full_ea_list(attributes) == pack(structure)


def test_attribute_list_known_bytes() -> None:
    """The second entry starts at a multiple of 4."""
    expected = "10000000 00 04 0200 6e616d65 00 7631 00 00000000 80 01 0000 6e 00"
    attributes = (ExtendedAttribute(b"name", b"v1"), ExtendedAttribute(b"n", b"", 0x80))
    assert encode_full_ea_list(attributes) == bytes.fromhex(expected)


def test_get_list_known_bytes() -> None:
    expected = "0c000000 04 6e616d65 00 0000 00000000 01 6e 00"
    assert encode_get_ea_list([b"name", b"n"]) == bytes.fromhex(expected)
    structure = fill(file_info.FileGetEaInformation(), ea_name=b"name")
    assert encode_get_ea_list([b"name"]) == pack(structure)
    assert encode_get_ea_list([]) == b""


@pytest.mark.parametrize(
    "attribute",
    [ExtendedAttribute(b"n" * 256, b""), ExtendedAttribute(b"n", bytes(65536))],
    ids=["name", "value"],
)
def test_too_long_an_attribute(attribute: ExtendedAttribute) -> None:
    with pytest.raises(WireError):
        encode_full_ea_list([attribute])


def test_too_long_a_name_to_ask_for() -> None:
    with pytest.raises(WireError):
        encode_get_ea_list([b"n" * 256])


def test_stream_as_smbprotocol_packs_it() -> None:
    name, size, allocation_size = STREAMS[1]
    structure = fill(
        file_info.FileStreamInformation(),
        stream_size=size,
        stream_allocation_size=allocation_size,
        stream_name=name,
    )
    assert decode_stream_information(memoryview(pack(structure))) == STREAMS[1:]
