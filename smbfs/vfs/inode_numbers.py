"""Numbers of inodes: the server's file ids where it has some, made-up ones elsewhere.

A number is made up for servers without ids (0 or all ones), for the ids that mean something else
to the kernel, and for names that a server which ignores case knows in another spelling: the kernel
takes two names of one number for hard links and does not rename one to the other, so each spelling
needs a number of its own, all leading to one inode.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from smbfs.vfs.inodes import Inode

ROOT_NUMBER: Final = 1
"""The number of the mount's root in FUSE."""

_NO_FILE_IDS: Final = frozenset({0, 0xFFFF_FFFF_FFFF_FFFF})
_NUMBER_MASK: Final = 0x7FFF_FFFF_FFFF_FFFF
_MADE_UP: Final = 0x4000_0000_0000_0000
"""Set in every number that is not a file id, to keep the two apart where possible."""


class InodeNumbers:
    """Which number leads to which inode.

    INVARIANT: an inode has one number of its own and perhaps some for spellings of its names.
    """

    def __init__(self, root: Inode) -> None:
        self._inodes: dict[int, Inode] = {ROOT_NUMBER: root}
        self._number_of_id: dict[int, int] = {}  # Only of ids that are not their own number.
        self._spellings: dict[int, Inode] = {}

    def __len__(self) -> int:
        return len(self._inodes)

    def __iter__(self) -> Iterator[Inode]:
        return iter(self._inodes.values())

    def get(self, number: int) -> Inode | None:
        """Return the inode that a number leads to."""
        return self._inodes.get(number) or self._spellings.get(number)

    def of_id(self, file_id: int) -> Inode | None:
        """Return the inode of one of the server's ids."""
        if file_id in _NO_FILE_IDS:
            return None
        inode = self._inodes.get(self._number_of_id.get(file_id, file_id))
        return inode if inode is not None and inode.file_id == file_id else None

    def set_root_id(self, root: Inode, file_id: int) -> None:
        """Note the server's id of the mount's root."""
        if file_id not in _NO_FILE_IDS:
            root.file_id = file_id
            if file_id != ROOT_NUMBER:
                self._number_of_id[file_id] = ROOT_NUMBER

    def add(self, inode: Inode, file_id: int, seed: bytes) -> None:
        """Give a new inode its number; ``seed`` decides it where the server has no id."""
        has_id = file_id not in _NO_FILE_IDS
        number = file_id
        if not has_id or file_id == ROOT_NUMBER or self.get(file_id) is not None:
            number = self._make_up(seed)
            if has_id:
                self._number_of_id[file_id] = number
        inode.number = number
        inode.file_id = file_id if has_id else 0
        self._inodes[number] = inode

    def learn(self, inode: Inode, file_id: int) -> None:
        """Note the id of an inode that was numbered without one; its number stays."""
        if file_id not in _NO_FILE_IDS and not inode.file_id and inode.number != ROOT_NUMBER:
            inode.file_id = file_id
            if file_id != inode.number:
                self._number_of_id[file_id] = inode.number

    def spelling(self, inode: Inode, seed: bytes) -> int:
        """Return the number of another spelling of an inode's name; ``seed`` decides it."""
        number = self._first_choice(seed)
        while self.get(number) not in {None, inode} or number == inode.number:
            number = (number + 1) & _NUMBER_MASK | _MADE_UP
        self._spellings[number] = inode
        return number

    def others(self, inode: Inode, number: int) -> list[int]:
        """Return the numbers that lead to an inode, without ``number``."""
        if not self._spellings and number == inode.number:
            return []
        numbers = [other for other, known in self._spellings.items() if known is inode]
        return [other for other in (inode.number, *numbers) if other != number]

    def disown(self, inode: Inode) -> None:
        """Note that the server gave an inode's id to another file."""
        if self._number_of_id.get(inode.file_id) == inode.number:
            del self._number_of_id[inode.file_id]
        inode.file_id = 0

    def remove(self, inode: Inode) -> None:
        """Forget an inode with all its numbers."""
        del self._inodes[inode.number]
        if self._number_of_id.get(inode.file_id) == inode.number:
            del self._number_of_id[inode.file_id]
        for number in self.others(inode, inode.number):
            del self._spellings[number]

    def _make_up(self, seed: bytes) -> int:
        number = self._first_choice(seed)
        while self.get(number) is not None:
            number = (number + 1) & _NUMBER_MASK | _MADE_UP
        return number

    @staticmethod
    def _first_choice(seed: bytes) -> int:
        digest = hashlib.blake2b(seed, digest_size=8).digest()
        return int.from_bytes(digest, "little") & _NUMBER_MASK | _MADE_UP

    def check_invariants(self) -> None:
        """Assert what the class promises; tests call it."""
        for number, inode in self._inodes.items():
            assert inode.number == number
            assert not inode.file_id or self.of_id(inode.file_id) is inode
        for number, inode in self._spellings.items():
            assert number not in self._inodes
            assert self._inodes.get(inode.number) is inode
        for file_id, number in self._number_of_id.items():
            assert self._inodes[number].file_id == file_id
