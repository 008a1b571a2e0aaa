"""Leases: what the server has promised about files, and how it takes that back.

We choose a lease's key and enter it (``lease_table``) before its CREATE is sent, so a break finds
it even if it is read before we have looked at the answer that grants the lease. Grants and breaks
carry an epoch: the higher one is the later word, in whatever order we come to read them.

A lease lives as long as one of the opens that were made with its key.

Spec: [MS-SMB2] 3.2.4.3.8 (asking), 3.2.5.7.5 (the grant), 3.2.5.19.2 (the break).
"""

from __future__ import annotations

from typing import Final

from smbfs.wire.lease import LeaseFlags, LeaseRequestV2, LeaseResponseV2, LeaseState, lease_state
from smbfs.wire.message import Message
from smbfs.wire.oplock_break import LeaseBreakAcknowledgment, LeaseBreakNotification

LEASE_KEY_SIZE: Final = 16

_EPOCHS: Final = 1 << 16
_READ: Final = LeaseState.READ_CACHING.value
_WRITE: Final = LeaseState.WRITE_CACHING.value
_HANDLE: Final = LeaseState.HANDLE_CACHING.value
_BREAK_IN_PROGRESS: Final = LeaseFlags.BREAK_IN_PROGRESS.value


class Lease:
    """One lease, asked for, granted or lost."""

    __slots__ = ("_epoch", "_state", "is_known", "is_orphaned", "key", "opens")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.opens = 0
        """Opens with this key: wanted, under way, or there."""
        self.is_known = True
        """Whether the server may know it: it is of the session that we have now."""
        self.is_orphaned = False
        """Whether the server may have opens with this key that nobody here can close: of a CREATE
        that was sent twice, because nobody knew whether the first had arrived."""
        self._state = 0
        self._epoch = 0

    def __repr__(self) -> str:
        return f"<Lease {self.key.hex()} {self.state!r} epoch={self._epoch} opens={self.opens}>"

    @property
    def state(self) -> LeaseState:
        """What we may do now."""
        return lease_state(self._state)

    @property
    def may_read(self) -> bool:
        """Whether what we know of the contents is right without asking."""
        return bool(self._state & _READ)

    @property
    def may_keep_handle(self) -> bool:
        """Whether nobody waits for us to close a handle that we don't use."""
        return bool(self._state & _HANDLE)

    @property
    def may_write(self) -> bool:
        """Whether whoever wants to look at the contents has to wait until we have sent ours."""
        return bool(self._state & _WRITE)

    def request(
        self, wanted: LeaseState, *, parent_lease_key: bytes | None = None
    ) -> LeaseRequestV2:
        """Return the create context that asks for ``wanted``."""
        return LeaseRequestV2(self.key, wanted, parent_lease_key, self._epoch)

    def granted(self, response: LeaseResponseV2 | None) -> None:
        """Take note of what CREATE answered; None if it answered nothing about a lease.

        While a break is in progress the answer still tells the state before it: the break counts.
        """
        if response is None or response.flags & _BREAK_IN_PROGRESS:
            return
        if response.lease_key == self.key and _is_later_or_same(response.epoch, self._epoch):
            self._state, self._epoch = response.lease_state.value, response.epoch
            self.is_known = True

    def broken(self, notification: LeaseBreakNotification) -> None:
        """Take note of what the server takes back."""
        if _is_later_or_same(notification.new_epoch, self._epoch):
            self._epoch = notification.new_epoch
        self._state &= notification.new_lease_state.value

    def doubted(self) -> None:
        """Breaks may have gone astray: believe nothing of it, but answer for it."""
        self._state = 0

    def lost(self) -> None:
        """The last open is gone, or the session: the server has no such lease any more."""
        self._state = self._epoch = 0
        self.is_known = False

    @property
    def must_be_acknowledged(self) -> bool:
        """Whether the server waits for our word on a break; closing the last open says it, too."""
        return self.is_orphaned or (self.opens > 0 and self.is_known)

    def acknowledgment(self) -> Message:
        """Return the answer to a break: we agree to the state that is left."""
        return LeaseBreakAcknowledgment(self.key, self.state)


def _is_later_or_same(epoch: int, than: int) -> bool:
    """Compare two 16-bit counters that wrap around."""
    return (epoch - than) % _EPOCHS < _EPOCHS // 2
