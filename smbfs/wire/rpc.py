"""DCE/RPC over a named pipe: as much of it as one call needs, and its answer.

Spec: [MS-RPCE] 2.2.1, 2.2.2 (the PDUs of C706, chapter 12), 2.1.1.2 (over SMB).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, Self
from uuid import UUID

from smbfs.errors import WireError
from smbfs.wire.layout import Buffer, slice_data, unpack_at

FRAGMENT_SIZE: Final = 4280
"""Bytes of the largest PDU that both sides take; what Windows and Samba offer."""

HEADER_SIZE: Final = 16
"""Bytes of what every PDU begins with."""

_NDR: Final = UUID("8a885d04-1ceb-11c9-9fe8-08002b104860")
_NDR_VERSION: Final = 2
_VERSION: Final = 5
_LITTLE_ENDIAN: Final = b"\x10\0\0\0"

_HEADER = struct.Struct("<BBBB4sHHI")
_BIND = struct.Struct("<HHIB3xHBx16sI16sI")
_BIND_ACK = struct.Struct("<HHI")
_RESULT = struct.Struct("<HH")
_REQUEST = struct.Struct("<IHH")
_RESPONSE = struct.Struct("<IHBx")
_NAME_SIZE = struct.Struct("<H")
_COUNT = struct.Struct("<B3x")
_FAULT = struct.Struct("<I")


class PduType(IntEnum):
    """Spec: C706 12.6.4."""

    REQUEST = 0
    RESPONSE = 2
    FAULT = 3
    BIND = 11
    BIND_ACK = 12
    BIND_NAK = 13


class PduFlags(IntFlag):
    """Spec: C706 12.6.3.1."""

    FIRST_FRAG = 0x01
    LAST_FRAG = 0x02


_WHOLE: Final = PduFlags.FIRST_FRAG | PduFlags.LAST_FRAG


@dataclass(frozen=True, slots=True)
class Pdu:
    """One PDU of the server's.

    Shape: 16 fixed bytes and the body, as many as the header tells.
    Raises: WireError on decode if it is short, of another version or byte order.
    """

    kind: int
    flags: PduFlags
    call_id: int
    body: memoryview

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read the PDU that the bytes begin with."""
        major, _, kind, flags, order, size, _, call_id = unpack_at(_HEADER, data, 0, "RPC header")
        if major != _VERSION or order[0] != _LITTLE_ENDIAN[0]:
            raise WireError("RPC header", 0)
        body = slice_data(data, HEADER_SIZE, size - HEADER_SIZE, "RPC body")
        return cls(kind, PduFlags(flags & _WHOLE), call_id, body)


def pdu_size(begun: Buffer) -> int:
    """Return how many bytes the PDU has that these begin: a header at least."""
    if len(begun) < HEADER_SIZE:
        return HEADER_SIZE
    return int(_HEADER.unpack_from(begun)[5])


def encode_bind(interface: UUID, version: int) -> bytes:
    """Return the PDU that says which interface is called. Spec: C706 12.6.4.3."""
    body = _BIND.pack(
        FRAGMENT_SIZE, FRAGMENT_SIZE, 0, 1, 0, 1, interface.bytes_le, version, _NDR.bytes_le,
        _NDR_VERSION,
    )  # fmt: skip
    return _pdu(PduType.BIND, 1, body)


def encode_request(call_id: int, operation: int, stub: bytes) -> bytes:
    """Return the PDU that calls one of its operations; the stub is less than a fragment.

    Spec: C706 12.6.4.9.
    """
    return _pdu(PduType.REQUEST, call_id, _REQUEST.pack(len(stub), 0, operation) + stub)


def decode_bind_ack(pdu: Pdu) -> bool:
    """Return whether the server knows the interface. Raises: WireError if it is no such answer.

    Spec: C706 12.6.4.4.
    """
    what = "RPC bind_ack"
    if pdu.kind == PduType.BIND_NAK:
        return False
    if pdu.kind != PduType.BIND_ACK:
        raise WireError(what, pdu.kind)
    (name_size,) = unpack_at(_NAME_SIZE, pdu.body, _BIND_ACK.size, what)
    end = _BIND_ACK.size + _NAME_SIZE.size + name_size
    results = -(-end // 4) * 4  # Aligned, as the header's 16 bytes are.
    (count,) = unpack_at(_COUNT, pdu.body, results, what)
    result, _ = unpack_at(_RESULT, pdu.body, results + _COUNT.size, what)
    return bool(count == 1 and result == 0)


def decode_fault(pdu: Pdu) -> int | None:
    """Return why a call was refused, None if it was not. Raises: WireError.

    Spec: C706 12.6.4.7, [MS-RPCE] 2.2.1.
    """
    if pdu.kind != PduType.FAULT:
        return None
    (status,) = unpack_at(_FAULT, pdu.body, _RESPONSE.size, "RPC fault")
    return int(status)


def decode_response(pdu: Pdu) -> memoryview:
    """Return a fragment of what a call gives. Raises: WireError. Spec: C706 12.6.4.10."""
    if pdu.kind != PduType.RESPONSE:
        raise WireError("RPC response", pdu.kind)
    return slice_data(pdu.body, _RESPONSE.size, len(pdu.body) - _RESPONSE.size, "RPC response")


def encode_pdu(kind: PduType, flags: PduFlags, call_id: int, body: Buffer) -> bytes:
    """Return any PDU."""
    size = HEADER_SIZE + len(body)
    return _HEADER.pack(_VERSION, 0, kind, flags, _LITTLE_ENDIAN, size, 0, call_id) + bytes(body)


def _pdu(kind: PduType, call_id: int, body: bytes) -> bytes:
    return encode_pdu(kind, _WHOLE, call_id, body)
