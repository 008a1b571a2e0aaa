"""Removing files that are open here, from servers that would keep their names until the last close.

Such a file gets a hidden name and is deleted at once, so the server removes it when the last of
our opens is closed, even if we die. The hidden name is in the mount's root where the server lets
us, because the directory that the file was in may be the next to go.
"""

from __future__ import annotations

import logging
import secrets
from typing import Final

from smbfs.errors import ServerStatusError, SmbfsError
from smbfs.vfs import changes
from smbfs.vfs.handles import OpenFile
from smbfs.vfs.share import Share

SILLY_PREFIX: Final = ".smbfs"
"""How hidden names begin."""

_log = logging.getLogger(__name__)


class Removal:
    """Removes open files, and knows the names under which they wait."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._hidden: set[str] = set()

    def hides(self, name: str) -> bool:
        """Whether a name of the server is one of ours, which nobody needs to see."""
        return name in self._hidden

    async def remove_open(self, path: str, opened: OpenFile | None) -> None:
        """Remove a file whose opens here go on working. Raises: ServerStatusError."""
        share = self._share
        if share.posix or opened is None:
            await changes.remove(share, path)
            return
        if await changes.remove_like_posix(share, path):
            return
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

    def closed(self, opened: OpenFile) -> None:
        """The last open of a file is closed: its hidden name is gone."""
        self._hidden.discard(opened.hidden_name)

    async def _hide(self, path: str, hidden: str, opened: OpenFile) -> None:
        name = hidden.rpartition(self._share.names.separator)[2]
        self._hidden.add(name)
        try:
            await changes.rename_and_delete(self._share, path, hidden)
        except SmbfsError:
            self._hidden.discard(name)
            raise
        opened.hidden_name = name
