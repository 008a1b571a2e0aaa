"""What all verbs of one mount share: the share, the inodes, the open files, the caches.

Verbs ask the server about an inode through :meth:`MountState.at`, which knows that a path may
have changed while the question was under way, and answer the kernel with :meth:`MountState.show`.

INVARIANT: between an answer of the server and what is noted of it here, there is no checkpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from stat import S_IFDIR
from typing import Final, NamedTuple, Protocol, TypeVar

import trio

from smbfs.config.model import MountOptions
from smbfs.errors import ServerStatusError
from smbfs.vfs.attributes import (
    AttributeCache,
    AttributeRules,
    Attributes,
    attribute_rules,
    present,
)
from smbfs.vfs.block_cache import BlockCache
from smbfs.vfs.descriptions import Describer, Description
from smbfs.vfs.handles import HandleTable, OpenFile
from smbfs.vfs.inodes import Inode, InodeTable
from smbfs.vfs.kept_handles import KeptHandles
from smbfs.vfs.known_names import KnownNames
from smbfs.vfs.lease_policy import LeasePolicy, Version, lease_policy
from smbfs.vfs.names import Names
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.rename_gate import RenameGate
from smbfs.vfs.share import Share
from smbfs.vfs.write_gather import WriteBudget
from smbfs.wire.ntstatus import NtStatus

ResultT = TypeVar("ResultT")

_GONE: Final = frozenset(
    {
        NtStatus.STATUS_OBJECT_NAME_NOT_FOUND,
        NtStatus.STATUS_OBJECT_PATH_NOT_FOUND,
        NtStatus.STATUS_NO_SUCH_FILE,
        NtStatus.STATUS_DELETE_PENDING,
        NtStatus.STATUS_NOT_A_DIRECTORY,
        NtStatus.STATUS_FILE_IS_A_DIRECTORY,
        NtStatus.STATUS_STOPPED_ON_SYMLINK,
    }
)
_PARENT_GONE: Final = frozenset({NtStatus.STATUS_OBJECT_PATH_NOT_FOUND})

_TRIES: Final = 4
"""Renames that may overtake one question."""

WRITE_BUDGET_SHARE: Final = 2
"""The part of ``cache_size`` that unacknowledged writes may fill: one of this many."""


ANSWER_AGE_MAX_S: Final = 10.0
"""Seconds that an answer may have been on its way. Until then a size does not shrink what we write
ourselves: an append would go to the wrong place."""


class Entry(NamedTuple):
    """What the kernel is told of a name: its inode, and how long to believe it."""

    number: int
    attributes: Attributes
    entry_timeout_s: float
    attribute_timeout_s: float


class KernelCache(Protocol):
    """How to tell the kernel that what it remembers is wrong. Never blocks."""

    def inode_changed(self, number: int) -> None:
        """The content of an inode is not what the kernel has; it will learn so in a moment."""

    def attributes_changed(self, number: int) -> None:
        """The attributes of an inode are not what the kernel has; it knows so on return."""

    def entry_changed(self, parent: int, name: bytes) -> None:
        """A name does not lead where the kernel thinks."""


class NoKernelCache:
    """For a file system that is not mounted."""

    def inode_changed(self, number: int) -> None:
        """Do nothing."""

    def attributes_changed(self, number: int) -> None:
        """Do nothing."""

    def entry_changed(self, parent: int, name: bytes) -> None:
        """Do nothing."""


class MountState:
    """The state of one mount; verbs change it, each in its own task."""

    def __init__(self, share: Share, options: MountOptions, nursery: trio.Nursery) -> None:
        """``nursery``: where reads ahead and gathered writes run."""
        self.share = share
        self.options = options
        self.nursery = nursery
        self.rules: AttributeRules = attribute_rules(options)
        self.policy: LeasePolicy = lease_policy(options)
        fold = None if share.names.case_sensitive else _fold
        self.inodes = InodeTable(S_IFDIR, fold=fold)
        self.handles = HandleTable(self.inodes)
        self.kept = KeptHandles(self.inodes, nursery, on_closed=self.forget_content)
        self.describer = Describer(share, mf_symlinks=options.mfsymlinks)
        self.attributes = AttributeCache()
        self.known_names = KnownNames(fold)
        self.blocks = BlockCache(options.cache_size)
        self.budget = WriteBudget(limit=options.cache_size // WRITE_BUDGET_SHARE)
        self.kernel: KernelCache = NoKernelCache()
        self.rename_gate = RenameGate()

    # ------------------------------------------------------------- paths

    def path(self, inode: Inode) -> str:
        """Return an inode's path on the server. Raises: Refused (STALE)."""
        return self.share.path(self.inodes.path(inode))

    def path_in(self, parent: Inode, name: bytes) -> str:
        """Return the path of a name in a directory. Raises: Refused (STALE), InvalidName."""
        return self.share.path((*self.inodes.path(parent), name))

    async def at(self, inode: Inode, ask: Callable[[str], Awaitable[ResultT]]) -> ResultT:
        """Return what ``ask`` says about the path of an inode.

        Raises: Refused (STALE) if nothing is there any more.
        """
        return await self._asking(lambda: self.path(inode), ask, gone=_GONE)

    async def at_name(
        self, parent: Inode, name: bytes, ask: Callable[[str], Awaitable[ResultT]]
    ) -> ResultT:
        """Return what ``ask`` says about the path of a name in a directory.

        Raises: Refused (STALE) if the directory is gone; that the name is not there is said by
        the server's own status.
        """
        with self.changing((parent, name)):
            return await self._asking(lambda: self.path_in(parent, name), ask, gone=_PARENT_GONE)

    @contextmanager
    def changing(self, *names: tuple[Inode, bytes]) -> Iterator[None]:
        """Let no listing that began before the end of this block answer for these names."""
        try:
            yield
        finally:
            for parent, name in names:
                self.known_names.spoil(parent.number, name)

    async def _asking(
        self,
        find_path: Callable[[], str],
        ask: Callable[[str], Awaitable[ResultT]],
        *,
        gone: frozenset[NtStatus],
    ) -> ResultT:
        for _ in range(_TRIES):
            path = find_path()
            try:
                return await ask(path)
            except ServerStatusError as error:
                if error.status not in gone:
                    raise
                await self.rename_gate.settled()
                if find_path() == path:
                    raise Refused(Refusal.STALE, path) from error
        raise Refused(Refusal.STALE, "renamed too often")

    # ------------------------------------------------------------- answers

    def admit(self, parent: Inode, name: bytes, description: Description) -> Inode:
        """Return the inode of an entry that the server has just described."""
        before = self.inodes.numbers.of_id(description.stat.file_id)
        if before is not None and before.children and self.inodes.child(parent, name) is not before:
            self._forget_contents(before)
        names = list(before.names()) if before is not None else []
        inode = self.inodes.admit(
            parent,
            name,
            file_id=description.stat.file_id,
            file_type=description.file_type,
            link_count=self._known_links(description),
        )
        for directory, old_name in names:
            if self.inodes.child(directory, old_name) is not before:
                # Somebody else has moved it. Who opens the old name must not get this file.
                self.kernel.entry_changed(directory.number, old_name)
        return inode

    def _forget_contents(self, directory: Inode) -> None:
        """Believe nothing of a directory that turns up elsewhere.

        Somebody else has moved it, or removed it and made another one, to which the server gave
        the same id.
        """
        self.known_names.forget(directory.number)
        for name in directory.children or ():
            self.kernel.entry_changed(directory.number, name)

    def _known_links(self, description: Description) -> int:
        # Listings without POSIX extensions say 1 for "not told".
        links = description.stat.link_count
        return links if self.share.posix or links > 1 else 0

    def present(self, inode: Inode, description: Description) -> Attributes:
        """Return what ``stat`` shows of an inode now, gathered writes included."""
        attributes = present(description.stat, self.rules, description.special)
        opened = self.handles.opened(inode)
        version = Version(attributes.size, description.stat.change_time)
        if opened is None:
            self.kept.seen(inode, version)
            return attributes
        if opened.version != version and opened.writable() is None:
            self.forget_content(inode)  # Changed on the server itself: that breaks no lease.
            opened.version = version
        if opened.is_dirty or _may_be_older(inode, opened):
            attributes = attributes._replace(size=max(attributes.size, opened.end))
        if opened.deleting is not None:
            # To the server it still has its hidden name.
            attributes = attributes._replace(link_count=max(0, attributes.link_count - 1))
        opened.end = attributes.size
        return attributes

    def content_changed(self, inode: Inode, number: int) -> None:
        """Note that the content of a file was changed through one of its numbers."""
        self.forget_content(inode)
        self.changed(inode)
        for other in self.inodes.numbers.others(inode, number):
            self.kernel.inode_changed(other)

    def forget_content(self, inode: Inode) -> None:
        """Remember nothing of a file's content that was asked for before now."""
        inode.content_changes += 1
        self.blocks.discard_inode(inode.number)

    def changed(self, inode: Inode) -> None:
        """Note that what the server says of an inode is another thing by now."""
        self.attributes.discard(inode.number)
        self.spoil_names(inode)

    def spoil_names(self, inode: Inode) -> None:
        """Let no listing answer for an inode any more: it may be older than a change of ours."""
        inode.changed_s = trio.current_time()
        for parent, name in inode.names():
            self.known_names.spoil(parent.number, name)

    def show(self, inode: Inode, attributes: Attributes) -> Entry:
        """Return the entry that tells the kernel of an inode, and note what it was told."""
        policy = self.policy
        return self._show(inode, attributes, policy.entry_timeout_s, policy.attribute_timeout_s)

    def show_listed(
        self, inode: Inode, description: Description, *, entries: int, asked_s: float
    ) -> Entry:
        """Do the same for one of the ``entries`` of a listing that was asked for at a time.

        What was changed here since then is shown with the size that the kernel knows, and not to
        be believed.
        """
        opened = self.handles.opened(inode)
        is_written = opened is not None and opened.writable() is not None
        if is_written or inode.changed_s >= asked_s:
            attributes = present(description.stat, self.rules, description.special)
            if inode.shown_size >= 0:
                attributes = attributes._replace(size=inode.shown_size)
            return Entry(inode.number, attributes, 0.0, 0.0)
        age_s = trio.current_time() - asked_s
        timeout_s = max(0.0, self.policy.listing_timeout_s(entries) - age_s)
        return self._show(inode, self.present(inode, description), timeout_s, timeout_s)

    def _show(
        self, inode: Inode, attributes: Attributes, entry_s: float, attribute_s: float
    ) -> Entry:
        inode.shown_size = attributes.size
        self.attributes.put(inode.number, attributes, trio.current_time() + attribute_s)
        return Entry(inode.number, attributes, entry_s, attribute_s)

    def show_new(
        self, parent: Inode, name: bytes, description: Description, left_s: float | None = None
    ) -> Entry:
        """Admit an entry and return it counted: the kernel will forget it one day.

        ``left_s``: seconds for which it may be believed, if it is not told just now.
        """
        spelling = _servers_spelling(self.share.names, name, description)
        inode = self.admit(parent, spelling, description)
        self.inodes.remember(inode)
        attributes = self.present(inode, description)
        if left_s is None:
            entry = self.show(inode, attributes)
        else:
            entry = self._show(inode, attributes, left_s, left_s)
        if spelling == name:
            return entry
        # It shall ask for the attributes before it believes this number to be the file's.
        number = self.inodes.number_as(inode, parent, name)
        return entry._replace(number=number, attribute_timeout_s=0.0)

    def check_same(self, inode: Inode, description: Description) -> None:
        """Raise Refused (STALE) if what is at an inode's path is another file by now."""
        told = description.stat.file_id
        replaced = told and inode.file_id and told != inode.file_id
        if replaced or description.file_type != inode.file_type:
            raise Refused(Refusal.STALE, f"inode {inode.number} was replaced")


def _may_be_older(inode: Inode, opened: OpenFile) -> bool:
    """Whether an answer may have been on its way since before our last write."""
    if opened.writable() is None:
        return False
    return trio.current_time() < inode.changed_s + ANSWER_AGE_MAX_S


def _servers_spelling(names: Names, name: bytes, description: Description) -> bytes:
    spelling = description.spelling
    if spelling is None or names.case_sensitive or _fold(spelling) != _fold(name):
        return name  # Also where the server followed a link to another name.
    return spelling


def _fold(name: bytes) -> bytes:
    return name.decode(errors="surrogateescape").casefold().encode(errors="surrogateescape")
