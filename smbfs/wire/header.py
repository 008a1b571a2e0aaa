"""The 64-byte packet header in front of every message.

Spec: [MS-SMB2] 2.2.1.1 (ASYNC) and 2.2.1.2 (SYNC): one layout, whose eight bytes at 32
are an AsyncId when ASYNC_COMMAND is set, otherwise a reserved word and the TreeId.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple, Self

from smbfs.errors import WireError
from smbfs.wire.layout import HEADER_SIZE, Buffer

__all__ = [
    "HEADER_SIZE",
    "NEXT_COMMAND_OFFSET",
    "PROTOCOL_ID",
    "PROTOCOL_ID_COMPRESSED",
    "PROTOCOL_ID_SMB1",
    "PROTOCOL_ID_TRANSFORM",
    "SIGNATURE_OFFSET",
    "UNSOLICITED_MESSAGE_ID",
    "Command",
    "Header",
    "HeaderFlags",
]

PROTOCOL_ID = b"\xfeSMB"
"""First bytes of an SMB2 header."""
PROTOCOL_ID_TRANSFORM = b"\xfdSMB"
"""First bytes of an encrypted message."""
PROTOCOL_ID_COMPRESSED = b"\xfcSMB"
"""First bytes of a compressed message."""
PROTOCOL_ID_SMB1 = b"\xffSMB"
"""First bytes of an SMB1 message, which no server sends to this client."""

NEXT_COMMAND_OFFSET = 20
"""Byte of the header where NextCommand (4 bytes) starts."""
SIGNATURE_OFFSET = 48
"""Byte of the header where Signature (16 bytes) starts."""
UNSOLICITED_MESSAGE_ID = 0xFFFF_FFFF_FFFF_FFFF
"""MessageId of what the server sends unasked: oplock and lease breaks."""

_LAYOUT = struct.Struct("<4sHHIHHIIQIIQ16s")
_NO_SIGNATURE = bytes(16)


class Command(IntEnum):
    """What a message asks for. Spec: [MS-SMB2] 2.2.1.2 (Command)."""

    NEGOTIATE = 0x00
    SESSION_SETUP = 0x01
    LOGOFF = 0x02
    TREE_CONNECT = 0x03
    TREE_DISCONNECT = 0x04
    CREATE = 0x05
    CLOSE = 0x06
    FLUSH = 0x07
    READ = 0x08
    WRITE = 0x09
    LOCK = 0x0A
    IOCTL = 0x0B
    CANCEL = 0x0C
    ECHO = 0x0D
    QUERY_DIRECTORY = 0x0E
    CHANGE_NOTIFY = 0x0F
    QUERY_INFO = 0x10
    SET_INFO = 0x11
    OPLOCK_BREAK = 0x12


_COMMANDS = {int(command): command for command in Command}


class HeaderFlags:
    """How to process a message: bits, and plain numbers because every message tests them.

    Spec: [MS-SMB2] 2.2.1.2 (Flags: SMB2_FLAGS_...).
    """

    SERVER_TO_REDIR: Final = 0x0000_0001
    ASYNC_COMMAND: Final = 0x0000_0002
    RELATED_OPERATIONS: Final = 0x0000_0004
    SIGNED: Final = 0x0000_0008
    PRIORITY_MASK: Final = 0x0000_0070
    DFS_OPERATIONS: Final = 0x1000_0000
    REPLAY_OPERATION: Final = 0x2000_0000


_ASYNC = HeaderFlags.ASYNC_COMMAND


class Header(NamedTuple):
    """The header of a request or a response.

    Shape: 64 bytes. ``status`` is an NTSTATUS in a response; in a request its low 16 bits
    are the ChannelSequence. ``credits`` are requested or granted; ``flags`` are HeaderFlags.
    ``async_id`` counts only with ASYNC_COMMAND, ``tree_id`` only without it; the other one is 0.
    Spec: [MS-SMB2] 2.2.1.1, 2.2.1.2.
    """

    credit_charge: int
    status: int
    command: Command
    credits: int = 0
    flags: int = 0
    next_command: int = 0
    message_id: int = 0
    async_id: int = 0
    tree_id: int = 0
    session_id: int = 0
    signature: bytes = _NO_SIGNATURE

    def encode(self) -> bytes:
        """Return the 64 bytes."""
        if self.flags & _ASYNC:
            low, high = self.async_id & 0xFFFF_FFFF, self.async_id >> 32
        else:
            low, high = 0, self.tree_id
        return _LAYOUT.pack(
            PROTOCOL_ID,
            HEADER_SIZE,
            self.credit_charge,
            self.status,
            self.command,
            self.credits,
            self.flags,
            self.next_command,
            self.message_id,
            low,
            high,
            self.session_id,
            self.signature,
        )

    @classmethod
    def decode(cls, view: Buffer, offset: int = 0) -> Self:
        """Read the header that starts at byte ``offset`` of ``view``.

        Raises: WireError if short, not SMB2, of a wrong StructureSize or an unknown command.
        """
        if offset < 0 or offset + HEADER_SIZE > len(view):
            raise WireError("SMB2 header", len(view))
        (
            protocol_id,
            structure_size,
            credit_charge,
            status,
            command_code,
            credit_count,
            flags,
            next_command,
            message_id,
            low,
            high,
            session_id,
            signature,
        ) = _LAYOUT.unpack_from(view, offset)
        command = _COMMANDS.get(command_code)
        if protocol_id != PROTOCOL_ID or structure_size != HEADER_SIZE or command is None:
            raise WireError("SMB2 header", offset)
        is_async = flags & _ASYNC
        return cls._make(
            (
                credit_charge,
                status,
                command,
                credit_count,
                flags,
                next_command,
                message_id,
                high << 32 | low if is_async else 0,
                0 if is_async else high,
                session_id,
                signature,
            )
        )
