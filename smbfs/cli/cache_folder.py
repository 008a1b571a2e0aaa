"""The folder of the cache on disk: it holds what files contain, so it is nobody else's to read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from smbfs.cli.errors import CommandError


def prepare_cache_folder(folder: Path, mountpoint: str | None) -> None:
    """Make the folder if it is not there, and see that it is private to this user.

    ``mountpoint``: what will be mounted over, if that is known.
    Raises: CommandError saying what is wrong with it.
    """
    if mountpoint is not None and folder.is_relative_to(mountpoint):
        raise CommandError(
            f"{folder} can't hold the cache",
            "it would be hidden by the share that is mounted over it.",
            "choose a directory elsewhere for cache_dir=.",
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise CommandError(
            f"{folder} can't hold the cache",
            f"{error.strerror}.",
            "choose a directory that you may write to for cache_dir=.",
        ) from error
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise CommandError(
            f"{folder} can't hold the cache",
            "other users could read there what is in your files "
            f"(owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}).",
            f"`chmod 700 {folder}`, or choose a directory of your own for cache_dir=.",
        )
