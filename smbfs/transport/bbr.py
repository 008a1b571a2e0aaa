"""BBR: send as fast as the path was seen to deliver, and keep no more on it than that takes.

A controller like CUBIC takes every loss for congestion; a mobile or a long line that loses two
packets in a hundred by itself leaves it next to nothing. This one measures what the path delivers
and how long a packet needs when no queue is in the way, and paces by the first. Names are those of
the draft.

Spec: draft-cardwell-iccrg-bbr-congestion-control-00 (version 1), with the compensation for
acknowledgements that come in heaps of version 2.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final, NamedTuple

from aioquic.quic.congestion.base import (
    K_INITIAL_WINDOW,
    QuicCongestionControl,
    register_congestion_control,
)
from aioquic.quic.packet_builder import QuicSentPacket

BBR: Final = "bbr"
"""aioquic's name of it, and the kernel's."""

_HIGH_GAIN: Final = 2.89
"""2/ln 2: doubles what is delivered with each round trip."""

_CYCLE: Final = (1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
"""Ask for more, drain the queue which that made, cruise."""

_WINDOW_GAIN: Final = 2.0
_WINDOW_MIN: Final = 4
"""Datagrams that may always be on their way."""

_BANDWIDTH_ROUNDS: Final = 10
_MIN_RTT_S: Final = 10.0
"""Seconds for which the shortest round trip is believed."""

_PROBE_RTT_S: Final = 0.2
_PROBE_RTT_GAIN: Final = 0.5

_GROWTH: Final = 1.25
_FULL_ROUNDS: Final = 3
"""Rounds that brought no growth after which the pipe counts as full."""

_STARTUP_LOSS: Final = 0.1
"""Part of a round that may be lost before it counts as full."""

_HOST_DELAY_S: Final = 0.005
"""What two hosts need to answer when they are busy; less than that is no reason to send less."""


class State(Enum):
    """What a connection is about. Spec: section 4.3 of the draft."""

    STARTUP = auto()
    DRAIN = auto()
    PROBE_BW = auto()
    PROBE_RTT = auto()


class _Sent(NamedTuple):
    """How things stood when a packet was sent."""

    delivered: int
    delivered_s: float
    first_sent_s: float
    is_app_limited: bool
    sent_s: float


class _MaxFilter:
    """The largest of the values of the last rounds."""

    def __init__(self) -> None:
        self._values: deque[tuple[int, float]] = deque()

    @property
    def best(self) -> float:
        return self._values[0][1] if self._values else 0.0

    def add(self, round_number: int, value: float) -> None:
        while self._values and self._values[-1][1] <= value:
            self._values.pop()
        self._values.append((round_number, value))
        while self._values[0][0] < round_number - _BANDWIDTH_ROUNDS:
            self._values.popleft()


class BbrCongestionControl(QuicCongestionControl):
    """See the module. The path's pacer asks for :attr:`pacing_rate`."""

    def __init__(self, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self._max_datagram_size = max_datagram_size
        self.state = State.STARTUP
        self._sent: dict[int, _Sent] = {}
        # Delivery. Spec: draft-cheng-iccrg-delivery-rate-estimation.
        self._delivered = 0
        self._delivered_s = 0.0
        self._first_sent_s = 0.0
        self._app_limited_until = 0
        self._newest: _Sent | None = None
        self._newly_acked = 0
        # The model.
        self._bandwidth = _MaxFilter()
        self._extra_acked = _MaxFilter()
        self._epoch_s = 0.0
        self._epoch_acked = 0
        self._min_rtt_s = math.inf
        self._min_rtt_seen_s = 0.0
        # Rounds, and whether they have filled the pipe.
        self._round = 0
        self._round_ends_at = 0
        self._round_lost = 0
        self._round_began_at = 0
        self._full_bandwidth = 0.0
        self._full_rounds = 0
        self._is_full = False
        # Phases.
        self._phase = 0
        self._phase_began_s = 0.0
        self._probe_rtt_until_s = 0.0
        self._probe_rtt_round = 0
        self._window_before = 0

    # ------------------------------------------------------------- what others ask

    @property
    def bandwidth(self) -> float:
        """Bytes a second that the path has delivered."""
        return self._bandwidth.best

    @property
    def pacing_rate(self) -> float:
        """Bytes a second to send; infinite as long as nothing is known."""
        if self._min_rtt_s == math.inf:
            return math.inf
        # What is known of a path on which little was sent is no measure of what it carries.
        least = K_INITIAL_WINDOW if not self._is_full else _WINDOW_MIN
        floor = least * self._max_datagram_size / max(self._min_rtt_s, 0.001)
        return max(self._pacing_gain * self.bandwidth, floor)

    @property
    def _pacing_gain(self) -> float:
        match self.state:
            case State.STARTUP:
                return _HIGH_GAIN
            case State.DRAIN:
                return 1 / _HIGH_GAIN
            case State.PROBE_BW:
                return _CYCLE[self._phase]
            case State.PROBE_RTT:
                return 1.0

    def _in_flight(self, gain: float) -> float:
        """Bytes on the way when the path delivers ``gain`` times what it can."""
        return gain * self.bandwidth * max(self._min_rtt_s, _HOST_DELAY_S)

    # ------------------------------------------------------------- aioquic's questions

    def on_app_limited(self) -> None:
        """There is nothing more to send for now: what is delivered says nothing of the path."""
        self._app_limited_until = self._delivered + self.bytes_in_flight or 1

    def on_packet_sent(self, *, packet: QuicSentPacket) -> None:
        """Note how things stand, for when it is acknowledged."""
        now = packet.sent_time or 0.0
        if self.bytes_in_flight == 0:
            self._first_sent_s = self._delivered_s = now
        self.bytes_in_flight += packet.sent_bytes
        self._sent[packet.packet_number] = _Sent(
            self._delivered,
            self._delivered_s,
            self._first_sent_s,
            self._app_limited_until > 0,
            now,
        )

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        """Count what was delivered; :meth:`on_rtt_measurement` sees what follows from it."""
        self.bytes_in_flight -= packet.sent_bytes
        self._delivered += packet.sent_bytes
        self._delivered_s = now
        self._newly_acked += packet.sent_bytes
        sent = self._sent.pop(packet.packet_number, None)
        if sent is not None and (self._newest is None or sent.sent_s >= self._newest.sent_s):
            self._newest = sent
            self._first_sent_s = sent.sent_s

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:
        """Forget packets that nobody waits for any more."""
        for packet in packets:
            self.bytes_in_flight -= packet.sent_bytes
            self._sent.pop(packet.packet_number, None)

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:  # noqa: ARG002
        """Count what was lost; that alone is no reason to send less."""
        for packet in packets:
            self.bytes_in_flight -= packet.sent_bytes
            self._round_lost += packet.sent_bytes
            self._sent.pop(packet.packet_number, None)

    def on_persistent_congestion(self) -> None:
        """Begin anew with little: nothing got through for long."""
        self.congestion_window = _WINDOW_MIN * self._max_datagram_size

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        """See what an acknowledgement tells: aioquic calls this once for each."""
        sent, self._newest = self._newest, None
        acked, self._newly_acked = self._newly_acked, 0
        if sent is None:
            return
        if self._app_limited_until and self._delivered > self._app_limited_until:
            self._app_limited_until = 0
        is_round_start = self._count_round(sent)
        self._measure_bandwidth(now, sent)
        self._measure_aggregation(now, acked)
        if is_round_start:
            self._check_full(is_app_limited=sent.is_app_limited)
        # Where little was on its way, no queue was either, and that is a measurement.
        is_stale = self._measure_rtt(now, rtt) and not sent.is_app_limited
        self._change_state(now, is_stale=is_stale)
        self._set_window(acked)

    # ------------------------------------------------------------- the model

    def _count_round(self, sent: _Sent) -> bool:
        if sent.delivered < self._round_ends_at:
            return False
        self._round_ends_at = self._delivered
        self._round += 1
        return True

    def _measure_bandwidth(self, now: float, sent: _Sent) -> None:
        took_s = max(sent.sent_s - sent.first_sent_s, now - sent.delivered_s)
        # Faster than light is a heap of acknowledgements.
        if took_s <= 0 or took_s < self._min_rtt_s < math.inf:
            return
        rate = (self._delivered - sent.delivered) / took_s
        if not sent.is_app_limited or rate >= self.bandwidth:
            self._bandwidth.add(self._round, rate)

    def _measure_aggregation(self, now: float, acked: int) -> None:
        """Measure how much more is acknowledged at once than the path delivers evenly."""
        expected = self.bandwidth * (now - self._epoch_s)
        if self._epoch_acked <= expected:
            self._epoch_s, self._epoch_acked, expected = now, 0, 0.0
        self._epoch_acked += acked
        extra = min(self._epoch_acked - expected, self.congestion_window)
        self._extra_acked.add(self._round, extra)

    def _measure_rtt(self, now: float, rtt: float) -> bool:
        """Return whether it is long ago that the shortest round trip was seen."""
        is_stale = now > self._min_rtt_seen_s + _MIN_RTT_S
        if rtt <= self._min_rtt_s or is_stale:
            self._min_rtt_s = rtt
            self._min_rtt_seen_s = now
        return is_stale

    def _check_full(self, *, is_app_limited: bool) -> None:
        lost, self._round_lost = self._round_lost, 0
        delivered = self._delivered - self._round_began_at
        self._round_began_at = self._delivered
        if self.state is not State.STARTUP or is_app_limited:
            return
        if self.bandwidth >= self._full_bandwidth * _GROWTH:
            self._full_bandwidth = self.bandwidth
            self._full_rounds = 0
        else:
            self._full_rounds += 1
        is_lossy = lost > _STARTUP_LOSS * (lost + delivered)
        self._is_full = self._full_rounds >= _FULL_ROUNDS or is_lossy

    # ------------------------------------------------------------- what follows

    def _change_state(self, now: float, *, is_stale: bool) -> None:
        if self.state is State.STARTUP and self._is_full:
            self.state = State.DRAIN
        if self.state is State.DRAIN and self.bytes_in_flight <= self._in_flight(1.0):
            self._enter_probe_bw(now)
        if self.state is State.PROBE_BW and self._is_next_phase(now):
            self._phase = (self._phase + 1) % len(_CYCLE)
            self._phase_began_s = now
        if self.state is State.PROBE_RTT:
            if now >= self._probe_rtt_until_s and self._round > self._probe_rtt_round:
                self._min_rtt_seen_s = now
                self.congestion_window = self._window_before
                if self._is_full:
                    self._enter_probe_bw(now)
                else:
                    self.state = State.STARTUP
        elif is_stale:
            self.state = State.PROBE_RTT
            self._window_before = self.congestion_window
            self._probe_rtt_until_s = now + _PROBE_RTT_S
            self._probe_rtt_round = self._round

    def _enter_probe_bw(self, now: float) -> None:
        self.state = State.PROBE_BW
        self._phase = 2
        self._phase_began_s = now

    def _is_next_phase(self, now: float) -> bool:
        is_over = now - self._phase_began_s > self._min_rtt_s
        match _CYCLE[self._phase]:
            case 1.25:
                is_tried = self.bytes_in_flight >= self._in_flight(1.25) or self._round_lost > 0
                return is_over and (is_tried or self._app_limited_until > 0)
            case 0.75:
                return is_over or self.bytes_in_flight <= self._in_flight(1.0)
            case _:
                return is_over

    def _set_window(self, acked: int) -> None:
        least = _WINDOW_MIN * self._max_datagram_size
        if self.state is State.PROBE_RTT:
            self.congestion_window = max(least, int(self._in_flight(_PROBE_RTT_GAIN)))
            return
        gain = _WINDOW_GAIN if self._is_full else _HIGH_GAIN
        target = int(self._in_flight(gain) + self._extra_acked.best) + 3 * self._max_datagram_size
        window = self.congestion_window + acked
        if self._is_full:
            window = min(window, target)
        elif self.congestion_window >= target and self._delivered > self._initial_window:
            window = self.congestion_window
        self.congestion_window = max(window, least)

    @property
    def _initial_window(self) -> int:
        return K_INITIAL_WINDOW * self._max_datagram_size


register_congestion_control(BBR, BbrCongestionControl)
