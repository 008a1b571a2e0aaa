"""How much room a share has: statfs.

It is asked again when something was changed here, or after a while: who shows folders asks all the
time, and every server takes its time for that.
"""

from __future__ import annotations

from typing import NamedTuple

import trio

from smbfs.vfs.names import NAME_SIZE_MAX
from smbfs.vfs.share import STAT_ACCESS
from smbfs.vfs.state import MountState
from smbfs.wire.create import FileId
from smbfs.wire.fscc import decode_fs_full_size_information, decode_posix_fs_information
from smbfs.wire.info import FsInfoClass, InfoType, QueryInfoRequest, QueryInfoResponse


class FileSystemSpace(NamedTuple):
    """What statfs(2) tells. Blocks are of ``block_size`` bytes."""

    block_size: int
    blocks: int
    free_blocks: int
    available_blocks: int
    files: int
    free_files: int
    name_size_max: int


class Space:
    """The room on a mount's share. May raise ServerStatusError, TransportError."""

    def __init__(self, state: MountState) -> None:
        self._state = state
        self._latest: FileSystemSpace | None = None
        self._changes = 0
        self._until_s = 0.0

    async def get(self) -> FileSystemSpace:
        """Return how much room the share has, or had when we last changed something."""
        so_far, now_s = self._state.directories.changes, trio.current_time()
        is_same = so_far == self._changes and now_s < self._until_s
        if self._latest is not None and (is_same or self._state.share.tree.line.ready is None):
            return self._latest
        space = await self._ask()
        self._latest, self._changes = space, so_far
        self._until_s = now_s + self._state.policy.space_s
        return space

    async def _ask(self) -> FileSystemSpace:
        share = self._state.share
        info_class = FsInfoClass.POSIX if share.posix else FsInfoClass.FULL_SIZE
        (answer,) = await share.compound(
            share.create_request(share.path(()), STAT_ACCESS),
            QueryInfoRequest(FileId.RELATED, InfoType.FILESYSTEM, info_class, 4096),
        )
        data = QueryInfoResponse.decode(answer).data
        if share.posix:
            told = decode_posix_fs_information(data)
            return FileSystemSpace(
                told.block_size or 1,
                _known(told.total_blocks),
                _known(told.available_blocks),
                _known(told.user_available_blocks),
                _known(told.total_files),
                _known(told.free_files),
                NAME_SIZE_MAX,
            )
        size = decode_fs_full_size_information(data)
        return FileSystemSpace(
            size.unit_size or 1,
            size.total_units,
            size.actual_available_units,
            size.caller_available_units,
            0,
            0,
            NAME_SIZE_MAX,
        )


def _known(number: int) -> int:
    """All ones means not known."""
    return 0 if number == 0xFFFF_FFFF_FFFF_FFFF else number
