"""Asking about files that stay open every now and then, whatever is leased.

What a program on the server writes breaks no lease. Who has a file open for a while, to follow a
log for example, shall see it grow all the same: its attributes are believed for ``actimeo`` only.

Where there is no lease at all the kernel drops its pages as often. Times say little then: some
servers count in seconds, and Samba tells who has no POSIX extensions of no write by who has.
"""

from __future__ import annotations

from typing import Final

import trio

from smbfs.client.open import Open
from smbfs.vfs.contents import pages_lost
from smbfs.vfs.handles import OpenFile
from smbfs.vfs.state import MountState

WATCH_S: Final = 1.0
"""Seconds for which a file is open before its attributes are asked for as if nothing was leased."""


class OpenFilesWatch:
    """Watches the open files of a mount, while there are any."""

    def __init__(self, state: MountState) -> None:
        self._state = state
        self._is_running = False

    def begin(self) -> None:
        """A file is being opened."""
        if not self._is_running:
            self._is_running = True
            self._state.nursery.start_soon(self._run)

    async def _run(self) -> None:
        state = self._state
        is_open = True
        while is_open:
            await trio.sleep(WATCH_S)
            files = state.handles.files()
            for opened in files:
                if not opened.is_watched and trio.current_time() > opened.since_s + WATCH_S:
                    opened.is_watched = True
                    state.shown.attributes_lost(opened.inode)
                if opened.is_watched and self._may_be_stale(opened):
                    pages_lost(state, opened.inode)
            is_open = bool(files)
        self._is_running = False

    def _may_be_stale(self, opened: OpenFile) -> bool:
        is_asked = isinstance(opened.best_handle().file, Open)  # Others are as when opened.
        return is_asked and not (opened.is_leased or self._state.policy.is_loose)
