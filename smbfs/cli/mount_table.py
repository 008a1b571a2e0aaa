"""What the kernel says is mounted, read without touching any mounted file system.

A stat of a mount whose server is gone may wait; ``/proc/self/mountinfo`` never does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

FILE_SYSTEM_TYPE: Final = "fuse.smbfs"
"""Type under which our mounts stand in the table."""

_USER_ID: Final = re.compile(r" \S*\buser_id=([0-9]+)\S*\Z")  # in the last field
_MOUNTINFO: Final = Path("/proc/self/mountinfo")


class MountEntry(NamedTuple):
    """One line of the mount table. Spec: proc_pid_mountinfo(5)."""

    device: str
    """``major:minor``, different for every FUSE mount."""

    mountpoint: str
    """Absolute path, undecodable bytes as surrogates."""

    file_system_type: str
    """``fuse.smbfs``, ``autofs``, …"""

    source: str
    """What is mounted: for us the UNC."""

    user_id: int | None
    """Who has mounted it, by the kernel's word; None where that is no FUSE mount."""


def parse_mountinfo(text: str) -> list[MountEntry]:
    """Parse the table; lines of a form we don't know are left out."""
    entries = []
    # Not splitlines(): it also splits at characters that the kernel leaves as they are in paths.
    for line in text.split("\n"):
        left, separator, right = line.partition(" - ")
        fields, rest = left.split(" "), right.split(" ")
        if separator and len(fields) >= 6 and len(rest) >= 2:
            user_id = _USER_ID.search(right)
            entries.append(
                MountEntry(
                    device=fields[2],
                    mountpoint=_unescape(fields[4]),
                    file_system_type=rest[0],
                    source=_unescape(rest[1]),
                    user_id=int(user_id[1]) if user_id else None,
                )
            )
    return entries


def read_mount_table() -> list[MountEntry]:
    """Read the table of this process's mount namespace, in order of mounting."""
    return parse_mountinfo(os.fsdecode(_MOUNTINFO.read_bytes()))


def find_mount(path: str) -> MountEntry | None:
    """Return what is mounted on top at exactly ``path``, None when nothing is."""
    mountpoint = absolute_path(path)
    found = [entry for entry in read_mount_table() if entry.mountpoint == mountpoint]
    return found[-1] if found else None


def find_copy(entry: MountEntry) -> MountEntry | None:
    """Return where the same file system is mounted, too, or still (mount --bind)."""
    return _copy_in(read_mount_table(), entry)


def find_holder(entry: MountEntry) -> int | None:
    """Return a process in whose mount namespace something is still mounted, if we may see one.

    Such a namespace has a copy of what was mounted when it began.
    """
    for process in Path("/proc").glob("[0-9]*"):
        try:
            table = parse_mountinfo(os.fsdecode((process / "mountinfo").read_bytes()))
        except OSError:
            continue  # It has ended, or is not ours to look at.
        if _copy_in(table, entry) is not None:
            return int(process.name)
    return None


def _copy_in(table: Iterable[MountEntry], entry: MountEntry) -> MountEntry | None:
    # The number of a device that is gone is soon another one's.
    wanted = entry._replace(mountpoint="")
    return next((each for each in table if each._replace(mountpoint="") == wanted), None)


def absolute_path(path: str) -> str:
    """Absolute path as the table shows it, links resolved without entering the last part.

    Entering it could wait for a server.
    """
    plain = os.path.abspath(path)  # noqa: PTH100 (Path.resolve would enter it)
    if any(entry.mountpoint == plain for entry in read_mount_table()):
        return plain
    if os.path.islink(plain):  # noqa: PTH114 (Path's raises where we may not look)
        return os.path.realpath(plain)
    parent, name = os.path.split(plain)
    return os.path.join(os.path.realpath(parent), name)  # noqa: PTH118


def _unescape(text: str) -> str:
    """Undo the table's octal escapes (blank, tab, newline, backslash)."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
