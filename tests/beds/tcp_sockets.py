"""TCP ports that are free, and which process holds the other end of a connection.

Processes are found by their sockets, never by guessing: the local port of the one is the remote
port of the other. Both may be in a network namespace, since each is asked about its own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_ESTABLISHED = "01"


def free_port() -> int:
    """Return a port of loopback on which nobody listens just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class TcpSocket(NamedTuple):
    """One established connection of ``/proc/PID/net/tcp``. Spec: proc_pid_net(5)."""

    local: tuple[str, int]
    remote: tuple[str, int]
    """Addresses as the kernel prints them (hexadecimal), and ports."""
    inode: int


def sockets_of(pid: int) -> list[TcpSocket]:
    """Return the established connections that a process has open; none if it has ended."""
    inodes = _socket_inodes(pid)
    return [each for each in _namespace_sockets(pid) if each.inode in inodes]


def holders(ends: Iterable[TcpSocket], pids: Iterable[int]) -> set[int]:
    """Return those of ``pids`` that hold the other end of one of ``ends``."""
    others = {(end.remote, end.local) for end in ends}
    return {
        pid for pid in pids if any((end.local, end.remote) in others for end in sockets_of(pid))
    }


def descendants(pid: int) -> list[int]:
    """Return the process ids of all that a process has started, and what those have."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        with suppress(OSError):
            for task in Path(f"/proc/{waiting.pop()}/task").iterdir():
                children = [int(word) for word in (task / "children").read_text("ascii").split()]
                found += children
                waiting += children
    return found


def _namespace_sockets(pid: int) -> list[TcpSocket]:
    found = []
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{name}").read_text("ascii").splitlines()[1:]:
                _, local, remote, state, *rest = line.split()
                if state == _ESTABLISHED:
                    found.append(TcpSocket(_end(local), _end(remote), int(rest[5])))
    return found


def _end(text: str) -> tuple[str, int]:
    """``0100007F:01BD``; an IPv4 address that a socket of IPv6 has looks as one of IPv4."""
    address, _, port = text.partition(":")
    return address[-8:], int(port, 16)


def _socket_inodes(pid: int) -> set[int]:
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = os.readlink(entry)  # noqa: PTH115 - no path, only looks like one
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    return found
