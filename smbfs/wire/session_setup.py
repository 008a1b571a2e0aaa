"""SESSION_SETUP and LOGOFF."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar, Self

from smbprotocol.session import SMB2Logoff, SMB2SessionSetupRequest, SMB2SessionSetupResponse

from smbfs.wire.header import Command
from smbfs.wire.layout import slice_body
from smbfs.wire.message import Message
from smbfs.wire.negotiate import Capabilities, SecurityMode
from smbfs.wire.vocabulary import fill, pack, unpack_structure, value


class SessionSetupFlags(IntFlag):
    """Spec: [MS-SMB2] 2.2.5 (SMB2_SESSION_FLAG_BINDING)."""

    BINDING = 0x01


class SessionFlags(IntFlag):
    """What kind of session the server made. Spec: [MS-SMB2] 2.2.6 (SMB2_SESSION_FLAG_...)."""

    IS_GUEST = 0x0001
    IS_NULL = 0x0002
    ENCRYPT_DATA = 0x0004


@dataclass(frozen=True, slots=True)
class SessionSetupRequest(Message):
    """One step of signing on.

    Shape: 24 fixed bytes and the token.  StructureSize is 25.
    Raises: WireError on decode if short, StructureSize != 25 or a token outside the body.
    Spec: [MS-SMB2] 2.2.5; sent per 3.2.4.2.3.
    """

    command: ClassVar[Command] = Command.SESSION_SETUP

    security_mode: SecurityMode
    capabilities: Capabilities
    security_buffer: bytes
    previous_session_id: int = 0
    flags: int = 0

    def encode(self) -> bytes:
        """Return the body."""
        return pack(
            fill(
                SMB2SessionSetupRequest(),
                flags=int(self.flags),
                security_mode=int(self.security_mode),
                capabilities=int(self.capabilities),
                previous_session_id=self.previous_session_id,
                buffer=self.security_buffer,
            )
        )

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "SESSION_SETUP request"
        structure = unpack_structure(SMB2SessionSetupRequest(), body, what, variable=("buffer",))
        token = slice_body(
            body,
            value(structure, "security_buffer_offset"),
            value(structure, "security_buffer_length"),
            what,
        )
        return cls(
            SecurityMode(value(structure, "security_mode")),
            Capabilities(value(structure, "capabilities")),
            bytes(token),
            value(structure, "previous_session_id"),
            value(structure, "flags"),
        )


@dataclass(frozen=True, slots=True)
class SessionSetupResponse(Message):
    """The server's token, and with the last one what kind of session this is.

    Shape: 8 fixed bytes and the token.  StructureSize is 9.
    Raises: WireError on decode if short, StructureSize != 9 or a token outside the body.
    Spec: [MS-SMB2] 2.2.6; received per 3.2.5.3.
    """

    command: ClassVar[Command] = Command.SESSION_SETUP

    session_flags: SessionFlags
    security_buffer: bytes

    def encode(self) -> bytes:
        """Return the body."""
        return pack(
            fill(
                SMB2SessionSetupResponse(),
                session_flags=int(self.session_flags),
                buffer=self.security_buffer,
            )
        )

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "SESSION_SETUP response"
        structure = unpack_structure(SMB2SessionSetupResponse(), body, what, variable=("buffer",))
        token = slice_body(
            body,
            value(structure, "security_buffer_offset"),
            value(structure, "security_buffer_length"),
            what,
        )
        return cls(SessionFlags(value(structure, "session_flags")), bytes(token))


@dataclass(frozen=True, slots=True)
class LogoffRequest(Message):
    """End the session.

    Shape: 4 bytes.  Raises: WireError on decode if short or StructureSize != 4.
    Spec: [MS-SMB2] 2.2.7; sent per 3.2.4.23.
    """

    command: ClassVar[Command] = Command.LOGOFF

    def encode(self) -> bytes:
        """Return the body."""
        return pack(SMB2Logoff())

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        unpack_structure(SMB2Logoff(), body, "LOGOFF request")
        return cls()


@dataclass(frozen=True, slots=True)
class LogoffResponse(Message):
    """The session is gone.

    Shape: 4 bytes.  Raises: WireError on decode if short or StructureSize != 4.
    Spec: [MS-SMB2] 2.2.8.
    """

    command: ClassVar[Command] = Command.LOGOFF

    def encode(self) -> bytes:
        """Return the body."""
        return pack(SMB2Logoff())

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        unpack_structure(SMB2Logoff(), body, "LOGOFF response")
        return cls()
