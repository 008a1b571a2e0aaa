"""A TCP proxy between a mount and its server that knows where frames begin, and tampers.

What the client sends passes unchanged; its CREATEs are written down. Each frame of the server is
offered to the armed :class:`Tampering`, which sends something else in its place. Frames can also be
put in between, and connections cut. Threads, because the tests that use it wait for commands on the
mount.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from smbfs.wire.create import CreateRequest
from smbfs.wire.header import (
    HEADER_SIZE,
    NEXT_COMMAND_OFFSET,
    PROTOCOL_ID,
    Command,
)
from tests.beds.framing import elements_of
from tests.beds.relay import accept_links

_COMMAND_OFFSET = 12
_LENGTH_PREFIX = 4


@dataclass(frozen=True, slots=True)
class Sent:
    """What goes to the client in place of a frame; then the connection may be cut."""

    stream: bytes
    """Bytes as they travel, length prefixes included."""
    cut: bool = False


Change = Callable[[bytes], Sent]
"""Gets the frame of the server without its length."""


def framed(frame: bytes) -> bytes:
    """Put the length before a frame. Spec: [MS-SMB2] 2.1."""
    return len(frame).to_bytes(_LENGTH_PREFIX, "big") + frame


@dataclass
class Tampering:
    """Changes frames that answer ``command``, or sealed frames of at least ``sealed_size``."""

    change: Change
    command: Command | None = None
    sealed_size: int = 0
    times: int = 1
    done: int = 0
    """How many frames have been changed."""

    def wants(self, frame: bytes) -> bool:
        """Whether this frame is one to change."""
        if self.done >= self.times:
            return False
        if self.command is None:
            return frame[:4] != PROTOCOL_ID and len(frame) >= self.sealed_size
        return self.command in commands_of(frame)


def commands_of(frame: bytes) -> Iterator[int]:
    """Yield the command of each element of a compound in clear; nothing for other frames."""
    start = 0
    while frame[start : start + 4] == PROTOCOL_ID and len(frame) >= start + HEADER_SIZE:
        yield int.from_bytes(frame[start + _COMMAND_OFFSET : start + _COMMAND_OFFSET + 2], "little")
        at = start + NEXT_COMMAND_OFFSET
        step = int.from_bytes(frame[at : at + 4], "little")
        if not step:
            return
        start += step


@dataclass
class _Link:
    """One client with its own connection to the server."""

    client: socket.socket
    server: socket.socket
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a frame is sent to the client."""

    def close(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Listens on a port of loopback, a free one by default, for the length of a ``with`` block."""

    def __init__(self, host: str, port: int, *, listen: int = 0) -> None:
        self._server = (host, port)
        self._listener = socket.create_server((host, listen))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        """How many clients have connected so far."""
        self.creates: list[CreateRequest] = []
        """What clients have asked to open so far, as far as it was in clear."""
        self._links: list[_Link] = []
        self._tamperings: list[Tampering] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_raised: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(timeout=10)

    def tamper(self, tampering: Tampering) -> Tampering:
        """Arm ``tampering``; the first of those armed that wants a frame gets it."""
        self._tamperings.append(tampering)
        return tampering

    def inject(self, stream: bytes) -> None:
        """Send bytes to every client, between frames of the server."""
        for link in self._links:
            with link.lock:
                link.client.sendall(stream)

    def cut(self) -> None:
        """Close every connection, both ends, at once."""
        while self._links:
            self._links.pop().close()

    def _accept(self) -> None:
        accept_links(self._listener, self._server, self._join)

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        self.connections += 1
        link = _Link(client, server)
        self._links.append(link)
        self._start(self._to_server, link)
        self._start(self._to_client, link)

    def _start(self, run: Callable[..., None], *arguments: _Link) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _to_server(self, link: _Link) -> None:
        with contextlib.suppress(OSError), link.client.makefile("rb") as frames:
            while prefix := frames.read(_LENGTH_PREFIX):
                frame = frames.read(int.from_bytes(prefix, "big"))
                self._note(frame)
                link.server.sendall(prefix + frame)
        link.close()

    def _note(self, frame: bytes) -> None:
        if Command.CREATE not in commands_of(frame):
            return
        for header, element in elements_of(frame):
            if header.command == Command.CREATE:
                self.creates.append(CreateRequest.decode(element[HEADER_SIZE:]))

    def _to_client(self, link: _Link) -> None:
        with contextlib.suppress(OSError), link.server.makefile("rb") as frames:
            while prefix := frames.read(_LENGTH_PREFIX):
                frame = frames.read(int.from_bytes(prefix, "big"))
                sent = self._tampered(frame)
                with link.lock:
                    link.client.sendall(sent.stream)
                if sent.cut:
                    break
        link.close()

    def _tampered(self, frame: bytes) -> Sent:
        for tampering in self._tamperings:
            if tampering.wants(frame):
                tampering.done += 1
                return tampering.change(frame)
        return Sent(framed(frame))
