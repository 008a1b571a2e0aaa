"""Files without extended attributes, as a listing has told of them.

Some programs ask every file of a directory for its attributes: `ls -l` since coreutils 9.6, file
managers, whatever copies everything. That is a round trip each, mostly to be told that there are
none. A listing tells how large the attributes of all files are, so a directory is listed for that
when as many of its files were asked one by one as the listing costs.

No lease tells of attributes, so that is believed for as long as what no lease vouches for.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from stat import S_IFDIR, S_IFREG
from typing import Final

import trio

from smbfs.errors import SmbfsError
from smbfs.vfs.inodes import Inode
from smbfs.vfs.server_directories import ids_of_bare
from smbfs.vfs.state import MountState

QUESTIONS_MIN: Final = 4
"""Questions about the files of a directory that are one by one, however small it is."""

ENTRIES_A_QUESTION: Final = 64
"""Entries that a server lists in about the time of one question."""

DIRECTORIES_MAX: Final = 64
"""Directories of which something is known at the same time."""

IDS_MAX: Final = 65_536
"""Files of which it is known at the same time that they have no attributes."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Period:
    """What was asked of the files of one directory lately, and what is known of them."""

    until_s: float
    """When that is no longer to be believed, by trio's clock."""
    is_popular: bool = False
    """Whether the period before saw more questions than a listing costs."""
    questions: int = 0
    ids: set[int] | None = None
    """Of its files without attributes; None if it was not listed for that."""
    changed: set[int] = field(default_factory=set)
    """The ids of files that were given attributes meanwhile."""


class KnownBare:
    """Which files of a mount have no extended attributes, by directory and file id."""

    def __init__(self, state: MountState) -> None:
        self._state = state
        self._periods: dict[int, _Period] = {}
        self._sweeps = False

    @property
    def is_in_use(self) -> bool:
        """Whether anything is known, or counted."""
        return bool(self._periods)

    async def has(self, inode: Inode) -> bool:
        """Whether a file is known to have no attributes; ask about all around it if that pays."""
        parent = inode.parent
        if not self._state.policy.timeout_s or parent is None or not inode.file_id:
            return False
        if inode.file_type not in {S_IFREG, S_IFDIR}:
            return False
        period = self._current(parent)
        period.questions += 1
        if period.ids is None and (period.is_popular or self._has_paid(parent, period)):
            await self._list(parent, period)
        return period.ids is not None and inode.file_id in period.ids

    def changed(self, inode: Inode) -> None:
        """A file may have attributes now."""
        for period in self._periods.values():
            period.changed.add(inode.file_id)
            if period.ids is not None:
                period.ids.discard(inode.file_id)

    def _current(self, directory: Inode) -> _Period:
        now_s = trio.current_time()
        period = self._periods.get(directory.number)
        if period is None or now_s >= period.until_s:
            is_popular = period is not None and self._has_paid(directory, period)
            period = _Period(now_s + self._state.policy.timeout_s, is_popular)
            self._periods.pop(directory.number, None)
            self._periods[directory.number] = period
            self._bound()
            self._sweep()
        return period

    def _has_paid(self, directory: Inode, period: _Period) -> bool:
        """Whether there were as many questions as a listing is worth."""
        known = self._state.directories.of(directory.number)
        patience = QUESTIONS_MIN + len(known.entries) // ENTRIES_A_QUESTION
        return known.is_whole and period.questions > patience

    async def _list(self, directory: Inode, period: _Period) -> None:
        state = self._state
        period.ids = set()  # Who asks meanwhile asks for one file.
        period.until_s = trio.current_time() + state.policy.timeout_s
        try:
            ids = await state.at(directory, lambda path: ids_of_bare(state.share, path))
        except SmbfsError as error:
            _log.debug("listing for attributes: %s", error)
        else:
            period.ids = ids - period.changed
            self._bound()

    def _bound(self) -> None:
        """Forget what is oldest, if it is too much."""
        ids = sum(len(period.ids) for period in self._periods.values() if period.ids)
        while len(self._periods) > DIRECTORIES_MAX or (ids > IDS_MAX and len(self._periods) > 1):
            oldest = self._periods.pop(next(iter(self._periods)))
            ids -= len(oldest.ids or ())

    def _sweep(self) -> None:
        if not self._sweeps:
            self._sweeps = True
            self._state.nursery.start_soon(self._forget_old)

    async def _forget_old(self) -> None:
        timeout_s = self._state.policy.timeout_s
        while self._periods:
            await trio.sleep(timeout_s)
            now_s = trio.current_time()
            for directory, period in list(self._periods.items()):
                if now_s >= period.until_s + timeout_s:
                    del self._periods[directory]
        self._sweeps = False
