"""Open files after the server has forgotten us: who comes back, and what that costs.

A durable handle is taken over as it was, with what is on its way to it. Any other file is opened by
its path anew, but only if what is there is the file that was open, unchanged since the server last
told of it: then no write was executed of which we don't know, and what is gathered or was under
way can be sent. Whatever else was open is lost: its next use is ESTALE, and bytes that never
reached the server are EIO for the handle that wrote them, once, by name and place in the audit.

Spec: [MS-SMB2] 3.2.4.4 (re-establishing a durable open).
"""

from __future__ import annotations

import logging
from typing import Final

import trio

from smbfs.client.durable import asking_for_durability, reconnect_request
from smbfs.client.lifeline import Channel
from smbfs.client.open import Open
from smbfs.errors import HandleLost, InvalidName, ServerStatusError, SmbfsError
from smbfs.vfs.handles import Handle, OpenFile
from smbfs.vfs.refusals import Refused
from smbfs.vfs.share import stat_of_open
from smbfs.vfs.small_file import SmallFile
from smbfs.vfs.state import MountState
from smbfs.wire.create import CreateOptions, CreateResponse
from smbfs.wire.ntstatus import NtStatus

AT_ONCE_MAX: Final = 64
"""Files that are brought back at the same time."""

COMES_BACK_WITHIN_S: Final = 15.0
"""Seconds that a file may take: others wait for it, and an attempt to reconnect has no more than
``reconnect.ATTEMPT_S`` for all of them."""

RECLAIM_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4)
"""Seconds between attempts to take a handle over: the server may still be letting go of it."""

_NOT_YET: Final = frozenset(
    {
        NtStatus.STATUS_OBJECT_NAME_NOT_FOUND,
        NtStatus.STATUS_FILE_NOT_AVAILABLE,
    }
)

_log = logging.getLogger(__name__)


class Recovery:
    """Brings the open files of a mount back, whenever the server has a new session for us."""

    def __init__(self, state: MountState) -> None:
        self._state = state
        state.share.tree.on_restored = self.restore

    async def restore(self, channel: Channel) -> None:
        """Bring back what can be; the rest is lost.

        Raises: TransportError when the connection is lost meanwhile; call it again then.
        """
        failures: list[SmbfsError] = []
        limiter = trio.CapacityLimiter(AT_ONCE_MAX)

        async def restore_file(opened: OpenFile) -> None:
            async with limiter:
                handles = list(opened.handles)
                with trio.move_on_after(COMES_BACK_WITHIN_S) as limit:
                    for handle in handles:
                        try:
                            await self._restore_handle(handle, channel)
                        except SmbfsError as error:
                            failures.append(error)
                for handle in handles if limit.cancelled_caught else ():
                    if isinstance(handle.file, Open) and _is_missing(handle.file):
                        self._lose(handle, handle.file)

        async with trio.open_nursery() as nursery:
            for opened in self._state.handles.files():
                nursery.start_soon(restore_file, opened)
        if failures:
            raise failures[0]

    async def _restore_handle(self, handle: Handle, channel: Channel) -> None:
        file = handle.file
        handle.opened.told = None  # Nobody told us what others did meanwhile.
        if isinstance(file, SmallFile):
            file.forget_server_file()  # It is opened when it is needed.
        elif _is_missing(file) and not await self._comes_back(handle, file, channel):
            self._lose(handle, file)

    async def _comes_back(self, handle: Handle, file: Open, channel: Channel) -> bool:
        try:
            path = self._state.path(handle.opened.inode)
        except (Refused, InvalidName):
            return False  # It was removed.
        tree = self._state.share.tree
        request = reconnect_request(file, path)
        pauses_s = iter(RECLAIM_PAUSES_S)
        while request is not None:
            try:
                return await tree.reclaim(file, request, channel)
            except ServerStatusError as error:
                _log.info("a durable handle has not come back: %s", error)
                pause_s = next(pauses_s, None)
                if pause_s is None or error.status not in _NOT_YET:
                    break
                await trio.sleep(pause_s)
        return await self._is_opened_anew(handle, file, path, channel)

    async def _is_opened_anew(
        self, handle: Handle, file: Open, path: str, channel: Channel
    ) -> bool:
        share = self._state.share
        file.durable = None
        request = share.create_request(
            path, file.access, options=CreateOptions.NON_DIRECTORY_FILE, with_file_id=True
        )
        if file.lease is not None:
            request = asking_for_durability(share.tree, request)
        try:
            return await share.tree.reclaim(
                file, request, channel, is_same=lambda told: self._is_same(handle, told)
            )
        except ServerStatusError as error:
            _log.info("%s was not opened again: %s", path, error)
            return False

    def _is_same(self, handle: Handle, told: CreateResponse) -> bool:
        """Whether what is at a path is the file that was open, as it was when last seen."""
        opened, stat = handle.opened, stat_of_open(told)
        known = opened.inode.file_id and opened.inode.file_id == stat.file_id
        return bool(known) and opened.server_version == self._state.share.version_of(stat)

    def _lose(self, handle: Handle, file: Open) -> None:
        _log.warning("an open file is lost: inode %d", handle.opened.inode.number)
        file.lose()
        if handle.gather is not None:
            handle.gather.lose(HandleLost("the server has forgotten an open file"))


def _is_missing(file: Open) -> bool:
    """Whether the session that we have now does not know a file, and may have to."""
    return not file.is_lost and file.epoch != file.tree.line.epoch
