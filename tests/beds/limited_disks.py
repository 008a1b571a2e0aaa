"""File systems that hold little: because they are small, or because a quota says so."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.beds.guardian import BedError

_DISK_SIZE = 128 << 20
"""Bytes, about the least that btrfs takes. The file has holes."""


def mount_small(path: Path, size: int) -> None:
    """Mount a file system of ``size`` bytes, which lives in memory. Raises: BedError."""
    _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "bed", str(path))


def mount_with_quota(path: Path, disk: Path, quota: int) -> None:
    """Mount the file system in the file ``disk``, made if need be, with a quota of ``quota`` bytes.

    It is btrfs, whose quotas are for folders and in every kernel that has it; other file systems
    have theirs by the choice of who built the kernel.
    Raises: BedError.
    """
    if shutil.which("mkfs.btrfs") is None:
        raise BedError("btrfs-progs is not installed: run `./dev setup` as root")
    if not disk.exists():
        with disk.open("wb") as file:
            file.truncate(_DISK_SIZE)
        _run("mkfs.btrfs", "--quiet", str(disk))
    _run("mount", "-t", "btrfs", "-o", "loop", str(disk), str(path))
    path.chmod(0o777)
    _run("btrfs", "quota", "enable", str(path))
    _run("btrfs", "qgroup", "limit", str(quota), str(path))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise BedError(f"{command} failed (it needs root): {done.stdout}{done.stderr}")
