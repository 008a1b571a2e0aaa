"""Keeping links links when their names change.

Samba, at least up to 4.22, keeps the data of a reparse point when it renames or links one, but
drops the attribute which says that there is one: the link becomes an empty file. Who changes the
name of such a file reads it before and looks at it after.
"""

from __future__ import annotations

from stat import S_IFDIR, S_IFREG

from smbfs.errors import ServerStatusError
from smbfs.vfs import changes
from smbfs.vfs.inodes import Inode
from smbfs.vfs.state import MountState
from smbfs.wire.ntstatus import NtStatus


async def reparse_point_of(state: MountState, inode: Inode) -> bytes | None:
    """Return the reparse point that may need repair after a change of names."""
    if inode.file_type in {S_IFREG, S_IFDIR}:
        return None
    try:
        return await state.at(inode, state.share.read_reparse_point)
    except ServerStatusError:
        return None


async def repair_reparse_point(state: MountState, path: str, reparse: bytes | None) -> None:
    """Make the file at ``path`` again what it was before its name changed."""
    if reparse is None:
        return
    try:
        await state.share.read_reparse_point(path)
    except ServerStatusError as error:
        if error.status != NtStatus.STATUS_NOT_A_REPARSE_POINT:
            raise
        await changes.set_reparse_point(state.share, path, reparse)
