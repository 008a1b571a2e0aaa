"""Waiting for what the kernel does on its own time, by asking it to tell."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

from smbfs.cli.mount_table import find_mount

PATIENCE_S = 15.0


def wait_unmounted(mountpoint: Path) -> bool:
    """Whether ``mountpoint`` leaves the mount table in time. Spec: proc_pid_mountinfo(5)."""
    deadline = time.monotonic() + PATIENCE_S
    with Path("/proc/self/mountinfo").open("rb") as table:
        changes = select.poll()
        changes.register(table, select.POLLPRI | select.POLLERR)
        while find_mount(str(mountpoint)) is not None:
            left_ms = (deadline - time.monotonic()) * 1000
            if left_ms <= 0:
                return False
            changes.poll(left_ms)
    return True


def wait_process_ended(descriptor: int) -> bool:
    """Whether the process behind a pidfd ends in time."""
    ready, _, _ = select.select([descriptor], [], [], PATIENCE_S)
    return bool(ready)


def children_of(pid: int) -> list[int]:
    """Process ids of the living children."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(each) for each in text.split()]


def resident_bytes(pid: int) -> int:
    """Memory of a process in RAM."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
