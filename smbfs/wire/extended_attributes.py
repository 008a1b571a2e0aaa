"""Extended attributes: FileFullEaInformation and FileGetEaInformation lists.

Spec: [MS-FSCC] 2.4.16 (FileFullEaInformation), 2.4.16.1 (FILE_GET_EA_INFORMATION).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from smbfs.errors import WireError
from smbfs.wire.layout import padding, slice_data, unpack_at

_ENTRY = struct.Struct("<IBBH")
_GET_ENTRY = struct.Struct("<IB")
NEED_EA = 0x80
"""FILE_NEED_EA: who does not understand this attribute can't make sense of the file."""


class ExtendedAttribute(NamedTuple):
    """A name (at most 255 bytes, ASCII on most servers) and a value (at most 65,535 bytes)."""

    name: bytes
    value: bytes
    flags: int = 0


def encode_full_ea_list(attributes: Iterable[ExtendedAttribute]) -> bytes:
    """Return FileFullEaInformation entries, each 4-byte aligned.

    Raises: WireError if a name or a value is too long.
    Spec: [MS-FSCC] 2.4.16.
    """
    encoded = bytearray()
    previous = -1
    for name, value, flags in attributes:
        if len(name) > 0xFF or len(value) > 0xFFFF:
            raise WireError("extended attribute (too long)", len(encoded))
        encoded += padding(len(encoded), 4)
        if previous >= 0:
            struct.pack_into("<I", encoded, previous, len(encoded) - previous)
        previous = len(encoded)
        encoded += _ENTRY.pack(0, flags, len(name), len(value)) + name + b"\0" + value
    return bytes(encoded)


def decode_full_ea_list(data: memoryview) -> tuple[ExtendedAttribute, ...]:
    """Read FileFullEaInformation entries; no data is an empty list.

    Raises: WireError if an entry lies outside the data or NextEntryOffset does not move on.
    Spec: [MS-FSCC] 2.4.16.
    """
    what = "extended attribute"
    attributes = []
    rest = data
    while len(rest):
        next_offset, flags, name_length, value_length = unpack_at(_ENTRY, rest, 0, what)
        if next_offset and not _ENTRY.size <= next_offset < len(rest):
            raise WireError(what, len(data) - len(rest))
        # An entry ends where the next one starts, so that the values can't overlap and be
        # many times larger than the data.
        entry = rest[:next_offset] if next_offset else rest
        name = bytes(slice_data(entry, _ENTRY.size, name_length, what))
        value_offset = _ENTRY.size + name_length + 1
        value = bytes(slice_data(entry, value_offset, value_length, what))
        attributes.append(ExtendedAttribute(name, value, flags))
        rest = rest[next_offset:] if next_offset else rest[:0]
    return tuple(attributes)


def encode_get_ea_list(names: Iterable[bytes]) -> bytes:
    """Return FILE_GET_EA_INFORMATION entries: QUERY_INFO's input buffer, which EAs we want.

    Raises: WireError if a name is too long.
    Spec: [MS-FSCC] 2.4.16.1.
    """
    encoded = bytearray()
    previous = -1
    for name in names:
        if len(name) > 0xFF:
            raise WireError("extended attribute (too long)", len(encoded))
        encoded += padding(len(encoded), 4)
        if previous >= 0:
            struct.pack_into("<I", encoded, previous, len(encoded) - previous)
        previous = len(encoded)
        encoded += _GET_ENTRY.pack(0, len(name)) + name + b"\0"
    return bytes(encoded)
