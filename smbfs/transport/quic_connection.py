"""aioquic's connection, with a bound on what it keeps in memory.

aioquic grows a receive window when bytes arrive, not when somebody takes them, and it takes
whatever is written. Here a window follows what was consumed, and whoever writes can see how much
still waits; and what comes in pieces comes in so many alone. What has to be known of aioquic's
inside is known in this module, in :mod:`smbfs.transport.sized_connection` and in
:mod:`smbfs.transport.quic_tls`.

Spec: RFC 9000; [MS-SMB2] 2.1 (SMB over QUIC: one bidirectional stream of the client's).
"""

from __future__ import annotations

from typing import Any, Final

from aioquic.buffer import Buffer
from aioquic.quic.connection import (
    MAX_STREAM_DATA_FRAME_CAPACITY,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.stream import QuicStream

from smbfs.transport.base import Flow
from smbfs.transport.path_mtu import BASE
from smbfs.transport.ranges import Ranges
from smbfs.transport.sized_connection import SizedConnection

ALPN: Final = "smb"
"""Spec: [MS-SMB2] 2.1."""

STREAM_ID: Final = 0
"""The first bidirectional stream that a client opens; SMB uses no other."""

UNSENT_MAX: Final = 256 * 1024
"""Bytes that may wait for the network before whoever writes has to."""

STREAM_WINDOW: Final = 17 * 1024 * 1024
"""Bytes that the peer may send beyond those that we have taken: enough for 1 Gbit/s over 100 ms,
and more than the longest frame, which is taken whole."""

FIRST_WINDOW: Final = 1024 * 1024
"""The same, for a stranger. It grows with what is taken: the last byte of a window costs us the
memory of all of it."""

CONNECTION_WINDOW: Final = 32 * 1024 * 1024
"""Bytes that the peer may send on all streams together; with one stream, that one's window is what
counts."""

GAPS_MAX: Final = STREAM_WINDOW // BASE // 2
"""Gaps that there may be in what has arrived: those of a window of the smallest datagrams of which
every other one is lost. Spec: RFC 9000 section 21.7."""

TLS_MESSAGE_MAX: Final = 128 * 1024
"""Bytes of a message of TLS's: the longest of them are chains of certificates."""


class BoundedConnection(SizedConnection):
    """A connection with one stream, whose window follows :meth:`consume`.

    The first window is the configuration's ``max_stream_data``; later ones are up to
    ``STREAM_WINDOW``.
    """

    # Any: what QuicConnection takes, which differs between its releases.
    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401
        super().__init__(**arguments)
        self._consumed = 0
        self._window: int = self.configuration.max_stream_data
        # The peer shall open no other stream: nobody would read it.
        for limit, count in ((self._local_max_streams_bidi, 1), (self._local_max_streams_uni, 0)):
            limit.value = limit.sent = count

    @property
    def end(self) -> ConnectionTerminated | None:
        """Why the connection ends, as soon as that is decided.

        aioquic's event comes when the closing period is over, which is a second later.
        """
        return self._close_event

    @property
    def is_ended_by_peer(self) -> bool:
        """Whether the peer has closed the connection."""
        return self._state is QuicConnectionState.DRAINING

    @property
    def has_begun(self) -> bool:
        """Whether anything that came was the peer's, and could be decrypted."""
        return self._state is not QuicConnectionState.FIRSTFLIGHT

    @property
    def peer_address(self) -> tuple[Any, ...] | None:
        """Where datagrams are sent to; it changes when a client migrates."""
        return self._network_paths[0].addr if self._network_paths else None

    @property
    def knows_stream(self) -> bool:
        """Whether the stream exists: before, a server can't write to it."""
        return STREAM_ID in self._streams

    @property
    def unacknowledged(self) -> int:
        """Bytes written that the peer has not acknowledged: they are all kept."""
        stream = self._streams.get(STREAM_ID)
        # There is no other way to learn it.
        return len(stream.sender._buffer) if stream is not None else 0  # noqa: SLF001

    @property
    def flow(self) -> Flow:
        """Bytes of the stream that have come in order, were written, and were acknowledged."""
        stream = self._streams.get(STREAM_ID)
        if stream is None:
            return Flow(0, 0, 0)
        sender = stream.sender
        received = stream.receiver._buffer_start  # noqa: SLF001
        return Flow(received, sender._buffer_stop, sender._buffer_start)  # noqa: SLF001

    @property
    def unsent(self) -> int:
        """Bytes written that were not yet put into datagrams."""
        stream = self._streams.get(STREAM_ID)
        if stream is None:
            return 0
        return stream.sender._buffer_stop - stream.sender.highest_offset  # noqa: SLF001

    # ------------------------------------------------------------- what comes in pieces

    def _handle_stream_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        super()._handle_stream_frame(context, frame_type, buf)
        for stream in self._streams.values():
            _count_gaps(stream, frame_type)

    def _handle_crypto_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        super()._handle_crypto_frame(context, frame_type, buf)
        _count_gaps(self._crypto_streams[context.epoch], frame_type)
        if len(self.tls._receive_buffer) > TLS_MESSAGE_MAX:  # noqa: SLF001
            raise _excess("a message of TLS that is too long", frame_type)

    # ------------------------------------------------------------- windows

    def consume(self, count: int) -> bool:
        """Make room for ``count`` bytes more; whether it is time to tell the peer."""
        self._consumed += count
        self._window = max(self._window, min(2 * self._consumed, STREAM_WINDOW))
        stream = self._streams.get(STREAM_ID)
        return stream is not None and self._can_grow(stream)

    def _can_grow(self, stream: QuicStream) -> bool:
        return self._consumed + self._window - stream.max_stream_data_local >= self._window // 4

    # Any: the packet number space has moved between aioquic's modules.
    def _write_stream_limits(
        self,
        builder: QuicPacketBuilder,
        space: Any,  # noqa: ANN401, ARG002 - the method's signature
        stream: QuicStream,
    ) -> None:
        """Announce room for what was consumed; aioquic's own method would for what arrived."""
        if self._can_grow(stream):
            stream.max_stream_data_local = self._consumed + self._window
        if stream.max_stream_data_local_sent != stream.max_stream_data_local:
            buffer = builder.start_frame(
                QuicFrameType.MAX_STREAM_DATA,
                capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
                handler=self._on_max_stream_data_delivery,
                handler_args=(stream,),
            )
            buffer.push_uint_var(STREAM_ID)
            buffer.push_uint_var(stream.max_stream_data_local)
            stream.max_stream_data_local_sent = stream.max_stream_data_local


def _count_gaps(stream: QuicStream, frame_type: int) -> None:
    """See that what has arrived of a stream has not too many gaps. Raises: QuicConnectionError."""
    receiver = stream.receiver
    arrived = receiver._ranges  # noqa: SLF001
    if not isinstance(arrived, Ranges):
        receiver._ranges = Ranges(arrived)  # type: ignore[assignment] # noqa: SLF001
    elif len(arrived) > GAPS_MAX:
        raise _excess("too many gaps", frame_type)


def _excess(what: str, frame_type: int) -> QuicConnectionError:
    return QuicConnectionError(
        error_code=QuicErrorCode.CRYPTO_BUFFER_EXCEEDED
        if frame_type == QuicFrameType.CRYPTO
        else QuicErrorCode.PROTOCOL_VIOLATION,
        frame_type=frame_type,
        reason_phrase=what,
    )
