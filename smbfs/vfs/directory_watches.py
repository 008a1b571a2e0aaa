"""Watching directories on servers that lease none: CHANGE_NOTIFY stands in for the lease.

When a directory was listed, the server is asked to tell what changes in it, and the next listing by
the same handle is believed as if it was leased. What the server tells names what has changed, so
only that is forgotten; our own changes are told as well. It tells a moment later, up to a second,
which is as good as ``actimeo``, and not good enough to believe contents.

Spec: [MS-SMB2] 3.2.4.18, 3.3.5.19.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final

from smbfs.client.open import Open
from smbfs.engine.leases import LEASE_KEY_SIZE
from smbfs.errors import ServerStatusError, SmbfsError
from smbfs.vfs.inodes import Inode
from smbfs.vfs.known_directory import lose_name
from smbfs.wire.change_notify import (
    CompletionFilter,
    NotifyInformation,
    iterate_notify_information,
)
from smbfs.wire.lease import LeaseResponseV2, LeaseState
from smbfs.wire.ntstatus import NtStatus

if TYPE_CHECKING:
    from smbfs.vfs.state import MountState

WATCHES_MAX: Final = 128
"""Directories that are watched; servers have a request waiting for each."""

_CHANGES: Final = (
    CompletionFilter.FILE_NAME
    | CompletionFilter.DIR_NAME
    | CompletionFilter.ATTRIBUTES
    | CompletionFilter.SIZE
    | CompletionFilter.LAST_WRITE
    | CompletionFilter.SECURITY
)

_NEVER: Final = frozenset(
    {
        NtStatus.STATUS_NOT_SUPPORTED,
        NtStatus.STATUS_NOT_IMPLEMENTED,
        NtStatus.STATUS_INVALID_PARAMETER,
    }
)

_log = logging.getLogger(__name__)


class DirectoryWatches:
    """The watched directories of a mount."""

    def __init__(self, state: MountState) -> None:
        self._state = state
        self._is_supported = True
        self._count = 0

    @property
    def are_wanted(self) -> bool:
        """Whether there are no leases that would do better, and the user wants to know."""
        policy = self._state.policy
        is_needed = policy.timeout_s > 0 and not policy.lease_directories
        return is_needed and self._state.options.leases and self._is_supported

    def begin(self, inode: Inode, directory: Open) -> bool:
        """Watch a directory that was listed; return whether its handle is kept for that."""
        if not self.are_wanted or self._count >= WATCHES_MAX:
            return False
        self._count += 1
        self._state.nursery.start_soon(self._watch, inode, directory)
        return True

    async def _watch(self, inode: Inode, directory: Open) -> None:
        state = self._state
        leases = state.share.tree.leases
        lease = directory.lease = leases.opening(secrets.token_bytes(LEASE_KEY_SIZE))
        lease.granted(LeaseResponseV2(lease.key, LeaseState.READ_CACHING))
        try:
            if not state.directories.watched(inode.number, directory):
                directory.close_unwaited()
                return
            while lease.may_read:
                # It is sent before anything that is asked later, also by who lists it next.
                self._note(inode, await _next_changes(directory))
        except SmbfsError as error:
            _log.debug("watching a directory: %s", error)
            if isinstance(error, ServerStatusError) and error.status in _NEVER:
                self._is_supported = False
        finally:
            self._count -= 1
            state.directories.broken(lease)
            lease.lost()

    def _note(self, inode: Inode, changes: list[NotifyInformation]) -> None:
        state, number = self._state, inode.number
        if not changes:
            state.directories.forget(number)  # Too many to tell.
            return
        state.shown.attributes_lost(inode)
        for name in {change.name for change in changes}:
            shown = state.share.names.from_server(name)
            if shown is None:
                continue
            state.directories.spoil(number, shown)
            lose_name(state.directories.of(number), shown)
            state.kernel.entry_changed(number, shown)
            child = state.inodes.child(inode, shown)
            if child is not None:
                state.shown.attributes_lost(child)


async def _next_changes(directory: Open) -> list[NotifyInformation]:
    """Wait for changes, and return them; none if there were too many to tell."""
    try:
        return list(iterate_notify_information(await directory.change_notify(_CHANGES)))
    except ServerStatusError as error:
        if error.status != NtStatus.STATUS_NOTIFY_ENUM_DIR:
            raise
        return []
