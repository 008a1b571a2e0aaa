"""What the kernel is shown of an inode, and for how long it may believe that.

What was told just now is believed for ``actimeo``, and for longer if a leased directory vouches for
it. Names need less than attributes: to use one, the kernel asks for the attributes behind it, and
learns that another file is there, or none. So when a lease is lost, attributes alone are taken
back, which blocks nobody.

INVARIANT: between finding out for how long something may be believed and telling the kernel, there
is no checkpoint: what is taken back in between would be told all the same. What the kernel applies
after it was taken back, it drops itself if the answer was to a question about names; one about
attributes is answered as not to be believed (see ``AttributeQuestions``). Answers to changes it
takes as they come, so they say nothing that a lease must vouch for.
"""

from __future__ import annotations

from dataclasses import dataclass
from stat import S_IFDIR
from typing import TYPE_CHECKING, Final

import trio

from smbfs.vfs.attributes import Attributes, Believed, present
from smbfs.vfs.contents import forget_foreign, forget_young
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import Listed
from smbfs.vfs.handles import OpenFile
from smbfs.vfs.inodes import Inode
from smbfs.vfs.lease_policy import Version
from smbfs.vfs.names import Names, folded

if TYPE_CHECKING:
    from smbfs.vfs.state import MountState

ANSWER_AGE_MAX_S: Final = 10.0
"""Seconds that an answer may have been on its way. Until then a size does not shrink what we write
ourselves: an append would go to the wrong place."""


@dataclass(slots=True)
class Entry:
    """What the kernel is told of a name: its inode, and how long to believe it."""

    number: int
    attributes: Attributes
    entry_timeout_s: float
    attribute_timeout_s: float
    prepared: bytes | None = None
    """For who tells the kernel: what it made of number and attributes."""


class Shown:
    """Shows the inodes of one mount."""

    def __init__(self, state: MountState) -> None:
        self._state = state

    def present(self, inode: Inode, description: Description, asked_s: float = 0.0) -> Attributes:
        """Return what ``stat`` shows of an inode now; ``asked_s``: see :meth:`told`."""
        state = self._state
        attributes = _attributes(state, inode, description)
        opened = state.handles.opened(inode)
        version = state.share.version_of(description.stat)
        if opened is None:
            if state.kept.is_other(inode, version):
                state.kept.close(inode)
                forget_foreign(state, inode)  # Changed on the server itself: that breaks no lease.
            return attributes
        _compare(state, opened, version)
        if opened.is_dirty or _may_be_older(inode, opened, asked_s):
            attributes = attributes._replace(size=max(attributes.size, opened.end))
        if opened.deleting is not None:
            # To the server it still has its hidden name.
            attributes = attributes._replace(link_count=max(0, attributes.link_count - 1))
        opened.end = attributes.size
        if not opened.is_dirty:
            opened.server_end = opened.end
        return attributes

    def new(
        self,
        parent: Inode,
        name: bytes,
        description: Description,
        *,
        asked: int | None = None,
        left_s: float | None = None,
    ) -> Entry:
        """Admit an entry and return it counted: the kernel will forget it one day.

        ``asked``: the tick of the question that this answers; None for what is known anyhow.
        ``left_s``: seconds for which it may be believed, if it is not told just now.
        """
        state = self._state
        spelling = _servers_spelling(state.share.names, name, description)
        inode = state.admit(parent, spelling, description)
        if asked is not None:
            inode.shown_links = description.stat.link_count
            state.directories.of(parent.number).note(spelling, description, asked)
        state.inodes.remember(inode)
        name_s, attribute_s = state.policy.entry_timeout_s, self._unleased_s(inode, description)
        if left_s is not None:
            # Of a directory, a lease on the one above does not tell enough.
            is_enough = inode.file_type != S_IFDIR or left_s <= attribute_s
            name_s, attribute_s = left_s, left_s if is_enough else 0.0
        entry = self._show(
            parent, spelling, inode, description, name_s=name_s, attribute_s=attribute_s
        )
        if asked is None and left_s is None:
            entry.attribute_timeout_s = min(attribute_s, entry.attribute_timeout_s)
        if spelling == name:
            return entry
        # It shall ask for the attributes before it believes this number to be the file's.
        number = state.inodes.number_as(inode, parent, name)
        return Entry(number, entry.attributes, entry.entry_timeout_s, 0.0)

    def told(
        self,
        inode: Inode,
        description: Description,
        *,
        asked: int | None,
        asked_s: float = 0.0,
        is_by_path: bool = False,
    ) -> Entry:
        """Return what the server has told of a known inode, by its path or by a handle.

        ``asked``: the tick of the question; None for the answer to a change.
        ``asked_s``: its time, if the server had then all that was written before.
        ``is_by_path``: it was asked by the inode's first name.
        """
        state = self._state
        if asked is not None:
            for parent, name in inode.names():
                known = state.directories.of(parent.number)
                # By a handle we may have asked for a file whose name leads elsewhere.
                is_named = is_by_path and parent is inode.parent and name == inode.name
                if is_named or known.description_of(name, inode.file_id) is not None:
                    known.note(name, description, asked)
        inode.shown_links = description.stat.link_count
        attributes = self.present(inode, description, asked_s)
        believed_s = 0.0
        if inode.file_type != S_IFDIR and inode.parent is not None:
            believed_s = self._file_believed_s(inode.parent, inode.name, inode, description)
        elif inode.file_type == S_IFDIR and asked is not None:
            believed_s = self._directory_believed_s(inode, asked)
            if believed_s:
                state.directories.of(inode.number).own = description, asked
        unleased_s = self._unleased_s(inode, description)
        entry = self._entry(inode, attributes, 0.0, max(unleased_s, believed_s))
        if asked is None:
            entry.attribute_timeout_s = unleased_s  # See the INVARIANT.
            state.directories.of(inode.number).own = None
        return entry

    def known(self, inode: Inode) -> Entry | None:
        """Return what is known of an inode, None if the server must be asked."""
        state = self._state
        now_s = trio.current_time()
        believed = state.attributes.get(inode.number, now_s) or self._own(inode)
        if believed is not None:
            return Entry(inode.number, believed.attributes, 0.0, believed.left_s)
        if inode.file_type == S_IFDIR or inode.parent is None:
            return None
        answer = state.directories.of(inode.parent.number).find(inode.name, now_s)
        if answer is None or answer.description is None:
            return None
        description = answer.description
        if description.stat.file_id != inode.file_id or description.file_type != inode.file_type:
            return None
        believed_s = self._file_believed_s(inode.parent, inode.name, inode, description)
        if not believed_s:
            return None
        return self._entry(inode, self.present(inode, description), 0.0, believed_s)

    def listed(
        self, parent: Inode, inode: Inode, listed: Listed, *, entries: int, is_large: bool
    ) -> Entry:
        """Return the entry of a name in a listing of so many, perhaps too large to be known.

        What was changed here since that was asked for is shown with the size that the kernel
        knows, and not to be believed.
        """
        state = self._state
        description, asked_s = listed.description, listed.asked_s
        now_s = trio.current_time()
        known = state.directories.of(parent.number)
        name_s = known.believed_s(listed.name, description, now_s)
        opened = state.handles.opened(inode)
        is_written = opened is not None and opened.writable() is not None
        if is_written or (not name_s and inode.changed_s >= asked_s):
            if opened is not None and is_written:
                _compare(state, opened, state.share.version_of(description.stat))
            attributes = _attributes(state, inode, description)
            if inode.shown_size >= 0:
                attributes = attributes._replace(size=inode.shown_size)
            return Entry(inode.number, attributes, 0.0, 0.0)
        timeout_s = 0.0
        # What is told before the listing is complete is taken back, too, if the lease breaks.
        is_leased = known.is_leased and known.has(listed)
        if is_leased or is_large or not state.policy.lease_directories:
            timeout_s = max(0.0, state.policy.listing_timeout_s(entries) + asked_s - now_s)
        return self._show(
            parent, listed.name, inode, description, name_s=timeout_s, attribute_s=timeout_s
        )

    def _show(
        self,
        parent: Inode,
        name: bytes,
        inode: Inode,
        description: Description,
        *,
        name_s: float,
        attribute_s: float,
    ) -> Entry:
        """Return the entry of a name, to be believed for so long at least."""
        state = self._state
        now_s = trio.current_time()
        known = None
        if not inode.links:  # Else the kernel may believe in another name of it.
            inode.is_name_doubtful = False
        if inode.file_type == S_IFDIR:
            # What is in it changes what it is, and no lease on its own directory tells of that.
            known = state.attributes.get(inode.number, now_s) or self._own(inode)
        attributes = self.present(inode, description)
        believed_s = state.directories.of(parent.number).believed_s(name, description, now_s)
        name_s = max(name_s, believed_s)
        if known is not None:
            return Entry(inode.number, known.attributes, name_s, known.left_s)
        if inode.file_type != S_IFDIR and self.is_vouched_for(inode, description):
            attribute_s = max(attribute_s, believed_s)
        return self._entry(inode, attributes, name_s, attribute_s)

    def _file_believed_s(
        self, parent: Inode, name: bytes, inode: Inode, description: Description
    ) -> float:
        """Return for how long the lease on its directory lets us believe in a file's attributes."""
        if not self.is_vouched_for(inode, description):
            return 0.0
        known = self._state.directories.of(parent.number)
        return known.believed_s(name, description, trio.current_time())

    def _unleased_s(self, inode: Inode, description: Description) -> float:
        """Return for how long attributes may be believed that were told just now."""
        policy = self._state.policy
        opened = self._state.handles.opened(inode)
        if opened is not None and opened.is_dirty:
            return 0.0  # The server does not know yet that it was written to, nor when.
        if opened is not None and opened.is_leased:
            return policy.timeout_s
        if inode.file_type == S_IFDIR or description.stat.link_count > 1:
            return policy.timeout_s
        return policy.attribute_timeout_s

    def is_vouched_for(self, inode: Inode, description: Description) -> bool:
        """Whether a lease on its directory tells of every change of a file."""
        opened = self._state.handles.opened(inode)
        if opened is not None and (opened.is_watched or opened.writable() is not None):
            return False
        return description.stat.link_count <= 1  # Else it may be changed by another name.

    def _own(self, inode: Inode) -> Believed | None:
        """Return what a directory was when it was leased, if that may still be believed."""
        state = self._state
        told = state.directories.of(inode.number).own
        if told is None or inode.file_type != S_IFDIR:
            return None
        description, asked = told
        believed_s = self._directory_believed_s(inode, asked)
        if not believed_s or description.stat.file_id != inode.file_id:
            return None
        attributes = self.present(inode, description)
        state.attributes.put(inode.number, attributes, trio.current_time() + believed_s)
        return Believed(attributes, believed_s)

    def _directory_believed_s(self, inode: Inode, asked: int) -> float:
        """Return for how long leases let us believe in a directory's attributes.

        Its own tells of changes of what is in it, that of the one above of all others.
        """
        state = self._state
        now_s = trio.current_time()
        own_s = state.directories.of(inode.number).own_believed_s(asked, now_s)
        if inode.parent is None:
            return own_s
        return min(own_s, state.directories.of(inode.parent.number).left_s(now_s))

    def _entry(
        self, inode: Inode, attributes: Attributes, entry_s: float, attribute_s: float
    ) -> Entry:
        state = self._state
        inode.shown_size = attributes.size
        state.attributes.put(inode.number, attributes, trio.current_time() + attribute_s)
        return Entry(inode.number, attributes, entry_s, attribute_s)

    def lost(self, number: int) -> None:
        """A lease on a directory is gone: nobody shall believe what was told under it.

        Names need no more than that: to use one, the kernel asks for the attributes behind it, or
        opens it, and learns that another file is there, or none. But what has a handle answers
        whatever became of its name.
        """
        state = self._state
        directory = state.inodes.numbers.get(number)
        if directory is None:
            return
        self.attributes_lost(directory)
        if directory.pins:  # Who has it open may read it again, from what the kernel has kept.
            state.kernel.inode_changed(number)
        for name, inode in list((directory.children or {}).items()):
            self.attributes_lost(inode)
            if state.handles.opened(inode) is None:
                forget_young(state, inode)
            inode.written_tick = -1  # Somebody else may have written to it since.
            # Nobody opens by a kept handle what a lease has told of. An oplock does not tell.
            is_kept = not state.share.tree.grants_leases and state.kept.has(inode)
            # And of several names any may lead to it when the kernel uses one that does not.
            if is_kept or inode.links or state.handles.opened(inode) is not None:
                state.kernel.entry_changed(number, name)
            else:
                inode.is_name_doubtful = True

    def opened(self, inode: Inode) -> None:
        """A file is opened, and has a handle from now on: see :meth:`lost`."""
        if inode.is_name_doubtful:
            inode.is_name_doubtful = False
            for parent, name in inode.names():
                self._state.kernel.entry_changed(parent.number, name)

    def unleased(self, inode: Inode) -> None:
        """The lease on a file is gone: only one on its directory may vouch for it now."""
        now_s = trio.current_time()
        directories = self._state.directories
        if not any(directories.of(parent.number).left_s(now_s) for parent, _ in inode.names()):
            self.attributes_lost(inode)

    def attributes_lost(self, inode: Inode) -> None:
        """Have the kernel ask for the attributes of an inode, and the server be asked."""
        state = self._state
        are_believed = state.attributes.get(inode.number, trio.current_time()) is not None
        state.forget_attributes(inode)
        # Who asks just now is told by the answer; by a name they may have been looked up before.
        waits = state.questions.overtake(inode.number) and not are_believed
        if inode.lookup_count:
            kernel = state.kernel
            tell = kernel.attributes_will_change if waits else kernel.attributes_changed
            for number in (inode.number, *state.inodes.numbers.others(inode, inode.number)):
                tell(number)


def _attributes(state: MountState, inode: Inode, description: Description) -> Attributes:
    """Return what the server shows of an inode, and of its names what it has told last."""
    attributes = present(description.stat, state.rules, description.special)
    if not state.share.posix and attributes.link_count == 1 < inode.shown_links:
        return attributes._replace(link_count=inode.shown_links)
    inode.shown_links = attributes.link_count
    return attributes


def _compare(state: MountState, opened: OpenFile, version: Version) -> None:
    """Forget contents that the kernel reads anew, or it would take the old for the new ones.

    After a write of ours only a lease tells whether that is all that has changed.
    """
    told, opened.told_version = opened.told_version, version
    is_written = opened.writable() is not None and opened.version is None
    if is_written and told != version and not opened.is_leased:
        forget_foreign(state, opened.inode)
    elif not is_written and opened.version != version:
        forget_foreign(state, opened.inode)  # Also on its own disk, under a lease.
        opened.version = version


def _may_be_older(inode: Inode, opened: OpenFile, asked_s: float) -> bool:
    """Whether an answer may have been on its way since before our last write."""
    if opened.writable() is None or inode.changed_s < asked_s:
        return False
    return trio.current_time() < inode.changed_s + ANSWER_AGE_MAX_S


def _servers_spelling(names: Names, name: bytes, description: Description) -> bytes:
    spelling = description.spelling
    if spelling is None or names.case_sensitive or folded(spelling) != folded(name):
        return name  # Also where the server followed a link to another name.
    return spelling
