"""How fast a path delivers, told from what was sent and what was acknowledged.

Each packet remembers how much had been delivered when it left. When it is acknowledged, what was
delivered since, by the time that it took to send or to acknowledge, is a sample of the path's rate.

Spec: draft-cheng-iccrg-delivery-rate-estimation-02.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from aioquic.quic.packet_builder import QuicSentPacket


@dataclass(frozen=True, slots=True)
class Sample:
    """What one acknowledgement tells of the path."""

    delivered_before: int
    """Bytes that had been delivered when its newest packet was sent."""
    size: int
    """Bytes delivered since."""
    took_s: float
    is_app_limited: bool
    """Whether less was sent than might have been: the path may be faster."""


class _Sent(NamedTuple):
    delivered: int
    delivered_s: float
    first_sent_s: float
    is_app_limited: bool
    sent_s: float


class DeliveryRate:
    """The books of one path."""

    def __init__(self) -> None:
        self.delivered = 0
        """Bytes acknowledged so far."""
        self._delivered_s = 0.0
        self._first_sent_s = 0.0
        self._limited_until = 0
        self._sent: dict[int, _Sent] = {}
        self._newest: _Sent | None = None

    @property
    def is_app_limited(self) -> bool:
        """Whether what is on its way is less than might be."""
        return self._limited_until > 0

    def limited_by_application(self, in_flight: int) -> None:
        """There is nothing more to send, with ``in_flight`` bytes on their way."""
        self._limited_until = max(self.delivered + in_flight, 1)

    def sent(self, packet: QuicSentPacket, *, is_first: bool) -> None:
        """Note a packet; ``is_first``: nothing else is on its way."""
        now = packet.sent_time or 0.0
        if is_first:
            self._first_sent_s = self._delivered_s = now
        self._sent[packet.packet_number] = _Sent(
            self.delivered, self._delivered_s, self._first_sent_s, self.is_app_limited, now
        )

    def acked(self, packet: QuicSentPacket, now: float) -> None:
        """Count a packet that has arrived."""
        self.delivered += packet.sent_bytes
        self._delivered_s = now
        sent = self._sent.pop(packet.packet_number, None)
        if sent is not None and (self._newest is None or sent.sent_s >= self._newest.sent_s):
            self._newest = sent
            self._first_sent_s = sent.sent_s

    def forget(self, packet: QuicSentPacket) -> None:
        """A packet was lost, or is waited for no more."""
        self._sent.pop(packet.packet_number, None)

    def sample(self, now: float) -> Sample | None:
        """Return what the packets tell that were acknowledged since the last sample."""
        sent, self._newest = self._newest, None
        if sent is None:
            return None
        if self.delivered > self._limited_until:
            self._limited_until = 0
        took_s = max(sent.sent_s - sent.first_sent_s, now - sent.delivered_s)
        return Sample(sent.delivered, self.delivered - sent.delivered, took_s, sent.is_app_limited)
