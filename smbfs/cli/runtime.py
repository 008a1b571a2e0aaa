"""The directory where daemons keep their sockets and logs: private, gone after a reboot."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from smbfs.errors import UserError

SYSTEM_DIRECTORY: Final = Path("/run/smbfs")
_USERS: Final = Path("/run/user")


def runtime_directory(environment: Mapping[str, str], uid: int) -> Path:
    """Where daemons of user ``uid`` keep their files; it need not exist.

    ``/run/smbfs`` for root, else ``$XDG_RUNTIME_DIR/smbfs``, else a directory in ``/tmp``.
    """
    if uid == 0:
        return SYSTEM_DIRECTORY
    base = environment.get("XDG_RUNTIME_DIR", "")
    if base.startswith("/"):
        return Path(base) / "smbfs"
    return Path(tempfile.gettempdir()) / f"smbfs-{uid}"


def make_runtime_directory(environment: Mapping[str, str], uid: int) -> Path:
    """Create the directory if need be, and see that nobody else can enter it or exchange it.

    Raises: UserError when it can't be made, or is in somebody else's hands.
    """
    directory = runtime_directory(environment, uid)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = directory.lstat()
        if stat.S_ISDIR(info.st_mode) and info.st_uid == uid and info.st_mode & 0o077:
            directory.chmod(0o700)
        above = directory.parent.stat()
    except OSError as error:
        raise UserError(
            f"{directory} can't be made",
            f"{error.strerror}: the socket and the log of a mount have their place there.",
            "make it writable, or set XDG_RUNTIME_DIR to a directory of your own.",
        ) from error
    if not is_private(directory, uid):
        raise UserError(
            f"{directory} refused: it is not a directory of yours alone",
            "other users could take the place of the daemon that a mount is controlled through.",
            f"remove {directory}, or set XDG_RUNTIME_DIR to a directory of your own.",
        )
    if above.st_uid not in (uid, 0) or (above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX):
        raise UserError(
            f"{directory} refused: other users can exchange it",
            f"{directory.parent} is another user's, or open to all without the sticky bit.",
            "set XDG_RUNTIME_DIR to a directory of your own.",
        )
    return directory


def is_private(directory: Path, uid: int) -> bool:
    """Whether this is a directory, and no link to one, that only ``uid`` and root can enter."""
    try:
        info = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == uid and not info.st_mode & 0o077


def visible_directories(environment: Mapping[str, str], uid: int) -> list[Path]:
    """Directories that may hold sockets of mounts which ``uid`` may ask: root sees all users'.

    One that another user has made in the name of its user is left out.
    """
    directories = {runtime_directory(environment, uid): uid}
    if uid == 0:
        places = sorted(_USERS.glob("*/smbfs"))
        places += sorted(Path(tempfile.gettempdir()).glob("smbfs-*"))
        for place in places:
            owner = place.parent.name if place.name == "smbfs" else place.name.partition("-")[2]
            if owner.isascii() and owner.isdigit():
                directories[place] = int(owner)
    return [place for place, owner in directories.items() if is_private(place, owner)]


def file_stem(mountpoint: str) -> str:
    """Name for the files of a mount: readable, and different for different mount points."""
    readable = re.sub(r"[^A-Za-z0-9._]+", "-", mountpoint).strip("-")[-40:] or "root"
    return f"{readable}-{hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:8]}"
