"""The late server's file under leases, which the test breaks by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from stat import S_IFREG
from typing import cast

import trio

from smbfs.client.open import Open
from smbfs.client.tree_connect import TreeConnect
from smbfs.config.model import MountOptions
from smbfs.engine.lease_table import LeaseTable
from smbfs.engine.leases import Lease
from smbfs.vfs.attribute_verbs import AttributeVerbs
from smbfs.vfs.directories import Directories
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.file_opening import FileOpening
from smbfs.vfs.files import Files
from smbfs.vfs.inodes import Inode
from smbfs.vfs.listings import Listings
from smbfs.vfs.opened_files import OpenedFile
from smbfs.vfs.removal import Removal
from smbfs.vfs.share import Share, stat_of_open
from smbfs.vfs.state import MountState
from smbfs.wire.close_flush import CloseResponse
from smbfs.wire.create import AccessMask
from smbfs.wire.fscc import FileStat
from smbfs.wire.lease import LeaseResponseV2, LeaseState
from smbfs.wire.oplock_break import LeaseBreakNotification
from tests.t3_vfs.late_server import DELAY_S, LateOpen, LateServer

READ_HANDLE = LeaseState.READ_CACHING | LeaseState.HANDLE_CACHING


@dataclass
class LeasedServer(LateServer):
    """Grants whatever is asked for."""

    posix = True
    grants = READ_HANDLE | LeaseState.WRITE_CACHING
    """What others that have the file open leave."""

    def __post_init__(self) -> None:
        self.leases = LeaseTable()
        self.acknowledged: list[tuple[LeaseState, bytes]] = []
        """What was left of each broken lease, and the contents in that instant."""
        self.tree.grants_leases = self.tree.grants_caching = True
        self.tree.leases = self.leases
        self.tree.acknowledge = self._acknowledge

    def _acknowledge(self, lease: Lease) -> None:
        self.acknowledged.append((lease.state, bytes(self.contents)))

    def stat_query(self, *_: object) -> None:
        return None

    def decode_stat(self, answer: FileStat) -> FileStat:
        return answer

    async def open(self, _path: str, _access: int, **options: object) -> Open:
        key = options.get("lease_key")
        lease = self.leases.opening(key) if isinstance(key, bytes) else None
        file = LeasedOpen(self, _access, lease)
        await trio.sleep(DELAY_S)
        if lease is not None:
            wanted = cast(LeaseState, options["lease_wanted"])
            lease.granted(LeaseResponseV2(lease.key, wanted & self.grants, None, 1))
        return file

    async def open_and_read(
        self, path: str, length: int, *, lease_key: bytes
    ) -> tuple[Open, memoryview, FileStat]:
        data, stat = bytes(self.contents[:length]), stat_of_open(self.created())
        file = await self.open(
            path, AccessMask.READ_DATA, lease_key=lease_key, lease_wanted=READ_HANDLE
        )
        return file, memoryview(data), stat

    def break_lease(self, lease: Lease, left: LeaseState = LeaseState.NONE) -> bool:
        """Do what a connection does with a break; return whether anybody holds that lease."""
        found = self.leases.broken(LeaseBreakNotification(lease.key, READ_HANDLE, left, 2))
        if found is None:
            return False
        if not self.tree.on_break(found, True):
            self._acknowledge(found)
        return True


class LeasedOpen(LateOpen):
    """A handle of that file."""

    __slots__ = ()

    def __init__(self, server: LeasedServer, access: int, lease: Lease | None) -> None:
        super().__init__(server)
        self.tree = cast(TreeConnect, server.tree)
        self.access = access
        self.lease = lease

    async def close_and_query(self) -> CloseResponse | None:
        await trio.sleep(DELAY_S)
        is_leased = self.lease is not None and self.lease.may_read
        self.leave_lease()
        self._server.handles -= 1
        size, change_time = len(self._server.contents), self._server.change_time
        told = CloseResponse(1, 1, 1, change_time, change_time, size, size, 0x20)
        return told if is_leased else None

    def close_unwaited(self) -> None:
        self.leave_lease()
        self._server.handles -= 1

    async def close(self) -> None:
        await trio.sleep(DELAY_S)
        self.leave_lease()
        self._server.handles -= 1


@dataclass
class Kernel:
    """Whose pages were called wrong."""

    inodes: list[int] = field(default_factory=list)
    attributes: list[int] = field(default_factory=list)
    attributes_later: list[int] = field(default_factory=list)
    """Whose attributes it was told to ask for again."""
    names: list[tuple[int, bytes]] = field(default_factory=list)
    """Which names it was told to look up again."""

    def inode_changed(self, number: int) -> None:
        self.inodes.append(number)

    def attributes_changed(self, number: int) -> None:
        self.attributes.append(number)

    def attributes_will_change(self, number: int) -> None:
        self.attributes_later.append(number)

    def entry_changed(self, parent: int, name: bytes) -> None:
        self.names.append((parent, name))


@dataclass
class LeasedBed:
    """The verbs over that file, and its inode."""

    server: LeasedServer
    state: MountState
    kernel: Kernel
    opening: FileOpening
    files: Files
    attributes: AttributeVerbs
    directories: Directories
    inode: Inode

    async def open(self, flags: int) -> OpenedFile:
        return await self.opening.open(self.inode.number, flags)

    def lease(self, opened: OpenedFile) -> Lease:
        lease = self.state.handles.get(opened.handle).file.lease
        assert lease is not None
        return lease


@asynccontextmanager
async def leased_bed(contents: bytes, **options: bool | str) -> AsyncIterator[LeasedBed]:
    async with trio.open_nursery() as nursery:
        server = LeasedServer(bytearray(contents))
        share = cast(Share, server)
        state = MountState(share, MountOptions(**options), nursery)  # type: ignore[arg-type]
        kernel = state.kernel = Kernel()
        removal = Removal(share)
        inode = state.inodes.admit(
            state.inodes.root, b"file", file_id=server.file_id, file_type=S_IFREG, link_count=1
        )
        state.inodes.remember(inode)
        inode.shown_size = len(contents)
        leases = FileLeases(state)
        listings = Listings(state, removal, leases)
        yield LeasedBed(
            server,
            state,
            kernel,
            FileOpening(state, leases),
            Files(state, removal),
            AttributeVerbs(state, leases, listings),
            Directories(state, listings),
            inode,
        )
        nursery.cancel_scope.cancel()
