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
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

from aioquic.quic.congestion.base import (
    K_INITIAL_WINDOW,
    QuicCongestionControl,
    register_congestion_control,
)
from aioquic.quic.packet_builder import QuicSentPacket

from smbfs.transport.bbr_model import Aggregation, FullPipe, MaxFilter, WindowBound
from smbfs.transport.delivery_rate import DeliveryRate, Sample

BBR: Final = "bbr"
"""aioquic's name of it, and the kernel's."""

_HIGH_GAIN: Final = 2.89
"""2/ln 2: doubles what is delivered with each round trip."""

_CYCLE: Final = (1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
"""Ask for more, drain the queue which that made, cruise."""

_WINDOW_GAIN: Final = 2.0
_WINDOW_MIN: Final = 4
"""Datagrams that may always be on their way."""

_MIN_RTT_S: Final = 10.0
"""Seconds for which the shortest round trip is believed."""

_PROBE_RTT_S: Final = 0.2
_PROBE_RTT_GAIN: Final = 0.5

_LOSS_MAX: Final = 0.15
"""Part of a round that may be lost by bad luck; more than that is a buffer that was too small."""

_LOSS_ROUND: Final = 20
"""Datagrams in a round from which on what it lost says something: else a window that has become
small would never open again."""

_HOST_DELAY_S: Final = 0.002
"""What two hosts need to answer when they are busy; less than that is no reason to send less."""


class State(Enum):
    """What a connection is about. Spec: section 4.3 of the draft."""

    STARTUP = auto()
    DRAIN = auto()
    PROBE_BW = auto()
    PROBE_RTT = auto()


class BbrCongestionControl(QuicCongestionControl):
    """See the module. The path's pacer asks for :attr:`pacing_rate`."""

    def __init__(self, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self._max_datagram_size = max_datagram_size
        self.state = State.STARTUP
        self._delivery = DeliveryRate()
        self._newly_acked = 0
        # The model.
        self._bandwidth = MaxFilter()
        self._aggregation = Aggregation()
        self._pipe = FullPipe()
        self._bound = WindowBound()
        self._min_rtt_s = math.inf
        self._min_rtt_seen_s = 0.0
        # Rounds.
        self._round = 0
        self._round_ends_at = 0
        self._round_lost = 0
        self._round_began_at = 0
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
        least = K_INITIAL_WINDOW if not self._pipe.is_full else _WINDOW_MIN
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
        self._delivery.limited_by_application(self.bytes_in_flight)

    def on_packet_sent(self, *, packet: QuicSentPacket) -> None:
        """Note how things stand, for when it is acknowledged."""
        self._delivery.sent(packet, is_first=self.bytes_in_flight == 0)
        self.bytes_in_flight += packet.sent_bytes

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        """Count what was delivered; :meth:`on_rtt_measurement` sees what follows from it."""
        self.bytes_in_flight -= packet.sent_bytes
        self._newly_acked += packet.sent_bytes
        self._delivery.acked(packet, now)

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:
        """Forget packets that nobody waits for any more."""
        for packet in packets:
            self.bytes_in_flight -= packet.sent_bytes
            self._delivery.forget(packet)

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:  # noqa: ARG002
        """Count what was lost; a little of it is no reason to send less."""
        for packet in packets:
            self.bytes_in_flight -= packet.sent_bytes
            self._round_lost += packet.sent_bytes
            self._delivery.forget(packet)

    def on_persistent_congestion(self) -> None:
        """Begin anew with little: nothing got through for long.

        What was lost meanwhile says that the line was away, and not how much it carries.
        """
        self.congestion_window = _WINDOW_MIN * self._max_datagram_size
        self._round_lost = 0

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        """See what an acknowledgement tells: aioquic calls this once for each."""
        sample = self._delivery.sample(now)
        acked, self._newly_acked = self._newly_acked, 0
        if sample is None:
            return
        is_round_start = self._count_round(sample)
        self._measure_bandwidth(sample)
        self._aggregation.look(self._round, now, self.bandwidth, acked, self.congestion_window)
        if is_round_start:
            self._end_round(is_app_limited=sample.is_app_limited)
        # Where little was on its way, no queue was either, and that is a measurement.
        is_stale = self._measure_rtt(now, rtt) and not sample.is_app_limited
        self._change_state(now, is_stale=is_stale)
        self._set_window(acked)

    # ------------------------------------------------------------- the model

    def _count_round(self, sample: Sample) -> bool:
        if sample.delivered_before < self._round_ends_at:
            return False
        self._round_ends_at = self._delivery.delivered
        self._round += 1
        return True

    def _measure_bandwidth(self, sample: Sample) -> None:
        # Faster than light is a heap of acknowledgements.
        if sample.took_s <= 0 or sample.took_s < self._min_rtt_s < math.inf:
            return
        rate = sample.size / sample.took_s
        if not sample.is_app_limited or rate >= self.bandwidth:
            self._bandwidth.add(self._round, rate)

    def _measure_rtt(self, now: float, rtt: float) -> bool:
        """Return whether it is long ago that the shortest round trip was seen."""
        is_stale = now > self._min_rtt_seen_s + _MIN_RTT_S
        if rtt <= self._min_rtt_s or is_stale:
            self._min_rtt_s = rtt
            self._min_rtt_seen_s = now
        return is_stale

    def _end_round(self, *, is_app_limited: bool) -> None:
        lost, self._round_lost = self._round_lost, 0
        delivered = self._delivery.delivered - self._round_began_at
        self._round_began_at = self._delivery.delivered
        judged = lost + delivered >= _LOSS_ROUND * self._max_datagram_size
        is_lossy = judged and lost > _LOSS_MAX * (lost + delivered)
        self._bound.look(self.congestion_window, is_lossy=is_lossy)
        if self.state is State.STARTUP and not is_app_limited:
            self._pipe.look(self.bandwidth, is_lossy=is_lossy)

    # ------------------------------------------------------------- what follows

    def _change_state(self, now: float, *, is_stale: bool) -> None:
        if self.state is State.STARTUP and self._pipe.is_full:
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
                if self._pipe.is_full:
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
                return is_over and (is_tried or self._delivery.is_app_limited)
            case 0.75:
                return is_over or self.bytes_in_flight <= self._in_flight(1.0)
            case _:
                return is_over

    def _set_window(self, acked: int) -> None:
        least = _WINDOW_MIN * self._max_datagram_size
        if self.state is State.PROBE_RTT:
            self.congestion_window = max(least, int(self._in_flight(_PROBE_RTT_GAIN)))
            return
        gain = _WINDOW_GAIN if self._pipe.is_full else _HIGH_GAIN
        target = int(self._in_flight(gain) + self._aggregation.extra) + 3 * self._max_datagram_size
        window = self.congestion_window + acked
        if self._pipe.is_full:
            window = min(window, target)
        elif self.congestion_window >= target:
            initial = K_INITIAL_WINDOW * self._max_datagram_size
            window = self.congestion_window if self._delivery.delivered > initial else window
        self.congestion_window = max(int(min(window, self._bound.bound)), least)


register_congestion_control(BBR, BbrCongestionControl)
