"""Forgetting contents: what changes here, what others change, and what may have been changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import trio

from smbfs.vfs.inodes import Inode
from smbfs.vfs.lease_policy import Version, is_young, may_hide_a_change

if TYPE_CHECKING:
    from smbfs.vfs.state import MountState

MAX_SIZE: Final = 1 << 63
"""More bytes than a file may have."""


def content_changed(
    state: MountState, inode: Inode, number: int, *, start: int = 0, end: int = MAX_SIZE
) -> None:
    """Note that bytes of a file were changed through one of its numbers."""
    forget_content(state, inode, start=start, end=end)
    state.attributes.discard(inode.number)
    for other in state.inodes.numbers.others(inode, number):
        state.kernel.inode_changed(other)


def forget_content(state: MountState, inode: Inode, *, start: int = 0, end: int = MAX_SIZE) -> None:
    """Remember nothing of these bytes of a file that was asked for before now."""
    inode.content_changes += 1
    state.blocks.discard_range(inode.number, start, end)


def pages_lost(state: MountState, inode: Inode) -> None:
    """Have the kernel read a file anew, by whichever number it knows that."""
    for number in (inode.number, *state.inodes.numbers.others(inode, inode.number)):
        state.kernel.inode_changed(number)


def seen(inode: Inode, version: Version) -> None:
    """A file is of this version now; what is read from now on is from then, or later."""
    inode.version = version
    inode.is_version_doubtful = may_hide_a_change(version, time.time_ns())


def forget_young(state: MountState, inode: Inode) -> None:
    """A lease is gone: forget what may have changed since without getting another time."""
    version = inode.version
    block = state.blocks.whole(inode.number, version) if version is not None else None
    if version is None or block is None:
        return
    age_ns = int((trio.current_time() - block.arrived_s) * 1e9)
    if inode.written_tick != -1 or is_young(version, time.time_ns() - age_ns):
        forget_foreign(state, inode)


def forget_foreign(state: MountState, inode: Inode) -> None:
    """Somebody else has changed a file: what is read from now on is of no version we know."""
    forget_content(state, inode)
    inode.version = None
