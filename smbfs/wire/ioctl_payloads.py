"""What goes in and comes out of the file system controls.

Spec: [MS-SMB2] 2.2.31.x (requests), 2.2.32.x (responses).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address, IPv6Address
from typing import Self
from uuid import UUID

from smbprotocol.ioctl import (
    SMB2SrvCopyChunk,
    SMB2SrvCopyChunkCopy,
    SMB2SrvCopyChunkResponse,
    SMB2ValidateNegotiateInfoRequest,
    SMB2ValidateNegotiateInfoResponse,
)

from smbfs.errors import WireError
from smbfs.wire.dialect import Dialect
from smbfs.wire.layout import Buffer, decode_text, slice_data, unpack_at
from smbfs.wire.negotiate import Capabilities, SecurityMode
from smbfs.wire.vocabulary import fill, pack, unpack_structure, value, wire_errors

_RESUME_KEY_SIZE = 24
_VALIDATE_REQUEST_SIZE = 24
_CHUNK = struct.Struct("<QQI4x")
_COPY = struct.Struct("<24sI4x")
_SNAPSHOTS = struct.Struct("<III")
_RANGE = struct.Struct("<QQ")
_INTERFACE = struct.Struct("<IIIIQH126x")
_FAMILY_OFFSET = 24
_FAMILY_IPV4 = 0x0002
_FAMILY_IPV6 = 0x0017


@dataclass(frozen=True, slots=True)
class ValidateNegotiateInfoRequest:
    """Repeat what we negotiated with, over a signed connection.

    Shape: 24 fixed bytes and two per dialect.
    Raises: WireError on decode if short or of an unknown dialect.
    Spec: [MS-SMB2] 2.2.31.4; sent per 3.2.5.5.
    """

    capabilities: Capabilities
    client_guid: UUID
    security_mode: SecurityMode
    dialects: tuple[Dialect, ...]

    def encode(self) -> bytes:
        """Return the bytes."""
        return pack(
            fill(
                SMB2ValidateNegotiateInfoRequest(),
                capabilities=int(self.capabilities),
                guid=self.client_guid,
                security_mode=int(self.security_mode),
                dialects=[int(dialect) for dialect in self.dialects],
            )
        )

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read the bytes. Raises: WireError."""
        what = "VALIDATE_NEGOTIATE_INFO request"
        structure = unpack_structure(
            SMB2ValidateNegotiateInfoRequest(), data, what, variable=("dialects",)
        )
        with wire_errors(what):
            count = value(structure, "dialect_count")
            numbers = slice_data(data, _VALIDATE_REQUEST_SIZE, 2 * count, what)
            return cls(
                Capabilities(value(structure, "capabilities")),
                value(structure, "guid"),
                SecurityMode(value(structure, "security_mode")),
                tuple(Dialect(number) for number in struct.unpack(f"<{count}H", numbers)),
            )


@dataclass(frozen=True, slots=True)
class ValidateNegotiateInfoResponse:
    """What the server negotiated with: must equal its NEGOTIATE response.

    Shape: 24 bytes.  Raises: WireError on decode if short or of an unknown dialect.
    Spec: [MS-SMB2] 2.2.32.6; received per 3.2.5.14.12.
    """

    capabilities: Capabilities
    server_guid: UUID
    security_mode: SecurityMode
    dialect: Dialect

    def encode(self) -> bytes:
        """Return the bytes."""
        return pack(
            fill(
                SMB2ValidateNegotiateInfoResponse(),
                capabilities=int(self.capabilities),
                guid=self.server_guid,
                security_mode=int(self.security_mode),
                dialect=int(self.dialect),
            )
        )

    @classmethod
    def decode(cls, data: Buffer) -> Self:
        """Read the bytes. Raises: WireError."""
        what = "VALIDATE_NEGOTIATE_INFO response"
        structure = unpack_structure(SMB2ValidateNegotiateInfoResponse(), data, what)
        with wire_errors(what):
            return cls(
                Capabilities(value(structure, "capabilities")),
                value(structure, "guid"),
                SecurityMode(value(structure, "security_mode")),
                Dialect(value(structure, "dialect")),
            )


@dataclass(frozen=True, slots=True)
class SrvCopychunk:
    """Copy ``length`` bytes from one offset to another. Spec: [MS-SMB2] 2.2.31.1.1."""

    source_offset: int
    target_offset: int
    length: int


@dataclass(frozen=True, slots=True)
class SrvCopychunkCopy:
    """Copy chunks of the file that ``source_key`` (24 bytes) stands for into this open.

    Shape: 32 fixed bytes and 24 per chunk.  Units: offsets and lengths in bytes.
    Raises: WireError on decode if short.
    Spec: [MS-SMB2] 2.2.31.1; sent per 3.2.4.20.2.
    """

    source_key: bytes
    chunks: tuple[SrvCopychunk, ...]

    def encode(self) -> bytes:
        """Return the bytes."""
        chunks = [
            fill(
                SMB2SrvCopyChunk(),
                source_offset=chunk.source_offset,
                target_offset=chunk.target_offset,
                length=chunk.length,
            )
            for chunk in self.chunks
        ]
        return pack(fill(SMB2SrvCopyChunkCopy(), source_key=self.source_key, chunks=chunks))

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read the bytes. Raises: WireError."""
        what = "SRV_COPYCHUNK_COPY"
        source_key, count = unpack_at(_COPY, data, 0, what)
        chunk_bytes = slice_data(data, _COPY.size, _CHUNK.size * count, what)
        chunks = tuple(SrvCopychunk(*fields) for fields in _CHUNK.iter_unpack(chunk_bytes))
        return cls(source_key, chunks)


@dataclass(frozen=True, slots=True)
class SrvCopychunkResponse:
    """What was copied; with STATUS_INVALID_PARAMETER the server's limits instead.

    Shape: 12 bytes.  Raises: WireError on decode if short.
    Spec: [MS-SMB2] 2.2.32.1.
    """

    chunks_written: int
    chunk_bytes_written: int
    total_bytes_written: int

    def encode(self) -> bytes:
        """Return the bytes."""
        return pack(
            fill(
                SMB2SrvCopyChunkResponse(),
                chunks_written=self.chunks_written,
                chunk_bytes_written=self.chunk_bytes_written,
                total_bytes_written=self.total_bytes_written,
            )
        )

    @classmethod
    def decode(cls, data: Buffer) -> Self:
        """Read the bytes. Raises: WireError."""
        structure = unpack_structure(SMB2SrvCopyChunkResponse(), data, "SRV_COPYCHUNK_RESPONSE")
        return cls(
            value(structure, "chunks_written"),
            value(structure, "chunk_bytes_written"),
            value(structure, "total_bytes_written"),
        )


def decode_snapshots(data: memoryview) -> tuple[tuple[str, ...], int]:
    """Return the names of snapshots, and how many bytes all of them would take, with the rest.

    ``@GMT-YYYY.MM.DD-HH.MM.SS`` each. There are none if there was no room for all.
    Raises: WireError if short.  Spec: [MS-SMB2] 2.2.32.2.
    """
    what = "SRV_SNAPSHOT_ARRAY"
    _, returned, size = unpack_at(_SNAPSHOTS, data, 0, what)
    if not returned:
        return (), _SNAPSHOTS.size + size
    names = decode_text(slice_data(data, _SNAPSHOTS.size, size, what), what)
    return tuple(filter(None, names.split("\0"))), _SNAPSHOTS.size + size


def decode_resume_key(data: memoryview) -> bytes:
    """Return the 24-byte key of SRV_REQUEST_RESUME_KEY. Raises: WireError if short.

    Spec: [MS-SMB2] 2.2.32.3.
    """
    return bytes(slice_data(data, 0, _RESUME_KEY_SIZE, "SRV_REQUEST_RESUME_KEY"))


def encode_zero_data(offset: int, end: int) -> bytes:
    """Return FILE_ZERO_DATA_INFORMATION: the bytes from ``offset`` to before ``end``.

    Shape: 16 bytes.  Spec: [MS-FSCC] 2.3.85.
    """
    return _RANGE.pack(offset, end)


def encode_range(offset: int, length: int) -> bytes:
    """Return FILE_ALLOCATED_RANGE_BUFFER: where QUERY_ALLOCATED_RANGES shall look.

    Shape: 16 bytes.  Spec: [MS-FSCC] 2.3.51.
    """
    return _RANGE.pack(offset, length)


def decode_ranges(data: memoryview) -> tuple[tuple[int, int], ...]:
    """Return offset and length of each range that QUERY_ALLOCATED_RANGES has found.

    Shape: 16 bytes each.  Raises: WireError if the last one is cut off.
    Spec: [MS-FSCC] 2.3.52.
    """
    if len(data) % _RANGE.size:
        raise WireError("FILE_ALLOCATED_RANGE_BUFFER", len(data))
    return tuple(_RANGE.iter_unpack(data))


class InterfaceCapability(IntFlag):
    """Spec: [MS-SMB2] 2.2.32.5 (Capability)."""

    RSS_CAPABLE = 0x0000_0001
    RDMA_CAPABLE = 0x0000_0002


@dataclass(frozen=True, slots=True)
class NetworkInterfaceInfo:
    """One address of the server.

    Units: link_speed in bits per second.
    Spec: [MS-SMB2] 2.2.32.5.
    """

    interface_index: int
    capability: InterfaceCapability
    link_speed: int
    address: IPv4Address | IPv6Address


def encode_network_interfaces(interfaces: Iterable[NetworkInterfaceInfo]) -> bytes:
    """Return the list of interfaces, 152 bytes each. Spec: [MS-SMB2] 2.2.32.5."""
    encoded = bytearray()
    for interface in interfaces:
        if encoded:
            struct.pack_into("<I", encoded, len(encoded) - _INTERFACE.size, _INTERFACE.size)
        is_ipv4 = isinstance(interface.address, IPv4Address)
        family = _FAMILY_IPV4 if is_ipv4 else _FAMILY_IPV6
        encoded += _INTERFACE.pack(
            0, interface.interface_index, interface.capability, 0, interface.link_speed, family
        )
        # After Family: Port, and in IPv6 FlowInfo, before the address.
        start = len(encoded) - _INTERFACE.size + _FAMILY_OFFSET + (4 if is_ipv4 else 8)
        packed = interface.address.packed
        encoded[start : start + len(packed)] = packed
    return bytes(encoded)


def decode_network_interfaces(data: memoryview) -> tuple[NetworkInterfaceInfo, ...]:
    """Read the list of interfaces; those of other address families are left out.

    Raises: WireError if an entry lies outside the data or Next does not move on.
    Spec: [MS-SMB2] 2.2.32.5.
    """
    what = "NETWORK_INTERFACE_INFO"
    interfaces = []
    offset = 0
    while len(data):
        next_offset, index, capability, _, link_speed, family = unpack_at(
            _INTERFACE, data, offset, what
        )
        address = _address(data, offset + _FAMILY_OFFSET, family)
        if address is not None:
            flags = InterfaceCapability(capability & 0x3)
            interfaces.append(NetworkInterfaceInfo(index, flags, link_speed, address))
        if not next_offset:
            break
        if next_offset < _INTERFACE.size:
            raise WireError(what, offset)
        offset += next_offset
    return tuple(interfaces)


def _address(data: memoryview, start: int, family: int) -> IPv4Address | IPv6Address | None:
    if family == _FAMILY_IPV4:
        return IPv4Address(bytes(data[start + 4 : start + 8]))
    if family == _FAMILY_IPV6:
        return IPv6Address(bytes(data[start + 8 : start + 24]))
    return None
