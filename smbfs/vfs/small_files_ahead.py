"""Small files that a program will open next, read while it is busy with the one before.

Opening and reading a small file is one round trip, and who reads many of them waits for one after
the other. So when the files of a directory are opened in order, those that follow are opened, too,
several at once, and kept as if somebody had just closed them (``kept_handles``): the lease tells if
they change before anybody comes for them.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from stat import S_IFREG
from typing import Final

import trio

from smbfs.errors import SmbfsError
from smbfs.vfs.directory_courses import DirectoryCourse
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.inodes import Inode
from smbfs.vfs.kept_handles import Expected, Kept
from smbfs.vfs.known_directory import KnownDirectory
from smbfs.vfs.small_file import SMALL_FILE_SIZE_MAX
from smbfs.vfs.small_file_reading import ReadFile, read_leased
from smbfs.vfs.state import MountState

DIRECTORIES_MAX: Final = 16
"""Directories whose files are opened in turn, as far as this is noticed."""

_REBUILD_S: Final = 1.0
"""Seconds between two looks at the names of a directory in which new ones turn up."""

_log = logging.getLogger(__name__)


class SmallFilesAhead:
    """Reads small files ahead of the programs of one mount."""

    def __init__(self, state: MountState, leases: FileLeases) -> None:
        self._state = state
        self._leases = leases
        self._courses: OrderedDict[int, DirectoryCourse] = OrderedDict()

    @property
    def _is_wanted(self) -> bool:
        """Whether the server lets us keep what nobody has asked for yet."""
        policy = self._state.policy
        is_allowed = self._leases.are_wanted and policy.keep_handles and policy.use_page_cache
        return is_allowed and self._state.kept.may_expect

    def opened(self, inode: Inode) -> None:
        """A small file is opened for reading: read those that follow."""
        directory = inode.parent
        if not self._is_wanted or directory is None:
            return
        known = self._state.directories.of(directory.number)
        if not known.left_s(trio.current_time()):
            return
        for name in self._course(directory, known, inode.name).opened(inode.name):
            self._read(directory, known, name)

    def _course(self, directory: Inode, known: KnownDirectory, name: bytes) -> DirectoryCourse:
        now_s = trio.current_time()
        course = self._courses.get(directory.number)
        is_old = course is not None and now_s > course.built_s + _REBUILD_S
        if course is None or (is_old and not course.knows(name)):
            names = [listed.name for listed in known.entries.values()]
            course = self._courses[directory.number] = DirectoryCourse(names, built_s=now_s)
            if len(self._courses) > DIRECTORIES_MAX:
                self._courses.popitem(last=False)
        self._courses.move_to_end(directory.number)
        return course

    def _read(self, directory: Inode, known: KnownDirectory, name: bytes) -> None:
        """Read one file, if it is small and not here."""
        state = self._state
        answer = known.find(name, trio.current_time())
        if answer is None or answer.description is None:
            return
        description = answer.description
        is_small = 0 < description.stat.size <= SMALL_FILE_SIZE_MAX
        is_plain = description.file_type == S_IFREG and description.stat.link_count <= 1
        if not is_small or not is_plain or state.describer.is_open_question(description.stat):
            return
        inode = state.inodes.child(directory, name)
        if inode is not None and (
            self._is_here(inode) or inode.file_id != description.stat.file_id
        ):
            return
        if inode is None:
            inode = state.admit(directory, name, description)
        key = self._leases.key_for(inode)
        assert key is not None
        state.nursery.start_soon(self._fetch, state.kept.expect(inode, key))

    def _is_here(self, inode: Inode) -> bool:
        """Whether who opens a file need not wait for it."""
        state = self._state
        if state.kept.has(inode) or state.handles.opened(inode) is not None:
            return True
        if inode.written_tick == -1 or inode.version is None:
            return False
        return state.blocks.whole(inode.number, inode.version) is not None

    async def _fetch(self, expected: Expected) -> None:
        state, inode = self._state, expected.inode
        try:
            read = await read_leased(state, inode, expected.lease_key)
            if read is None:
                return
            lease = read.file.lease
            may_keep = lease is not None and lease.may_read and lease.may_keep_handle
            is_same = read.is_whole and read.content_changes == inode.content_changes
            is_free = expected.is_wanted and state.handles.opened(inode) is None
            if may_keep and is_same and is_free:
                self._keep(inode, read)
            else:
                read.file.close_unwaited()
        except SmbfsError as error:
            _log.debug("reading a small file ahead: %s", error)
        finally:
            state.kept.over(expected)

    def _keep(self, inode: Inode, read: ReadFile) -> None:
        state, version = self._state, self._state.share.version_of(read.stat)
        state.blocks.believe(inode.number, version)
        state.blocks.put(inode.number, 0, read.block, version)
        state.kept.keep(Kept(inode, read.file, read.stat.size, version))
