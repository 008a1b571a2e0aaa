"""Two QUIC connections over a path that exists in arithmetic only: its time is not ours.

A link has a rate, a delay, a queue of a certain length and a probability of loss, each way. What
congestion control makes of it comes out the same on every machine and every run.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StreamDataReceived

from smbfs.transport.quic_connection import ALPN, STREAM_ID, BoundedConnection
from tests.beds.pki import Leaf

_HEADERS = 28
_CLIENT, _SERVER = ("192.0.2.1", 1), ("192.0.2.2", 2)
_TICK_S = 1e-6
"""Timers go off a little late, as they do everywhere."""


@dataclass(frozen=True)
class Path:
    """Either direction of a path."""

    rate: float
    """Bytes a second."""
    delay_s: float
    queue_s: float
    """Seconds that a packet may wait for those before it; beyond that it is dropped."""
    loss: float = 0.0
    mtu: int = 1452
    """Bytes of a datagram that the endpoints' own links carry."""
    widest: int = 65_507
    """Bytes of a datagram that arrives; longer ones are lost, and nobody is told."""
    straying: float = 0.0
    """Part of the packets that take a longer way."""
    detour_s: float = 0.0
    """How much longer that is, at most."""


@dataclass
class Outcome:
    """What one transfer came to."""

    seconds: float
    dropped: float
    """Part of the server's packets that did not arrive."""
    mean_queue_s: float
    """Seconds that they waited on average, after the first third."""


class _Link:
    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self._chance = random.Random(seed)
        self._free_s = 0.0
        self.waits: list[float] = []
        self.dropped = 0

    def carry(self, now: float, size: int) -> float | None:
        """When a packet arrives; None: never."""
        start = max(now, self._free_s)
        is_lost = self._chance.random() < self.path.loss or size > self.path.widest
        if is_lost or start - now > self.path.queue_s:
            self.dropped += 1
            return None
        self.waits.append(start - now)
        self._free_s = start + (size + _HEADERS) / self.path.rate
        strays = bool(self.path.straying) and self._chance.random() < self.path.straying
        detour_s = self._chance.uniform(0, self.path.detour_s) if strays else 0.0
        return self._free_s + self.path.delay_s + detour_s


class SimulatedPath:
    """A client that asks, and a server that answers with so many bytes."""

    def __init__(self, path: Path, algorithm: str, leaf: Leaf, seed: int = 1) -> None:
        self.now = 0.0
        self.client = BoundedConnection(configuration=_configuration(algorithm, is_client=True))
        server = _configuration(algorithm, is_client=False)
        server.load_cert_chain(leaf.cert, leaf.key)
        self.server = BoundedConnection(
            configuration=server,
            original_destination_connection_id=self.client.original_destination_connection_id,
        )
        self._ends = ((self.client, _SERVER), (self.server, _CLIENT))
        self._links = tuple(_Link(path, seed + number) for number in (0, 1))
        self._events: list[tuple[float, int, int, bytes | None]] = []
        self._count = 0
        self._timers = [0, 0]
        self._received = 0
        self._contents = random.Random(seed)
        self._digest = hashlib.sha256()
        self.client.begin_path(path.mtu)
        self.server.begin_path(path.mtu)
        self.client.connect(_SERVER, now=self.now)
        self.client.send_stream_data(STREAM_ID, b"please")
        self._pump(0)
        self._run_until(lambda: self.server.knows_stream)

    def transfer(self, size: int) -> Outcome:
        """Let the server send ``size`` bytes, and see that it is they that arrive."""
        link, began_s, before = self._links[1], self.now, self._received
        link.waits.clear()
        link.dropped = 0
        self._digest = hashlib.sha256()
        content = self._contents.randbytes(size)
        self.server.send_stream_data(STREAM_ID, content)
        self._pump(1)
        self._run_until(lambda: self._received - before == size)
        assert self._digest.digest() == hashlib.sha256(content).digest()
        late = link.waits[len(link.waits) // 3 :]
        return Outcome(
            self.now - began_s,
            link.dropped / (link.dropped + len(link.waits)),
            sum(late) / len(late),
        )

    def becomes(self, path: Path) -> None:
        """Change what the path is like; nobody is told."""
        for link in self._links:
            link.path = path

    def move(self, path: Path) -> None:
        """Let both ends go on by another path, as when the client's address changes."""
        self.becomes(path)
        self.client.begin_path(path.mtu)
        self.server.begin_path(path.mtu)

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        self._run_until(lambda: self._events[0][0] > until)
        self.now = until

    def _run_until(self, is_done: Callable[[], bool]) -> None:
        while not is_done():
            self._step()

    def _step(self) -> None:
        self.now, number, end, data = heapq.heappop(self._events)
        quic, peer = self._ends[end]
        if data is not None:
            quic.receive_datagram(data, peer, self.now)
        elif number == self._timers[end]:
            quic.handle_timer(self.now)
        else:
            return  # Another one was set since.
        self._pump(end)

    def _pump(self, end: int) -> None:
        quic, _ = self._ends[end]
        while (event := quic.next_event()) is not None:
            if isinstance(event, StreamDataReceived) and end == 0:
                self._received += len(event.data)
                self._digest.update(event.data)
                quic.consume(len(event.data))
        for data, _ in quic.datagrams_to_send(self.now):
            arrival_s = self._links[end].carry(self.now, len(data))
            if arrival_s is not None:
                self._push(arrival_s, 1 - end, data)
        timer_s = quic.get_timer()
        if timer_s is not None:
            self._timers[end] = self._push(max(timer_s, self.now) + _TICK_S, end, None)

    def _push(self, when_s: float, end: int, data: bytes | None) -> int:
        self._count += 1
        heapq.heappush(self._events, (when_s, self._count, end, data))
        return self._count


def _configuration(algorithm: str, *, is_client: bool) -> QuicConfiguration:
    return QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[ALPN],
        server_name="localhost" if is_client else None,
        verify_mode=ssl.CERT_NONE if is_client else None,
        congestion_control_algorithm=algorithm,
        max_data=32 << 20,
        max_stream_data=16 << 20,
    )
