"""Beginning to list a directory, under a lease where there are leases.

What is listed to its end is remembered in ``known_directories``, whoever asked for it: a program
that lists a directory, or the sixth lookup in a row.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

import trio

from smbfs.engine.negotiate import SINGLE_CREDIT_SIZE
from smbfs.errors import ServerStatusError, WireError
from smbfs.vfs.descriptions import Description
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.inodes import Inode
from smbfs.vfs.known_directory import Reading
from smbfs.vfs.listing import Listing
from smbfs.vfs.removal import Removal
from smbfs.vfs.server_directories import ServerDirectory, list_again, open_directory
from smbfs.vfs.share import stat_of_open
from smbfs.vfs.state import MountState

SWEEP_S: Final = 5.0
"""Seconds between two looks for directories that nobody may believe any more."""

GLANCE_SIZE: Final = 16384
"""Bytes of each of the two pieces that are read of a directory at the first question about it."""

REFUSALS_MAX: Final = 3
"""Leases refused in a row after which a server is taken for one that grants none."""

_log = logging.getLogger(__name__)


class Listings:
    """Begins listings. May raise ServerStatusError, TransportError, Refused."""

    def __init__(self, state: MountState, removal: Removal, leases: FileLeases) -> None:
        self._state = state
        self._removal = removal
        self._leases = leases
        self._sweeps = False
        self._refusals = 0

    async def begin(self, inode: Inode, *, length: int = SINGLE_CREDIT_SIZE) -> Listing:
        """Open a directory and begin to list it, in pieces of so many bytes. Close it."""
        state, number = self._state, inode.number
        reading = None
        if state.policy.timeout_s:
            reading = state.directories.begin(number, self._leases.directory_key())
        asked_s = trio.current_time()
        try:
            opened = await self._open(inode, reading, length)
        except BaseException:
            if reading is not None:
                state.directories.give_up(number, reading)
            raise
        if reading is not None:
            state.directories.opened(number, reading, opened.open, trio.current_time())
            self._sweep()
        listing = Listing(state, self._removal, inode, opened, asked_s=asked_s, reading=reading)
        try:
            # Another directory by this name: the kernel shall look it up before it lists it.
            state.check_same(inode, Description(stat_of_open(opened.open.created)))
        except BaseException:
            listing.close()
            raise
        return listing

    async def _open(self, inode: Inode, reading: Reading | None, length: int) -> ServerDirectory:
        share = self._state.share
        if reading is not None and reading.handle is not None:
            try:
                return await list_again(share, reading.handle, length=length)
            except BaseException:
                reading.handle.close_unwaited()
                raise
        key = reading.lease_key if reading is not None else None
        opened = await self._state.at(
            inode, lambda path: open_directory(share, path, lease_key=key, length=length)
        )
        lease = opened.open.lease
        if lease is not None:
            self._refusals = 0 if lease.may_read else self._refusals + 1
            if self._refusals >= REFUSALS_MAX:
                self._take_for_leaseless()
        return opened

    def _take_for_leaseless(self) -> None:
        state = self._state
        state.policy = replace(state.policy, lease_directories=False)
        state.directories.unleased_s = state.policy.timeout_s

    async def ahead_of_question(self, inode: Inode) -> None:
        """A name of a directory is about to be asked for: learn more at once if that pays."""
        state, now_s = self._state, trio.current_time()
        window_s = state.policy.timeout_s
        if not window_s:
            return
        if state.directories.should_read(inode.number, now_s, window_s=window_s):
            await self.read(inode)
        elif state.policy.lease_directories and state.directories.of(inode.number).may_be_leased:
            await self.glance(inode)

    async def read(self, inode: Inode) -> None:
        """Read a directory, to be remembered; what goes wrong is only logged."""
        await self._remember(inode, SINGLE_CREDIT_SIZE, all_of_it=True)

    async def glance(self, inode: Inode) -> None:
        """Lease a directory and read the beginning of it, in one round trip: often it is all."""
        await self._remember(inode, GLANCE_SIZE, all_of_it=False)

    async def arm(self, inode: Inode) -> None:
        """Lease a directory."""
        await self._remember(inode, 0, all_of_it=False)

    async def _remember(self, inode: Inode, length: int, *, all_of_it: bool) -> None:
        listing: Listing | None = None
        try:
            listing = await self.begin(inode, length=length)
            piece = await listing.next_piece(restart=True) if length else None
            while piece is not None and all_of_it and listing.is_remembered:
                piece = await listing.next_piece(restart=False)
            listing.leave()
        except (ServerStatusError, WireError) as error:
            _log.debug("listing for lookups: %s", error)
        finally:
            if listing is not None:
                listing.close()

    def _sweep(self) -> None:
        if not self._sweeps:
            self._sweeps = True
            self._state.nursery.start_soon(self._give_back_old)

    async def _give_back_old(self) -> None:
        is_left = True
        while is_left:
            await trio.sleep(SWEEP_S)
            is_left = self._state.directories.expire(trio.current_time())
            self._state.charge_names()
        self._sweeps = False
