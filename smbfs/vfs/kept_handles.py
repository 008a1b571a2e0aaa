"""Handles that nobody uses: somebody may open the file again, or soon for the first time.

The server lets us keep a handle while we hold handle caching on its lease: whoever needs it closed
makes the server break that, and then we close it at once. After ``KEEP_S`` a handle is closed as
well, and so is the one that was not used for longest when there are too many.

While the lease allows reading, the contents are known not to have changed since the handle was
last used, except by us; a kept handle without that is worth nothing. Programs that run on the
server itself may break no lease. So handles are kept for readers only: who writes asks the server
where the file ends, and what it tells of a file by the way is compared with what was seen before.

INVARIANT: the inode of a kept handle is pinned, and not open by any program.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from smbfs.client.open import Open
from smbfs.engine.leases import Lease
from smbfs.vfs.inodes import Inode, InodeTable
from smbfs.vfs.lease_policy import Version

KEEP_S: Final = 10.0
"""Seconds for which a handle is kept, however often it is used meanwhile: without POSIX extensions,
Samba does not tell the time of a change on its own disk while the file is open."""

SWEEP_S: Final = 1.0
"""Seconds between two looks for handles that were kept for long enough."""

HANDLES_MAX: Final = 1000
"""Handles that are kept at most; a server has memory for each of them."""


@dataclass(slots=True)
class Kept:
    """A handle that nobody uses now."""

    inode: Inode
    file: Open
    size: int
    """Bytes of the file, gathered writes included."""
    version: Version
    """The file as it was when last seen."""
    until_s: float = math.inf


@dataclass(slots=True)
class Expected:
    """A handle that is being opened although nobody has asked for it yet."""

    inode: Inode
    """It is pinned meanwhile."""
    lease_key: bytes
    is_wanted: bool = True
    """Whether the file was left alone since."""
    is_over: trio.Event = field(default_factory=trio.Event)


class KeptHandles:
    """The kept handles of a mount, oldest first."""

    def __init__(
        self,
        inodes: InodeTable,
        nursery: trio.Nursery,
        *,
        on_closed: Callable[[Inode], None],
    ) -> None:
        """``on_closed`` is called for a file whose kept handle is being closed."""
        self._inodes = inodes
        self._nursery = nursery
        self._on_closed = on_closed
        self._kept: OrderedDict[int, Kept] = OrderedDict()
        self._expected: dict[int, Expected] = {}
        self._pauses = 0
        self._expires = False

    def __len__(self) -> int:
        return len(self._kept)

    def has(self, inode: Inode) -> bool:
        """Whether a handle of this file is kept, or expected."""
        return inode.number in self._kept or inode.number in self._expected

    def expect(self, inode: Inode, lease_key: bytes) -> Expected:
        """A handle of this file is about to be opened, to be kept. Follow it with :meth:`over`."""
        expected = self._expected[inode.number] = Expected(inode, lease_key)
        self._inodes.pin(inode)
        return expected

    def over(self, expected: Expected) -> None:
        """A handle that was expected is kept now, or there is none."""
        del self._expected[expected.inode.number]
        self._inodes.unpin(expected.inode)
        expected.is_over.set()

    async def arrived(self, inode: Inode) -> None:
        """Return when no handle of this file is expected."""
        expected = self._expected.get(inode.number)
        if expected is not None:
            await expected.is_over.wait()

    async def let_go(self, inode: Inode) -> None:
        """Return when the server has been told to close what is kept, or expected, of a file."""
        self.close(inode)
        await self.arrived(inode)

    async def let_go_of_all(self) -> None:
        """Return when the server has been told to close everything that is kept or expected."""
        self.close_all()
        for expected in list(self._expected.values()):
            await expected.is_over.wait()

    @contextmanager
    def expecting_nothing(self) -> Iterator[None]:
        """Let nothing be opened ahead during the block: it could be in the way."""
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1

    @property
    def may_expect(self) -> bool:
        """Whether handles may be opened that nobody has asked for yet."""
        return not self._pauses

    def keep(self, kept: Kept) -> None:
        """Keep a handle, in place of another one of the same file."""
        self.close(kept.inode)
        self._inodes.pin(kept.inode)
        kept.until_s = min(kept.until_s, trio.current_time() + KEEP_S)
        self._kept[kept.inode.number] = kept
        if len(self._kept) > HANDLES_MAX:
            self._close(next(iter(self._kept.values())))
        if not self._expires:
            self._expires = True
            self._nursery.start_soon(self._close_when_old)

    def take(self, inode: Inode) -> Kept | None:
        """Return the handle of a file, for reading; it is then the caller's."""
        kept = self._kept.get(inode.number)
        if kept is None:
            return None
        if kept.until_s <= trio.current_time() or not kept.file.is_known:
            self._close(kept)
            return None
        self._remove(kept)
        return kept

    def lease_key(self, inode: Inode) -> bytes | None:
        """Return the key of the lease under which a handle of this file is kept."""
        expected = self._expected.get(inode.number)
        if expected is not None:
            return expected.lease_key
        kept = self._kept.get(inode.number)
        lease = kept.file.lease if kept is not None else None
        return lease.key if lease is not None else None

    def is_other(self, inode: Inode, version: Version) -> bool:
        """Whether a handle of this file is kept that was opened on another version."""
        kept = self._kept.get(inode.number)
        return kept is not None and kept.version != version

    def close(self, inode: Inode) -> None:
        """Close the handle of a file, because it will be changed by its path."""
        expected = self._expected.get(inode.number)
        if expected is not None:
            expected.is_wanted = False
        kept = self._kept.get(inode.number)
        if kept is not None:
            self._close(kept)

    def close_all(self) -> None:
        """Close every handle: a directory moves, or the mount ends."""
        for expected in self._expected.values():
            expected.is_wanted = False
        for kept in list(self._kept.values()):
            self._close(kept)

    def broken(self, lease: Lease) -> list[Inode]:
        """Close what a broken lease no longer lets us keep; return whose handles these were."""
        if lease.may_keep_handle and lease.may_read:
            return []
        closing = [kept for kept in self._kept.values() if kept.file.lease is lease]
        for kept in closing:
            self._close(kept)
        return [kept.inode for kept in closing]

    def _close(self, kept: Kept) -> None:
        kept.file.close_unwaited()
        self._on_closed(kept.inode)
        self._remove(kept)

    def _remove(self, kept: Kept) -> None:
        del self._kept[kept.inode.number]
        self._inodes.unpin(kept.inode)

    async def _close_when_old(self) -> None:
        while self._kept:
            await trio.sleep(SWEEP_S)
            now_s = trio.current_time()
            for kept in [kept for kept in self._kept.values() if kept.until_s <= now_s]:
                self._close(kept)
        self._expires = False
