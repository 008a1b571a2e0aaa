"""Leases on files: which key to ask with, and what to let go of when one is broken."""

from __future__ import annotations

import secrets

from smbfs.client.open import Open
from smbfs.engine.leases import LEASE_KEY_SIZE, Lease
from smbfs.vfs.inodes import Inode
from smbfs.vfs.share import LeaseKeys
from smbfs.vfs.state import MountState


class FileLeases:
    """The leases of a mount's files."""

    def __init__(self, state: MountState) -> None:
        self._state = state
        tree = state.share.tree
        self.are_wanted = state.policy.use_leases and tree.grants_leases
        """Whether to ask for leases: the options and the server allow it."""
        tree.on_break = self._broken

    def key_for(self, inode: Inode | None) -> bytes | None:
        """Return the key to open a file with, None to open it without a lease.

        All opens of a file share one key, or they would break each other's leases. ``inode`` is
        None for a file that may not exist yet.
        """
        if not self.are_wanted:
            return None
        key = self._key_in_use(inode) if inode is not None else None
        return key if key is not None else secrets.token_bytes(LEASE_KEY_SIZE)

    def parent_key(self, directory: Inode | None) -> bytes | None:
        """Return the key of the lease on a directory, which a change of ours shall not break."""
        return None if directory is None else self._state.directories.lease_key(directory.number)

    def keys(self, directory: Inode | None, inode: Inode | None) -> LeaseKeys | None:
        """Return the keys for an open that changes what is in a directory, None if it needs none.

        ``inode``: what is changed, None if that is new.
        """
        parent = self.parent_key(directory)
        own = self.key_for(inode) if parent is not None else None
        return LeaseKeys(own, parent) if own is not None and parent is not None else None

    def _key_in_use(self, inode: Inode) -> bytes | None:
        opened = self._state.handles.opened(inode)
        for handle in opened.handles if opened is not None else ():
            if isinstance(handle.file, Open) and handle.file.lease is not None:
                return handle.file.lease.key
        return self._state.kept.lease_key(inode)

    def _broken(self, lease: Lease) -> None:
        """Believe no more than is left. Called before the break is acknowledged."""
        self._state.directories.broken(lease)
        for inode in self._state.kept.broken(lease):
            self._content_lost(inode)
        if lease.may_read:
            return
        for opened in self._state.handles.files():
            for handle in opened.handles:
                if isinstance(handle.file, Open) and handle.file.lease is lease:
                    self._content_lost(opened.inode)
                    break

    def _content_lost(self, inode: Inode) -> None:
        """Forget what somebody else may change now, here and in the kernel."""
        state = self._state
        state.forget_content(inode)
        state.changed(inode)
        for number in (inode.number, *state.inodes.numbers.others(inode, inode.number)):
            state.kernel.inode_changed(number)
