"""Removing files that are open here, which shall go on working until their last close.

Such a file gets a hidden name, and the server is told to remove it when it is closed, so it goes
even if we die. The hidden name is in the mount's root where the server lets us, because the
directory that the file was in may be the next to go.

Samba with POSIX extensions could remove the name at once, but does not cut or extend a file that
has no name. There one more open is kept, and its close removes the file.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from typing import Final

from smbfs.client.open import Open
from smbfs.errors import ServerStatusError, SmbfsError
from smbfs.vfs import changes
from smbfs.vfs.handles import OpenFile
from smbfs.vfs.share import LeaseKeys, Share

SILLY_PREFIX: Final = ".smbfs"
"""How hidden names begin."""

PAST_MAX: Final = 256
"""Names of files that were removed lately."""

_log = logging.getLogger(__name__)


class Removal:
    """Removes open files, and knows the names under which they wait."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._hidden: set[str] = set()
        self._past: deque[str] = deque(maxlen=PAST_MAX)
        """Names that are gone, but may be in a listing that is on its way."""

    def hides(self, name: str) -> bool:
        """Whether a name of the server is one of ours, which nobody needs to see."""
        return name.startswith(SILLY_PREFIX) and (name in self._hidden or name in self._past)

    async def remove_open(
        self, path: str, opened: OpenFile | None, *, keys: LeaseKeys | None = None
    ) -> None:
        """Remove a file whose opens here go on working. Raises: ServerStatusError."""
        share = self._share
        if opened is None or not opened.handles:
            await changes.remove(share, path, keys=keys)
        elif share.posix:
            await self._remove_posix(path, opened, keys)
        elif not await changes.remove_like_posix(share, path, keys=keys):
            await self._remove_windows(path, opened)

    async def _remove_posix(self, path: str, opened: OpenFile, keys: LeaseKeys | None) -> None:
        share = self._share
        stat = await share.stat_open(await opened.handles[0].server_file())
        if stat.link_count != 1 or opened.deleting is not None:
            await changes.remove(share, path, keys=keys)
            return
        deleting = await changes.open_to_delete(share, path, keys=keys)
        opened.deleting = deleting
        is_hidden = True  # Perhaps, if nobody says.
        try:
            is_hidden = await self._hide_open(path, opened, deleting)
        finally:
            if not is_hidden or not opened.handles:
                await self.closed(opened)  # Then it is removed at once.

    async def _hide_open(self, path: str, opened: OpenFile, deleting: Open) -> bool:
        """Give a file that its next close removes a hidden name; return whether it has one."""
        for place in (self._share.path([b"x"]), path):
            hidden = self.hidden_path(place)
            self._note(hidden, opened)
            try:
                await changes.rename_open(deleting, hidden)
            except ServerStatusError as error:
                _log.info("no hidden name %s: %s", hidden, error)
                self._hidden.discard(self._name(opened))
            else:
                return True
        return False

    async def _remove_windows(self, path: str, opened: OpenFile) -> None:
        share = self._share
        if share.limits.silly_files_in_root:
            try:
                await self._hide(path, self.hidden_path(share.path([b"x"])), opened)
            except ServerStatusError as error:
                _log.info("removed files wait where they were, not in the root: %s", error)
                share.limits.silly_files_in_root = False
            else:
                return
        await self._hide(path, self.hidden_path(path), opened)

    def hidden_path(self, path: str) -> str:
        """Return a new hidden path in the directory of ``path``."""
        directory = path[: path.rfind(self._share.names.separator) + 1]
        return f"{directory}{SILLY_PREFIX}{secrets.token_hex(8)}"

    async def closed(self, opened: OpenFile) -> None:
        """The last open of a file is closed: now it goes, and its hidden name with it."""
        deleting, opened.deleting = opened.deleting, None
        if deleting is not None:
            await deleting.close()
        if opened.hidden_path:
            self._past.append(self._name(opened))
            self._hidden.discard(self._name(opened))

    def _note(self, hidden: str, opened: OpenFile) -> None:
        opened.hidden_path = hidden
        self._hidden.add(self._name(opened))

    def _name(self, opened: OpenFile) -> str:
        return opened.hidden_path.rpartition(self._share.names.separator)[2]

    async def _hide(self, path: str, hidden: str, opened: OpenFile) -> None:
        self._note(hidden, opened)
        try:
            await changes.rename_and_delete(self._share, path, hidden)
        except SmbfsError:
            self._hidden.discard(self._name(opened))
            opened.hidden_path = ""
            raise
