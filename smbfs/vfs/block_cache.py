"""Blocks of file contents in memory, of one mount.

A block is a view of the frame that brought it: putting it here copies nothing. Blocks outlive the
handle and even the inode that they were read by; whoever opens the file again says which version
it found (:meth:`BlockCache.believe`), and blocks of any other are dropped. How long a block may be
believed while the file is open is not decided here (see ``lease_policy``): readers pass the oldest
time of arrival that they accept.

What is read once, however much of it, does not push out what is read again and again: blocks are
*recent* until somebody comes back to one that was read to its end, which makes it *proven*. Recent
ones go first, the least recently used first of all.

INVARIANT: ``size`` is what all blocks take, ``size + reserved <= limit`` or there are no blocks,
and proven ones take at most the part ``PROVEN_SHARE`` of ``limit``.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from smbfs.vfs.lease_policy import Version

BLOCK_SIZE: Final = 1024 * 1024
"""Bytes of a block. The same for every reader of a mount: blocks are known by their index."""

PROVEN_SHARE: Final = 0.75
"""The part of the memory that proven blocks may take."""

BLOCK_OVERHEAD: Final = 600
"""Bytes that a block takes beside its data, so that a million small files have their price."""


class Block(NamedTuple):
    """Contents of one aligned piece of a file."""

    data: memoryview
    """Shorter than the block size where the file ends."""
    arrived_s: float
    """When it was read, in seconds of the event loop's clock."""


@dataclass(slots=True)
class _Slot:
    """A block in its place."""

    block: Block
    was_passed: bool = False
    """Whether a reader has gone on to the next one."""

    @property
    def size(self) -> int:
        return len(self.block.data) + BLOCK_OVERHEAD


@dataclass(slots=True)
class _File:
    """What is here of one file."""

    version: Version | None
    indexes: set[int] = field(default_factory=set)
    short: int | None = None
    """The index of the block in which it ends, if that is here."""


_Key = tuple[int, int]
"""Inode number and index."""


class BlockCache:
    """All blocks of one mount, bounded in bytes."""

    def __init__(self, limit: int, *, block_size: int = BLOCK_SIZE) -> None:
        """``limit``: bytes that may be held, what is reserved included."""
        self.limit = limit
        self.block_size = block_size
        self.size = 0
        self.reserved = 0
        """Bytes that something else has taken of ``limit``."""
        self.hits = 0
        self.misses = 0
        self._recent: OrderedDict[_Key, _Slot] = OrderedDict()
        self._proven: OrderedDict[_Key, _Slot] = OrderedDict()
        self._proven_size = 0
        self._files: dict[int, _File] = {}

    @property
    def room(self) -> int:
        """Bytes that blocks may take now, all of them together."""
        return max(0, self.limit - self.reserved)

    # ------------------------------------------------------------- reading

    def get(self, inode: int, index: int, *, not_before_s: float) -> Block | None:
        """Return the block when it arrived at ``not_before_s`` or later."""
        key = inode, index
        slot = self._slot(key)
        if slot is not None and slot.block.arrived_s < not_before_s:
            self.discard(inode, index)
            slot = None
        if slot is None:
            self.misses += 1
            return None
        self.hits += 1
        if key in self._proven:
            self._proven.move_to_end(key)
        else:
            self._used_recent(key, slot)
        return slot.block

    def holds(self, inode: int, index: int, *, not_before_s: float) -> bool:
        """Whether :meth:`get` would find the block; nobody uses it by that."""
        slot = self._slot((inode, index))
        return slot is not None and slot.block.arrived_s >= not_before_s

    def _slot(self, key: _Key) -> _Slot | None:
        return self._recent.get(key) or self._proven.get(key)

    def _used_recent(self, key: _Key, slot: _Slot) -> None:
        if not slot.was_passed:
            self._recent.move_to_end(key)
            return
        del self._recent[key]
        self._proven[key] = slot
        self._proven_size += slot.size
        while self._proven_size > self.limit * PROVEN_SHARE:
            oldest, demoted = self._proven.popitem(last=False)
            self._proven_size -= demoted.size
            self._recent[oldest] = demoted

    def passed(self, inode: int, index: int) -> None:
        """A reader has come to the end of a block: who uses it from now on uses it again."""
        slot = self._recent.get((inode, index))
        if slot is not None:
            slot.was_passed = True

    def whole(self, inode: int, version: Version) -> Block | None:
        """Return all of a small file of this version; who uses it is not counted."""
        file = self._files.get(inode)
        slot = self._slot((inode, 0))
        if file is None or slot is None or file.version != version:
            return None
        return slot.block if len(slot.block.data) == version.size else None

    # ------------------------------------------------------------- what is here

    def believe(self, inode: int, version: Version) -> None:
        """A file was found to be of this version: drop what is here of any other."""
        file = self._files.get(inode)
        if file is not None and file.version != version:
            self.discard_inode(inode)

    def put(self, inode: int, index: int, block: Block, version: Version | None) -> None:
        """Keep a block of this version of a file, unless it was found to be of another since."""
        self.discard(inode, index)
        slot = _Slot(block)
        file = self._files.get(inode)
        is_other = file is not None and file.version != version
        if is_other or slot.size + self.reserved > self.limit:
            return
        if file is None:
            file = self._files[inode] = _File(version)
        file.indexes.add(index)
        if len(block.data) < self.block_size:
            file.short = index
        self._recent[inode, index] = slot
        self.size += slot.size
        self._make_room()

    def reserve(self, size: int) -> None:
        """Take ``size`` bytes more for something else, or give them back if that is negative."""
        self.reserved += size
        self._make_room()

    def _make_room(self) -> None:
        while self.size and self.size + self.reserved > self.limit:
            self.discard(*next(iter(self._recent or self._proven)))

    def discard(self, inode: int, index: int) -> None:
        """Forget one block, if it is here."""
        key = inode, index
        slot = self._recent.pop(key, None)
        if slot is None:
            slot = self._proven.pop(key, None)
            if slot is None:
                return
            self._proven_size -= slot.size
        self.size -= slot.size
        file = self._files[inode]
        file.indexes.discard(index)
        if file.short == index:
            file.short = None
        if not file.indexes:
            del self._files[inode]

    def discard_range(self, inode: int, start: int, end: int) -> None:
        """Bytes from ``start`` to before ``end`` are not what they were: forget their blocks.

        That in which the file ended before them is forgotten, too: it has become longer.
        """
        file = self._files.get(inode)
        if file is None:
            return
        first, last = start // self.block_size, max(start, end - 1) // self.block_size
        if file.short is not None and file.short < first:
            self.discard(inode, file.short)
        if last - first < len(file.indexes):
            changed = [index for index in range(first, last + 1) if index in file.indexes]
        else:
            changed = [index for index in file.indexes if first <= index <= last]
        for index in changed:
            self.discard(inode, index)

    def discard_inode(self, inode: int) -> None:
        """Forget everything of one file."""
        file = self._files.get(inode)
        for index in tuple(file.indexes) if file is not None else ():
            self.discard(inode, index)

    def check_invariants(self) -> None:
        """Raise ``AssertionError`` when the books are wrong. Called by tests."""
        assert not self._recent.keys() & self._proven.keys()
        slots = {**self._recent, **self._proven}
        assert self.size == sum(slot.size for slot in slots.values())
        assert self.size + self.reserved <= self.limit or not slots
        assert self._proven_size == sum(slot.size for slot in self._proven.values())
        assert self._proven_size <= self.limit * PROVEN_SHARE
        known = {(inode, index) for inode, file in self._files.items() for index in file.indexes}
        assert known == set(slots)
