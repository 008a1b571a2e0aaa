"""NEGOTIATE: which dialect, which algorithms, how much.

The contexts of SMB 3.1.1 live in :mod:`smbfs.wire.negotiate_contexts` and are exported here.
smbprotocol's own request is not packed whole: it misplaces the contexts when the number of
dialects is even.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar, Self, TypeVar
from uuid import UUID

from smbprotocol.connection import SMB2NegotiateResponse, SMB3NegotiateRequest

from smbfs.wire.dialect import Dialect
from smbfs.wire.header import Command
from smbfs.wire.layout import HEADER_SIZE, padding, slice_body
from smbfs.wire.message import Message
from smbfs.wire.negotiate_contexts import (
    Cipher,
    CompressionCapabilities,
    EncryptionCapabilities,
    HashAlgorithm,
    NegotiateContext,
    NetnameContext,
    PosixExtensions,
    PreauthIntegrityCapabilities,
    SigningAlgorithm,
    SigningCapabilities,
    TransportCapabilities,
    UnknownContext,
    decode_negotiate_contexts,
    encode_negotiate_contexts,
)
from smbfs.wire.vocabulary import fill, pack, unpack_structure, value, wire_errors

__all__ = [
    "Capabilities",
    "Cipher",
    "CompressionCapabilities",
    "EncryptionCapabilities",
    "HashAlgorithm",
    "NegotiateContext",
    "NegotiateRequest",
    "NegotiateResponse",
    "NetnameContext",
    "PosixExtensions",
    "PreauthIntegrityCapabilities",
    "SecurityMode",
    "SigningAlgorithm",
    "SigningCapabilities",
    "TransportCapabilities",
    "UnknownContext",
]

ContextT = TypeVar("ContextT", bound=NegotiateContext)

_REQUEST_FIXED_SIZE = 36
_RESPONSE_FIXED_SIZE = 64


class SecurityMode(IntFlag):
    """Spec: [MS-SMB2] 2.2.3 (SMB2_NEGOTIATE_SIGNING_...)."""

    SIGNING_ENABLED = 0x0001
    SIGNING_REQUIRED = 0x0002


class Capabilities(IntFlag):
    """Spec: [MS-SMB2] 2.2.3 (SMB2_GLOBAL_CAP_...)."""

    DFS = 0x0000_0001
    LEASING = 0x0000_0002
    LARGE_MTU = 0x0000_0004
    MULTI_CHANNEL = 0x0000_0008
    PERSISTENT_HANDLES = 0x0000_0010
    DIRECTORY_LEASING = 0x0000_0020
    ENCRYPTION = 0x0000_0040
    NOTIFICATIONS = 0x0000_0080


@dataclass(frozen=True, slots=True)
class NegotiateRequest(Message):
    """Offer dialects, and in SMB 3.1.1 algorithms.

    Shape: 36 fixed bytes, two per dialect, and, where 3.1.1 is offered, contexts at the next
    multiple of 8. Where it is not, their fields are ClientStartTime, which is 0.
    Raises: WireError on decode if short, StructureSize != 36, an unknown dialect, or contexts
    outside the body.
    Spec: [MS-SMB2] 2.2.3; sent per 3.2.4.2.2.2.
    """

    command: ClassVar[Command] = Command.NEGOTIATE

    dialects: tuple[Dialect, ...]
    security_mode: SecurityMode
    capabilities: Capabilities
    client_guid: UUID
    contexts: tuple[NegotiateContext, ...] = ()

    def encode(self) -> bytes:
        """Return the body."""
        structure = SMB3NegotiateRequest()
        for name in ("padding", "negotiate_context_list"):
            del structure[name]
        fixed_size = _REQUEST_FIXED_SIZE + 2 * len(self.dialects)
        gap = padding(HEADER_SIZE + fixed_size, 8) if self.contexts else b""
        fill(
            structure,
            security_mode=int(self.security_mode),
            capabilities=int(self.capabilities),
            client_guid=self.client_guid,
            negotiate_context_offset=(HEADER_SIZE + fixed_size + len(gap) if self.contexts else 0),
            negotiate_context_count=len(self.contexts),
            dialects=[int(dialect) for dialect in self.dialects],
        )
        return pack(structure) + gap + encode_negotiate_contexts(self.contexts)

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "NEGOTIATE request"
        structure = unpack_structure(
            SMB3NegotiateRequest(),
            body,
            what,
            variable=("dialects", "padding", "negotiate_context_list"),
        )
        with wire_errors(what):
            count = value(structure, "dialect_count")
            offset = HEADER_SIZE + _REQUEST_FIXED_SIZE
            dialect_bytes = slice_body(body, offset, 2 * count, what)
            dialects = tuple(
                Dialect(int.from_bytes(dialect_bytes[index : index + 2], "little"))
                for index in range(0, 2 * count, 2)
            )
            contexts: tuple[NegotiateContext, ...] = ()
            if Dialect.SMB_3_1_1 in dialects:
                contexts = decode_negotiate_contexts(
                    body,
                    value(structure, "negotiate_context_offset"),
                    value(structure, "negotiate_context_count"),
                )
            return cls(
                dialects,
                SecurityMode(value(structure, "security_mode")),
                Capabilities(value(structure, "capabilities")),
                value(structure, "client_guid"),
                contexts,
            )


@dataclass(frozen=True, slots=True)
class NegotiateResponse(Message):
    """What the server chose, and its limits.

    Shape: 64 fixed bytes, the security buffer (SPNEGO's first token), and in SMB 3.1.1
    contexts at a multiple of 8.  StructureSize is 65.
    Units: max_transact_size, max_read_size, max_write_size in bytes; times are FILETIMEs.
    Raises: WireError on decode if short, StructureSize != 65, an unknown dialect, or a buffer
    outside the body.
    Spec: [MS-SMB2] 2.2.4; received per 3.2.5.2.
    """

    command: ClassVar[Command] = Command.NEGOTIATE

    security_mode: SecurityMode
    dialect: Dialect
    server_guid: UUID
    capabilities: Capabilities
    max_transact_size: int
    max_read_size: int
    max_write_size: int
    system_time: int
    server_start_time: int
    security_buffer: bytes
    contexts: tuple[NegotiateContext, ...] = ()

    def encode(self) -> bytes:
        """Return the body."""
        structure = SMB2NegotiateResponse()
        for name in ("padding", "negotiate_context_list"):
            del structure[name]
        buffer_end = HEADER_SIZE + _RESPONSE_FIXED_SIZE + len(self.security_buffer)
        gap = padding(buffer_end, 8) if self.contexts else b""
        fill(
            structure,
            security_mode=int(self.security_mode),
            dialect_revision=int(self.dialect),
            negotiate_context_count=len(self.contexts),
            server_guid=self.server_guid,
            capabilities=int(self.capabilities),
            max_transact_size=self.max_transact_size,
            max_read_size=self.max_read_size,
            max_write_size=self.max_write_size,
            system_time=self.system_time,
            server_start_time=self.server_start_time,
            negotiate_context_offset=buffer_end + len(gap) if self.contexts else 0,
            buffer=self.security_buffer,
        )
        return pack(structure) + gap + encode_negotiate_contexts(self.contexts)

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "NEGOTIATE response"
        structure = unpack_structure(
            SMB2NegotiateResponse(),
            body,
            what,
            variable=("buffer", "padding", "negotiate_context_list"),
        )
        with wire_errors(what):
            dialect = Dialect(value(structure, "dialect_revision"))
            buffer = slice_body(
                body,
                value(structure, "security_buffer_offset"),
                value(structure, "security_buffer_length"),
                what,
            )
            contexts: tuple[NegotiateContext, ...] = ()
            if dialect is Dialect.SMB_3_1_1:
                contexts = decode_negotiate_contexts(
                    body,
                    value(structure, "negotiate_context_offset"),
                    value(structure, "negotiate_context_count"),
                )
            return cls(
                SecurityMode(value(structure, "security_mode")),
                dialect,
                value(structure, "server_guid"),
                Capabilities(value(structure, "capabilities")),
                value(structure, "max_transact_size"),
                value(structure, "max_read_size"),
                value(structure, "max_write_size"),
                value(structure, "system_time"),
                value(structure, "server_start_time"),
                bytes(buffer),
                contexts,
            )

    def context(self, cls: type[ContextT]) -> ContextT | None:
        """Return the first context of this type, or None."""
        for context in self.contexts:
            if isinstance(context, cls):
                return context
        return None
