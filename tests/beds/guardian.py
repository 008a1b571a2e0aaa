"""Run a command so that nothing of it outlives whoever asked for it.

smbd starts helpers that make themselves daemons, and so does ``smbfs mount``: killing
the process that was started leaves those behind, and a test run that is killed itself
cleans nothing up. So each such command runs below a guardian: a child subreaper, to which
the kernel hands every orphan of the tree. When the guardian's standard input closes (its
owner closed it, or died in any way), it ends all that is left of the tree, unmounts what
it was told to, and exits.

Run as ``python -m tests.beds.guardian LOG [--unmount PATH]... -- COMMAND...``. It writes
``started PID`` and, when the command itself has ended, ``exited CODE`` to standard output;
the command's own output goes to the file LOG. The byte ``k`` on standard input means
SIGKILL instead of SIGTERM: a server that dies rather than stops.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_PR_SET_CHILD_SUBREAPER = 36
_TERM_PATIENCE_S = 5.0
_STOP_PATIENCE_S = 20.0


class BedError(Exception):
    """A bed could not be made: what is missing or what the server said."""


@dataclass
class Guardian:
    """The owner's side: a guarded command, ended at the latest when this process ends."""

    process: subprocess.Popen[bytes]
    log_path: Path
    pid: int
    """Process id of the command itself."""
    _unread: bytes = field(default=b"", repr=False)

    @classmethod
    def start(
        cls,
        command: list[str],
        log_path: Path,
        *,
        env: dict[str, str] | None = None,
        unmount: tuple[Path, ...] = (),
    ) -> Self:
        """Start ``command`` below a guardian.

        ``env`` is added to this process's environment, for the command only. Each path of
        ``unmount`` is unmounted (lazily if need be) when the tree has ended.
        Raises: BedError if the command can't be started.
        """
        arguments = [sys.executable, "-m", "tests.beds.guardian", str(log_path)]
        for path in unmount:
            arguments += ["--unmount", str(path)]
        for name, value in (env or {}).items():
            arguments += ["--env", f"{name}={value}"]
        process = subprocess.Popen(
            [*arguments, "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )
        guardian = cls(process, log_path, pid=0)
        line = guardian._read_line(timeout_s=_STOP_PATIENCE_S)
        if line is None or not line.startswith("started "):
            guardian.stop()
            raise BedError(f"{command[0]} could not be started: {guardian.log()}")
        guardian.pid = int(line.split()[1])
        return guardian

    def wait_exited(self, timeout_s: float) -> int | None:
        """Exit code of the command itself (its children may go on), None if it still runs."""
        line = self._read_line(timeout_s)
        return int(line.split()[1]) if line else None

    def log(self) -> str:
        """What the command has written so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def stop(self) -> None:
        """End the command with all its children, and wait until they are gone."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._wait_gone()

    def kill(self) -> None:
        """The same without a chance to clean up, as a crash would."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(b"k")
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it is gone already
        self._wait_gone()

    def _wait_gone(self) -> None:
        self.process.wait(_STOP_PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read_line(self, timeout_s: float) -> str | None:
        """One line of the guardian's report; None when none comes in time."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            ready, _, _ = select.select(
                [self.process.stdout], [], [], max(0.0, deadline - time.monotonic())
            )
            chunk = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            if not chunk:
                return None
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()


def _children() -> list[int]:
    """Ids of our living or unreaped children (orphans of the tree become ours)."""
    me = os.getpid()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == me:
            found.append(int(entry.name))
    return found


def _reap() -> bool:
    """Collect ended children. Returns whether any are left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def _end_tree(first_signal: signal.Signals) -> None:
    """Signal children, and those that become ours by that, until none is left."""
    deadline = time.monotonic() + _TERM_PATIENCE_S
    chosen = first_signal
    signalled: set[int] = set()
    while _reap():
        if time.monotonic() > deadline:
            chosen, signalled = signal.SIGKILL, set()
        for pid in set(_children()) - signalled:
            signalled.add(pid)
            try:
                os.kill(pid, chosen)
            except ProcessLookupError:
                continue
        time.sleep(0.01)


def is_mounted(path: Path) -> bool:
    """Whether the kernel lists ``path``; asking the path itself would fail on a dead mount."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == str(path) for line in mounts)


def _unmount(path: str) -> None:
    for command in (["umount", path], ["fusermount3", "-u", path], ["umount", "--lazy", path]):
        if is_mounted(Path(path)):
            subprocess.run(command, check=False, capture_output=True)


def _parse(arguments: list[str]) -> tuple[str, list[str], dict[str, str], list[str]]:
    log_path, *rest = arguments
    split = rest.index("--")
    options, command = rest[:split], rest[split + 1 :]
    mounts: list[str] = []
    env = dict(os.environ)
    for name, value in zip(options[::2], options[1::2], strict=True):
        if name == "--unmount":
            mounts.append(value)
        else:
            key, _, setting = value.partition("=")
            env[key] = setting
    return log_path, command, env, mounts


def _watch(child: subprocess.Popen[bytes]) -> signal.Signals:
    """Wait until our owner lets go; report when the command itself ends meanwhile."""
    pidfd = os.pidfd_open(child.pid)
    waiting = [0, pidfd]
    while True:
        ready, _, _ = select.select(waiting, [], [])
        if pidfd in ready:
            waiting.remove(pidfd)
            _report(f"exited {child.wait()}")
        if 0 in ready:
            return signal.SIGKILL if os.read(0, 1) == b"k" else signal.SIGTERM


def _report(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # the owner is gone; standard input says so too
        os.write(1, f"{line}\n".encode())


def main() -> int:
    """Guard the command of the command line."""
    log_path, command, env, mounts = _parse(sys.argv[1:])
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for unwanted in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(unwanted, lambda _signum, _frame: None)  # unlike SIG_IGN, not inherited
    with Path(log_path).open("ab") as log:
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env
            )
        except OSError as error:
            log.write(f"{error}\n".encode())
            return 1
    _report(f"started {child.pid}")
    _end_tree(_watch(child))
    for path in mounts:
        _unmount(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
