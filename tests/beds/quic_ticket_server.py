"""A QUIC server that gives session tickets and takes early data: aioquic's own, in a thread.

Our gateway gives none, since Samba's client does not survive one. It says what it has seen of each
connection, and answers each frame with the same frame.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import HandshakeCompleted, QuicEvent, StreamDataReceived
from aioquic.tls import SessionTicket

from smbfs.transport.quic_connection import ALPN, STREAM_ID
from tests.beds.pki import Leaf


@dataclass
class Seen:
    """What the server has seen of one connection."""

    is_complete: bool = False
    is_resumed: bool = False
    took_early_data: bool = False
    received: bytearray = field(default_factory=bytearray)


class TicketServer:
    """A running server."""

    def __init__(self, leaf: Leaf) -> None:
        self.seen: list[Seen] = []
        self._tickets: dict[bytes, SessionTicket] = {}
        self._configuration = QuicConfiguration(is_client=False, alpn_protocols=[ALPN])
        self.show(leaf)
        self._loop = asyncio.new_event_loop()
        self._is_ready = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        self._is_ready.wait()

    def show(self, leaf: Leaf) -> None:
        """Have this certificate from now on."""
        self._configuration.load_cert_chain(leaf.cert, leaf.key)

    def forget_tickets(self) -> None:
        """Resume nothing any more."""
        self._tickets.clear()

    async def _run(self) -> None:
        server = await serve(
            "127.0.0.1",
            0,
            configuration=self._configuration,
            create_protocol=self._protocol,
            session_ticket_fetcher=self._tickets.get,
            session_ticket_handler=lambda ticket: self._tickets.update({ticket.ticket: ticket}),
        )
        transport = server._transport
        assert transport is not None
        self.port: int = transport.get_extra_info("sockname")[1]
        self._is_ready.set()
        await self._end.wait()
        server.close()

    def _protocol(self, *arguments: Any, **more: Any) -> QuicConnectionProtocol:  # noqa: ANN401
        seen = Seen()
        self.seen.append(seen)
        return _Protocol(seen, *arguments, **more)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self._loop.close()


class _Protocol(QuicConnectionProtocol):
    def __init__(self, seen: Seen, *arguments: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **more)
        self._seen = seen

    def quic_event_received(self, event: QuicEvent) -> None:
        match event:
            case HandshakeCompleted():
                self._seen.is_complete = True
                self._seen.is_resumed = event.session_resumed
                self._seen.took_early_data = event.early_data_accepted
            case StreamDataReceived():
                # What comes early may be all that comes before the client has gone.
                self._seen.is_resumed = self._quic.tls.session_resumed
                self._seen.took_early_data = self._quic.tls.early_data_accepted
                self._seen.received += event.data
                self._quic.send_stream_data(STREAM_ID, event.data)
                self.transmit()


@contextmanager
def ticket_server(leaf: Leaf) -> Iterator[TicketServer]:
    """Serve on a free UDP port of loopback."""
    server = TicketServer(leaf)
    try:
        yield server
    finally:
        server.stop()
