"""aioquic's connection, with datagrams as large as the path carries, and paced.

aioquic's datagrams have one size for good; here that follows the path
(:mod:`smbfs.transport.path_mtu`). They leave by :mod:`smbfs.transport.pacer`.

Spec: RFC 9000 section 14; RFC 9002 section 7.7.
"""

from __future__ import annotations

import math
from typing import Any, Final

from aioquic import tls
from aioquic.buffer import Buffer, size_uint_var
from aioquic.quic.congestion.base import create_congestion_control
from aioquic.quic.congestion.cubic import CubicCongestionControl
from aioquic.quic.connection import NetworkAddress
from aioquic.quic.packet import (
    QuicFrameType,
    QuicPacketType,
    QuicProtocolVersion,
    pull_quic_transport_parameters,
)
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder
from aioquic.quic.stream import QuicStream

from smbfs.transport.bbr import BbrCongestionControl
from smbfs.transport.pacer import Pacer
from smbfs.transport.path_mtu import BASE, PathMtu
from smbfs.transport.quic_keys import KeyedConnection

_HAS_OFFSET: Final = 4
_HAS_LENGTH: Final = 2

_LENGTH_SIZE: Final = 4
"""Bytes of a STREAM frame's length: two, as aioquic writes, can't say more than 16,383."""

_UDP_PAYLOAD_MAX: Final = 65_527
"""What a peer takes that sets no limit. Spec: RFC 9000 section 18.2."""

_PACING_GAIN: Final = 1.25
"""How much faster than a window in a round trip datagrams leave. Spec: RFC 9002 section 7.7."""

_RTT_MIN_S: Final = 0.001

PROBE_PAUSE_MAX_S: Final = 1.0
"""Seconds between two packets that ask a silent peer whether it is there, on a line that is not so
long that even a few of them take longer. Spec: RFC 9002 section 6.2."""

_BLACK_HOLE_TIMEOUTS: Final = 3
"""Probe timeouts in a row after which the path may have become narrower."""


class SizedConnection(KeyedConnection):
    """A connection that finds out how large its datagrams may be."""

    # Any: what QuicConnection takes, which differs between its releases.
    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401
        super().__init__(**arguments)
        self._link_limit = BASE
        self._peer_limit = _UDP_PAYLOAD_MAX
        self._path_mtu = PathMtu(BASE)
        self._pacer = Pacer(self._pacing_rate, BASE)
        self._loss._pacer = self._pacer  # type: ignore[assignment] # noqa: SLF001

    @property
    def datagram_size(self) -> int:
        """Bytes that a datagram may have at the moment."""
        return self._path_mtu.size

    def begin_path(self, link_limit: int) -> None:
        """Learn anew how wide, fast and long the path is: it is another one.

        ``link_limit``: bytes of the largest datagram that its first step carries.
        Spec: RFC 9000 section 9.4.
        """
        loss = self._loss
        in_flight = loss._cc.bytes_in_flight  # noqa: SLF001
        loss._cc = create_congestion_control(  # noqa: SLF001
            self.configuration.congestion_control_algorithm, max_datagram_size=BASE
        )
        loss._cc.bytes_in_flight = in_flight  # noqa: SLF001
        loss._rtt_initialized = False  # noqa: SLF001
        loss._rtt_min = math.inf  # noqa: SLF001
        self.search_datagram_size(link_limit)

    def search_datagram_size(self, link_limit: int) -> None:
        """Find out how large datagrams may be; ``link_limit`` as for :meth:`begin_path`."""
        self._link_limit = link_limit
        self._path_mtu = PathMtu(max(BASE, min(link_limit, self._peer_limit)))
        self._size_datagrams()

    def _size_datagrams(self) -> None:
        """Tell aioquic, which has it in several places."""
        size = self._path_mtu.size
        self._max_datagram_size = size
        self._pacer.datagram_size = size
        congestion = self._loss._cc  # noqa: SLF001
        congestion._max_datagram_size = size  # type: ignore[attr-defined] # noqa: SLF001
        if isinstance(congestion, CubicCongestionControl):
            congestion.additive_increase_factor = size

    def _parse_transport_parameters(self, data: bytes, from_session_ticket: bool = False) -> None:
        super()._parse_transport_parameters(data, from_session_ticket)
        limit = pull_quic_transport_parameters(Buffer(data=data)).max_udp_payload_size
        if limit is not None:
            self._peer_limit = limit
            self.search_datagram_size(self._link_limit)

    def handle_timer(self, now: float) -> None:
        """See :class:`QuicConnection`. Silence may mean that the path carries less than before."""
        super().handle_timer(now)
        loss = self._loss
        is_silent = loss._pto_count >= _BLACK_HOLE_TIMEOUTS  # noqa: SLF001
        # Each one waits for twice as long as the last. Ours stop at a time after which a line that
        # is back is noticed soon, and a probe that is lost costs nobody anything.
        while (
            loss._pto_count > _BLACK_HOLE_TIMEOUTS  # noqa: SLF001
            and loss.get_probe_timeout() * 2**loss._pto_count > PROBE_PAUSE_MAX_S  # noqa: SLF001
        ):
            loss._pto_count -= 1  # noqa: SLF001
        if is_silent and self._path_mtu.size > BASE:
            self._path_mtu.search_again()
            self._size_datagrams()

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """See :class:`QuicConnection`."""
        congestion = self._loss._cc  # noqa: SLF001
        before = congestion.bytes_in_flight
        datagrams = super().datagrams_to_send(now)
        self._pacer.settle(congestion.bytes_in_flight - before)
        if isinstance(congestion, BbrCongestionControl):
            room = congestion.congestion_window - congestion.bytes_in_flight
            if self._pacing_at is None and room >= self._path_mtu.size:
                congestion.on_app_limited()
        # A peer that is silent would not say whether the probe has arrived.
        is_calm = self._handshake_confirmed and self._loss._pto_count == 0  # noqa: SLF001
        if is_calm and self._close_event is None and self._network_paths[0].is_validated:
            size = self._path_mtu.next_probe(now)
            if size is not None:
                datagrams += self._probe(size, now)
        return datagrams

    def _pacing_rate(self) -> float:
        congestion = self._loss._cc  # noqa: SLF001
        if isinstance(congestion, BbrCongestionControl):
            return congestion.pacing_rate
        if not self._loss._rtt_initialized:  # noqa: SLF001
            return math.inf
        rtt_s = max(self._loss._rtt_smoothed, _RTT_MIN_S)  # noqa: SLF001
        return _PACING_GAIN * congestion.congestion_window / rtt_s

    def _probe(self, size: int, now: float) -> list[tuple[bytes, NetworkAddress]]:
        builder = QuicPacketBuilder(
            host_cid=self.host_cid,
            is_client=self._is_client,
            max_datagram_size=size,
            packet_number=self._packet_number,
            peer_cid=self._peer_cid.cid,
            spin_bit=self._spin_bit,
            version=self._version or QuicProtocolVersion.VERSION_1,
        )
        number = self._packet_number
        builder.start_packet(QuicPacketType.ONE_RTT, self._cryptos[tls.Epoch.ONE_RTT])
        frames = builder.start_frame(
            QuicFrameType.PING, handler=self._on_probe_delivery, handler_args=(self._path_mtu,)
        )
        frames.push_bytes(bytes(builder.remaining_buffer_space))  # Zeros are PADDING frames.
        datagrams = self._flush_builder(
            builder=builder,
            network_path=self._network_paths[0],
            peer_cid=self._peer_cid.cid,
            now=now,
        )
        # That it is lost says nothing of congestion. Spec: RFC 9000 section 14.4.
        packet = self._spaces[tls.Epoch.ONE_RTT].sent_packets[number]
        packet.in_flight = False
        self._loss._cc.on_packets_expired(packets=[packet])  # noqa: SLF001
        return datagrams

    def _on_probe_delivery(self, delivery: QuicDeliveryState, path_mtu: PathMtu) -> None:
        if delivery is QuicDeliveryState.ACKED:
            path_mtu.probe_arrived()
        else:
            path_mtu.probe_lost()
        self._size_datagrams()

    def _write_stream_frame(
        self,
        builder: QuicPacketBuilder,
        space: Any,  # noqa: ANN401, ARG002 - the method's signature
        stream: QuicStream,
        max_offset: int,
    ) -> int:
        """Write what fits, with a length that large datagrams need; return bytes not sent before.

        aioquic's own method would write a wrong length.
        """
        sender = stream.sender
        size = (
            1
            + size_uint_var(stream.stream_id or 0)
            + size_uint_var(sender.next_offset)
            + _LENGTH_SIZE
        )
        before = sender.highest_offset
        frame = sender.get_frame(builder.remaining_flight_space - size, max_offset)
        if frame is None:
            return 0
        buffer = builder.start_frame(
            QuicFrameType.STREAM_BASE | _HAS_OFFSET | _HAS_LENGTH | int(frame.fin),
            capacity=size,
            handler=self._on_data_delivery,
            handler_args=(stream, frame.offset, frame.offset + len(frame.data), frame.fin),
        )
        buffer.push_uint_var(stream.stream_id or 0)
        buffer.push_uint_var(frame.offset)
        buffer.push_uint_var(len(frame.data))
        buffer.push_bytes(frame.data)
        return sender.highest_offset - before

    def _on_data_delivery(
        self,
        delivery: QuicDeliveryState,
        stream: QuicStream,
        start: int,
        stop: int,
        fin: bool,
    ) -> None:
        stream.sender.on_data_delivery(delivery, start, stop, fin)
        if delivery is QuicDeliveryState.ACKED:
            self._path_mtu.data_arrived(stop - start)
        else:
            self._path_mtu.data_lost(stop - start)
