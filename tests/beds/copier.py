"""A copy in a process of its own, which waits in the middle until it is told to go on.

Run as ``python -m tests.beds.copier SOURCE TARGET``. It prints ``half`` and reads a line, and ends
with a report of JSON: the operation that failed and its errno, if one did, and the longest of all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from errno import errorcode
from pathlib import Path
from typing import Self, TypeVar

_PIECE = 256 * 1024
_REPOSITORY = Path(__file__).parents[2]

_Answer = TypeVar("_Answer")


@dataclass
class Report:
    """How a copy ended."""

    failed: str = ""
    """``read EHOSTDOWN`` for example; empty if all went well."""
    longest_s: float = 0.0
    """Seconds of the longest operation."""
    longest: str = ""


class Copying:
    """The side of the test. What is under way when the block ends is killed."""

    def __init__(self, source: Path, target: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.beds.copier", str(source), str(target)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_REPOSITORY,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_half(self) -> None:
        """Wait until half is copied."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line == "half\n", line

    def go_on(self) -> None:
        """Have it copy the rest; it does not wait at all if that is said first."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    @property
    def is_under_way(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def report(self, within_s: float) -> Report:
        """Wait until it ends. Raises: subprocess.TimeoutExpired if it hangs."""
        output, _ = self._process.communicate(timeout=within_s)
        return Report(**json.loads(output.splitlines()[-1]))


class _Copier:
    """The side of the process."""

    def __init__(self) -> None:
        self.report = Report()

    def copy(self, source: str, target: str) -> None:
        """Copy all, and have it on the target's disk. Raises: OSError."""
        reader = self._do("open", os.open, source, os.O_RDONLY)
        writer = self._do("create", os.open, target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        size, copied = os.fstat(reader).st_size, 0
        while data := self._do("read", os.read, reader, _PIECE):
            while data:
                data = data[self._do("write", os.write, writer, data) :]
            is_first_half, copied = copied < size // 2, copied + _PIECE
            if is_first_half and copied >= size // 2:
                print("half", flush=True)  # noqa: T201
                sys.stdin.readline()
        self._do("fsync", os.fsync, writer)
        self._do("close", os.close, writer)
        self._do("close", os.close, reader)

    def _do(self, name: str, call: Callable[..., _Answer], *arguments: object) -> _Answer:
        start = time.monotonic()
        try:
            return call(*arguments)
        except OSError as error:
            self.report.failed = f"{name} {errorcode.get(error.errno or 0)}"
            raise
        finally:
            took_s = time.monotonic() - start
            if took_s > self.report.longest_s:
                self.report.longest_s, self.report.longest = took_s, name


def main() -> None:
    """Copy, and report."""
    copier = _Copier()
    with suppress(OSError):  # The report has it.
        copier.copy(*sys.argv[1:])
    print(json.dumps(asdict(copier.report)))  # noqa: T201


if __name__ == "__main__":
    main()
