"""A tiny process that takes the mount away when the daemon ends, and also when it is killed.

A FUSE mount outlives a killed daemon: every access then says "Transport endpoint is not
connected". fusermount3's own ``auto_unmount`` cures that for root only, so a shell waits on
a pipe whose other end the daemon holds. When that closes, for whatever reason, the guard
detaches the mount if it is still there. It takes about 1 MB, and has the right to, which the
daemon has given up: fusermount3's setuid bit counts for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final, Self

from smbfs.cli.mount_table import FILE_SYSTEM_TYPE
from smbfs.errors import UserError

# On stdin comes the mount's device once it is known. Mounts of another device or type at
# this place are somebody else's.
_SCRIPT: Final = rf"""
trap '' HUP INT TERM
while read -r line; do told=$line; done
while read -r _ _ device _ point rest; do
    [ "$point" = "$2" ] && [ "${{told:-$device}}" = "$device" ] || continue
    case $rest in *' - {FILE_SYSTEM_TYPE} '*) exec "$1" -u -z -q -- "$3" ;; esac
done </proc/self/mountinfo
"""


class Guard:
    """The guard of one mount, from before it is made until after it is gone."""

    def __init__(self, mountpoint: str) -> None:
        """Start the guard. Raises: UserError when there is no fusermount3."""
        fusermount = shutil.which("fusermount3")
        if fusermount is None:
            raise UserError(
                "fusermount3 is missing",
                "FUSE mounts are made and ended by it.",
                "install the package fuse3.",
            )
        # In mountinfo, and so for `read -r`, blanks are escaped.
        escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in mountpoint)
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "smbfs-guard", fusermount, escaped, mountpoint],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": os.defpath},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id of the guard."""
        return self._process.pid

    def watch(self, device: str) -> None:
        """Tell the ``major:minor`` of the mount, so that no other one is ever detached."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(device.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # Somebody killed the guard; the mount lives without one.

    def dismiss(self) -> None:
        """Have the guard take the mount away if it is still there, and wait until it has ended.

        The daemon itself has not the right to. Once it was dismissed, this does nothing.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.dismiss()
