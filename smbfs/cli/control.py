"""The socket through which other processes ask a daemon how it is, and tell it to stop.

One line of JSON each way: ``{"command": "status"}`` is answered with the mount's entry of
``smbfs status --json``, ``{"command": "stop"}`` with ``{"stopping": true}``, after which
the daemon flushes, unmounts and ends. Only root and the daemon's own user are answered.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import trio

_REQUEST_LIMIT: Final = 4096
_REQUEST_PATIENCE_S: Final = 5.0
_BACKLOG: Final = 16

Report = Callable[[], Mapping[str, Any]]
"""Makes the status entry. Any: it is what becomes JSON."""


class Peer(NamedTuple):
    """Who is at the other end of a unix socket."""

    pid: int
    uid: int


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Name a socket so that it fits into an address, which has 107 bytes. Spec: unix(7).

    Raises: OSError when its folder can't be opened.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextmanager
def bind_control_socket(path: Path) -> Iterator[socket.socket]:
    """Listen at ``path`` for the length of the block; a stale socket there is replaced."""
    # Not under its name before it listens: whoever is refused there takes it for a stale one.
    unfinished = path.with_name(f".{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with short_path(unfinished) as address:
            listener.bind(address)
        unfinished.chmod(0o600)
        listener.listen(_BACKLOG)
        unfinished.replace(path)
        ours = path.stat()
        try:
            yield listener
        finally:
            # After a lazy unmount the next daemon of this place may listen here already.
            if path.exists() and path.stat().st_ino == ours.st_ino:
                path.unlink()


async def serve_control(listener: socket.socket, report: Report, stop: Callable[[], None]) -> None:
    """Answer requests until cancelled; one that misbehaves only loses its own answer."""
    server = trio.SocketListener(trio.socket.from_stdlib_socket(listener))

    async def handle(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                await _answer(stream, report, stop)

    await trio.serve_listeners(handle, [server])


def peer_of(connection: socket.socket | trio.socket.SocketType) -> Peer:
    """Return who opened or bound the other end. Spec: unix(7), SO_PEERCRED."""
    ucred = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid = (int.from_bytes(ucred[start : start + 4], "little", signed=True) for start in (0, 4))
    return Peer(pid, uid)


async def _answer(stream: trio.SocketStream, report: Report, stop: Callable[[], None]) -> None:
    if peer_of(stream.socket).uid not in (0, os.geteuid()):
        return
    with trio.move_on_after(_REQUEST_PATIENCE_S):
        command = await _receive_command(stream)
        if command == "status":
            answer = report()
        elif command == "stop":
            answer = {"stopping": True}
        else:
            answer = {"error": "the commands are status and stop"}
        await stream.send_all(json.dumps(answer).encode() + b"\n")
        if command == "stop":
            stop()


async def _receive_command(stream: trio.SocketStream) -> str | None:
    line = b""
    while not line.endswith(b"\n") and len(line) < _REQUEST_LIMIT:
        chunk = await stream.receive_some(_REQUEST_LIMIT)
        if not chunk:
            break
        line += chunk
    try:
        request = json.loads(line)
        return str(request["command"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
