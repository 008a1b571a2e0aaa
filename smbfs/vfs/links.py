"""Making and reading what is neither data nor a directory: symbolic links, FIFOs, devices."""

from __future__ import annotations

from stat import S_IFLNK, S_IFMT, S_IFREG
from typing import Final

from smbfs.errors import ServerStatusError
from smbfs.vfs import changes
from smbfs.vfs.descriptions import Description
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.names import NameNotText
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.share import NOT_SUPPORTED
from smbfs.vfs.shown import Entry
from smbfs.vfs.special_files import (
    SpecialFile,
    encode_mf_symlink,
    posix_link,
    special_reparse_point,
    windows_links,
)
from smbfs.vfs.state import MountState
from smbfs.wire.create import AccessMask, CreateDisposition
from smbfs.wire.ntstatus import NtStatus

_LINK_MODE: Final = 0o777

_NO_REPARSE_POINTS: Final = NOT_SUPPORTED | {
    NtStatus.STATUS_PRIVILEGE_NOT_HELD,
    NtStatus.STATUS_EAS_NOT_SUPPORTED,
    NtStatus.STATUS_IO_REPARSE_TAG_INVALID,
}
"""How servers say that they store no reparse points, or none of ours."""


class Links:
    """The verbs symlink, readlink and mknod. May raise ServerStatusError, Refused, InvalidName."""

    def __init__(self, state: MountState, leases: FileLeases) -> None:
        self._state = state
        self._leases = leases

    async def make_link(self, parent_number: int, name: bytes, target: bytes) -> Entry:
        """Make a symbolic link.

        Raises: Refused (NOT_PERMITTED) if the server can't store one.
        """
        state = self._state
        if state.options.mfsymlinks:
            content = encode_mf_symlink(target)
            if content is None:
                raise Refused(Refusal.TOO_LARGE, "the target of a link")
            special = SpecialFile(S_IFLNK, target)
            return await self._make_file(parent_number, name, content, _LINK_MODE, special)
        try:
            if state.share.posix:
                candidates: tuple[bytes, ...] = (posix_link(target),)
            else:
                candidates = windows_links(target, state.share.names)
        except UnicodeDecodeError as error:
            raise NameNotText("the target of a link is not UTF-8") from error
        return await self._make_special(
            parent_number, name, candidates, _LINK_MODE, SpecialFile(S_IFLNK, target)
        )

    async def read_link(self, number: int) -> bytes:
        """Return where a link leads. Raises: Refused (NOT_A_LINK)."""
        state = self._state
        inode = state.inodes.get(number)

        async def describe(path: str) -> Description:
            description = await state.describer.describe(path)
            if description.special is None and description.file_type == S_IFLNK:
                special = await state.describer.read_special(path, description.stat)
                return Description(description.stat, special)
            return description

        description = await state.at(inode, describe)
        state.check_same(inode, description)
        if description.special is None or description.special.file_type != S_IFLNK:
            raise Refused(Refusal.NOT_A_LINK)
        return description.special.target

    async def make_node(self, parent_number: int, name: bytes, mode: int, device: int) -> Entry:
        """Make an empty file, or a FIFO, socket or device where the server can store one."""
        if S_IFMT(mode) in {0, S_IFREG}:
            return await self._make_file(parent_number, name, b"", mode, None)
        reparse = special_reparse_point(mode, device)
        if reparse is None:
            raise Refused(Refusal.INVALID, f"a file of mode {mode:o}")
        special = SpecialFile(S_IFMT(mode), device=device)
        return await self._make_special(parent_number, name, (reparse,), mode, special)

    async def _make_file(
        self,
        parent_number: int,
        name: bytes,
        content: bytes,
        mode: int,
        special: SpecialFile | None,
    ) -> Entry:
        state = self._state
        parent = state.inodes.get(parent_number)
        key, parent_key = self._leases.key_for(None), self._leases.parent_key(parent)
        with state.directories.changing(parent.number, name) as change:
            file = await state.at_name(
                parent,
                name,
                lambda path: state.share.open(
                    path,
                    AccessMask.WRITE_DATA,
                    disposition=CreateDisposition.CREATE,
                    mode=mode,
                    lease_key=key,
                    parent_lease_key=parent_key,
                ),
            )
            try:
                if content:
                    await file.write(0, content)
                stat = await state.share.stat_open(file)
            finally:
                await file.close()
            change.description = description = Description(stat, special)
        if special is not None:
            state.describer.remember(stat, special)
        state.changed(parent)
        return state.shown.new(parent, name, description)

    async def _make_special(
        self,
        parent_number: int,
        name: bytes,
        candidates: tuple[bytes, ...],
        mode: int,
        special: SpecialFile,
    ) -> Entry:
        state = self._state
        parent = state.inodes.get(parent_number)
        keys = self._leases.keys(parent, None)
        with state.directories.changing(parent.number, name) as change:
            try:
                stat = await state.at_name(
                    parent,
                    name,
                    lambda path: changes.make_special(
                        state.share, path, candidates, mode, keys=keys
                    ),
                )
            except ServerStatusError as error:
                if error.status in _NO_REPARSE_POINTS and error.command != "CREATE":
                    raise Refused(Refusal.NOT_PERMITTED, str(error)) from error
                raise
            change.description = description = Description(stat, special)
        state.describer.remember(stat, special)
        state.changed(parent)
        return state.shown.new(parent, name, description)
