"""What we know of a file because we have just written it.

The CLOSE of a handle that has written tells what the file is then: not earlier, because servers set
the time of the last write when the handle is closed. So a small new file can be opened and read
without asking, as long as the lease on its directory holds; and where CLOSE tells all times, the
next `stat` needs no round trip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from smbfs.errors import SmbfsError
from smbfs.vfs.block_cache import Block
from smbfs.vfs.contents import content_changed, forget_content, seen
from smbfs.vfs.descriptions import Description
from smbfs.vfs.handles import Handle, OpenFile
from smbfs.vfs.share import stat_of_open
from smbfs.vfs.small_file import SMALL_FILE_SIZE_MAX
from smbfs.vfs.state import MountState
from smbfs.wire.close_flush import CloseResponse
from smbfs.wire.create import CreateResponse
from smbfs.wire.message import Buffer


def changed(state: MountState, handle: Handle, start: int, end: int) -> None:
    """Bytes of a file are changed through a handle: believe nothing of them from before."""
    inode = handle.opened.inode
    handle.opened.version = None
    content_changed(state, inode, handle.inode_number, start=start, end=end)
    state.spoil_names(inode)


def written(state: MountState, opened: OpenFile, offset: int, data: Buffer) -> None:
    """The server has executed a write, or refused it: then ``data`` are empty."""
    if not data:
        refused(state, opened, offset)
        return
    opened.server_version = opened.version = None
    forget_content(state, opened.inode, start=offset, end=offset + len(data))
    opened.server_end = max(opened.server_end, offset + len(data))
    is_whole = offset == 0 and len(data) == opened.end <= SMALL_FILE_SIZE_MAX
    opened.content = data if is_whole and not opened.is_dirty else None


def refused(state: MountState, opened: OpenFile, offset: int) -> None:
    """The server has not executed a change from an offset on, or nobody knows how much of it."""
    opened.server_version = opened.version = opened.content = None
    forget_content(state, opened.inode, start=offset)
    opened.is_end_doubtful = True
    opened.inode.changed_s = -math.inf  # What it is shown as is no newer than what is told.
    state.shown.attributes_lost(opened.inode)


ASKED_MAX: Final = 3
"""How often to ask where a file ends that others change all the time."""


@contextmanager
def executing(state: MountState, handle: Handle, start: int, end: int) -> Iterator[None]:
    """The block has the server change bytes of a file itself, for a handle that may write."""
    try:
        yield
    except SmbfsError:
        changed(state, handle, start, end)
        refused(state, handle.opened, start)  # Perhaps after a part.
        raise
    changed(state, handle, start, end)


def executed(handle: Handle, start: int, end: int) -> None:
    """The server has changed these bytes of a file itself, and has room for them."""
    opened, gather = handle.opened, handle.gather
    assert gather is not None
    gather.executed(start, end)
    opened.server_version = opened.content = None
    opened.server_end = max(opened.server_end, end)
    opened.end = max(opened.end, end)
    opened.inode.shown_size = max(opened.inode.shown_size, end)


async def find_end(state: MountState, handle: Handle) -> None:
    """Have the server tell where a file ends, once it has what was written.

    If something changes while it is asked, nobody knows which was first: it is asked again.
    """
    opened = handle.opened
    for _ in range(ASKED_MAX):
        await opened.settle()
        changes = opened.inode.content_changes
        stat = await state.share.stat_open(await handle.server_file())
        if not opened.is_dirty and changes == opened.inode.content_changes:
            opened.end = opened.server_end = stat.size
            opened.is_end_doubtful = False
            return
        opened.end = max(opened.end, stat.size)


def note_written(
    state: MountState,
    opened: OpenFile,
    created: CreateResponse,
    told: CloseResponse,
    asked: int,
    *,
    is_alone: bool,
) -> None:
    """Take note of what the last CLOSE has told of a file that CREATE described before.

    ``asked``: the tick of that question. Nobody else has written since it was opened; if others
    had it open all the same (not ``is_alone``), no lease tells of what they write from now on:
    Samba breaks that on the directory with the first write through a handle, and with no other.
    """
    inode, share = opened.inode, state.share
    stat = stat_of_open(created)._replace(
        size=told.end_of_file,
        allocation_size=told.allocation_size,
        access_time=told.last_access_time,
        write_time=told.last_write_time,
        change_time=told.change_time,
        attributes=told.file_attributes,
    )
    if opened.is_all_ours and told.end_of_file == opened.end:
        seen(inode, share.version_of(stat))
        if is_alone:
            _remember(state, opened, asked)
    if share.posix or state.describer.is_open_question(stat):
        state.spoil_names(inode)  # It has not told everything.
        inode.written_tick = state.directories.asking()
        return
    for parent, name in inode.names():
        known = state.directories.of(parent.number)
        if known.description_of(name, inode.file_id) is not None:
            known.note(name, Description(stat), asked)


def _remember(state: MountState, opened: OpenFile, asked: int) -> None:
    """Keep the content of a small file, if the lease on its directory has held since the CLOSE."""
    inode, now_s = opened.inode, trio.current_time()
    if opened.content is None or len(opened.content) != opened.end or inode.parent is None:
        return
    known = state.directories.of(inode.parent.number)
    if known.left_s(now_s) and asked >= known.armed:
        block = Block(memoryview(opened.content), now_s)
        state.blocks.put(inode.number, 0, block, inode.version)
