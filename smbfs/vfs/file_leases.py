"""Leases on files: which key to ask with, and what to let go of when one is broken."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from smbfs.client.open import Open
from smbfs.engine.leases import LEASE_KEY_SIZE, Lease
from smbfs.vfs.contents import forget_foreign, pages_lost
from smbfs.vfs.handles import Handle
from smbfs.vfs.inodes import Inode
from smbfs.vfs.known_directory import lease_key
from smbfs.vfs.share import LeaseKeys
from smbfs.vfs.state import MountState
from smbfs.vfs.write_gather import WriteGather


class FileLeases:
    """The leases of a mount's files."""

    def __init__(self, state: MountState) -> None:
        self._state = state
        state.share.tree.on_break = self._broken

    @property
    def are_wanted(self) -> bool:
        """Whether to ask for leases, or oplocks: the options and the server allow it."""
        return self._state.policy.use_leases and self._state.share.tree.grants_caching

    def key_for(self, inode: Inode | None) -> bytes | None:
        """Return the key to open a file with, None to open it without a lease.

        All opens of a file share one key, or they would break each other's leases. ``inode`` is
        None for a file that may not exist yet.
        """
        if not self.are_wanted:
            return None
        key = self._key_in_use(inode) if inode is not None else None
        return key if key is not None else secrets.token_bytes(LEASE_KEY_SIZE)

    def directory_key(self) -> bytes | None:
        """Return a key to lease a directory with; None where there are only oplocks: not for them.

        Whoever knows the directory may have a better one.
        """
        return self.key_for(None) if self._state.share.tree.grants_leases else None

    def parent_key(self, directory: Inode | None) -> bytes | None:
        """Return the key of the lease on a directory, which a change of ours shall not break."""
        if directory is None or not self._state.share.tree.grants_leases:
            return None
        return lease_key(self._state.directories.of(directory.number))

    def keys(self, directory: Inode | None, inode: Inode | None) -> LeaseKeys | None:
        """Return the keys for an open that breaks no lease of ours, None if it needs none.

        ``directory``: where it is. ``inode``: what is changed, None if that is new.
        """
        if not (self.are_wanted and self._state.share.tree.grants_leases):
            return None
        parent = self.parent_key(directory)
        own = self._key_in_use(inode) if inode is not None else None
        if own is None and parent is not None:
            own = secrets.token_bytes(LEASE_KEY_SIZE)  # One can't be named without the other.
        return LeaseKeys(own, parent) if own is not None else None

    def are_exclusive(self, inode: Inode) -> bool:
        """Whether no other client has opened a file to change more than its times."""
        return any(lease.may_write for lease in self._leases_on(inode))

    def _key_in_use(self, inode: Inode) -> bytes | None:
        lease = next(self._leases_on(inode), None)
        return lease.key if lease is not None else self._state.kept.lease_key(inode)

    def _leases_on(self, inode: Inode) -> Iterator[Lease]:
        opened = self._state.handles.opened(inode)
        for handle in opened.handles if opened is not None else ():
            lease = _lease_of(handle)
            if lease is not None:
                yield lease

    def _broken(self, lease: Lease, must_acknowledge: bool) -> bool:
        """Believe no more than is left. Called before the break is acknowledged.

        Return whether that is done here, because the server has to have our data before.
        """
        self._state.directories.broken(lease)
        for inode in self._state.kept.broken(lease):
            self._content_lost(inode)
        handles = [] if lease.may_write else self._handles_of(lease)
        if handles:
            handles[0].opened.told = None
        if handles and not lease.may_read:
            self._content_lost(handles[0].opened.inode)
        writers = [each.gather for each in handles if each.gather is not None]
        dirty = [gather for gather in writers if gather.dirty_end is not None]
        if dirty and must_acknowledge:
            self._state.nursery.start_soon(self._write_and_acknowledge, dirty, lease)
            return True
        return False

    def close(self) -> None:
        """The mount ends: there is nothing left to give back."""
        self._state.share.tree.on_break = lambda _lease, _must_acknowledge: False

    async def _write_and_acknowledge(self, writers: list[WriteGather], lease: Lease) -> None:
        """Let others look at the file when what was written to it is there.

        What went wrong with that is told to who wrote it.
        """
        for gather in writers:
            gather.send()
        for gather in writers:
            await gather.drain_awake()
        self._state.share.tree.acknowledge(lease)

    def _handles_of(self, lease: Lease) -> list[Handle]:
        for opened in self._state.handles.files():
            found = [each for each in opened.handles if _lease_of(each) is lease]
            if found:
                return found
        return []

    def _content_lost(self, inode: Inode) -> None:
        """Forget what somebody else may change now, here and in the kernel."""
        state = self._state
        forget_foreign(state, inode)
        state.changed(inode)
        pages_lost(state, inode)


def _lease_of(handle: Handle) -> Lease | None:
    return handle.file.lease if isinstance(handle.file, Open) else None
