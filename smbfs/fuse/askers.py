"""Who has asked, and whether an answer still finds them alive.

Spec: proc_pid_status(5).
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

_PENDING: Final = "SigPnd:"
_KILLED: Final = 1 << (signal.SIGKILL - 1)


def is_being_killed(thread: int) -> bool:
    """Whether a thread ends as soon as it may; False if that can't be known.

    Whatever signal ends a process, the kernel has SIGKILL wait at each of its threads then. A
    signal that the process handles does not show here.
    """
    try:
        lines = Path(f"/proc/{thread}/status").read_text(errors="replace").splitlines()
    except OSError:
        return False  # In another PID namespace, or not ours to look at.
    pending = next((line for line in lines if line.startswith(_PENDING)), "")
    return bool(int(pending.removeprefix(_PENDING) or "0", 16) & _KILLED)
