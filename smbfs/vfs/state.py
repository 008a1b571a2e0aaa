"""What all verbs of one mount share: the share, the inodes, the open files, the caches.

Verbs ask the server about an inode through :meth:`MountState.at`, which knows that a path may
have changed while the question was under way, and answer the kernel with what ``shown`` makes of
it.

INVARIANT: between an answer of the server and what is noted of it here, there is no checkpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from stat import S_IFDIR
from typing import Final, Protocol, TypeVar

import trio

from smbfs.config.model import MountOptions
from smbfs.errors import ServerStatusError, SmbfsError
from smbfs.vfs.attributes import (
    AttributeCache,
    AttributeQuestions,
    AttributeRules,
    attribute_rules,
)
from smbfs.vfs.block_cache import BlockCache
from smbfs.vfs.contents import forget_foreign
from smbfs.vfs.descriptions import Describer, Description
from smbfs.vfs.directory_watches import DirectoryWatches
from smbfs.vfs.disk_cache import DiskCache
from smbfs.vfs.handles import HandleTable
from smbfs.vfs.inodes import Inode, InodeTable
from smbfs.vfs.kept_handles import KeptHandles
from smbfs.vfs.known_directories import ENTRY_SIZE, Change, KnownDirectories
from smbfs.vfs.lease_policy import LeasePolicy, lease_policy
from smbfs.vfs.names import NAME_SIZE_MAX, NameTooLong, folded
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.rename_gate import RenameGate
from smbfs.vfs.share import Share
from smbfs.vfs.shown import Shown
from smbfs.vfs.write_gather import WriteBudget
from smbfs.wire.fscc import FileStat
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

INODE_SIZE: Final = 424
"""Bytes that an inode takes here, its name and what is lost between inodes included."""

WRITE_BUDGET_SHARE: Final = 4
"""The part of ``cache_size`` that unacknowledged writes may fill: one of this many."""


class KernelCache(Protocol):
    """How to tell the kernel that what it remembers is wrong. Never blocks."""

    def inode_changed(self, number: int) -> None:
        """The content of an inode is not what the kernel has; it will learn so in a moment."""

    def attributes_changed(self, number: int) -> None:
        """The attributes of an inode are not what the kernel has; it knows so on return."""

    def attributes_will_change(self, number: int) -> None:
        """The same, in a moment: when the kernel has looked at the answer that it waits for."""

    def entry_changed(self, parent: int, name: bytes) -> None:
        """A name does not lead where the kernel thinks."""


class NoKernelCache:
    """For a file system that is not mounted."""

    def inode_changed(self, number: int) -> None:
        """Do nothing."""

    def attributes_changed(self, number: int) -> None:
        """Do nothing."""

    def attributes_will_change(self, number: int) -> None:
        """Do nothing."""

    def entry_changed(self, parent: int, name: bytes) -> None:
        """Do nothing."""


class MountState:
    """The state of one mount; verbs change it, each in its own task."""

    def __init__(
        self,
        share: Share,
        options: MountOptions,
        nursery: trio.Nursery,
        disk: DiskCache | None = None,
    ) -> None:
        """``nursery``: where reads ahead and gathered writes run."""
        self.share = share
        self.options = options
        self.nursery = nursery
        self.disk = disk
        self.rules: AttributeRules = attribute_rules(options)
        self.policy: LeasePolicy = lease_policy(options, leases_granted=share.tree.grants_leases)
        fold = None if share.names.case_sensitive else folded
        self.inodes = InodeTable(S_IFDIR, fold=fold)
        self.handles = HandleTable(self.inodes)
        self.describer = Describer(share, mf_symlinks=options.mfsymlinks)
        self.attributes = AttributeCache()
        self.questions = AttributeQuestions()
        self.shown = Shown(self)
        self.kept = KeptHandles(self.inodes, nursery, on_closed=self.shown.unleased)
        self.directories = KnownDirectories(
            fold,
            leased_s=self.policy.leased_s,
            unleased_s=0.0 if self.policy.lease_directories else self.policy.timeout_s,
            on_lost=self.shown.lost,
        )
        self.blocks = BlockCache(options.cache_size)
        self.budget = WriteBudget(
            limit=options.cache_size // WRITE_BUDGET_SHARE, on_change=self.blocks.reserve
        )
        self._charged = 0
        self.kernel: KernelCache = NoKernelCache()
        self.rename_gate = RenameGate()
        self.watches = DirectoryWatches(self)
        self.on_writes_lost: Callable[[str, int, int, str], None] = lambda *_: None
        """Called with path, offset, length and reason when written bytes are gone for good."""

    def writes_lost(self, inode: Inode, offset: int, length: int, why: SmbfsError) -> None:
        """Tell of bytes that a program has written, and that the server may never get."""
        try:
            path = self.path(inode)
        except SmbfsError:
            path = f"(removed file, inode {inode.number})"
        self.on_writes_lost(path, offset, length, str(why))

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
        if inode.links:  # Who wants something knows one name, which need not be the first.
            await self.prove_name(inode)
        try:
            return await self._asking(lambda: self.path(inode), ask, gone=_GONE)
        except Refused:
            self._doubt(inode)
            raise

    async def prove_name(self, inode: Inode) -> None:
        """Forget names that don't lead to a file any more, up to the first that does.

        Others may have replaced what is there, or a rename has overtaken the listing that told it.
        """
        for place in list(inode.names()) if inode.file_id else ():
            try:
                seen = await self.share.stat(self.path_in(*place))
            except ServerStatusError as error:
                if error.status not in _GONE:
                    return  # Who wants something there is told the same.
            else:
                if seen.stat.file_id == inode.file_id:
                    return
            if next(inode.names(), None) != place:
                return  # It was renamed here meanwhile.
            self.inodes.remove(*place)
            self.kernel.entry_changed(place[0].number, place[1])

    async def at_name(
        self, parent: Inode, name: bytes, ask: Callable[[str], Awaitable[ResultT]]
    ) -> ResultT:
        """Return what ``ask`` says about the path of a name in a directory.

        Raises: Refused (STALE) if the directory is gone; that the name is not there is said by
        the server's own status. NameTooLong if it is for the server's own disk.
        """
        try:
            return await self._asking(lambda: self.path_in(parent, name), ask, gone=_PARENT_GONE)
        except ServerStatusError as error:
            # Windows stores all that we ask for; Samba has what Linux has room for.
            is_long = len(name) > NAME_SIZE_MAX
            if is_long and error.status == NtStatus.STATUS_OBJECT_NAME_INVALID:
                raise NameTooLong(f"a name of {len(name)} bytes") from error
            raise

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
        if before is not None and self._was_moved(before, parent, name, description):
            # Who uses the old name, which the kernel still believes in, must not get this file.
            self.kept.close(before)
            forget_foreign(self, before)
            self.shown.attributes_lost(before)
            self.inodes.disown(before)
        names = list(before.names()) if before is not None else []
        displaced = self.inodes.child(parent, name)
        inode = self.inodes.admit(
            parent,
            name,
            file_id=description.stat.file_id,
            file_type=description.file_type,
            link_count=self._known_links(description),
        )
        if displaced is not None and displaced is not inode:
            self.shown.attributes_lost(displaced)
        if inode is not before:
            self.attributes.discard(inode.number)  # Of another one, to which the number belonged.
            self.charge_names()
        has_new_name = displaced is not inode and self._known_links(description) <= 1
        for directory, old_name in names:
            if has_new_name or self.inodes.child(directory, old_name) is not before:
                # Somebody else may have moved it. Who opens the old name must not get this file.
                self.kernel.entry_changed(directory.number, old_name)
        return inode

    def charge_names(self) -> None:
        """What is known of names takes memory that is then not there for contents.

        Half of it is left for these: what the kernel knows must be known here in any case.
        """
        size = len(self.inodes) * INODE_SIZE + self.directories.entries * ENTRY_SIZE
        size = min(size, self.blocks.limit // 2)
        self.blocks.reserve(size - self._charged)
        self._charged = size

    def _was_moved(
        self, inode: Inode, parent: Inode, name: bytes, description: Description
    ) -> bool:
        """Whether somebody else has given a file that is not open here another name."""
        return (
            inode.file_type != S_IFDIR
            and inode.lookup_count > 0
            and inode.parent is not None
            and self._known_links(description) == 1
            and self.inodes.child(parent, name) is not inode
            and self.handles.opened(inode) is None
        )

    def _forget_contents(self, directory: Inode) -> None:
        """Believe nothing of a directory that turns up elsewhere.

        Somebody else has moved it, or removed it and made another one, to which the server gave
        the same id.
        """
        self.directories.forget(directory.number)
        for name in directory.children or ():
            self.kernel.entry_changed(directory.number, name)

    def _known_links(self, description: Description) -> int:
        # Listings without POSIX extensions say 1 for "not told".
        links = description.stat.link_count
        return links if self.share.posix or links > 1 else 0

    def _doubt(self, inode: Inode) -> None:
        """Forget directories that lead to something that is not there: no lease told us so."""
        for parent, _ in list(inode.names()):
            self.directories.forget(parent.number)

    def changed(self, inode: Inode, *, told: tuple[Inode, bytes] | None = None) -> None:
        """Note that what the server says of an inode is another thing by now.

        ``told``: the name of which it has said that already.
        """
        self.forget_attributes(inode)
        self.spoil_names(inode, told=told)

    def forget_attributes(self, inode: Inode) -> None:
        """Believe nothing that was told of an inode itself."""
        self.attributes.discard(inode.number)
        if inode.file_type == S_IFDIR:
            self.directories.of(inode.number).own = None

    def spoil_names(self, inode: Inode, *, told: tuple[Inode, bytes] | None = None) -> None:
        """Let no listing answer for an inode any more: it may be older than a change of ours."""
        inode.changed_s = trio.current_time()
        if inode.file_type == S_IFDIR:
            return  # Listings are not believed about directories.
        for parent, name in inode.names():
            if (parent, name) != told:
                self.directories.spoil(parent.number, name)

    def told_by_open(self, inode: Inode, stat: FileStat, asked: int) -> None:
        """Compare what CREATE has told of a file with what is known, which it does not replace.

        ``asked``: the tick of that question.
        """
        for parent, name in inode.names():
            known = self.directories.of(parent.number)
            before = known.description_of(name, inode.file_id)
            if before is None or self.share.version_of(before.stat) != self.share.version_of(stat):
                known.doubt(name, asked)

    @contextmanager
    def changing(self, inode: Inode) -> Iterator[Change]:
        """Do what :meth:`KnownDirectories.changing` does for every name of an inode."""
        change, unsure = Change(), Change()
        with ExitStack() as stack:
            for parent, name in inode.names():
                known = self.directories.of(parent.number).description_of(name, inode.file_id)
                result = change if known is not None else unsure
                stack.enter_context(self.directories.changing(parent.number, name, result))
            yield change

    def check_same(self, inode: Inode, description: Description) -> None:
        """Raise Refused (STALE) if what is at an inode's path is another file by now."""
        told = description.stat.file_id
        replaced = told and inode.file_id and told != inode.file_id
        if replaced or description.file_type != inode.file_type:
            self._doubt(inode)
            raise Refused(Refusal.STALE, f"inode {inode.number} was replaced")


async def at_open(
    state: MountState, inode: Inode, ask: Callable[[str], Awaitable[ResultT]]
) -> ResultT:
    """Do what :meth:`MountState.at` does, also with a file that is removed, but open.

    Servers without POSIX extensions let nobody open what is about to go.
    """
    opened = state.handles.opened(inode) if state.share.posix else None
    if inode.parent is None and opened is not None and opened.hidden_path:
        return await ask(opened.hidden_path)
    return await state.at(inode, ask)
