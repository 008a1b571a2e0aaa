"""A server that is far away: a TCP proxy that passes everything on, half a round trip later.

There is no netem in every kernel, so the distance is made here. Bandwidth is not limited: what
arrives together leaves together.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from typing import Self

from tests.beds.relay import accept_links

_CHUNK = 1 << 18


class Distance:
    """Listens on a free port of loopback for the length of a ``with`` block."""

    def __init__(self, host: str, port: int, *, round_trip_s: float) -> None:
        self._server = (host, port)
        self._delay_s = round_trip_s / 2
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_raised: object) -> None:
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    @staticmethod
    def _start(run: object, *arguments: object) -> None:
        threading.Thread(target=run, args=arguments, daemon=True).start()  # type: ignore[arg-type]

    def _accept(self) -> None:
        accept_links(self._listener, self._server, self._join)

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        self._ends += [client, server]
        for source, target in ((client, server), (server, client)):
            road: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
            self._start(self._depart, source, road)
            self._start(self._arrive, target, road)

    def _depart(self, source: socket.socket, road: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK):
                road.put((time.monotonic() + self._delay_s, chunk))
        road.put((0.0, b""))

    @staticmethod
    def _arrive(target: socket.socket, road: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        with contextlib.suppress(OSError):
            while True:
                at_s, chunk = road.get()
                if not chunk:
                    target.shutdown(socket.SHUT_WR)
                    return
                time.sleep(max(0.0, at_s - time.monotonic()))
                target.sendall(chunk)
