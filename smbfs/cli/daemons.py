"""The daemons that run now, found by their sockets and asked one by one."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from smbfs.cli.control import Peer, peer_of, short_path
from smbfs.cli.runtime import file_stem, runtime_directory, visible_directories

SOCKET_SUFFIX: Final = ".sock"
_ANSWER_PATIENCE_S: Final = 5.0
_ANSWER_LIMIT: Final = 1024 * 1024
_LEVELS_MAX: Final = 8
_WAIT_MIN_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that was found by its socket."""

    peer: Peer
    """Its process and its user, from the kernel."""

    status: Mapping[str, Any]
    """Its entry of ``status --json``; empty if it did not answer in time."""

    socket_path: Path
    """Where it can be asked."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.peer.pid

    @property
    def mountpoint(self) -> str:
        """What it has mounted; empty if it does not say."""
        told = self.status.get("mountpoint")
        return told if isinstance(told, str) else ""


def find_daemons(environment: Mapping[str, str], mountpoint: str | None = None) -> list[Daemon]:
    """Ask every daemon that this user may ask, or only those that are named after ``mountpoint``.

    This user's sockets of dead ones are removed.
    """
    daemons = []
    name = "*" if mountpoint is None else file_stem(mountpoint)
    own = runtime_directory(environment, os.geteuid())
    for directory in visible_directories(environment, os.geteuid()):
        deadline_s = time.monotonic() + _ANSWER_PATIENCE_S
        for path in sorted(directory.glob(f"{name}{SOCKET_SUFFIX}")):
            # Other users may have made any number of sockets at which nobody ever answers.
            patience_s = _ANSWER_PATIENCE_S if directory == own else deadline_s - time.monotonic()
            if patience_s <= 0:
                break
            try:
                daemons.append(Daemon(*ask(path, "status", patience_s), path))
            except ConnectionRefusedError:
                # Its daemon was killed. In other users' directories root removes nothing.
                if directory == own:
                    path.unlink(missing_ok=True)
            except OSError:
                continue  # Starting or ending: its business.
    return daemons


def ask(
    path: Path, command: str, patience_s: float | None = None
) -> tuple[Peer, Mapping[str, Any]]:
    """Send one command; return who answers, and what: nothing, if that is not all there in time.

    Raises: OSError when nobody listens, or what comes makes no sense.
    """
    deadline_s = time.monotonic() + (_ANSWER_PATIENCE_S if patience_s is None else patience_s)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        _wait_until(deadline_s, connection)
        with short_path(path) as address:
            connection.connect(address)
        peer = peer_of(connection)
        connection.sendall(json.dumps({"command": command}).encode() + b"\n")
        line = b""
        try:
            while not line.endswith(b"\n") and len(line) < _ANSWER_LIMIT:
                _wait_until(deadline_s, connection)
                chunk = connection.recv(_ANSWER_LIMIT)
                if not chunk:
                    break
                line += chunk
        except TimeoutError:
            return peer, {}
    return peer, parse_answer(line, path)


def _wait_until(deadline_s: float, connection: socket.socket) -> None:
    """Have the next call wait no longer than that, however little comes each time."""
    connection.settimeout(max(deadline_s - time.monotonic(), _WAIT_MIN_S))


def parse_answer(line: bytes, path: Path) -> Mapping[str, Any]:
    """Read what the daemon at ``path`` has said. Raises: ConnectionError if it makes no sense."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConnectionError(f"the daemon at {path} gave no answer") from error
    if not isinstance(answer, dict) or not _is_flat(answer, _LEVELS_MAX):
        raise ConnectionError(f"the daemon at {path} gave no sensible answer")
    return answer


def _is_flat(value: object, levels: int) -> bool:
    """Whether JSON has at most so many levels: what is shown of it is shown by recursion."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not parts or (levels > 0 and all(_is_flat(part, levels - 1) for part in parts))


@contextmanager
def watch_process(pid: int) -> Iterator[int | None]:
    """Hold a process by a descriptor that can't become another's; None when it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def wait_ended(descriptor: int | None, timeout_s: float) -> bool:
    """Wait for a process to end; False when it has not within ``timeout_s``."""
    if descriptor is None:
        return True
    ready, _, _ = select.select([descriptor], [], [], timeout_s)
    return bool(ready)
