"""The file system of one mount: every verb that the kernel may use, by topic.

Verbs take inode and handle numbers and names as bytes, and answer with values; what goes wrong is
one of the errors of ``smbfs.errors`` or a :class:`~smbfs.vfs.refusals.Refused`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from stat import S_IFDIR

import trio

from smbfs.client.background import background_tasks
from smbfs.client.tree_connect import TreeConnect
from smbfs.config.model import MountOptions
from smbfs.errors import ServerStatusError, UserError
from smbfs.vfs.access import Access
from smbfs.vfs.allocation import Allocation
from smbfs.vfs.attribute_verbs import AttributeVerbs
from smbfs.vfs.directories import Directories
from smbfs.vfs.disk_cache import DiskCache
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.file_opening import FileOpening
from smbfs.vfs.files import Files
from smbfs.vfs.links import Links
from smbfs.vfs.listings import Listings
from smbfs.vfs.names import Names, PosixNames, WindowsNames
from smbfs.vfs.namespace import Namespace
from smbfs.vfs.recovery import Recovery
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.removal import Removal
from smbfs.vfs.renames import Renames
from smbfs.vfs.server_copy import ServerCopy
from smbfs.vfs.share import Share
from smbfs.vfs.space import Space
from smbfs.vfs.state import MountState
from smbfs.vfs.xattrs import ExtendedAttributes
from smbfs.wire.ntstatus import NtStatus, status_name

CLEAN_S = 1.0
"""Seconds that a server has to show that it is there when the mount ends."""

DIRTY_S = 4.0
"""The same, when there is something to lose."""

CLOSE_S = 10.0
"""Seconds for writing and closing what is still open when the mount ends."""

_NOT_THERE = frozenset(
    {NtStatus.STATUS_OBJECT_NAME_NOT_FOUND, NtStatus.STATUS_OBJECT_PATH_NOT_FOUND}
)


class FileSystem:
    """All verbs of one mount."""

    def __init__(self, state: MountState) -> None:
        removal = Removal(state.share)
        Recovery(state)
        self.state = state
        leases = self._leases = FileLeases(state)
        listings = Listings(state, removal, leases)
        self.names = Namespace(state, removal, leases, listings)
        self.renames = Renames(state, removal, leases)
        self.links = Links(state, leases)
        self.attributes = AttributeVerbs(state, leases, listings)
        self.access = Access(state, self.attributes)
        self.space = Space(state)
        self.opening = FileOpening(state, leases)
        self.files = Files(state, removal)
        self.server_copy = ServerCopy(state, leases)
        self.allocation = Allocation(state, leases, self.attributes, self.space)
        self.directories = Directories(state, listings)
        self.extended_attributes = ExtendedAttributes(state, leases)

    def unmounted(self) -> None:
        """Nobody can ask any more: what is under way ends soon, with the server or without."""
        is_dirty = any(opened.is_dirty for opened in self.state.handles.files())
        self.state.share.tree.line.wait_no_longer(DIRTY_S if is_dirty else CLEAN_S)

    async def aclose(self) -> None:
        """Write and close what is still open."""
        await self.files.close_all()
        await self.directories.close_all()
        self.state.directories.forget_where(lambda _number: True)
        self._leases.close()


@asynccontextmanager
async def open_filesystem(
    tree: TreeConnect, options: MountOptions, root: str = "", *, disk: DiskCache | None = None
) -> AsyncIterator[FileSystem]:
    """Serve a share, or the folder ``root`` (``a/b``) of it, for the length of the block.

    Raises: ServerStatusError, Refused (NOT_DIRECTORY) if the root can't be shown.
    """
    names: Names = PosixNames() if tree.posix else WindowsNames()
    steps = tuple(part.encode() for part in root.split("/") if part)
    share = Share(tree, names=names, root=steps, as_of=options.snapshot)
    async with background_tasks() as nursery:
        filesystem = FileSystem(MountState(share, options, nursery, disk))
        try:
            await _enter_root(filesystem.state)
            yield filesystem
        finally:
            filesystem.unmounted()
            with trio.move_on_after(CLOSE_S) as scope:
                scope.shield = True
                await filesystem.aclose()


async def _enter_root(state: MountState) -> None:
    try:
        description = await state.describer.describe(state.share.path(()))
    except ServerStatusError as error:
        if state.share.always and error.status in _NOT_THERE:
            raise UserError(
                "it has no snapshot of that time",
                f"the server answers {status_name(error.status)}.",
                "`smbfs snapshots` lists those that there are.",
                rule="snapshot",
            ) from error
        raise
    if description.file_type != S_IFDIR:
        raise Refused(Refusal.NOT_DIRECTORY, "the root of the mount")
    state.inodes.numbers.set_root_id(state.inodes.root, description.stat.file_id)
