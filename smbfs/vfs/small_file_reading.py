"""Opening a small file under a lease and reading it, in one round trip."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from smbfs.client.open import Open
from smbfs.errors import ServerStatusError
from smbfs.vfs.block_cache import Block
from smbfs.vfs.descriptions import Description
from smbfs.vfs.inodes import Inode
from smbfs.vfs.small_file import SMALL_FILE_SIZE_MAX
from smbfs.vfs.state import MountState
from smbfs.wire.fscc import FileStat
from smbfs.wire.ntstatus import NtStatus


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file that was opened and read."""

    file: Open
    stat: FileStat
    block: Block
    """Its beginning."""
    asked: int
    """The tick of the question."""
    content_changes: int
    """How often it had changed here when it was asked for."""

    @property
    def is_whole(self) -> bool:
        """Whether the beginning is all of it."""
        return len(self.block.data) == self.stat.size


async def read_leased(state: MountState, inode: Inode, key: bytes) -> ReadFile | None:
    """Open and read a file in one round trip.

    Return None if the server finds fault with the key: then the file has another name, too.
    Raises: ServerStatusError, TransportError, Refused (STALE).
    """
    content_changes, asked_s = inode.content_changes, trio.current_time()
    asked = state.directories.asking()
    try:
        file, contents, stat = await state.at(
            inode,
            lambda path: state.share.open_and_read(path, SMALL_FILE_SIZE_MAX, lease_key=key),
        )
    except ServerStatusError as error:
        if error.status != NtStatus.STATUS_INVALID_PARAMETER:
            raise
        return None
    try:
        state.check_same(inode, Description(stat))
    except BaseException:
        file.close_unwaited()
        raise
    return ReadFile(file, stat, Block(contents, asked_s), asked, content_changes)
