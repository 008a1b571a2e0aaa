"""Who may send next, and with which credits.

Exchanges wait in two queues. Control goes first, and bulk (READ and WRITE) leaves the last
credits to it, so that a CLOSE or a lease acknowledgement never waits behind a gigabyte. Bulk
does not overtake control that waits for credits, or it would spend them for ever.

A server may grant so little that the next exchange is never affordable: a compound of three
needs three credits at once. With nothing under way, but what the server has put off perhaps for
ever, no answer would bring them, so we send an
ECHO of our own, which costs one credit and asks for all that we like to hold, and again as long
as it brings more than it cost. Once it does not, and nothing was put off, waiting is in vain, and
the connection ends.

INVARIANT: ``_under_way``, ``_put_off``, ``_charged`` and ``_asked`` are the sums over the requests
that were sent and not finally answered.

Spec: [MS-SMB2] 3.2.4.1.2 (asking for credits), 3.2.4.1.5, 3.2.5.1.4.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from smbfs.engine.exchange import Exchange, Request, exchange_of
from smbfs.engine.sequence_window import CREDIT_UNIT, SequenceWindow, credit_charge
from smbfs.errors import RemoteProtocolError
from smbfs.wire.echo_cancel import EchoRequest
from smbfs.wire.header import Command

CREDITS_TARGET = 768
"""Credits that we like to hold, spent or not: 48 MiB under way."""

CREDITS_RESERVED = 32
"""Credits that READ and WRITE leave to control messages."""

FRAME_EXCHANGES_MAX = 16
"""Exchanges in one frame."""


class FlowControl:
    """Queues, message ids and the books of credits of one connection."""

    def __init__(self) -> None:
        self._window = SequenceWindow()
        self._charged = 0  # credits spent by requests that are not finally answered
        self._asked = 0  # credits that these requests ask for
        self._under_way = 0  # how many these are
        self._put_off = 0  # how many of them take longer, as the server has said, perhaps for ever
        self._control: deque[Exchange] = deque()
        self._bulk: deque[Exchange] = deque()
        self._credits_before_echo = -1

    @property
    def credits(self) -> int:
        """Credits that may be spent now."""
        return self._window.credits

    @property
    def queued(self) -> int:
        """Exchanges that wait for credits."""
        return len(self._control) + len(self._bulk)

    @property
    def payload_limit(self) -> int:
        """Largest payload in bytes that the credits granted so far could ever carry."""
        total = self._window.credits + self._charged
        return max(1, total - self._reserve(total)) * CREDIT_UNIT

    def add(self, exchange: Exchange, *, multi_credit: bool) -> None:
        """Queue an exchange; ``multi_credit``: the server counts credits by payload."""
        exchange.charge = 0
        for request in exchange.requests:
            request.charge = credit_charge(request.message.credit_payload) if multi_credit else 1
            exchange.charge += request.charge
        (self._bulk if exchange.is_bulk else self._control).append(exchange)

    def withdraw(self, exchange: Exchange) -> bool:
        """Take an exchange out of its queue; returns whether it was still there."""
        for queue in (self._control, self._bulk):
            if exchange in queue:
                queue.remove(exchange)
                return True
        return False

    def next_exchange(self) -> Exchange | None:
        """Take the exchange that may be sent now, if there is one; or an ECHO (see the module).

        Raises: RemoteProtocolError when the server's credits will never suffice.
        """
        brings_credits = self._under_way > self._put_off
        queue = self._control or self._bulk
        if not queue:
            self._credits_before_echo = -1
            return None
        reserve = 0
        if queue is self._bulk and brings_credits:
            # With nothing under way no answer would bring more credits: use what there is.
            reserve = self._reserve(self._window.credits + self._charged)
        if self._affordable(queue[0], reserve=reserve):
            self._credits_before_echo = -1
            return queue.popleft()
        return None if brings_credits else self._echo_for_credits()

    def with_followers(self, first: Exchange) -> list[Exchange]:
        """Take what may travel behind an exchange in the same frame, and return all of them.

        A CLOSE that nobody waits for takes along the next ones, which is cheaper for both sides
        than a frame for each. Nothing else: Samba 4.22 answers with a malformed frame if a CREATE
        behind something else has to wait for a lease break.
        """
        frame = [first]
        charge = first.charge
        while _is_for_nobody(first) and self._control and len(frame) < FRAME_EXCHANGES_MAX:
            follower = self._control[0]
            if not _is_for_nobody(follower):
                break
            charge += follower.charge
            if charge > self.credits or not follower.is_protected_like(first):
                break
            frame.append(self._control.popleft())
        return frame

    def _echo_for_credits(self) -> Exchange | None:
        if self.credits <= max(0, self._credits_before_echo):
            if self._put_off:
                return None  # One of these may bring some.
            raise RemoteProtocolError(
                f"the server grants too few credits: {self.credits}, and no more when asked"
            )
        self._credits_before_echo = self.credits
        echo = exchange_of([EchoRequest()])
        echo.charge = echo.requests[0].charge = 1
        return echo

    def spend(self, request: Request) -> None:
        """Give a request its message id, and let it ask for what we miss."""
        request.message_id = self._window.take(request.charge)
        self._under_way += 1
        self._charged += request.charge
        # What it spends, and what is missing that nobody asked for yet.
        request.asked = max(request.charge, CREDITS_TARGET - self.credits - self._asked)
        self._asked += request.asked

    def put_off(self, request: Request, async_id: int) -> None:
        """Note that the answer to a request will take longer: an interim one says so."""
        self._put_off += bool(async_id) - bool(request.async_id)
        request.async_id = async_id

    def settle(self, request: Request) -> None:
        """Note that a request is finally answered."""
        self._under_way -= 1
        self._put_off -= bool(request.async_id)
        self._charged -= request.charge
        self._asked -= request.asked

    def grant(self, count: int) -> None:
        """Note credits that an answer brought."""
        self._window.grant(count)

    def clear(self) -> list[Exchange]:
        """Forget all requests, for the connection is dead; return what was in the queues."""
        waiting = [*self._control, *self._bulk]
        self._charged = self._asked = self._under_way = self._put_off = 0
        self._control.clear()
        self._bulk.clear()
        return waiting

    def _affordable(self, exchange: Exchange, *, reserve: int) -> bool:
        return exchange.charge + reserve <= self._window.credits

    @staticmethod
    def _reserve(total: int) -> int:
        return min(CREDITS_RESERVED, total // 4)

    def check_invariants(self, outstanding: Collection[Request]) -> None:
        """Raise ``AssertionError`` when the books don't add up. Called by tests."""
        self._window.check_invariants()
        assert self._under_way == len(outstanding)
        assert self._put_off == sum(bool(request.async_id) for request in outstanding)
        assert self._charged == sum(request.charge for request in outstanding)
        assert self._asked == sum(request.asked for request in outstanding)


def _is_for_nobody(exchange: Exchange) -> bool:
    """Whether it only closes files, and nobody waits for the answer."""
    return exchange.waiter is None and all(
        request.message.command == Command.CLOSE for request in exchange.requests
    )
