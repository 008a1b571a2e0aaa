"""A file system over one file of a server that answers after a while, on a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from stat import S_IFREG
from types import SimpleNamespace
from typing import cast

import trio

from smbfs.client.lifeline import Lifeline
from smbfs.client.open import Open
from smbfs.client.tree_connect import TreeConnect
from smbfs.config.model import MountOptions
from smbfs.errors import ServerStatusError
from smbfs.vfs.directories import Directories
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.file_opening import FileOpening
from smbfs.vfs.files import Files
from smbfs.vfs.inodes import Inode
from smbfs.vfs.lease_policy import Version
from smbfs.vfs.listings import Listings
from smbfs.vfs.names import WindowsNames
from smbfs.vfs.removal import Removal
from smbfs.vfs.share import Seen, Share, stat_of_open
from smbfs.vfs.state import MountState
from smbfs.wire.close_flush import CloseResponse
from smbfs.wire.create import CreateAction, CreateResponse, FileId, OplockLevel
from smbfs.wire.create_contexts import QueryOnDiskIdResponse
from smbfs.wire.fscc import FileStat
from smbfs.wire.message import Buffer
from smbfs.wire.ntstatus import NtStatus

DELAY_S = 0.05


@dataclass
class LateServer:
    """One file. A request is executed at once and answered late, a write executed late, too."""

    contents: bytearray
    file_id: int = 77
    change_time: int = 1
    handles: int = 0
    """Opens that nobody has closed."""
    others: dict[str, int] = field(default_factory=lambda: {"file": 77})
    """The file ids of paths that somebody asks for."""
    reads: list[tuple[int, int]] = field(default_factory=list)
    """Offset and length of every READ."""
    tree: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(
            max_read_size=1 << 20,
            max_write_size=1 << 20,
            grants_leases=False,
            grants_caching=False,
            line=Lifeline(),
        )
    )

    def created(self) -> CreateResponse:
        return CreateResponse(
            oplock_level=OplockLevel.NONE,
            flags=0,
            create_action=CreateAction.OPENED,
            creation_time=1,
            last_access_time=1,
            last_write_time=self.change_time,
            change_time=self.change_time,
            allocation_size=len(self.contents),
            end_of_file=len(self.contents),
            file_attributes=0x20,
            file_id=FileId(1, 1),
            contexts=(QueryOnDiskIdResponse(self.file_id, 1),),
        )

    def change(self, contents: bytes) -> None:
        """What another client does."""
        self.contents[:] = contents
        self.change_time += 1

    # ------------------------------------------------------------- what Share asks for

    posix = False
    names = WindowsNames()

    def path(self, names: tuple[bytes, ...]) -> str:
        return "\\".join(name.decode() for name in names)

    def join(self, directory: str, name: str) -> str:
        return f"{directory}\\{name}" if directory else name

    def version_of(self, stat: FileStat) -> Version:
        return Version(stat.size, stat.change_time, stat.creation_time)

    async def open(self, _path: str, _access: int, **_options: object) -> Open:
        await trio.sleep(DELAY_S)
        return LateOpen(self)

    async def read_small(self, _path: str, length: int) -> tuple[CreateResponse, memoryview]:
        answer = self.created(), memoryview(bytes(self.contents[:length]))
        await trio.sleep(DELAY_S)
        return answer

    async def stat(self, path: str) -> Seen:
        stat = stat_of_open(self.created())
        await trio.sleep(DELAY_S)
        if path not in self.others:
            raise ServerStatusError(NtStatus.STATUS_OBJECT_NAME_NOT_FOUND, "CREATE")
        return Seen(stat._replace(file_id=self.others[path]), None)

    async def stat_open(self, _file: Open) -> FileStat:
        stat = stat_of_open(self.created())
        await trio.sleep(DELAY_S)
        return stat


class LateOpen(Open):
    """A handle of that file."""

    __slots__ = ("_server",)

    def __init__(self, server: LateServer) -> None:
        super().__init__(cast(TreeConnect, server.tree), server.created())
        self._server = server
        server.handles += 1

    async def read(self, offset: int, length: int) -> memoryview:
        self._server.reads.append((offset, length))
        data = bytes(self._server.contents[offset : offset + length])
        await trio.sleep(DELAY_S)
        return memoryview(data)

    async def write(self, offset: int, data: Buffer, *, patient: bool = False) -> int:
        del patient
        await trio.sleep(DELAY_S)
        contents = self._server.contents
        contents.extend(bytes(max(0, offset - len(contents))))
        contents[offset : offset + len(data)] = data
        self._server.change_time += 1
        return len(data)

    def close_unwaited(self) -> None:
        self._server.handles -= 1

    async def close_and_query(self) -> CloseResponse | None:
        await self.close()
        return None

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        self._server.handles -= 1


@dataclass
class Bed:
    """The verbs over that file, and its inode."""

    server: LateServer
    state: MountState
    opening: FileOpening
    files: Files
    directories: Directories
    inode: Inode

    async def open(self, flags: int) -> int:
        return (await self.opening.open(self.inode.number, flags)).handle


@asynccontextmanager
async def bed_for(contents: bytes) -> AsyncIterator[Bed]:
    async with trio.open_nursery() as nursery:
        server = LateServer(bytearray(contents))
        state = MountState(cast(Share, server), MountOptions(), nursery)
        removal = Removal(cast(Share, server))
        inode = state.inodes.admit(
            state.inodes.root, b"file", file_id=server.file_id, file_type=S_IFREG, link_count=1
        )
        state.inodes.remember(inode)
        inode.shown_size = len(contents)
        leases = FileLeases(state)
        opening = FileOpening(state, leases)
        directories = Directories(state, Listings(state, removal, leases))
        files = Files(state, removal)
        yield Bed(server, state, opening, files, directories, inode)
        nursery.cancel_scope.cancel()
