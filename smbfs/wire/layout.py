"""Bounds and text: the few checks that every decoder in this package shares.

An ``Offset`` field of SMB2 counts from the first byte of the SMB2 header of its
message, while decoders are handed the body that follows the header. The
translation happens here, once, together with the check that a field which the
peer wrote stays inside the bytes that the peer sent.
"""

from __future__ import annotations

import struct
from typing import Any

from smbfs.errors import WireError

Buffer = bytes | bytearray | memoryview
"""Anything whose bytes can be sent or read without a copy."""

HEADER_SIZE = 64
"""Bytes of the SMB2 packet header ([MS-SMB2] 2.2.1)."""


def unpack_at(layout: struct.Struct, data: Buffer, offset: int, what: str) -> tuple[Any, ...]:
    """Unpack ``layout`` at ``offset`` bytes into ``data``.

    Raises: WireError if ``data`` ends before the layout does.
    """
    try:
        return layout.unpack_from(data, offset)
    except struct.error as error:
        raise WireError(what, len(data)) from error


def unpack_body(
    layout: struct.Struct, body: Buffer, structure_size: int, what: str
) -> tuple[Any, ...]:
    """Unpack the fixed part of a message body, whose first value is StructureSize.

    Raises: WireError if the body is short or states another StructureSize.
    """
    try:
        values = layout.unpack_from(body)
    except struct.error as error:
        raise WireError(what, len(body)) from error
    if values[0] != structure_size:
        raise WireError(f"{what} (StructureSize {values[0]}, not {structure_size})")
    return values


def slice_body(body: memoryview, offset: int, length: int, what: str) -> memoryview:
    """View ``length`` bytes of a body at ``offset``, which counts from the header's start.

    The offset of an empty field means nothing and is not looked at.
    Raises: WireError if any of these bytes lies outside the body.
    """
    if length == 0:
        return body[:0]
    start = offset - HEADER_SIZE
    if start < 0 or start + length > len(body):
        raise WireError(what, offset)
    return body[start : start + length]


def slice_data(data: memoryview, offset: int, length: int, what: str) -> memoryview:
    """View ``length`` bytes at ``offset`` of ``data``. Raises: WireError if they aren't there."""
    if offset < 0 or length < 0 or offset + length > len(data):
        raise WireError(what, offset)
    return data[offset : offset + length]


def decode_text(data: Buffer, what: str) -> str:
    """Decode UTF-16LE.

    A lone surrogate, which NTFS allows in a name, becomes a lone surrogate of the
    ``str`` and goes back unchanged through :func:`encode_text`.
    Raises: WireError if the number of bytes is odd.
    """
    try:
        return str(data, "utf-16-le", "surrogatepass")
    except UnicodeDecodeError as error:
        raise WireError(what, error.start) from error


def encode_text(text: str) -> bytes:
    """Encode as UTF-16LE; lone surrogates pass."""
    return text.encode("utf-16-le", "surrogatepass")


def padding(length: int, alignment: int) -> bytes:
    """Return the zero bytes that bring ``length`` to a multiple of ``alignment``."""
    return bytes(-length % alignment)
