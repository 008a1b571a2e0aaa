"""A network between a client and a simulated server that fails as it is told to.

Everything happens at a time of the run's clock, in one order: ``Agenda`` has what is to come, and
one task of trio's does it. Frames of one connection and direction keep their order, as TCP does;
those of different connections don't.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio

from smbfs.errors import DeadlineExceeded, RemoteProtocolError, TransportError
from smbfs.transport.base import MAX_FRAME_SIZE, Buffer, Flow, OnMoved, TransportName
from tests.beds.simulated_server import SimulatedServer
from tests.beds.simulated_sessions import Peer

DIAL_S = 0.005
NOTICE_S = 12.0
"""Seconds after which a server notices that nobody is there any more."""

_UNSOLICITED = b"\xff" * 8


class Agenda:
    """What is to happen, and when."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._sleep = trio.CancelScope()

    def later(self, delay_s: float, do: Callable[[], None]) -> None:
        """Do something after some seconds."""
        when_s = trio.current_time() + delay_s
        heapq.heappush(self._heap, (when_s, next(self._count), do))
        self._sleep.deadline = min(self._sleep.deadline, when_s)

    async def run(self) -> None:
        """Do what is due, for ever."""
        while True:
            while self._heap and self._heap[0][0] <= trio.current_time():
                heapq.heappop(self._heap)[2]()
            until_s = self._heap[0][0] if self._heap else math.inf
            self._sleep = trio.CancelScope(deadline=until_s)
            with self._sleep:
                await trio.sleep_forever()


class Logged(NamedTuple):
    """A frame that was sent."""

    when_s: float
    link: str
    is_request: bool
    frame: bytes


class Stream:
    """The client's end of a connection. See :class:`smbfs.transport.base.MessageStream`."""

    transport: TransportName = "tcp"
    tunnel = None
    unflushed = False
    flow = Flow(0, 0, 0)

    def __init__(self, link: Link, host: str) -> None:
        self.peer = (host, 445)
        self.max_message_size = MAX_FRAME_SIZE
        self.link = link
        self._inbox: deque[bytes] = deque()
        self._arrived = trio.lowlevel.ParkingLot()
        self._failure: str = ""

    def arrive(self, frame: bytes) -> None:
        """A frame of the server is here."""
        self._inbox.append(frame)
        self._arrived.unpark_all()

    def fail(self, why: str) -> None:
        """The connection is lost."""
        self._failure = self._failure or why
        self._arrived.unpark_all()

    def send(self, buffers: Sequence[Buffer]) -> None:
        """See :class:`smbfs.transport.base.MessageStream`."""
        if self._failure:
            raise TransportError(self._failure)
        self.link.from_client(b"".join(buffers))

    async def flush(self) -> None:
        """See :class:`smbfs.transport.base.MessageStream`."""
        await trio.lowlevel.checkpoint()

    async def receive_message(self) -> bytearray:
        """See :class:`smbfs.transport.base.MessageStream`."""
        if self._inbox:
            await trio.lowlevel.checkpoint()
        while not self._inbox:
            if self._failure:
                await trio.lowlevel.checkpoint()
                raise TransportError(self._failure)
            await self._arrived.park()
        frame = self._inbox.popleft()
        self.link.taken(frame)
        if len(frame) > self.max_message_size:
            raise RemoteProtocolError(f"a frame of {len(frame)} bytes")
        return bytearray(frame)

    async def follow_network(self, on_moved: OnMoved) -> None:
        """See :class:`smbfs.transport.base.MessageStream`."""
        del on_moved
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """See :class:`smbfs.transport.base.MessageStream`."""
        self.fail("closed")
        self.link.closed_by_client()
        await trio.lowlevel.checkpoint()


class Link:
    """One connection, both directions of it."""

    def __init__(self, network: Network, name: str, host: str) -> None:
        self.network = network
        self.name = name
        self.stream = Stream(self, host)
        self.peer: Peer = network.server.accept(name, self.from_server)
        self.is_dead = False
        self._is_half_open = False
        """It is lost, and the server does not know."""
        self._breaks: list[bytes] = []
        """Notifications that nobody has read: the server sends them by another connection."""
        self._holes = [False, False]
        """Whether nothing arrives: at the server, at the client."""
        self._held: list[list[Callable[[], None]]] = [[], []]
        self._last_s = [0.0, 0.0]

    def from_client(self, frame: bytes) -> None:
        """The client has sent a frame."""
        self.network.log(self, frame, is_request=True)
        self._travel(0, lambda: self._deliver(frame))

    def from_server(self, frame: bytes) -> None:
        """The server has sent a frame."""
        if self.is_dead and not self._is_half_open:
            return
        frame = self.network.altered(self, frame)
        self.network.log(self, frame, is_request=False)
        if frame[24:32] == _UNSOLICITED:
            self._breaks.append(frame)
        self._travel(1, lambda: self.stream.arrive(frame))

    def taken(self, frame: bytes) -> None:
        """The client has read a frame of the server."""
        if frame in self._breaks:
            self._breaks.remove(frame)

    def _travel(self, way: int, arrive: Callable[[], None]) -> None:
        now_s = trio.current_time()
        when_s = max(self._last_s[way], now_s + self.network.delay_s())
        self._last_s[way] = when_s
        self.network.agenda.later(when_s - now_s, lambda: self._arrive(way, arrive))

    def _arrive(self, way: int, arrive: Callable[[], None]) -> None:
        if self._holes[way]:
            self._held[way].append(arrive)
        elif not self.is_dead:
            arrive()

    def _deliver(self, frame: bytes) -> None:
        before, after = self.network.next_request(self)
        before()
        if not self.is_dead:
            self.network.server.receive(self.peer, frame)
        after()

    # ------------------------------------------------------------- what goes wrong

    def die(self, *, server_knows: bool = True) -> None:
        """Lose it now, with all that is under way; ``server_knows``: at both ends."""
        if not self.is_dead:
            self.is_dead, self._is_half_open = True, not server_knows
            self.stream.fail("connection reset")
        if server_knows:
            self.server_notices()
        else:
            self.network.agenda.later(NOTICE_S, self.server_notices)

    def server_notices(self) -> None:
        """The server hears that it is lost, and with it what was not acknowledged."""
        self.is_dead, self._is_half_open = True, False
        breaks, self._breaks = self._breaks, []
        self.network.server.send_again(self.peer, breaks)
        self.network.server.hang_up(self.peer)

    def silence(self, *ways: int) -> None:
        """Let nothing arrive at the server (0), or at the client (1)."""
        for way in ways:
            self._holes[way] = True

    def heal(self) -> None:
        """Let what was held up arrive now."""
        if self._is_half_open:
            self.server_notices()
        for way in (0, 1):
            self._holes[way] = False
            held, self._held[way] = self._held[way], []
            for arrive in held:
                self._arrive(way, arrive)

    def closed_by_client(self) -> None:
        """The client has hung up. The server hears of that when everything before has arrived.

        What nobody has taken yet is dropped: closing with requests under way resets a connection.
        """
        if not self.is_dead:
            self._held[0].clear()
            self._travel(0, self.die)


class Network:
    """All connections. ``plan`` is asked before every request that arrives (``faults``)."""

    def __init__(self, server: SimulatedServer, agenda: Agenda, chance: random.Random) -> None:
        self.server = server
        self.agenda = agenda
        self._chance = chance
        self.links: list[Link] = []
        self.logged: list[Logged] = []
        self.latency_s = 0.0
        self.jitter_s = 0.0
        self.lateness_s = 0.0
        """Seconds that frames take longer now."""
        self.requests = 0
        """Requests that have arrived at the server."""
        self.away_until_s = 0.0
        """Until when nobody can connect."""
        self.is_away_silent = False
        """Whether who dials meanwhile is not even refused."""
        self.on_request: Callable[[Link, int], tuple[Callable[[], None], Callable[[], None]]] = (
            lambda _link, _number: (_nothing, _nothing)
        )
        self.alterations: list[Callable[[bytes], bytes | None]] = []
        """What is done to the next frames of the server, each to one; None leaves one alone."""

    def delay_s(self) -> float:
        """Return the seconds that a frame is under way."""
        if not self.jitter_s:
            return self.latency_s + self.lateness_s
        return self.latency_s + self.lateness_s + self.jitter_s * self._chance.random()

    def log(self, link: Link, frame: bytes, *, is_request: bool) -> None:
        """Write down what was sent."""
        self.logged.append(Logged(trio.current_time(), link.name, is_request, frame))

    def altered(self, _link: Link, frame: bytes) -> bytes:
        """Return what becomes of a frame of the server."""
        changed = self.alterations[-1](frame) if self.alterations else None
        if changed is None:
            return frame
        self.alterations.pop()
        return changed

    def next_request(self, link: Link) -> tuple[Callable[[], None], Callable[[], None]]:
        """A request has arrived: return what happens before and after its execution."""
        self.requests += 1
        return self.on_request(link, self.requests)

    async def dial(self, host: str, _port: int, *, timeout_s: float) -> Stream:
        """Connect. Raises: TransportError, DeadlineExceeded."""
        await trio.sleep(DIAL_S + self.delay_s())
        if trio.current_time() < self.away_until_s:
            if not self.is_away_silent:
                raise TransportError("connection refused")
            left_s = self.away_until_s - trio.current_time()
            await trio.sleep(min(left_s, timeout_s))
            if left_s >= timeout_s:
                raise DeadlineExceeded("connecting", timeout_s)
        link = Link(self, f"link {len(self.links)}", host)
        self.links.append(link)
        return link.stream

    def heal(self) -> None:
        """Let nothing be wrong any more."""
        self.away_until_s = self.lateness_s = 0.0
        self.alterations.clear()
        for link in self.links:
            link.heal()


def _nothing() -> None:
    pass
