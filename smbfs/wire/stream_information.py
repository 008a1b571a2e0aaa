"""FileStreamInformation: the named data streams of a file.

Spec: [MS-FSCC] 2.4.49.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from smbfs.errors import WireError
from smbfs.wire.layout import decode_text, slice_data, unpack_at

_ENTRY = struct.Struct("<IIQQ")


class StreamInformation(NamedTuple):
    """One stream, ``:name:$DATA``, ``::$DATA`` being the file's content; sizes in bytes."""

    name: str
    size: int
    allocation_size: int


def decode_stream_information(data: memoryview) -> tuple[StreamInformation, ...]:
    """Read the list of streams; no data (a directory without streams) is an empty one.

    Raises: WireError if an entry lies outside the data or NextEntryOffset does not move on.
    Spec: [MS-FSCC] 2.4.49.
    """
    what = "FileStreamInformation"
    streams = []
    rest = data
    while len(rest):
        next_offset, name_length, size, allocation_size = unpack_at(_ENTRY, rest, 0, what)
        if next_offset and not _ENTRY.size <= next_offset < len(rest):
            raise WireError(what, len(data) - len(rest))
        entry = rest[:next_offset] if next_offset else rest
        name = decode_text(slice_data(entry, _ENTRY.size, name_length, what), what)
        streams.append(StreamInformation(name, size, allocation_size))
        rest = rest[next_offset:] if next_offset else rest[:0]
    return tuple(streams)
