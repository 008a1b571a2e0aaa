"""A file that another process has open, and works on when it is told to.

A test that is part of the way between a mount and its server can't hold one itself: whenever it
starts a program, that closes the file in the child, and waits for answers which we do not pass on.

Run as ``python -m tests.beds.holder PATH``. It reads commands of one line (``read N``,
``write HEX``, ``sync``, ``close``), and answers each with one: the bytes that were read as hex, or
``!`` and an errno.
"""

from __future__ import annotations

import os
import subprocess
import sys
from errno import errorcode
from pathlib import Path
from typing import Self

_REPOSITORY = Path(__file__).parents[2]
_FAILED = "!"


class Holding:
    """The side of the test. Every verb raises OSError with the errno that the process got."""

    def __init__(self, path: Path) -> None:
        """Have an existing file opened for reading and writing."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.beds.holder", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_REPOSITORY,
        )
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._process.kill()
        self._process.communicate()

    def read(self, length: int) -> bytes:
        """Return up to ``length`` bytes from where it is."""
        return bytes.fromhex(self._do(f"read {length}"))

    def write(self, data: bytes) -> None:
        """Write where it is."""
        self._do(f"write {data.hex()}")

    def sync(self) -> None:
        """Have all of it on the server's disk."""
        self._do("sync")

    def close(self) -> None:
        """Close it, once."""
        self._do("close")

    def _do(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().rstrip("\n")
        if line.startswith(_FAILED):
            number = int(line[len(_FAILED) :])
            raise OSError(number, errorcode[number])
        return line


def _do(file: int, command: str, argument: str) -> str:
    match command:
        case "read":
            return os.read(file, int(argument)).hex()
        case "write":
            data = bytes.fromhex(argument)
            while data:
                data = data[os.write(file, data) :]
        case "sync":
            os.fsync(file)
        case "close":
            os.close(file)
    return ""


def main() -> None:
    """Open the file, and do what standard input says."""
    file = os.open(sys.argv[1], os.O_RDWR)
    print(flush=True)  # noqa: T201
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        try:
            answer = _do(file, command, argument)
        except OSError as error:
            answer = f"{_FAILED}{error.errno}"
        print(answer, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
