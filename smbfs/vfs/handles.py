"""Open files: what the kernel knows by handle, and what several handles of one file share.

INVARIANT: every handle in the table is in the ``handles`` of its file, and a file is in the table
as long as it has handles; its inode is pinned for that time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeVar

import trio

from smbfs.client.durable import is_persistent
from smbfs.client.open import Open
from smbfs.vfs.attributes import Attributes
from smbfs.vfs.direct_reader import DirectReader
from smbfs.vfs.inodes import Inode, InodeTable
from smbfs.vfs.lease_policy import Version
from smbfs.vfs.read_ahead import FileReader
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.small_file import SmallFile
from smbfs.vfs.write_gather import WriteGather
from smbfs.wire.fscc import FileStat
from smbfs.wire.message import Buffer

ItemT = TypeVar("ItemT")


class Numbered(dict[int, ItemT]):
    """Things that the kernel knows by a number of ours; numbers are not used twice."""

    def __init__(self) -> None:
        super().__init__()
        self._last = 0

    def add(self, item: ItemT) -> int:
        """Keep an item and return its number."""
        self._last += 1
        self[self._last] = item
        return self._last

    def find(self, number: int) -> ItemT:
        """Return an item. Raises: Refused (BAD_HANDLE)."""
        item = self.get(number)
        if item is None:
            raise Refused(Refusal.BAD_HANDLE, f"handle {number}")
        return item


class OpenFile:
    """A file that is open here, perhaps several times."""

    __slots__ = (
        "as_opened",
        "content",
        "deleting",
        "end",
        "handles",
        "hidden_path",
        "inode",
        "is_all_ours",
        "is_end_doubtful",
        "is_sparse",
        "is_watched",
        "keep_until_s",
        "server_end",
        "server_version",
        "since_s",
        "told",
        "told_version",
        "version",
    )

    def __init__(self, inode: Inode, end: int) -> None:
        self.inode = inode
        self.since_s = trio.current_time()
        """When it was opened."""
        self.is_watched = False
        """Whether it has been open for so long that somebody may be waiting for a change."""
        self.handles: list[Handle] = []
        self.is_all_ours = end == 0
        """Whether every byte of it was written since it was opened here."""
        self.is_end_doubtful = False
        """Whether the server has refused a write, and so may not reach as far as ``end``."""
        self.is_sparse = False
        """Whether holes were made in it since it was opened."""
        self.content: Buffer | None = None
        """The whole of it, if that was just written at once and is small."""
        self.end = end
        """Where the file ends as far as we know, gathered writes included."""
        self.server_end = end
        """Where it ends on the server, as far as we know."""
        self.as_opened: Attributes | None = None
        """What it was when it was opened from memory alone."""
        self.version: Version | None = None
        """The file as the last open found it; None if we have written to it since."""
        self.server_version: Version | None = None
        """The file as the server had it when it had last told of it, before it executed any write
        that it may not have told of; None if it has executed one since."""
        self.told_version: Version | None = None
        """The file as whatever told of it last has described it, whoever had changed it."""
        self.told: tuple[FileStat, float] | None = None
        """What the server has told of it when it opened or changed it last, and when."""
        self.keep_until_s = math.inf
        """When the server's handle must be closed at last, if it was kept before."""
        self.deleting: Open | None = None
        """An open whose close will remove the file."""
        self.hidden_path = ""
        """The server's path under which it waits for its last close, if it was removed."""

    @property
    def is_removed(self) -> bool:
        """Whether it was removed here and waits for its last close."""
        return self.deleting is not None or bool(self.hidden_path)

    @property
    def is_dirty(self) -> bool:
        """Whether the server lacks bytes that were written here."""
        return any(h.gather is not None and h.gather.dirty_end is not None for h in self.handles)

    def must_settle(self, offset: int, end: int) -> bool:
        """Whether what the server has between these offsets is not what a program shall read.

        Behind the server's end of the file nothing would come, which is not what zeros are.
        """
        gathers = [handle.gather for handle in self.handles if handle.gather is not None]
        if end > self.server_end and any(each.dirty_end is not None for each in gathers):
            return True
        return any(each.holds(offset, end) for each in gathers)

    @property
    def is_leased(self) -> bool:
        """Whether we would know if somebody else had written to it."""
        files = [handle.file for handle in self.handles]
        return any(isinstance(file, Open) and file.is_vouched_for for file in files)

    @property
    def keeps_its_name(self) -> bool:
        """Whether we would know if somebody else had moved, removed or replaced it."""
        leases = [handle.file.lease for handle in self.handles]
        return any(lease is not None and lease.may_keep_handle for lease in leases)

    @property
    def is_remembered(self) -> bool:
        """Whether it was opened from memory alone."""
        files = [handle.file for handle in self.handles]
        return all(isinstance(file, SmallFile) and file.is_remembered for file in files)

    async def have_opened(self) -> None:
        """Have the server open it for every handle: its name is about to go.

        Raises: ServerStatusError, Refused (STALE) if it has gone already.
        """
        for handle in list(self.handles):
            await handle.server_file()

    async def settle(self) -> None:
        """Return when the server has every byte; errors stay for the handles that wrote."""
        for handle in list(self.handles):
            if handle.gather is not None:
                await handle.gather.drain()

    def best_handle(self) -> Handle:
        """Return a handle to ask about the file: one that the server has, if there is one."""
        return next((h for h in self.handles if isinstance(h.file, Open)), self.handles[0])

    def writable(self, preferred: Handle | None = None) -> Handle | None:
        """Return a handle that may write, ``preferred`` if it may."""
        if preferred is not None and preferred.gather is not None:
            return preferred
        return next((h for h in self.handles if h.gather is not None), None)


class Handle:
    """One open of a file: FUSE's ``fh``."""

    __slots__ = ("file", "gather", "inode_number", "opened", "reader", "sheds")

    def __init__(
        self,
        opened: OpenFile,
        file: Open | SmallFile,
        *,
        inode_number: int,
        reader: FileReader | DirectReader | None,
        gather: WriteGather | None,
    ) -> None:
        self.opened = opened
        self.file = file
        self.inode_number = inode_number
        """The number under which the kernel opened it."""
        self.reader = reader
        """None if it was not opened for reading."""
        self.gather = gather
        """None if it was not opened for writing."""
        self.sheds = False
        """Whether the file has setuid or setgid bits that a write may have to take away."""

    async def server_file(self) -> Open:
        """Return the server's handle; that of a small file may have to be opened first."""
        return self.file if isinstance(self.file, Open) else await self.file.server_file()


class HandleTable:
    """All open files of a mount."""

    def __init__(self, inodes: InodeTable) -> None:
        self._inodes = inodes
        self._handles: Numbered[Handle] = Numbered()
        self._files: dict[int, OpenFile] = {}

    def __len__(self) -> int:
        return len(self._handles)

    def __iter__(self) -> Iterator[int]:
        return iter(list(self._handles))

    @property
    def durable(self) -> int:
        """How many handles the server keeps for us when the connection is lost."""
        files = [handle.file for handle in self._handles.values()]
        return sum(isinstance(each, Open) and each.durable is not None for each in files)

    @property
    def persistent(self) -> int:
        """How many of those it keeps even if it ends itself."""
        files = [handle.file for handle in self._handles.values()]
        return sum(isinstance(each, Open) and is_persistent(each.durable) for each in files)

    def get(self, number: int) -> Handle:
        """Return a handle. Raises: Refused (BAD_HANDLE)."""
        return self._handles.find(number)

    def files(self) -> list[OpenFile]:
        """Return the files that are open."""
        return list(self._files.values())

    def opened(self, inode: Inode) -> OpenFile | None:
        """Return the open file of an inode, if it is open."""
        return self._files.get(inode.number)

    def opening(self, inode: Inode, end: int) -> OpenFile:
        """Return the open file of an inode that is being opened; follow it with :meth:`add`."""
        opened = self._files.get(inode.number)
        if opened is None:
            opened = self._files[inode.number] = OpenFile(inode, end)
            self._inodes.pin(inode)
        return opened

    def add(self, handle: Handle) -> int:
        """Keep a handle and return its number."""
        handle.opened.handles.append(handle)
        return self._handles.add(handle)

    def remove(self, number: int) -> Handle:
        """Forget a handle, which is then the caller's to close. Raises: Refused (BAD_HANDLE)."""
        handle = self._handles.find(number)
        del self._handles[number]
        opened = handle.opened
        opened.handles.remove(handle)
        if not opened.handles:
            del self._files[opened.inode.number]
            self._inodes.unpin(opened.inode)
        return handle
