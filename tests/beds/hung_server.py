"""A server that hangs: its processes stand still, while its machine goes on taking what we say."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.beds.samba import SambaServer


@contextmanager
def silent(server: SambaServer) -> Iterator[None]:
    """Have the server say nothing for the length of the block."""
    processes = _with_descendants(server.pid)
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


def _with_descendants(pid: int) -> list[int]:
    found, fresh = [pid], [pid]
    while fresh:
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", ",".join(map(str, fresh))],
            capture_output=True,
            text=True,
            check=False,
        )
        fresh = [int(word) for word in listed.stdout.split()]
        found += fresh
    return found
