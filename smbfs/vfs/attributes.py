"""What ``stat`` shows of a file: from the server's answer to POSIX attributes.

A server with POSIX extensions tells mode, owner and link count. Any other tells DOS attributes,
and the mount's options say what they look like here. Reparse points are whatever they stand for
(see ``special_files``); one that stands for nothing we know is the file or directory it covers.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from stat import (
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IMODE,
    S_ISGID,
    S_ISREG,
    S_ISUID,
    S_IXGRP,
)
from typing import Final, NamedTuple

from smbfs.config.model import MountOptions
from smbfs.vfs.special_files import SpecialFile
from smbfs.wire.create import FileAttributes
from smbfs.wire.filetime import filetime_to_ns
from smbfs.wire.fscc import FileStat

DEFAULT_MODE: Final = 0o755
"""Permission bits where neither the server nor an option says any, as cifs.ko has them."""

_LINK_MODE: Final = 0o777
_WRITE_BITS: Final = 0o222
_BLOCK_SIZE: Final = 512  # of st_blocks
_SIZE_MAX: Final = 0x7FFF_FFFF_FFFF_FFFF  # of st_size


class Attributes(NamedTuple):
    """One ``struct stat`` without its inode number."""

    mode: int
    """Type and permissions."""
    size: int
    link_count: int
    uid: int
    gid: int
    device: int
    """``st_rdev`` of a device file."""
    blocks: int
    """Units of 512 bytes."""
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class AttributeRules:
    """How files look where the server does not say, or the user said otherwise."""

    uid: int
    gid: int
    uid_forced: bool = False
    gid_forced: bool = False
    file_mode: int | None = None
    """Permission bits of every file; None: the server's, else DEFAULT_MODE."""
    dir_mode: int | None = None


def attribute_rules(options: MountOptions) -> AttributeRules:
    """Return the rules that the options of a mount mean, for the user who mounts."""
    return AttributeRules(
        uid=os.getuid() if options.uid is None else options.uid,
        gid=os.getgid() if options.gid is None else options.gid,
        uid_forced=options.uid is not None,
        gid_forced=options.gid is not None,
        file_mode=options.file_mode,
        dir_mode=options.dir_mode,
    )


# A plain int: this is asked for every entry of a listing, and flags are slow at it.
_DIRECTORY: Final = int(FileAttributes.DIRECTORY)


def file_type_of(stat: FileStat, special: SpecialFile | None = None) -> int:
    """Return the S_IFMT bits of what the server shows."""
    if special is not None:
        return special.file_type
    if stat.attributes & _DIRECTORY:
        return S_IFDIR
    return (S_IFMT(stat.mode) if stat.mode is not None else 0) or S_IFREG


def present(
    stat: FileStat, rules: AttributeRules, special: SpecialFile | None = None
) -> Attributes:
    """Return what ``stat`` shows of a file."""
    file_type = file_type_of(stat, special)
    mtime_ns = filetime_to_ns(stat.write_time)
    uid, gid = _owners(stat, rules)
    return Attributes(
        mode=file_type | _permissions(stat, file_type, rules),
        size=_size(stat, file_type, special),
        # 1 for a directory means "not counted" to find(1) and fts(3).
        link_count=stat.link_count,
        uid=uid,
        gid=gid,
        device=special.device if special is not None else 0,
        blocks=-(-stat.allocation_size // _BLOCK_SIZE),
        # Servers and file systems without a time send 0.
        atime_ns=filetime_to_ns(stat.access_time) if stat.access_time else mtime_ns,
        mtime_ns=mtime_ns,
        ctime_ns=filetime_to_ns(stat.change_time) if stat.change_time else mtime_ns,
    )


def has_privileges(mode: int) -> bool:
    """Whether a file runs with the rights of its owner or group, by a mode with its type."""
    return S_ISREG(mode) and without_privileges(mode) != mode


def without_privileges(mode: int) -> int:
    """Return a mode without what a write takes away: setuid, and setgid where that means it."""
    return mode & ~S_ISUID & (~S_ISGID if mode & S_IXGRP else ~0)


def _permissions(stat: FileStat, file_type: int, rules: AttributeRules) -> int:
    if file_type == S_IFLNK:
        return _LINK_MODE
    forced = rules.dir_mode if file_type == S_IFDIR else rules.file_mode
    if forced is None and stat.mode is not None:
        return S_IMODE(stat.mode)
    mode = DEFAULT_MODE if forced is None else forced
    # On a directory the DOS attribute means something else (a customised folder).
    if stat.mode is None and file_type != S_IFDIR and stat.attributes & FileAttributes.READONLY:
        mode &= ~_WRITE_BITS
    return mode


def _size(stat: FileStat, file_type: int, special: SpecialFile | None) -> int:
    if special is not None and file_type == S_IFLNK:
        return len(special.target)
    # A server may state more than a file can have, and one such entry must not hide the others.
    return min(stat.size, _SIZE_MAX) if file_type in {S_IFREG, S_IFDIR, S_IFLNK} else 0


def _owners(stat: FileStat, rules: AttributeRules) -> tuple[int, int]:
    """Return uid and gid: the server's if it names both in numbers, else those of the mount.

    A server names the users of its own database by SIDs without a number. Showing our user with
    the server's group would be a pair that neither side can set.
    """
    uid = stat.owner.unix_user if stat.owner is not None else None
    gid = stat.group.unix_group if stat.group is not None else None
    if uid is None or gid is None:
        return rules.uid, rules.gid
    return rules.uid if rules.uid_forced else uid, rules.gid if rules.gid_forced else gid


class Believed(NamedTuple):
    """Attributes, and the seconds for which they may still be believed."""

    attributes: Attributes
    left_s: float


class AttributeCache:
    """Attributes by inode number, each until a time of its own; the oldest make room.

    Times are seconds of whatever clock the caller reads.
    """

    def __init__(self, limit: int = 16384) -> None:
        """``limit``: inodes whose attributes are kept."""
        self._limit = limit
        self._known: OrderedDict[int, tuple[Attributes, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, number: int, now_s: float) -> Believed | None:
        """Return what is known and may still be believed at ``now_s``."""
        known = self._known.get(number)
        if known is None:
            return None
        attributes, until_s = known
        if now_s >= until_s:
            del self._known[number]
            return None
        return Believed(attributes, until_s - now_s)

    def put(self, number: int, attributes: Attributes, until_s: float) -> None:
        """Believe ``attributes`` until ``until_s``."""
        self._known[number] = (attributes, until_s)
        self._known.move_to_end(number)
        while len(self._known) > self._limit:
            self._known.popitem(last=False)

    def discard(self, number: int) -> None:
        """Forget: something changed."""
        self._known.pop(number, None)


@dataclass(slots=True)
class Question:
    """A question for attributes that has no answer yet."""

    is_overtaken: bool = False
    """Whether something has changed since: the answer is not to be believed."""


class AttributeQuestions:
    """Which inodes the kernel asks about just now.

    If it were told meanwhile that something has changed, it would not take the answer in: `stat`
    would show that, but where a file ends would stay what the kernel thought before, and lseek(2)
    and copy_file_range(2) go by that.
    """

    def __init__(self) -> None:
        self._open: dict[int, list[Question]] = {}

    def __contains__(self, number: int) -> bool:
        """Whether the kernel asks about an inode."""
        return number in self._open

    @contextmanager
    def asking(self, number: int) -> Iterator[Question]:
        """The block finds out what the kernel has asked."""
        question = Question()
        questions = self._open.setdefault(number, [])
        questions.append(question)
        try:
            yield question
        finally:
            questions.remove(question)
            if not questions:
                del self._open[number]

    def overtake(self, number: int) -> bool:
        """Note that attributes have changed; False if nobody asks for them just now."""
        questions = self._open.get(number, ())
        for question in questions:
            question.is_overtaken = True
        return bool(questions)
