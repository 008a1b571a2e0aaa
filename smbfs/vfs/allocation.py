"""Which ranges of an open file have room on the server: fallocate(2), and lseek(2) for holes."""

from __future__ import annotations

from os import SEEK_DATA
from typing import Final

from smbfs.client.open import Open
from smbfs.client.sparse import allocated_ranges, make_sparse, zero
from smbfs.errors import ServerStatusError
from smbfs.vfs.attribute_verbs import AttributeChanges, AttributeVerbs
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.handles import Handle, OpenFile
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.share import NOT_SUPPORTED
from smbfs.vfs.space import Space
from smbfs.vfs.state import MountState
from smbfs.vfs.written_files import executed, executing, find_end
from smbfs.wire.create import FileAttributes

KEEP_SIZE: Final = 0x01
PUNCH_HOLE: Final = 0x02
ZERO_RANGE: Final = 0x10
"""Bits of ``<linux/falloc.h>``."""


class Allocation:
    """The verbs about it. May raise ServerStatusError, TransportError, Refused."""

    def __init__(
        self, state: MountState, leases: FileLeases, attributes: AttributeVerbs, space: Space
    ) -> None:
        self._state = state
        self._leases = leases
        self._attributes = attributes
        self._space = space

    # ------------------------------------------------------------- making and taking room

    async def allocate(self, number: int, offset: int, length: int, mode: int) -> None:
        """Do to a range of an open file what ``mode`` says: make room, zeros or a hole.

        Whether a server keeps the room free is its affair: Windows does, Samba with "strict
        allocate"; that there is as much of it is asked. None is kept behind the end of a file.
        Raises: Refused (NOT_SUPPORTED): programs have to write instead; (FULL).
        """
        handle = self._state.handles.get(number)
        if handle.gather is None:
            raise Refused(Refusal.BAD_HANDLE, "not opened for writing")
        zeroes = mode & (PUNCH_HOLE | ZERO_RANGE)
        if mode == KEEP_SIZE or mode & ~(KEEP_SIZE | zeroes):
            raise Refused(Refusal.NOT_SUPPORTED, f"fallocate with mode {mode:#x}")
        await find_end(self._state, handle)
        ends, end = handle.opened.end, offset + length
        grows = end > ends and not mode & KEEP_SIZE
        if grows:
            self._prove_ours(handle)
            await self._prove_room(end - ends)
        if zeroes and offset < ends:
            await self._zero(handle, offset, min(end, ends), is_hole=bool(mode & PUNCH_HOLE))
        if grows:
            self._prove_ours(handle)  # Still: a lease may be lost while the server is asked.
            size = max(end, handle.opened.end)
            await self._attributes.set(handle.inode_number, AttributeChanges(size=size), number)

    def _prove_ours(self, handle: Handle) -> None:
        """See that nobody else appends to a file, which would be cut off. Raises: Refused."""
        if not (self._state.policy.is_loose or self._leases.are_exclusive(handle.opened.inode)):
            raise Refused(Refusal.NOT_SUPPORTED, "making room where others may write, too")

    async def _zero(self, handle: Handle, offset: int, end: int, *, is_hole: bool) -> None:
        file = handle.file
        assert isinstance(file, Open)
        try:
            if is_hole:  # Elsewhere zeros take the room that other bytes take.
                await make_sparse(file)
                handle.opened.is_sparse = True
            with executing(self._state, handle, offset, end):
                await zero(file, offset, end)
                if not self._leases.are_exclusive(handle.opened.inode):
                    # Samba breaks no lease by that, and tells no other time: others never knew.
                    await file.write(end - 1, b"\0")
                    if is_hole:
                        await zero(file, offset, end)
        except ServerStatusError as error:
            if error.status in NOT_SUPPORTED:
                raise Refused(Refusal.NOT_SUPPORTED, str(error)) from error
            raise
        executed(handle, offset, end)

    async def _prove_room(self, size: int) -> None:
        space = await self._space.get()
        if space.blocks and size > space.available_blocks * space.block_size:
            raise Refused(Refusal.FULL, f"{size} bytes more")

    # ------------------------------------------------------------- finding it

    async def seek(self, number: int, offset: int, whence: int) -> int:
        """Return where the first data, or hole, from ``offset`` on begin: SEEK_DATA, SEEK_HOLE.

        The end of a file is a hole. What a server says nothing of is data.
        Raises: Refused (NOTHING_THERE) if there are no such data, or the file ends before.
        """
        handle = self._state.handles.get(number)
        file, opened = handle.file, handle.opened
        if isinstance(file, Open) and not opened.is_leased:
            await find_end(self._state, handle)
        else:
            await opened.settle()
        finds_data, end = whence == SEEK_DATA, opened.end
        at = offset if finds_data else end
        may_ask = handle.reader is not None  # Servers tell it those alone who may read.
        if may_ask and isinstance(file, Open) and _may_have_holes(opened, file):
            try:
                at = await _seek(file, offset, end, finds_data=finds_data)
            except ServerStatusError as error:
                if error.status not in NOT_SUPPORTED:
                    raise
        if offset >= end or (finds_data and at >= end):
            raise Refused(Refusal.NOTHING_THERE, f"behind {offset}")
        return at


def _may_have_holes(opened: OpenFile, file: Open) -> bool:
    """Whether to ask: of other files servers tell nothing, and programs like to look for holes."""
    return opened.is_sparse or bool(file.created.file_attributes & FileAttributes.SPARSE_FILE)


async def _seek(file: Open, at: int, end: int, *, finds_data: bool) -> int:
    while at < end:
        ranges, told_end = await allocated_ranges(file, at, end)
        for begin, behind in ranges:
            if begin > at and not finds_data:
                return at
            if behind > at and finds_data:
                return max(begin, at)
            at = max(behind, at)
        if at < told_end and not finds_data:
            return at
        at = told_end
    return end
