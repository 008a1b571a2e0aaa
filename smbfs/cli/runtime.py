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
    """Create the directory if need be, and see that nobody else can enter it.

    Raises: UserError when it can't be made, or belongs to somebody else.
    """
    directory = runtime_directory(environment, uid)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = directory.lstat()
        if stat.S_ISDIR(info.st_mode) and info.st_uid == uid and info.st_mode & 0o077:
            directory.chmod(0o700)
            info = directory.lstat()
    except OSError as error:
        raise UserError(
            f"{directory} can't be made",
            f"{error.strerror}: the socket and the log of a mount have their place there.",
            "make it writable, or set XDG_RUNTIME_DIR to a directory of your own.",
        ) from error
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != uid or info.st_mode & 0o077:
        raise UserError(
            f"{directory} refused: other users can write there",
            "they could take the place of the daemon that a mount is controlled through.",
            f"remove {directory}, or set XDG_RUNTIME_DIR to a directory of your own.",
        )
    return directory


def visible_directories(environment: Mapping[str, str], uid: int) -> list[Path]:
    """Directories that may hold sockets of mounts which ``uid`` may ask: root sees all users'."""
    directories = [runtime_directory(environment, uid)]
    if uid == 0:
        directories += sorted(_USERS.glob("*/smbfs"))
        directories += sorted(Path(tempfile.gettempdir()).glob("smbfs-*"))
    return [directory for directory in directories if directory.is_dir()]


def file_stem(mountpoint: str) -> str:
    """Name for the files of a mount: readable, and different for different mount points."""
    readable = re.sub(r"[^A-Za-z0-9._]+", "-", mountpoint).strip("-")[-40:] or "root"
    return f"{readable}-{hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:8]}"
