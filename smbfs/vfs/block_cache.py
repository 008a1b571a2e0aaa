"""Blocks of file contents in memory, least recently used first out.

A block is a view of the frame that brought it: putting it here copies nothing. How long a block
may be believed is not decided here (see ``lease_policy``); readers pass the oldest time of
arrival that they accept.

INVARIANT: ``size`` is the sum of the blocks' lengths, and at most ``limit``.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

BLOCK_SIZE = 1024 * 1024
"""Bytes of a block. The same for every reader of a mount: blocks are known by their index."""


class Block(NamedTuple):
    """Contents of one aligned piece of a file."""

    data: memoryview
    """Shorter than the block size where the file ends."""
    arrived_s: float
    """When it was read, in seconds of the event loop's clock."""


class BlockCache:
    """All blocks of one mount, bounded in bytes."""

    def __init__(self, limit: int, *, block_size: int = BLOCK_SIZE) -> None:
        """``limit``: bytes that may be held."""
        self.limit = limit
        self.block_size = block_size
        self.size = 0
        self.hits = 0
        self.misses = 0
        self._blocks: OrderedDict[tuple[int, int], Block] = OrderedDict()
        self._of_inode: dict[int, set[int]] = {}

    def get(self, inode: int, index: int, *, not_before_s: float) -> Block | None:
        """Return the block when it arrived at ``not_before_s`` or later."""
        block = self._blocks.get((inode, index))
        if block is not None and block.arrived_s < not_before_s:
            self.discard(inode, index)
            block = None
        if block is None:
            self.misses += 1
            return None
        self.hits += 1
        self._blocks.move_to_end((inode, index))
        return block

    def whole(self, inode: int) -> Block | None:
        """Return the block of a file of which the first one is all that is here."""
        if self._of_inode.get(inode) != {0}:
            return None
        return self.get(inode, 0, not_before_s=0.0)

    def put(self, inode: int, index: int, block: Block) -> None:
        """Keep a block; the least recently used ones make room."""
        self.discard(inode, index)
        if len(block.data) > self.limit:
            return
        self._blocks[inode, index] = block
        self._of_inode.setdefault(inode, set()).add(index)
        self.size += len(block.data)
        while self.size > self.limit:
            self.discard(*next(iter(self._blocks)))

    def discard(self, inode: int, index: int) -> None:
        """Forget one block, if it is here."""
        block = self._blocks.pop((inode, index), None)
        if block is None:
            return
        self.size -= len(block.data)
        indexes = self._of_inode[inode]
        indexes.discard(index)
        if not indexes:
            del self._of_inode[inode]

    def discard_inode(self, inode: int) -> None:
        """Forget everything of one file."""
        for index in tuple(self._of_inode.get(inode, ())):
            self.discard(inode, index)

    def check_invariants(self) -> None:
        """Raise ``AssertionError`` when the books are wrong. Called by tests."""
        assert self.size == sum(len(block.data) for block in self._blocks.values())
        assert self.size <= self.limit
        known = {(inode, index) for inode, all_ in self._of_inode.items() for index in all_}
        assert known == set(self._blocks)
