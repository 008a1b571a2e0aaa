"""Inodes: what the kernel knows by number, and where each of them is on the server.

An inode's number is the server's file id where it has one (see ``inode_numbers``), so it is the
same after a remount and on another machine; a file that another client moves while the kernel knows
it gets another number for as long as that lasts.

An inode knows its directory and its name in it, not its path: a rename changes one inode, and
every path below follows. Hard links are further names of one inode. What the kernel has looked
up stays until the kernel forgets it as often as it was told of it; a directory also stays as
long as it has children here.

Where a server ignores case, one name may be asked for in several spellings: the latest is kept,
and any of them finds it.

INVARIANT: ``directory.children[name]`` is an inode that has this name in it, and every name of an
inode is in its directory's ``children``.
INVARIANT: following ``parent`` ends at the root, or at an inode that was removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from smbfs.vfs.inode_numbers import ROOT_NUMBER, InodeNumbers
from smbfs.vfs.lease_policy import Version
from smbfs.vfs.refusals import Refusal, Refused


class Inode:
    """One file, directory or link. Only the table changes it."""

    __slots__ = (
        "changed_s",
        "children",
        "content_changes",
        "file_id",
        "file_type",
        "is_name_doubtful",
        "is_version_doubtful",
        "links",
        "lookup_count",
        "name",
        "number",
        "parent",
        "pins",
        "shown_links",
        "shown_size",
        "version",
        "written_tick",
    )

    def __init__(self, file_type: int) -> None:
        self.number = ROOT_NUMBER
        self.file_id = 0
        """The server's id, 0 where it has none."""
        self.file_type = file_type
        """The S_IFMT bits of the mode."""
        self.parent: Inode | None = None
        """The directory of its (first) name; None for the root and for a removed inode."""
        self.name = b""
        self.links: list[tuple[Inode, bytes]] | None = None
        """Further names of the same file, as (directory, name)."""
        self.children: dict[bytes, Inode] | None = None
        """Known entries of a directory, by name."""
        self.lookup_count = 0
        self.pins = 0
        """Open files and running operations that need this inode, whatever the kernel says."""
        self.shown_size = -1
        """The size that the kernel believes, as far as we told it."""
        self.shown_links = 0
        """How many names the server said that it has, less those that have gone since."""
        self.changed_s = -math.inf
        """When something of it was last changed here, in seconds of the event loop's clock."""
        self.content_changes = 0
        """Changes of its content, ours and those that we learned of: what was asked for before
        the last one is not to be remembered."""
        self.version: Version | None = None
        """The version of the content that the kernel's pages, and ours, are from; None if nobody
        knows."""
        self.is_version_doubtful = False
        """Whether the kernel may have pages from before a change that left it as it was."""
        self.written_tick = -1
        """The tick at which its content was written that is remembered, if it is."""
        self.is_name_doubtful = False
        """Whether the kernel may believe in its name though nothing vouches for that any more."""

    def __repr__(self) -> str:
        return f"<Inode {self.number} {self.name!r} lookups={self.lookup_count}>"

    @property
    def is_attached(self) -> bool:
        """Whether it has a name that leads to it."""
        return self.parent is not None or self.number == ROOT_NUMBER

    def names(self) -> Iterator[tuple[Inode, bytes]]:
        """Yield every known (directory, name)."""
        if self.parent is not None:
            yield self.parent, self.name
            yield from self.links or ()


class InodeTable:
    """Every inode that the kernel may ask about.

    ``fold`` makes names equal that the server takes for the same one; None where only equal
    names are.
    """

    def __init__(self, file_type: int, *, fold: Callable[[bytes], bytes] | None = None) -> None:
        self._fold = fold
        self.root = Inode(file_type)
        self.numbers = InodeNumbers(self.root)

    def __len__(self) -> int:
        return len(self.numbers)

    def get(self, number: int) -> Inode:
        """Return the inode of a number. Raises: Refused (STALE) if there is none."""
        inode = self.numbers.get(number)
        if inode is None:
            raise Refused(Refusal.STALE, f"inode {number}")
        return inode

    def child(self, parent: Inode, name: bytes) -> Inode | None:
        """Return what is known under exactly this name, which may be out of date."""
        return parent.children.get(name) if parent.children else None

    def find(self, parent: Inode, name: bytes) -> tuple[Inode, bytes] | None:
        """Return what is known under a name in any spelling, and the spelling."""
        exact = self.child(parent, name)
        if exact is not None:
            return exact, name
        if self._fold is not None and parent.children:
            folded = self._fold(name)
            for spelling, inode in parent.children.items():
                if self._fold(spelling) == folded:
                    return inode, spelling
        return None

    def path(self, inode: Inode) -> tuple[bytes, ...]:
        """Return the names that lead from the root to an inode; the root's is empty.

        Raises: Refused (STALE) if it, or a directory above it, was removed.
        """
        if inode is self.root:
            return ()
        for parent, name in inode.names():
            above = _path_of_directory(parent, self.root)
            if above is not None:
                return (*above, name)
        raise Refused(Refusal.STALE, f"inode {inode.number} has no name any more")

    # ------------------------------------------------------------- what the server told

    def admit(
        self, parent: Inode, name: bytes, *, file_id: int, file_type: int, link_count: int = 0
    ) -> Inode:
        """Return the inode of an entry that the server has just shown, new or known.

        ``link_count`` is 0 where the server did not tell. A known inode under another name has
        moved, unless it may have several names.
        Raises: Refused (STALE) if a directory turns up below itself: what is known about the
        directories in between is out of date.
        """
        known = self.child(parent, name)
        inode = self.numbers.of_id(file_id)
        if inode is None and known is not None and not known.file_id:
            inode = known  # The server has no ids, or did not say before.
        if inode is not None and inode.file_type != file_type:
            self.disown(inode)
            inode = None
        if inode is None:
            inode = Inode(file_type)
            self.numbers.add(inode, file_id, self._seed(parent, name))
        elif file_type == self.root.file_type and is_at_or_above(inode, parent):
            raise Refused(Refusal.STALE, f"{name!r} is one of its own directories")
        self.numbers.learn(inode, file_id)
        if self.child(parent, name) is not inode:
            may_have_more = link_count != 1 and file_type != self.root.file_type
            self._attach(inode, parent, name, keep_names=may_have_more)
        return inode

    def disown(self, inode: Inode) -> None:
        """What an inode stood for is not where it was: whoever still uses it finds nothing."""
        self.numbers.disown(inode)
        names = list(inode.names())
        for directory, name in names:
            self._detach_name(inode, directory, name)
        for unused in (inode, *(directory for directory, _ in names)):
            self.drop_if_unused(unused)

    def remove(self, parent: Inode, name: bytes) -> Inode | None:
        """Forget one name, because it was removed; return the inode that had it."""
        found = self.find(parent, name)
        if found is None:
            return None
        inode, spelling = found
        self._detach_name(inode, parent, spelling)
        inode.shown_links = max(0, inode.shown_links - 1)
        self.drop_if_unused(inode)
        self.drop_if_unused(parent)
        return inode

    def move(
        self, source: Inode, name: bytes, target: Inode, new_name: bytes, moving: Inode | None
    ) -> Inode | None:
        """Note that an entry was renamed, over what was there before; return what moved.

        ``moving``: what it was before; who looked meanwhile may have found it where it is now.
        """
        found = self.find(source, name)
        replaced = self.child(target, new_name)
        if found is None and replaced is not None and replaced is moving:
            return moving
        if replaced is not None and (found is None or replaced is not found[0]):
            self.remove(target, new_name)
        if found is None:
            return None
        inode, spelling = found
        self._detach_name(inode, source, spelling)
        self._attach(inode, target, new_name, keep_names=True)
        self.drop_if_unused(source)
        return inode

    def number_as(self, inode: Inode, parent: Inode, name: bytes) -> int:
        """Return the number under which the kernel shall know an inode by this name.

        It is the inode's own for the server's spelling of the name, and another for each other.
        """
        if self.child(parent, name) is inode:
            return inode.number
        return self.numbers.spelling(inode, parent.number.to_bytes(8, "little") + name)

    # ------------------------------------------------------------- who needs an inode

    def remember(self, inode: Inode) -> None:
        """Count that the kernel was told of an inode."""
        inode.lookup_count += 1

    def forget(self, number: int, count: int) -> None:
        """Uncount ``count`` times; the last one removes the inode. Never raises."""
        inode = self.numbers.get(number)
        if inode is not None:
            inode.lookup_count = max(0, inode.lookup_count - count)
            self.drop_if_unused(inode)

    def pin(self, inode: Inode) -> None:
        """Keep an inode although the kernel may forget it."""
        inode.pins += 1

    def unpin(self, inode: Inode) -> None:
        """Undo one :meth:`pin`."""
        assert inode.pins > 0
        inode.pins -= 1
        self.drop_if_unused(inode)

    # ------------------------------------------------------------- inside

    def _seed(self, parent: Inode, name: bytes) -> bytes:
        return parent.number.to_bytes(8, "little") + (self._fold(name) if self._fold else name)

    def _attach(self, inode: Inode, parent: Inode, name: bytes, *, keep_names: bool) -> None:
        """Give an inode a name; older names stay if ``keep_names`` and they are other names."""
        assert inode is not self.root
        before = self.child(parent, name)
        if before is not None and before is not inode:
            self._detach_name(before, parent, name)
        _children_of(parent)[name] = inode
        others = [(p, n) for p, n in inode.names() if p is not parent or n != name]
        gone = [o for o in others if not keep_names or self._is_spelling_of(o, parent, name)]
        for directory, other in gone:
            self._detach_name(inode, directory, other)
        inode.parent, inode.name = parent, name
        inode.links = [other for other in others if other not in gone] or None
        # Only now, when nothing half-done can be dropped with them:
        if before is not None and before is not inode:
            self.drop_if_unused(before)
        for directory, _ in gone:
            self.drop_if_unused(directory)

    def _is_spelling_of(self, other: tuple[Inode, bytes], parent: Inode, name: bytes) -> bool:
        directory, spelling = other
        if self._fold is None or directory is not parent:
            return False
        return self._fold(spelling) == self._fold(name)

    def _detach_name(self, inode: Inode, parent: Inode, name: bytes) -> None:
        names = [(p, n) for p, n in inode.names() if p is not parent or n != name]
        if parent.children is not None and parent.children.get(name) is inode:
            del parent.children[name]
            if not parent.children:
                parent.children = None
        inode.parent, inode.name = names[0] if names else (None, inode.name)
        inode.links = names[1:] or None

    def drop_if_unused(self, inode: Inode) -> None:
        """Drop an inode that nobody needs (any more), and directories only it needed."""
        at: Inode | None = inode
        while at is not None and at is not self.root:
            if at.lookup_count or at.pins or at.children or self.numbers.get(at.number) is not at:
                return
            above = [parent for parent, _ in at.names()]
            for parent, name in list(at.names()):
                self._detach_name(at, parent, name)
            self.numbers.remove(at)
            for parent in above[1:]:
                self.drop_if_unused(parent)
            at = above[0] if above else None


def _children_of(directory: Inode) -> dict[bytes, Inode]:
    if directory.children is None:
        directory.children = {}
    return directory.children


def _path_of_directory(directory: Inode, root: Inode) -> tuple[bytes, ...] | None:
    names = []
    at = directory
    while at is not root:
        if at.parent is None:
            return None
        names.append(at.name)
        at = at.parent
    return tuple(reversed(names))


def is_at_or_above(inode: Inode, below: Inode | None) -> bool:
    """Whether ``below`` is an inode or something in it."""
    at = below
    while at is not None:
        if at is inode:
            return True
        at = at.parent
    return False


def check_invariants(table: InodeTable) -> None:
    """Assert what the module promises; tests call it after every step."""
    table.numbers.check_invariants()
    for inode in table.numbers:
        _check_inode(table, inode)


def _check_inode(table: InodeTable, inode: Inode) -> None:
    assert inode.lookup_count >= 0
    assert inode.pins >= 0
    assert inode.children is None or inode.children
    for name, child in (inode.children or {}).items():
        assert any(p is inode and n == name for p, n in child.names())
        assert table.get(child.number) is child
    for parent, name in inode.names():
        assert table.child(parent, name) is inode
    assert inode.parent is not None or not inode.links
    seen: set[int] = set()
    at: Inode | None = inode
    while at is not None:
        assert at.number not in seen, "a directory below itself"
        seen.add(at.number)
        at = at.parent
