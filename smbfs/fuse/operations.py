"""A handler for each request: its body is taken apart, a verb called, its result put together.

What goes wrong is raised; the session makes an errno of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from smbfs.errors import SmbfsError
from smbfs.fuse import answers, requests
from smbfs.fuse.protocol import Buffer, Opcode, OpenFlag, SetAttrField
from smbfs.fuse.requests import SetAttrRequest
from smbfs.fuse.session import Handler, Undo
from smbfs.vfs.attribute_verbs import AttributeChanges
from smbfs.vfs.filesystem import FileSystem
from smbfs.vfs.namespace import Absent
from smbfs.vfs.opened_files import OpenedFile, writes
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.shown import Entry

_BLOCK_SIZE: Final = 1 << 20
"""What programs that ask (``st_blksize``) read and write at a time."""

_DONE: Final = b""
"""The answer that says no more than that it is done."""


def handlers(filesystem: FileSystem) -> Mapping[Opcode, Handler]:
    """Return what serves the requests about a mount. What is missing there is not supported."""
    names, attributes = _NameRequests(filesystem), _AttributeRequests(filesystem)
    files, directories = _FileRequests(filesystem), _DirectoryRequests(filesystem)
    served: dict[Opcode, Handler] = {
        Opcode.LOOKUP: names.look_up,
        Opcode.FORGET: names.forget,
        Opcode.BATCH_FORGET: names.forget_several,
        Opcode.MKDIR: names.make_directory,
        Opcode.RMDIR: names.remove_directory,
        Opcode.UNLINK: names.unlink,
        Opcode.RENAME: names.rename,
        Opcode.RENAME2: names.rename_with_flags,
        Opcode.LINK: names.link,
        Opcode.SYMLINK: names.make_symlink,
        Opcode.READLINK: names.read_link,
        Opcode.MKNOD: names.make_node,
        Opcode.GETATTR: attributes.get,
        Opcode.SETATTR: attributes.set,
        Opcode.ACCESS: attributes.check,
        Opcode.STATFS: attributes.space,
        Opcode.OPEN: files.open,
        Opcode.CREATE: files.create,
        Opcode.READ: files.read,
        Opcode.WRITE: files.write,
        Opcode.COPY_FILE_RANGE: files.copy,
        Opcode.FALLOCATE: files.allocate,
        Opcode.LSEEK: files.seek,
        Opcode.FLUSH: files.flush,
        Opcode.FSYNC: files.synchronise,
        Opcode.RELEASE: files.release,
        Opcode.OPENDIR: directories.open,
        Opcode.READDIRPLUS: directories.read,
        Opcode.RELEASEDIR: directories.release,
        Opcode.FSYNCDIR: directories.synchronise,
    }
    if filesystem.extended_attributes.are_offered:
        # Otherwise the kernel does not ask a second time, not even before each write.
        extended = _ExtendedAttributeRequests(filesystem)
        served[Opcode.GETXATTR] = extended.get
        served[Opcode.SETXATTR] = extended.set
        served[Opcode.LISTXATTR] = extended.list
        served[Opcode.REMOVEXATTR] = extended.remove
    return served


def undo(filesystem: FileSystem) -> Undo:
    """Return what takes back an answer that nobody is there for any more."""

    async def take_back(opcode: Opcode, answer: bytes) -> None:
        for node in answers.entries_in(opcode, answer):
            filesystem.names.forget(node, 1)
        handle = answers.handle_in(opcode, answer)
        if handle is not None and opcode == Opcode.OPENDIR:
            await filesystem.directories.release(handle)
        elif handle is not None:
            await filesystem.files.release(handle)

    return take_back


class _NameRequests:
    def __init__(self, filesystem: FileSystem) -> None:
        self._names = filesystem.names
        self._links = filesystem.links
        self._renames = filesystem.renames

    async def look_up(self, parent: int, body: bytes) -> bytes:
        entry = await self._names.look_up(parent, requests.decode_name(body))
        if isinstance(entry, Absent):
            return answers.encode_entry(0, answers.NO_ATTR, entry_s=entry.timeout_s, attr_s=0.0)
        return _entry(entry)

    async def forget(self, node: int, body: bytes) -> bytes:
        self._names.forget(node, requests.decode_forget(body))
        return _DONE

    async def forget_several(self, _node: int, body: bytes) -> bytes:
        for node, count in requests.decode_batch_forget(body):
            self._names.forget(node, count)
        return _DONE

    async def make_directory(self, parent: int, body: bytes) -> bytes:
        mode, name = requests.decode_mkdir(body)
        return _entry(await self._names.make_directory(parent, name, mode))

    async def remove_directory(self, parent: int, body: bytes) -> bytes:
        await self._names.remove_directory(parent, requests.decode_name(body))
        return _DONE

    async def unlink(self, parent: int, body: bytes) -> bytes:
        await self._names.remove_file(parent, requests.decode_name(body))
        return _DONE

    async def rename(self, parent: int, body: bytes) -> bytes:
        new_parent, name, new_name = requests.decode_rename(body)
        await self._renames.rename(parent, name, new_parent, new_name, 0)
        return _DONE

    async def rename_with_flags(self, parent: int, body: bytes) -> bytes:
        new_parent, flags, name, new_name = requests.decode_rename2(body)
        await self._renames.rename(parent, name, new_parent, new_name, flags)
        return _DONE

    async def link(self, new_parent: int, body: bytes) -> bytes:
        node, new_name = requests.decode_link(body)
        return _entry(await self._names.link(node, new_parent, new_name))

    async def make_symlink(self, parent: int, body: bytes) -> bytes:
        name, target = requests.decode_two_names(body)
        return _entry(await self._links.make_link(parent, name, target))

    async def read_link(self, node: int, _body: bytes) -> bytes:
        return await self._links.read_link(node)

    async def make_node(self, parent: int, body: bytes) -> bytes:
        mode, device, name = requests.decode_mknod(body)
        return _entry(await self._links.make_node(parent, name, mode, device))


class _AttributeRequests:
    def __init__(self, filesystem: FileSystem) -> None:
        self._attributes, self._space = filesystem.attributes, filesystem.space
        self._access = filesystem.access

    async def get(self, node: int, _body: bytes) -> bytes:
        return _attr_answer(await self._attributes.get(node))

    async def set(self, node: int, body: bytes) -> bytes:
        asked = requests.decode_setattr(body)
        handle = asked.handle if asked.fields & SetAttrField.FH else None
        entry = await self._attributes.set(node, _changes(asked), handle)
        if asked.fields & SetAttrField.KILL_SUIDGID and not asked.fields & SetAttrField.MODE:
            entry = await self._attributes.shed(entry)
        return _attr_answer(entry)

    async def check(self, node: int, body: bytes) -> bytes:
        await self._access.check(node, requests.decode_access(body))
        return _DONE

    async def space(self, _node: int, _body: bytes) -> bytes:
        space = await self._space.get()
        return answers.encode_statfs(
            answers.StatFs(
                blocks=space.blocks,
                free_blocks=space.free_blocks,
                available_blocks=space.available_blocks,
                files=space.files,
                free_files=space.free_files,
                block_size=space.block_size,
                name_size_max=space.name_size_max,
            )
        )


class _FileRequests:
    def __init__(self, filesystem: FileSystem) -> None:
        self._names = filesystem.names
        self._opening = filesystem.opening
        self._files = filesystem.files
        self._server_copy = filesystem.server_copy
        self._allocation = filesystem.allocation
        self._attributes = filesystem.attributes

    async def open(self, node: int, body: bytes) -> bytes:
        asked = requests.decode_open(body)
        opened = await self._opening.open(node, asked.flags)
        if asked.sheds:
            await self._shed(opened)
        return _opened(opened, asked.flags)

    async def create(self, parent: int, body: bytes) -> bytes:
        asked = requests.decode_create(body)
        opened, entry = await self._opening.create(parent, asked.name, asked.mode, asked.flags)
        if asked.sheds:
            await self._shed(opened, entry)
        return _entry(entry) + _opened(opened, asked.flags)

    async def _shed(self, opened: OpenedFile, entry: Entry | None = None) -> None:
        try:
            await self._attributes.shed_by(opened.handle)
        except Exception:
            # The kernel will hear of neither.
            if entry is not None:
                self._names.forget(entry.number, 1)
            await self._files.release(opened.handle)
            raise

    async def read(self, _node: int, body: bytes) -> Buffer:
        """Read. What the cache holds is handed over as it is, not copied."""
        return await self._files.read(*requests.decode_read(body))

    async def write(self, _node: int, body: bytes) -> bytes:
        handle, offset, data, sheds, appends = requests.decode_write(body)
        if sheds:
            await self._attributes.shed_by(handle)
        written = await self._files.write(handle, offset, data, appends=appends)
        return answers.encode_written(written)

    async def copy(self, _node: int, body: bytes) -> bytes:
        asked = requests.decode_copy(body)
        await self._attributes.shed_by(asked.target)  # The kernel does not say whether to.
        return answers.encode_written(await self._server_copy.copy(*asked))

    async def allocate(self, _node: int, body: bytes) -> bytes:
        asked = requests.decode_fallocate(body)
        await self._attributes.shed_by(asked.handle)
        await self._allocation.allocate(*asked)
        return _DONE

    async def seek(self, _node: int, body: bytes) -> bytes:
        """Look for data or holes. The kernel itself seeks elsewhere."""
        return answers.encode_found(await self._allocation.seek(*requests.decode_seek(body)))

    async def flush(self, _node: int, body: bytes) -> bytes:
        """A descriptor is closed: say whether the server has what was written."""
        await self._files.flush(requests.decode_handle(body))
        return _DONE

    async def synchronise(self, _node: int, body: bytes) -> bytes:
        await self._files.synchronise(requests.decode_handle(body))
        return _DONE

    async def release(self, _node: int, body: bytes) -> bytes:
        """The last descriptor of an open is closed."""
        await self._files.release(requests.decode_handle(body))
        return _DONE


class _DirectoryRequests:
    def __init__(self, filesystem: FileSystem) -> None:
        self._directories = filesystem.directories

    async def open(self, node: int, _body: bytes) -> bytes:
        opened = await self._directories.open(node)
        flags = OpenFlag(0)
        if opened.may_be_kept:
            flags |= OpenFlag.CACHE_DIR
        if opened.is_known:
            flags |= OpenFlag.KEEP_CACHE
        return answers.encode_open(opened.handle, flags)

    async def read(self, _node: int, body: bytes) -> bytes:
        handle, position, room = requests.decode_read(body)
        listed: list[bytes] = []

        def emit(name: bytes, entry: Entry, next_position: int) -> bool:
            nonlocal room
            one = answers.encode_listed(
                name, next_position, _entry(entry), entry.number, entry.attributes.mode
            )
            room -= len(one)
            if room < 0:
                return False
            listed.append(one)
            return True

        try:
            await self._directories.read(handle, position, emit)
        except SmbfsError:
            if not listed:
                raise
            # What was emitted counts as told. The kernel asks for the rest, and hears of it then.
        return b"".join(listed)

    async def synchronise(self, _node: int, _body: bytes) -> bytes:
        """Nothing to do: a server has a name when it has answered."""
        return _DONE

    async def release(self, _node: int, body: bytes) -> bytes:
        await self._directories.release(requests.decode_handle(body))
        return _DONE


class _ExtendedAttributeRequests:
    def __init__(self, filesystem: FileSystem) -> None:
        self._extended = filesystem.extended_attributes

    async def get(self, node: int, body: bytes) -> bytes:
        room, name = requests.decode_getxattr(body)
        return _fitting(await self._extended.get(node, name), room)

    async def list(self, node: int, body: bytes) -> bytes:
        room, _ = requests.decode_getxattr(body)
        names = await self._extended.list(node)
        return _fitting(b"".join(name + b"\0" for name in names), room)

    async def set(self, node: int, body: bytes) -> bytes:
        flags, name, value = requests.decode_setxattr(body)
        if flags:
            await self._check_there(node, name, flags)
        await self._extended.set(node, name, value)
        return _DONE

    async def _check_there(self, node: int, name: bytes, flags: int) -> None:
        # SMB can't be told to set an EA only if it is there, or only if not.
        is_there = await self._extended.is_there(node, name)
        if is_there and flags & os.XATTR_CREATE:
            raise Refused(Refusal.EXISTS, repr(name))
        if not is_there and flags & os.XATTR_REPLACE:
            raise Refused(Refusal.NO_ATTRIBUTE, repr(name))

    async def remove(self, node: int, body: bytes) -> bytes:
        await self._extended.remove(node, requests.decode_name(body))
        return _DONE


def _entry(entry: Entry) -> bytes:
    return answers.encode_entry(
        entry.number,
        _attr(entry),
        entry_s=entry.entry_timeout_s,
        attr_s=entry.attribute_timeout_s,
    )


def _attr_answer(entry: Entry) -> bytes:
    return answers.encode_attr_answer(_attr(entry), attr_s=entry.attribute_timeout_s)


def _attr(entry: Entry) -> bytes:
    attr = entry.prepared
    if attr is None:
        attributes = entry.attributes
        attr = entry.prepared = answers.encode_attr(
            answers.Attr(
                node=entry.number,
                size=attributes.size,
                blocks=attributes.blocks,
                atime_ns=attributes.atime_ns,
                mtime_ns=attributes.mtime_ns,
                ctime_ns=attributes.ctime_ns,
                mode=attributes.mode,
                link_count=attributes.link_count,
                uid=attributes.uid,
                gid=attributes.gid,
                device=attributes.device,
                block_size=_BLOCK_SIZE,
            )
        )
    return attr


def _opened(opened: OpenedFile, flags: int) -> bytes:
    allowed = OpenFlag(0)
    if not opened.use_pages:
        allowed |= OpenFlag.DIRECT_IO
    if opened.keep_pages:
        allowed |= OpenFlag.KEEP_CACHE
    if not writes(flags):
        allowed |= OpenFlag.NOFLUSH  # There is nothing that a close could tell.
    return answers.encode_open(opened.handle, allowed)


def _fitting(value: bytes, room: int) -> bytes:
    """Return a value, or its size if nothing else was asked. Raises: Refused (NO_ROOM)."""
    if not room:
        return answers.encode_xattr_size(len(value))
    if len(value) > room:
        raise Refused(Refusal.NO_ROOM, f"{len(value)} bytes")
    return value


def _changes(asked: SetAttrRequest) -> AttributeChanges:
    fields = asked.fields
    return AttributeChanges(
        size=asked.size if fields & SetAttrField.SIZE else None,
        mode=asked.mode if fields & SetAttrField.MODE else None,
        uid=asked.uid if fields & SetAttrField.UID else None,
        gid=asked.gid if fields & SetAttrField.GID else None,
        atime_ns=asked.atime_ns if fields & SetAttrField.ATIME else None,
        mtime_ns=asked.mtime_ns if fields & SetAttrField.MTIME else None,
    )
