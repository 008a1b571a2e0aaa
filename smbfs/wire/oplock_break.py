"""OPLOCK_BREAK: five bodies under one command, told apart by StructureSize.

A server notifies (of an oplock, 24, or of a lease, 44), the client acknowledges (24, 36),
the server responds (24, 36).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar, Self

from smbfs.errors import WireError
from smbfs.wire.file_id import FileId
from smbfs.wire.header import Command
from smbfs.wire.layout import unpack_at, unpack_body
from smbfs.wire.lease import LeaseState, lease_state
from smbfs.wire.message import Message

__all__ = [
    "LeaseBreakAcknowledgment",
    "LeaseBreakFlags",
    "LeaseBreakNotification",
    "LeaseBreakResponse",
    "LeaseState",
    "OplockBreakAcknowledgment",
    "OplockBreakNotification",
    "OplockBreakResponse",
    "decode_break",
    "decode_break_response",
]

_STRUCTURE_SIZE = struct.Struct("<H")
_OPLOCK = struct.Struct("<HBBIQQ")
_LEASE_NOTIFICATION = struct.Struct("<HHI16sIIIII")
_LEASE = struct.Struct("<HHI16sIQ")


class LeaseBreakFlags(IntFlag):
    """Spec: [MS-SMB2] 2.2.23.2 (SMB2_NOTIFY_BREAK_LEASE_FLAG_...)."""

    ACK_REQUIRED = 0x01


@dataclass(frozen=True, slots=True)
class _OplockBreak(Message):
    command: ClassVar[Command] = Command.OPLOCK_BREAK

    file_id: FileId
    oplock_level: int

    def encode(self) -> bytes:
        """Return the body."""
        return _OPLOCK.pack(24, self.oplock_level, 0, 0, *self.file_id)

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        _, level, _, _, persistent, volatile = unpack_body(_OPLOCK, body, 24, "oplock break")
        return cls(FileId(persistent, volatile), level)


class OplockBreakNotification(_OplockBreak):
    """The server takes an oplock down to ``oplock_level``.

    Shape: 24 bytes.  Raises: WireError on decode if short or StructureSize != 24.
    Spec: [MS-SMB2] 2.2.23.1.
    """

    __slots__ = ()


class OplockBreakAcknowledgment(_OplockBreak):
    """The client agrees to ``oplock_level``.

    Shape: 24 bytes.  Raises: WireError on decode if short or StructureSize != 24.
    Spec: [MS-SMB2] 2.2.24.1.
    """

    __slots__ = ()


class OplockBreakResponse(_OplockBreak):
    """The server confirms ``oplock_level``.

    Shape: 24 bytes.  Raises: WireError on decode if short or StructureSize != 24.
    Spec: [MS-SMB2] 2.2.25.1.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class LeaseBreakNotification(Message):
    """The server takes a lease down from one state to another.

    ``new_epoch`` is 0 for a lease of version 1; ``lease_key`` is 16 bytes.
    Shape: 44 bytes.  Raises: WireError on decode if short or StructureSize != 44.
    Spec: [MS-SMB2] 2.2.23.2.
    """

    command: ClassVar[Command] = Command.OPLOCK_BREAK

    lease_key: bytes
    current_lease_state: LeaseState
    new_lease_state: LeaseState
    new_epoch: int = 0
    flags: int = 0

    def encode(self) -> bytes:
        """Return the body."""
        return _LEASE_NOTIFICATION.pack(
            44,
            self.new_epoch,
            self.flags,
            self.lease_key,
            self.current_lease_state,
            self.new_lease_state,
            0,
            0,
            0,
        )

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        _, epoch, flags, key, current, new, _, _, _ = unpack_body(
            _LEASE_NOTIFICATION, body, 44, "lease break notification"
        )
        return cls(
            key,
            lease_state(current),
            lease_state(new),
            epoch,
            flags,
        )

    @property
    def acknowledgment_required(self) -> bool:
        """Whether the server waits for an acknowledgment."""
        return bool(self.flags & LeaseBreakFlags.ACK_REQUIRED)


@dataclass(frozen=True, slots=True)
class _LeaseBreak(Message):
    command: ClassVar[Command] = Command.OPLOCK_BREAK

    lease_key: bytes
    lease_state: LeaseState

    def encode(self) -> bytes:
        """Return the body."""
        return _LEASE.pack(36, 0, 0, self.lease_key, self.lease_state, 0)

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        _, _, _, key, state, _ = unpack_body(_LEASE, body, 36, "lease break")
        return cls(key, lease_state(state))


class LeaseBreakAcknowledgment(_LeaseBreak):
    """The client agrees to a lease state.

    Shape: 36 bytes.  Raises: WireError on decode if short or StructureSize != 36.
    Spec: [MS-SMB2] 2.2.24.2.
    """

    __slots__ = ()


class LeaseBreakResponse(_LeaseBreak):
    """The server confirms a lease state.

    Shape: 36 bytes.  Raises: WireError on decode if short or StructureSize != 36.
    Spec: [MS-SMB2] 2.2.25.2.
    """

    __slots__ = ()


def decode_break(body: memoryview) -> OplockBreakNotification | LeaseBreakNotification:
    """Read what the server sent unasked. Raises: WireError if it is neither notification.

    Spec: [MS-SMB2] 2.2.23.
    """
    (structure_size,) = unpack_at(_STRUCTURE_SIZE, body, 0, "break notification")
    if structure_size == 24:
        return OplockBreakNotification.decode(body)
    if structure_size == 44:
        return LeaseBreakNotification.decode(body)
    raise WireError("break notification")


def decode_break_response(body: memoryview) -> OplockBreakResponse | LeaseBreakResponse:
    """Read the answer to an acknowledgment. Raises: WireError if it is neither response.

    Spec: [MS-SMB2] 2.2.25.
    """
    (structure_size,) = unpack_at(_STRUCTURE_SIZE, body, 0, "break response")
    if structure_size == 24:
        return OplockBreakResponse.decode(body)
    if structure_size == 36:
        return LeaseBreakResponse.decode(body)
    raise WireError("break response")
