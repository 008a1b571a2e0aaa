"""IOCTL; its payloads live in :mod:`smbfs.wire.ioctl_payloads` and are exported here."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar, Self

from smbprotocol.ioctl import SMB2IOCTLRequest, SMB2IOCTLResponse

from smbfs.wire.file_id import FileId
from smbfs.wire.header import Command
from smbfs.wire.ioctl_payloads import (
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
from smbfs.wire.layout import HEADER_SIZE, slice_body
from smbfs.wire.message import Message
from smbfs.wire.vocabulary import fill, pack, unpack_structure, value

__all__ = [
    "FsctlCode",
    "InterfaceCapability",
    "IoctlFlags",
    "IoctlRequest",
    "IoctlResponse",
    "NetworkInterfaceInfo",
    "SrvCopychunk",
    "SrvCopychunkCopy",
    "SrvCopychunkResponse",
    "ValidateNegotiateInfoRequest",
    "ValidateNegotiateInfoResponse",
    "decode_network_interfaces",
    "decode_ranges",
    "decode_resume_key",
    "decode_snapshots",
    "encode_network_interfaces",
    "encode_range",
    "encode_zero_data",
]

_FILE_ID = struct.Struct("<QQ")
_REQUEST_BUFFER_OFFSET = HEADER_SIZE + 56
_RESPONSE_BUFFER_OFFSET = HEADER_SIZE + 48


class FsctlCode(IntEnum):
    """Spec: [MS-SMB2] 2.2.31 (CtlCode), [MS-FSCC] 2.3."""

    DFS_GET_REFERRALS = 0x0006_0194
    DFS_GET_REFERRALS_EX = 0x0006_01B0
    SET_REPARSE_POINT = 0x0009_00A4
    GET_REPARSE_POINT = 0x0009_00A8
    DELETE_REPARSE_POINT = 0x0009_00AC
    CREATE_OR_GET_OBJECT_ID = 0x0009_00C0
    SET_SPARSE = 0x0009_00C4
    QUERY_ALLOCATED_RANGES = 0x0009_40CF
    SET_ZERO_DATA = 0x0009_80C8
    FILE_LEVEL_TRIM = 0x0009_8208
    DUPLICATE_EXTENTS_TO_FILE = 0x0009_8344
    PIPE_PEEK = 0x0011_400C
    PIPE_WAIT = 0x0011_0018
    PIPE_TRANSCEIVE = 0x0011_C017
    SRV_REQUEST_RESUME_KEY = 0x0014_0078
    LMR_REQUEST_RESILIENCY = 0x0014_01D4
    QUERY_NETWORK_INTERFACE_INFO = 0x0014_01FC
    VALIDATE_NEGOTIATE_INFO = 0x0014_0204
    SRV_ENUMERATE_SNAPSHOTS = 0x0014_4064
    SRV_COPYCHUNK = 0x0014_40F2
    SRV_READ_HASH = 0x0014_41BB
    SRV_COPYCHUNK_WRITE = 0x0014_80F2


class IoctlFlags(IntFlag):
    """Spec: [MS-SMB2] 2.2.31 (SMB2_0_IOCTL_IS_FSCTL)."""

    IS_FSCTL = 0x0000_0001


@dataclass(frozen=True, slots=True)
class IoctlRequest(Message):
    """Have the server run a file system control.

    ``file_id`` is FileId.RELATED for controls that are not about a file.
    Shape: 56 fixed bytes and the data.  StructureSize is 57.
    Units: max_output_response in bytes: how much the answer may be.
    Credits: ceil(max(input, output) / 65536) (3.1.5.2).
    Raises: WireError on decode if short, StructureSize != 57 or data outside the body.
    Spec: [MS-SMB2] 2.2.31; sent per 3.2.4.20.
    """

    command: ClassVar[Command] = Command.IOCTL

    control_code: int
    file_id: FileId
    data: bytes = b""
    max_output_response: int = 65536
    flags: int = IoctlFlags.IS_FSCTL

    def encode(self) -> bytes:
        """Return the body."""
        structure = fill(
            SMB2IOCTLRequest(),
            ctl_code=int(self.control_code),
            file_id=_FILE_ID.pack(*self.file_id),
            input_offset=_REQUEST_BUFFER_OFFSET,
            output_offset=0,
            max_output_response=self.max_output_response,
            flags=int(self.flags),
            buffer=bytes(self.data),
        )
        return pack(structure) + (b"" if self.data else b"\0")

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "IOCTL request"
        structure = unpack_structure(SMB2IOCTLRequest(), body, what, variable=("buffer",))
        data = slice_body(
            body, value(structure, "input_offset"), value(structure, "input_count"), what
        )
        return cls(
            value(structure, "ctl_code"),
            FileId(*_FILE_ID.unpack(value(structure, "file_id"))),
            bytes(data),
            value(structure, "max_output_response"),
            value(structure, "flags"),
        )

    @property
    def credit_payload(self) -> int:
        """Bytes sent or expected, whichever is more."""
        return max(self.max_output_response, len(self.data))


@dataclass(frozen=True, slots=True)
class IoctlResponse(Message):
    """What the control returned: a view into the received body.

    Shape: 48 fixed bytes and the data at OutputOffset.  StructureSize is 49.
    Raises: WireError on decode if short, StructureSize != 49 or data outside the body.
    Spec: [MS-SMB2] 2.2.32.
    """

    command: ClassVar[Command] = Command.IOCTL

    control_code: int
    file_id: FileId
    data: memoryview
    flags: int = 0

    def encode(self) -> bytes:
        """Return the body."""
        structure = fill(
            SMB2IOCTLResponse(),
            ctl_code=int(self.control_code),
            file_id=_FILE_ID.pack(*self.file_id),
            input_offset=_RESPONSE_BUFFER_OFFSET,
            output_offset=_RESPONSE_BUFFER_OFFSET,
            output_count=self.data.nbytes,
            flags=int(self.flags),
            buffer=bytes(self.data),
        )
        return pack(structure) + (b"" if self.data.nbytes else b"\0")

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body without copying the data. Raises: WireError."""
        what = "IOCTL response"
        structure = unpack_structure(SMB2IOCTLResponse(), body, what, variable=("buffer",))
        data = slice_body(
            body, value(structure, "output_offset"), value(structure, "output_count"), what
        )
        return cls(
            value(structure, "ctl_code"),
            FileId(*_FILE_ID.unpack(value(structure, "file_id"))),
            data,
            value(structure, "flags"),
        )
