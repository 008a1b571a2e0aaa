"""The body of a response whose status is an error."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

from smbfs.errors import WireError
from smbfs.wire.header import Command
from smbfs.wire.layout import padding, slice_data, unpack_at, unpack_body
from smbfs.wire.message import Message

_ERROR_RESPONSE = struct.Struct("<HBBI")
_ERROR_CONTEXT = struct.Struct("<II")


class ErrorContext(NamedTuple):
    """One piece of error data of SMB 3.1.1. Spec: [MS-SMB2] 2.2.2.1."""

    error_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ErrorResponse(Message):
    """Why a request failed, beyond the status in the header.

    Either ``data``, ErrorData verbatim, or, in SMB 3.1.1, a list of ``error_contexts``, whose
    number stands in ErrorContextCount.
    Shape: 8 fixed bytes and ErrorData.  StructureSize is 9; the single byte of an empty
    ErrorData may be missing.  The header, not the body, says which command failed.
    Raises: WireError on decode if short, StructureSize != 9 or data outside the body.
    Spec: [MS-SMB2] 2.2.2.
    """

    command: ClassVar[Command]

    data: bytes = b""
    error_contexts: tuple[ErrorContext, ...] = ()

    def encode(self) -> bytes:
        """Return the body."""
        data = self.data
        if self.error_contexts:
            pieces = bytearray()
            for error_id, context_data in self.error_contexts:
                pieces += padding(len(pieces), 8)
                pieces += _ERROR_CONTEXT.pack(len(context_data), error_id) + context_data
            data = bytes(pieces)
        return _ERROR_RESPONSE.pack(9, len(self.error_contexts), 0, len(data)) + (data or b"\0")

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "error response"
        _, context_count, _, byte_count = unpack_body(_ERROR_RESPONSE, body, 9, what)
        data = slice_data(body, _ERROR_RESPONSE.size, byte_count, what)
        if not context_count:
            return cls(bytes(data))
        contexts = []
        offset = 0
        for _ in range(context_count):
            length, error_id = unpack_at(_ERROR_CONTEXT, data, offset, what)
            start = offset + _ERROR_CONTEXT.size
            contexts.append(ErrorContext(error_id, bytes(slice_data(data, start, length, what))))
            offset = (start + length + 7) & ~7
        return cls(error_contexts=tuple(contexts))

    def symbolic_link_data(self) -> bytes:
        """Return the Symbolic Link Error Response of STATUS_STOPPED_ON_SYMLINK.

        Raises: WireError if there is no error data at all.
        """
        for context in self.error_contexts:
            if context.error_id == 0:
                return context.data
        if not self.data:
            raise WireError("symbolic link error response")
        return self.data
