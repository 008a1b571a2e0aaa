"""Files without extended attributes, as a listing has told of them.

Some programs ask every file of a directory for its attributes: `ls -l` since coreutils 9.6, file
managers, whatever copies everything. That is a round trip each, mostly to be told that there are
none. A listing tells how large the attributes of all files are, so a directory is listed for that
when as many of its files were asked one by one as the listing costs.

No lease tells of attributes, so that is believed as a listing is that no lease vouches for.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from stat import S_IFDIR, S_IFREG
from typing import Final

import trio

from smbfs.errors import SmbfsError
from smbfs.vfs.inodes import Inode
from smbfs.vfs.known_directory import ENTRIES_MAX
from smbfs.vfs.server_directories import ids_of_bare, tells_ea_sizes
from smbfs.vfs.state import MountState

QUESTIONS_MIN: Final = 4
"""Questions about the files of a directory that are one by one, however small it is."""

ENTRIES_A_QUESTION: Final = 64
"""Entries that a server lists in about the time of one question."""

QUIET_S: Final = 10.0
"""Seconds without a question after which the files of a directory are not asked for any more."""

DIRECTORIES_MAX: Final = 64
"""Directories of which something is known at the same time."""

IDS_MAX: Final = 65_536
"""Files of which it is known at the same time that they have no attributes."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Survey:
    """What is asked of the files of one directory, and known of them. Times are of trio's clock."""

    asked_s: float
    """When somebody asked last."""
    questions: int = 0
    """Questions since the last listing, or the beginning."""
    ids: set[int] = field(default_factory=set)
    """Of the files that had no attributes when they were listed."""
    until_s: float = 0.0
    """When that is no longer to be believed."""
    changed: set[int] = field(default_factory=set)
    """The ids of files that were given attributes while they were listed."""
    is_listing: bool = False


class KnownBare:
    """Which files of a mount have no extended attributes, by directory and file id."""

    def __init__(self, state: MountState) -> None:
        self._state = state
        self._surveys: dict[int, _Survey] = {}
        self._sweeps = False

    @property
    def is_in_use(self) -> bool:
        """Whether anything is known, or counted."""
        return bool(self._surveys)

    async def has(self, inode: Inode) -> bool:
        """Whether a file is known to have no attributes; ask about all around it if that pays."""
        parent = inode.parent
        if not self._state.policy.timeout_s or parent is None or not inode.file_id:
            return False
        if inode.file_type not in {S_IFREG, S_IFDIR}:
            return False
        survey, now_s = self._survey(parent), trio.current_time()
        survey.questions += 1
        if now_s >= survey.until_s and not survey.is_listing:
            known = self._state.directories.of(parent.number)
            patience = QUESTIONS_MIN + len(known.entries) // ENTRIES_A_QUESTION
            if known.is_whole and survey.questions > patience:
                await self._list(parent, survey)
            elif survey.ids:  # They were not worth a listing.
                survey.ids, survey.questions = set(), 1
        is_current = self._surveys.get(parent.number) is survey  # Not if that has taken too long.
        return is_current and inode.file_id in survey.ids

    def changed(self, file_id: int) -> None:
        """A file may have attributes now."""
        for survey in self._surveys.values():
            survey.ids.discard(file_id)
            if survey.is_listing:
                survey.changed.add(file_id)

    def _survey(self, directory: Inode) -> _Survey:
        now_s = trio.current_time()
        survey = self._surveys.get(directory.number)
        if survey is None or now_s >= survey.asked_s + QUIET_S:
            survey = _Survey(now_s)
            self._surveys.pop(directory.number, None)
            self._surveys[directory.number] = survey
            self._bound()
            self._sweep()
        survey.asked_s = now_s
        return survey

    async def _list(self, directory: Inode, survey: _Survey) -> None:
        """Learn of all files of a directory. Who asks meanwhile asks for one file."""
        state, began_s = self._state, trio.current_time()
        survey.is_listing, survey.questions = True, 0
        survey.ids, survey.changed = set(), set()
        ids: set[int] = set()
        try:
            if await tells_ea_sizes(state.share):
                ids = await state.at(
                    directory, lambda path: ids_of_bare(state.share, path, entries_max=ENTRIES_MAX)
                )
        except SmbfsError as error:
            _log.debug("listing for attributes: %s", error)
        finally:
            survey.is_listing = False
        now_s = trio.current_time()
        survey.until_s = began_s + state.policy.listing_timeout_s(len(ids))
        if ids and now_s < survey.until_s:
            survey.ids = ids - survey.changed
            self._bound()
        else:  # It tells nothing, or too late: nobody shall try again soon.
            survey.until_s = now_s + QUIET_S

    def _bound(self) -> None:
        """Forget what is oldest, if it is too much."""
        ids = sum(len(survey.ids) for survey in self._surveys.values())
        while len(self._surveys) > DIRECTORIES_MAX or (ids > IDS_MAX and len(self._surveys) > 1):
            ids -= len(self._surveys.pop(next(iter(self._surveys))).ids)

    def _sweep(self) -> None:
        if not self._sweeps:
            self._sweeps = True
            self._state.nursery.start_soon(self._forget_old)

    async def _forget_old(self) -> None:
        while self._surveys:
            await trio.sleep(QUIET_S)
            now_s = trio.current_time()
            for directory, survey in list(self._surveys.items()):
                if now_s >= max(survey.asked_s + QUIET_S, survey.until_s):
                    del self._surveys[directory]
        self._sweeps = False
