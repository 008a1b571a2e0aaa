"""pyfuse3's handlers: the kernel's words are taken apart, a verb called, its answer put together.

A verb's errors become an errno in one place, :func:`answered`; whatever a handler did not expect
becomes EIO and a traceback in the log, and the daemon goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, ReaddirToken, RequestContext

from smbfs.errors import SmbfsError
from smbfs.fuse.errno_map import errno_of, unsupported_errno
from smbfs.vfs.attribute_verbs import AttributeChanges
from smbfs.vfs.filesystem import FileSystem
from smbfs.vfs.namespace import Absent
from smbfs.vfs.opened_files import OpenedFile
from smbfs.vfs.shown import Entry

_Parameters = ParamSpec("_Parameters")
_Answer = TypeVar("_Answer")

_BLOCK_SIZE: Final = 1 << 20
"""What programs that ask (``st_blksize``) read and write at a time."""

_log = logging.getLogger(__name__)


def answered(
    handler: Callable[Concatenate[Operations, _Parameters], Coroutine[Any, Any, _Answer]],
) -> Callable[Concatenate[Operations, _Parameters], Coroutine[Any, Any, _Answer]]:
    """Turn what a handler raises into the FUSEError that pyfuse3 wants."""

    @wraps(handler)
    async def answer(
        self: Operations, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Answer:
        try:
            return await handler(self, *args, **kwargs)
        except FUSEError:
            raise
        except SmbfsError as error:
            _log.debug("%s%r: %s", handler.__name__, args[:2], error)
            raise FUSEError(errno_of(error)) from error
        except Exception as error:
            _log.exception("%s%r failed unexpectedly", handler.__name__, args[:2])
            raise FUSEError(errno_of(error)) from error

    return answer


class Operations(pyfuse3.Operations):
    """The kernel's side of one mount."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, filesystem: FileSystem) -> None:
        super().__init__()
        self._filesystem = filesystem

    # ------------------------------------------------------------- names

    @answered
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """Find a name. An answer without an inode is one that the kernel may remember, too."""
        del ctx
        entry = await self._filesystem.names.look_up(parent_inode, name)
        return _absent(entry) if isinstance(entry, Absent) else _attributes(entry)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Forget inodes."""
        for inode, count in inode_list:
            self._filesystem.names.forget(inode, count)

    @answered
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        """Make a directory."""
        del ctx
        return _attributes(await self._filesystem.names.make_directory(parent_inode, name, mode))

    @answered
    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        """Remove an empty directory."""
        del ctx
        await self._filesystem.names.remove_directory(parent_inode, name)

    @answered
    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        """Remove a file's name."""
        del ctx
        await self._filesystem.names.remove_file(parent_inode, name)

    @answered
    async def rename(  # noqa: PLR0917 - pyfuse3 calls it with these
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        """Rename, perhaps over something."""
        del ctx
        rename = self._filesystem.renames.rename
        await rename(parent_inode_old, name_old, parent_inode_new, name_new, flags)

    @answered
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        """Give a file a further name."""
        del ctx
        return _attributes(await self._filesystem.names.link(inode, new_parent_inode, new_name))

    @answered
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        """Make a symbolic link."""
        del ctx
        return _attributes(await self._filesystem.links.make_link(parent_inode, name, target))

    @answered
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        """Return where a link leads."""
        del ctx
        return await self._filesystem.links.read_link(inode)

    @answered
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        """Make a file or a special file."""
        del ctx
        entry = await self._filesystem.links.make_node(parent_inode, name, mode, rdev)
        return _attributes(entry)

    # ------------------------------------------------------------- attributes

    @answered
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        """Return attributes."""
        del ctx
        return _attributes(await self._filesystem.attributes.get(inode))

    @answered
    async def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        """Change attributes."""
        del ctx
        changes = _changes(attr, fields)
        return _attributes(await self._filesystem.attributes.set(inode, changes, fh))

    @answered
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        """Return how much room there is."""
        del ctx
        space = await self._filesystem.attributes.space()
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = space.block_size
        data.f_blocks, data.f_bfree, data.f_bavail = space[1:4]
        data.f_files, data.f_ffree, data.f_favail = space.files, space.free_files, space.free_files
        data.f_namemax = space.name_size_max
        return data

    # ------------------------------------------------------------- files

    @answered
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        """Open a file."""
        del ctx
        return _file_info(await self._filesystem.opening.open(inode, flags))

    @answered
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        """Make and open a file."""
        del ctx
        opened, entry = await self._filesystem.opening.create(parent_inode, name, mode, flags)
        return _file_info(opened), _attributes(entry)

    @answered
    async def read(self, fh: int, off: int, size: int) -> bytes:
        """Read. pyfuse3 takes any buffer, and so do we: nothing is copied here."""
        return await self._filesystem.files.read(fh, off, size)  # type: ignore[return-value]

    @answered
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        """Write."""
        return await self._filesystem.files.write(fh, off, buf)

    @answered
    async def flush(self, fh: int) -> None:
        """A descriptor is closed: say whether the server has what was written."""
        await self._filesystem.files.flush(fh)

    @answered
    async def fsync(self, fh: int, datasync: bool) -> None:
        """Have what was written on stable storage."""
        del datasync
        await self._filesystem.files.synchronise(fh)

    @answered
    async def release(self, fh: int) -> None:
        """The last descriptor of an open is closed."""
        await self._filesystem.files.release(fh)

    # ------------------------------------------------------------- directories

    @answered
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        """Begin to list a directory."""
        del ctx
        return await self._filesystem.directories.open(inode)

    @answered
    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        """List, each entry with its attributes."""

        def emit(name: bytes, entry: Entry, next_id: int) -> bool:
            return pyfuse3.readdir_reply(token, name, _attributes(entry), next_id)

        await self._filesystem.directories.read(fh, start_id, emit)

    @answered
    async def releasedir(self, fh: int) -> None:
        """End a listing."""
        await self._filesystem.directories.release(fh)

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Nothing to do: a server has a name when it has answered."""

    # ------------------------------------------------------------- extended attributes

    @answered
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        """Return an extended attribute."""
        del ctx
        self._require_extended_attributes()
        return await self._filesystem.extended_attributes.get(inode, name)

    @answered
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        """Set an extended attribute."""
        del ctx
        self._require_extended_attributes()
        await self._filesystem.extended_attributes.set(inode, name, value)

    @answered
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        """Return the names of extended attributes."""
        del ctx
        self._require_extended_attributes()
        return await self._filesystem.extended_attributes.list(inode)

    @answered
    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        """Remove an extended attribute."""
        del ctx
        self._require_extended_attributes()
        await self._filesystem.extended_attributes.remove(inode, name)

    def _require_extended_attributes(self) -> None:
        if not self._filesystem.extended_attributes.are_offered:
            # The kernel does not ask a second time, not even before each write.
            raise FUSEError(unsupported_errno())


def _attributes(entry: Entry) -> EntryAttributes:
    shown = entry.prepared
    if not isinstance(shown, EntryAttributes):
        shown = entry.prepared = _prepared(entry)
    shown.entry_timeout = entry.entry_timeout_s
    shown.attr_timeout = entry.attribute_timeout_s
    return shown


def _prepared(entry: Entry) -> EntryAttributes:
    shown = EntryAttributes()
    attributes = entry.attributes
    shown.st_ino = entry.number
    shown.st_mode = attributes.mode
    shown.st_nlink = attributes.link_count
    shown.st_uid = attributes.uid
    shown.st_gid = attributes.gid
    shown.st_rdev = attributes.device
    shown.st_size = attributes.size
    shown.st_blksize = _BLOCK_SIZE
    shown.st_blocks = attributes.blocks
    shown.st_atime_ns = attributes.atime_ns
    shown.st_mtime_ns = attributes.mtime_ns
    shown.st_ctime_ns = attributes.ctime_ns
    return shown


def _absent(absent: Absent) -> EntryAttributes:
    shown = EntryAttributes()
    shown.st_ino = 0
    shown.entry_timeout = absent.timeout_s
    return shown


def _file_info(opened: OpenedFile) -> FileInfo:
    return FileInfo(fh=opened.handle, direct_io=not opened.use_pages, keep_cache=opened.keep_pages)


def _changes(attr: EntryAttributes, fields: pyfuse3.SetattrFields) -> AttributeChanges:
    return AttributeChanges(
        size=attr.st_size if fields.update_size else None,
        mode=attr.st_mode if fields.update_mode else None,
        uid=attr.st_uid if fields.update_uid else None,
        gid=attr.st_gid if fields.update_gid else None,
        atime_ns=attr.st_atime_ns if fields.update_atime else None,
        mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
    )
