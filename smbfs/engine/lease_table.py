"""The books of leases and oplocks: which ones we hold, and which one a break is about."""

from __future__ import annotations

from smbfs.engine.leases import Lease
from smbfs.engine.oplocks import Oplock, allowed_by, oplock_key
from smbfs.wire.file_id import FileId
from smbfs.wire.oplock_break import LeaseBreakNotification, OplockBreakNotification


class LeaseTable:
    """The leases and oplocks of one connection, by key."""

    def __init__(self) -> None:
        self._leases: dict[bytes, Lease] = {}

    def __len__(self) -> int:
        return sum(1 for lease in self._leases.values() if lease.may_read)

    def opening(self, key: bytes) -> Lease:
        """Count an open that is about to be asked for; undo it with :meth:`closed`."""
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = Lease(key)
        lease.opens += 1
        return lease

    def closed(self, lease: Lease) -> None:
        """Uncount an open: it failed, or was closed, or nobody here cares for it any more."""
        assert lease.opens > 0
        lease.opens -= 1
        if not lease.opens:
            lease.lost()
            if self._leases.get(lease.key) is lease:  # A server may use a file id again at once.
                del self._leases[lease.key]

    def oplock_granted(self, file_id: FileId, level: int) -> None:
        """Enter an oplock, as soon as the answer of CREATE is read: a break may be behind it."""
        if allowed_by(level):
            oplock = Oplock(file_id, level)
            oplock.opens = 1
            self._leases[oplock.key] = oplock

    def oplock_of(self, file_id: FileId) -> Lease | None:
        """Return the oplock of an open, None if it has none."""
        return self._leases.get(oplock_key(file_id))

    def broken(self, notification: LeaseBreakNotification) -> Lease | None:
        """Take note of a break; return its lease, or None if we hold none of that key."""
        lease = self._leases.get(notification.lease_key)
        if lease is not None:
            lease.broken(notification)
        return lease

    def orphan(self, key: bytes) -> Lease:
        """Return a lease that an open has of which nobody here knows: it may do nothing."""
        lease = Lease(key)
        lease.is_orphaned = True
        return lease

    def repeated(self, key: bytes) -> None:
        """A CREATE with this key is sent again: the server may have opened the file twice."""
        lease = self._leases.get(key)
        if lease is not None:
            lease.is_orphaned = True

    def oplock_broken(self, notification: OplockBreakNotification) -> tuple[Oplock, bool] | None:
        """Take note of a break; return its oplock, and whether the server waits for us.

        None if the open has none, for example because it is being closed.
        """
        oplock = self._leases.get(oplock_key(notification.file_id))
        if not isinstance(oplock, Oplock):
            return None
        return oplock, oplock.broken_to(notification.oplock_level)

    def doubt_all(self) -> list[Lease]:
        """Nobody could tell us of breaks for a while. Return what we believed until now."""
        doubted = [lease for lease in self._leases.values() if lease.state]
        for lease in doubted:
            lease.doubted()
        return doubted

    def lose_all(self) -> list[Lease]:
        """Nobody will tell us of breaks any more. Return what has told us something until now.

        The opens remain counted; one of them may get its lease again, from the next session.
        """
        lost = [lease for lease in self._leases.values() if lease.state]
        for lease in lost:
            lease.lost()
        return lost

    def check_invariants(self) -> None:
        """Raise ``AssertionError`` when the books don't add up. Called by tests."""
        for key, lease in self._leases.items():
            assert lease.key == key
            assert lease.opens > 0
