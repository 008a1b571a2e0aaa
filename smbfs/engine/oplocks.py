"""Oplocks: what servers grant that know no leases.

An oplock is a lease that one open has for itself: another open of the same file takes it away, also
when it is ours. There is neither key nor epoch; the file id tells which one it is, and the server's
words count in the order in which they arrive.

Spec: [MS-SMB2] 3.2.4.3.8 (asking), 3.2.5.7 (the grant), 3.2.5.19.1 (the break).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from smbfs.engine.leases import Lease
from smbfs.wire.create import CreateRequest, OplockLevel
from smbfs.wire.file_id import FileId
from smbfs.wire.lease import LeaseState
from smbfs.wire.message import Message
from smbfs.wire.oplock_break import OplockBreakAcknowledgment

_ALLOWED: Final[Mapping[int, LeaseState]] = {
    OplockLevel.LEVEL_II: LeaseState.READ_CACHING,
    OplockLevel.EXCLUSIVE: LeaseState.READ_CACHING | LeaseState.WRITE_CACHING,
    OplockLevel.BATCH: (
        LeaseState.READ_CACHING | LeaseState.WRITE_CACHING | LeaseState.HANDLE_CACHING
    ),
}


class Oplock(Lease):
    """The oplock of one open."""

    __slots__ = ("_is_shared", "file_id")

    def __init__(self, file_id: FileId, level: int) -> None:
        super().__init__(oplock_key(file_id))
        self.file_id = file_id
        self._is_shared = level == OplockLevel.LEVEL_II
        self._state = allowed_by(level).value

    def broken_to(self, level: int) -> bool:
        """Take note of what the server takes back; return whether it waits until we agree.

        It does not wait for those that only read (3.2.5.19.1).
        """
        must_acknowledge = not self._is_shared
        self._is_shared = True
        self._state &= (allowed_by(level) & LeaseState.READ_CACHING).value
        return must_acknowledge

    def acknowledgment(self) -> Message:
        """Return the answer to a break: we agree to the level that is left."""
        level = OplockLevel.LEVEL_II if self.may_read else OplockLevel.NONE
        return OplockBreakAcknowledgment(self.file_id, level)


def asks_for_oplock(message: Message) -> bool:
    """Whether a request asks for what :class:`Oplock` stands for."""
    return isinstance(message, CreateRequest) and message.oplock_level == OplockLevel.BATCH


def allowed_by(level: int) -> LeaseState:
    """Return what an oplock level lets us cache; nothing if it is not one."""
    return _ALLOWED.get(level, LeaseState.NONE)


def oplock_key(file_id: FileId) -> bytes:
    """Return 16 bytes that stand for an open, as a lease key does for a file."""
    return file_id.persistent.to_bytes(8, "little") + file_id.volatile.to_bytes(8, "little")
