"""Run a command on a terminal of its own, where somebody types.

Run as ``python -m tests.beds.terminal ANSWERS COMMAND...``: ANSWERS is a JSON list of pairs, what
the terminal is to show and what is typed then. What it shows goes to standard output, and the exit
code is the command's. :func:`typing` makes that beginning of a command line.
"""

from __future__ import annotations

import json
import os
import pty
import sys
from collections.abc import Sequence


def typing(*answers: tuple[str, str]) -> list[str]:
    """Return what runs a command on a terminal, where these questions get these answers."""
    return [sys.executable, "-m", "tests.beds.terminal", json.dumps(answers)]


def main(answers: Sequence[tuple[str, str]], command: Sequence[str]) -> int:
    """Run it to its end."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], list(command))
    waiting, shown = list(answers), b""
    while chunk := _read(terminal):
        os.write(1, chunk)
        shown += chunk
        if waiting and waiting[0][0].encode() in shown:
            _, typed = waiting.pop(0)
            shown = b""
            os.write(terminal, typed.encode() + b"\n")
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: nobody has it open any more
        return b""


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
