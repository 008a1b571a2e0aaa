"""``smbfs umount``: take a mount away, and return when its daemon has flushed and is gone.

Or when the mount lives on at another place, or in another mount namespace. It works as well when
the daemon is dead, and never looks into the mount, which may hang.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Final

from smbfs.cli.daemons import Daemon, find_daemons, wait_ended, watch_process
from smbfs.cli.errors import CommandError, ExitCode
from smbfs.cli.mount_table import (
    FILE_SYSTEM_TYPE,
    MountEntry,
    absolute_path,
    find_copy,
    find_holder,
    find_mount,
)

FLUSH_PATIENCE_S: Final = 300.0
"""How long a daemon may flush after its mount is gone before we say so and leave it."""

HOLDER_AFTER_S: Final = 2.0
"""After how long to look whether somebody else has the mount, too."""


def unmount(mountpoint: str, *, lazy: bool) -> int:
    """Unmount; ``lazy`` detaches a mount that is in use, and waits for nothing.

    Raises: CommandError: not mounted, in use, not ours, or the daemon does not end.
    """
    path = absolute_path(mountpoint)
    entry = find_mount(path)
    if entry is None or entry.file_system_type != FILE_SYSTEM_TYPE:
        raise CommandError(
            f"{path} is not mounted by smbfs",
            f"{entry.file_system_type} is mounted there." if entry else "nothing is mounted there.",
            "`smbfs status` lists the mounts.",
            exit_code=ExitCode.USAGE,
        )
    daemon = daemon_of(entry)
    if daemon is None or lazy:
        _detach(entry, lazy=lazy)
        return int(ExitCode.FINE)
    with watch_process(daemon.pid) as process:
        _detach(entry, lazy=False)
        if wait_ended(process, HOLDER_AFTER_S):
            return int(ExitCode.FINE)
        where = _where_it_is_left(entry)
        if where is not None:
            # As with any other file system: what is gone is one mount, not all of them.
            print(f"smbfs: {path} is unmounted, {where}", file=sys.stderr)
        elif not wait_ended(process, FLUSH_PATIENCE_S):
            raise _still_running(path, daemon)
    return int(ExitCode.FINE)


def _where_it_is_left(entry: MountEntry) -> str | None:
    """Say where else the same file system is mounted, if it is."""
    same = find_copy(entry)
    if same is not None:
        return (
            f"but the same file system is also mounted at {same.mountpoint}. "
            "Its daemon ends with that."
        )
    holder = find_holder(entry)
    if holder is not None:
        return (
            f"but not where process {holder} is: it has a mount namespace of its own. "
            "The mount's daemon ends with that."
        )
    return None


def daemon_of(entry: MountEntry) -> Daemon | None:
    """Find the daemon; what other users' daemons say of this mount point does not count.

    One that does not answer may still have something to write.
    """
    for daemon in find_daemons(os.environ, entry.mountpoint):
        is_named = daemon.mountpoint == entry.mountpoint or not daemon.status
        if is_named and daemon.peer.uid == entry.user_id:
            return daemon
    return None


def _detach(entry: MountEntry, *, lazy: bool) -> None:
    """Have the kernel take the mount out of the tree. Raises: CommandError."""
    fusermount = shutil.which("fusermount3")
    if fusermount is None:
        raise CommandError(
            "fusermount3 is missing",
            "FUSE mounts are made and ended by it.",
            "install the package fuse3.",
            exit_code=ExitCode.SYSTEM,
        )
    command = [fusermount, "-u", *(["-z"] if lazy else []), "--", entry.mountpoint]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    if done.returncode == 0:
        return
    reason = done.stderr.strip().rpartition(": ")[2]
    if "busy" in reason:
        raise CommandError(
            f"{entry.mountpoint} is in use",
            "a program has a file open there or works in it (mount reports: target is busy).",
            f"`fuser -vm {entry.mountpoint}` shows which. `smbfs umount --lazy` takes the mount "
            "away now, and it ends when they have closed their files.",
            exit_code=ExitCode.DAEMON,
        )
    raise CommandError(
        f"{entry.mountpoint} can't be unmounted",
        f"{reason}.",
        "a mount is taken away by the user who made it, or by root.",
        exit_code=ExitCode.USAGE,
    )


def _still_running(path: str, daemon: Daemon) -> CommandError:
    doing = "it still writes to the server" if daemon.status else "it does not answer, either,"
    return CommandError(
        f"{path} is unmounted, but its daemon (pid {daemon.pid}) has not ended",
        f"{doing} after {FLUSH_PATIENCE_S:.0f} s.",
        f"see {daemon.socket_path.with_suffix('.log')}; killing it loses what was not written.",
        exit_code=ExitCode.DAEMON,
    )
