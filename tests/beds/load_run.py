"""A mixed load on a mount: started, watched from outside, ended, and judged."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from tests.beds.journal import Pulse, read_pulse
from tests.beds.load_content import KNOWN_FILES, KNOWN_SIZE, known_content, token
from tests.beds.load_verdict import Verdict, judge
from tests.beds.mixed_load import moved_names

WORKERS: Mapping[str, int] = MappingProxyType({"writer": 4, "reader": 4, "renamer": 1})
"""How many of each role."""

_REPOSITORY = Path(__file__).parents[2]
_NAME = "load"


class LoadRun:
    """The processes of a load. ``limit_s`` is the most that one operation may take."""

    def __init__(self, processes: dict[str, subprocess.Popen[bytes]], logs: Path, limit_s: float):
        self._processes = processes
        self._logs = logs
        self._limit_s = limit_s
        self.hung: dict[str, str] = {}
        """What took too long, by the name of the process."""
        self.longest = Pulse(0.0, "")
        """The longest operation seen so far (a duration in place of the time), by looking."""

    def look(self) -> None:
        """See how long each operation is under way; note what is over the limit."""
        for name in self._processes:
            pulse = read_pulse(self._logs / f"{name}.pulse")
            if pulse is None or not pulse.operation:
                continue
            took_s = time.monotonic() - pulse.since
            if took_s > self.longest.since:
                self.longest = Pulse(took_s, f"{name}: {pulse.operation}")
            if took_s > self._limit_s:
                self.hung[name] = f"{pulse.operation} for {took_s:.1f} s"

    def watch(self, seconds: float) -> None:
        """Let it work for a while, looking all the time."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.05))  # The load works meanwhile: that is what is wanted.
            self.look()

    def stop(self) -> None:
        """Have all end in order; those that hang are noted, and killed."""
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        until = time.monotonic() + self._limit_s
        while time.monotonic() < until and self._is_running():
            self.watch(0.05)
        for name, process in self._processes.items():
            if process.poll() is None:
                pulse = read_pulse(self._logs / f"{name}.pulse")
                self.hung.setdefault(name, f"does not end: {pulse}")
                process.kill()
            elif process.returncode:
                self.hung.setdefault(name, f"ended with {process.returncode}")
            process.wait()

    def events(self) -> int:
        """Return how many lines the journals have: a sign that work goes on."""
        return sum(path.read_bytes().count(b"\n") for path in self._logs.glob("*.journal"))

    def _is_running(self) -> bool:
        return any(process.poll() is None for process in self._processes.values())


def prepare(disk: Path) -> Path:
    """Make the folder of a load on the server's disk, with what it reads and renames."""
    folder = prepare_names(disk)
    for number in range(KNOWN_FILES):
        path = folder / f"known-{number}"
        path.write_bytes(known_content(number, 0, KNOWN_SIZE))
        path.chmod(0o666)
    return folder


def prepare_names(disk: Path) -> Path:
    """Make the folder with what is renamed alone."""
    folder = disk / _NAME
    folder.mkdir()
    folder.chmod(0o777)
    for number, name in enumerate(moved_names()):
        (folder / name).write_bytes(token(number))
        (folder / name).chmod(0o666)
    return folder


@contextmanager
def load_on(
    mounted: Path, logs: Path, seed: int, *, limit_s: float, lie: str = ""
) -> Iterator[LoadRun]:
    """Run a load on a prepared folder of a mount, for the length of the block at most.

    ``logs`` is made, and gets the journals. ``lie`` is one of ``mixed_load.LIES``.
    """
    logs.mkdir()
    processes = {}
    for role, count in WORKERS.items():
        for number in range(count):
            name = f"{role}-{number}"
            arguments = [role, str(number), str(mounted / _NAME), str(logs), str(seed)]
            with (logs / f"{name}.stderr").open("wb") as stderr:
                processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "tests.beds.mixed_load", *arguments],
                    stdin=subprocess.PIPE,
                    stderr=stderr,
                    cwd=_REPOSITORY,
                    env={**os.environ, "SMBFS_LOAD_LIE": lie},
                )
    run = LoadRun(processes, logs, limit_s)
    try:
        yield run
    finally:
        run.stop()


def verdict_on(folder: Path, logs: Path, run: LoadRun) -> Verdict:
    """Judge a load that has ended, its folder on the server's disk, and who hung."""
    verdict = judge(folder, logs)
    verdict.problems += [f"{name} hangs: {what}" for name, what in run.hung.items()]
    return verdict
