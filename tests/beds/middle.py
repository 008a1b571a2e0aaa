"""A man in the middle of our client and a real server: sees every frame, both ways, and alters it.

An attack is called with each frame and returns what goes on in its place. It may also put frames
of its own into either direction of any connection. All in the test's own trio loop: hundreds of
attacks take seconds.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from smbfs.wire.header import HEADER_SIZE, PROTOCOL_ID, Command
from smbfs.wire.ntstatus import NtStatus
from tests.beds.proxy import commands_of, framed
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import HOST

_PREFIX = 4


@dataclass(slots=True, eq=False)
class Link:
    """One connection of the client, and ours to the server in its place."""

    number: int
    """How many connections came before it."""
    client: trio.SocketStream
    server: trio.SocketStream
    seen: list[Frame] = field(default_factory=list)
    """All frames so far, as they were sent."""
    holds_server: bool = False
    """Whether the server shall not notice that the client has gone."""

    async def to_client(self, *frames: bytes) -> None:
        """Send frames as if they were the server's."""
        await self.client.send_all(b"".join(map(framed, frames)))

    async def to_server(self, *frames: bytes) -> None:
        """Send frames as if they were the client's."""
        await self.server.send_all(b"".join(map(framed, frames)))


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame on its way."""

    link: Link
    is_answer: bool
    data: bytes

    @property
    def is_sealed(self) -> bool:
        """Whether nobody but the two ends can read it."""
        return self.data[:4] != PROTOCOL_ID

    @property
    def command(self) -> Command | None:
        """What its first message is about; None if it is sealed."""
        return None if self.is_sealed else Command(next(commands_of(self.data)))

    @property
    def turn(self) -> int:
        """How many frames of this command and direction came before it on this connection."""
        seen = self.link.seen
        return sum(
            each.is_answer == self.is_answer and each.command == self.command
            for each in seen[: seen.index(self)]
        )

    @property
    def is_by_chance(self) -> bool:
        """Whether it is there only if something takes long: an ECHO, or word of a delay."""
        status = int.from_bytes(self.data[8:12], "little")
        is_interim = self.is_answer and not self.is_sealed and status == NtStatus.STATUS_PENDING
        return is_interim or self.command is Command.ECHO

    def is_a(
        self, command: Command | None, *, answer: bool = True, turn: int | None = None
    ) -> bool:
        """Whether it is this message (the ``turn``-th of its kind)."""
        return (
            self.is_answer == answer
            and self.command == command
            and (turn is None or self.turn == turn)
        )


Attack = Callable[[Frame], list[bytes]]
"""Returns what is sent on in place of a frame."""


def passing(frame: Frame) -> list[bytes]:
    """Change nothing."""
    return [frame.data]


class Middle:
    """The man in the middle: give ``attack`` another value at any time."""

    def __init__(self, server: SambaServer, attack: Attack) -> None:
        self.attack = attack
        self.links: list[Link] = []
        self.port = 0
        self._server = server
        self._has_joined = trio.Event()

    async def serve(self, client: trio.SocketStream) -> None:
        """Stand between one client and the server until one of them hangs up."""
        server = await trio.open_tcp_stream(HOST, self._server.port)
        link = Link(len(self.links), client, server)
        self.links.append(link)
        joined, self._has_joined = self._has_joined, trio.Event()
        joined.set()
        async with server, trio.open_nursery() as nursery:

            async def run(source: trio.SocketStream, *, is_answer: bool) -> None:
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._pass(link, source, is_answer=is_answer)
                if is_answer or not link.holds_server:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(lambda: run(client, is_answer=False))
            nursery.start_soon(lambda: run(server, is_answer=True))

    async def _pass(self, link: Link, source: trio.SocketStream, *, is_answer: bool) -> None:
        send = link.to_client if is_answer else link.to_server
        async with contextlib.aclosing(frames_of(source)) as frames:
            async for data in frames:
                frame = Frame(link, is_answer, data)
                link.seen.append(frame)
                sent = self.attack(frame)
                if not (is_answer and link.holds_server):
                    await send(*sent)

    async def connected(self, count: int) -> None:
        """Return when there have been so many connections."""
        while len(self.links) < count:
            await self._has_joined.wait()

    async def cut(self, *, hold_server: bool = False) -> None:
        """Hang up on the client, on every connection; the server may not notice."""
        for link in self.links:
            link.holds_server = hold_server
            with contextlib.suppress(trio.ClosedResourceError):
                await link.client.aclose()


async def frames_of(source: trio.SocketStream) -> AsyncGenerator[bytes, None]:
    """Yield whole frames, without their lengths, until the end."""
    received = bytearray()
    async for chunk in source:
        received += chunk
        while len(received) >= _PREFIX:
            end = _PREFIX + int.from_bytes(received[:_PREFIX], "big")
            if len(received) < end:
                break
            yield bytes(received[_PREFIX:end])
            del received[:end]


@asynccontextmanager
async def in_the_middle(server: SambaServer, attack: Attack = passing) -> AsyncIterator[Middle]:
    """Listen on a free port for the length of the block."""
    middle = Middle(server, attack)
    listeners = await trio.open_tcp_listeners(0, host=HOST)
    middle.port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, middle.serve, listeners)
        yield middle
        nursery.cancel_scope.cancel()


# --- the fields of messages -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field is in a frame."""

    name: str
    start: int
    size: int

    def of(self, frame: bytes) -> bytes:
        """Return the field's bytes."""
        return frame[self.start : self.start + self.size]

    def replaced(self, frame: bytes, value: bytes) -> bytes:
        """Return the frame with other bytes there."""
        assert len(value) == self.size
        return frame[: self.start] + value + frame[self.start + self.size :]


Sizes = tuple[tuple[str, int], ...]

_HEADER: Sizes = (
    *(("protocol id", 4), ("header size", 2), ("credit charge", 2), ("status", 4)),
    *(("command", 2), ("credits", 2), ("header flags", 4), ("next command", 4)),
    *(("message id", 8), ("process id", 4), ("tree id", 4), ("session id", 8)),
    ("signature", 16),
)

_BODIES: dict[tuple[Command, bool], Sizes] = {
    (Command.NEGOTIATE, False): (
        *(("structure size", 2), ("dialect count", 2), ("security mode", 2), ("reserved", 2)),
        *(("capabilities", 4), ("client guid", 16), ("context offset", 4)),
        *(("context count", 2), ("reserved 2", 2)),
    ),
    (Command.NEGOTIATE, True): (
        *(("structure size", 2), ("security mode", 2), ("dialect", 2), ("context count", 2)),
        *(("server guid", 16), ("capabilities", 4), ("max transact size", 4)),
        *(("max read size", 4), ("max write size", 4), ("system time", 8)),
        *(("server start time", 8), ("buffer offset", 2), ("buffer length", 2)),
        ("context offset", 4),
    ),
    (Command.SESSION_SETUP, False): (
        *(("structure size", 2), ("flags", 1), ("security mode", 1), ("capabilities", 4)),
        *(("channel", 4), ("buffer offset", 2), ("buffer length", 2), ("previous session", 8)),
    ),
    (Command.SESSION_SETUP, True): (
        *(("structure size", 2), ("session flags", 2), ("buffer offset", 2), ("buffer length", 2)),
    ),
    (Command.TREE_CONNECT, False): (
        *(("structure size", 2), ("flags", 2), ("path offset", 2), ("path length", 2)),
    ),
    (Command.TREE_CONNECT, True): (
        *(("structure size", 2), ("share type", 1), ("reserved", 1), ("share flags", 4)),
        *(("capabilities", 4), ("maximal access", 4)),
    ),
}

_CONTEXT_NAMES = {1: "preauth", 2: "encryption", 5: "netname", 8: "signing", 0x100: "posix"}
_COUNTED: dict[int, Sizes] = {
    1: (("count", 2), ("salt length", 2), ("algorithm", 2)),
    2: (("count", 2),),
    8: (("count", 2),),
}


def places_of(frame: bytes, *, is_answer: bool) -> list[Place]:
    """Return every field of a message in clear whose layout is known here, and what is behind."""
    command = Command(next(commands_of(frame)))
    places = list(_laid_out(_HEADER, 0))
    places += _laid_out(_BODIES[command, is_answer], HEADER_SIZE)
    end = places[-1].start + places[-1].size
    known = {place.name: int.from_bytes(place.of(frame), "little") for place in places}
    if command is not Command.NEGOTIATE:
        return [*places, *_pieces("buffer", end, len(frame))]
    if not is_answer:
        places += _laid_out((("dialects", 2 * known["dialect count"]),), end)
        places += [
            Place(f"dialect {index}", end + 2 * index, 2) for index in range(known["dialect count"])
        ]
    else:
        places += _pieces("buffer", end, end + known["buffer length"])
    is_newest = (not is_answer and known["context offset"]) or known.get("dialect") == 0x311
    if is_newest:
        places += _contexts(frame, known["context offset"], known["context count"])
    return places


def _laid_out(sizes: Sizes, start: int) -> Iterator[Place]:
    for name, size in sizes:
        yield Place(name, start, size)
        start += size


def _pieces(name: str, start: int, end: int) -> Iterator[Place]:
    """Cut what has no fields into about four pieces."""
    size = max(1, -(-(end - start) // 4))
    for number, at in enumerate(range(start, end, size)):
        yield Place(f"{name} {number}", at, min(size, end - at))


def _contexts(frame: bytes, start: int, count: int) -> Iterator[Place]:
    for _ in range(count):
        kind = int.from_bytes(frame[start : start + 2], "little")
        length = int.from_bytes(frame[start + 2 : start + 4], "little")
        name = _CONTEXT_NAMES.get(kind, f"context {kind}")
        yield Place(f"{name} type", start, 2)
        yield Place(f"{name} length", start + 2, 2)
        yield Place(f"{name} reserved", start + 4, 4)
        at, end = start + 8, start + 8 + length
        for part, size in _COUNTED.get(kind, ()):
            yield Place(f"{name} {part}", at, size)
            at += size
        if at < end:
            yield Place(f"{name} data", at, end - at)
        start = end + -end % 8
