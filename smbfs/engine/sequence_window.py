"""Message ids and credits: how much we may send.

The server's grants move the end of a window of message ids; we take ids from its start, in
order and without holes. Then "the ids that we may use" is one interval, and the books are two
numbers.

INVARIANT: 0 <= next_message_id <= limit.
Credits are spent when ids are taken, not when answers come back.

Spec: [MS-SMB2] 3.2.1.2 (SequenceWindow), 3.2.4.1.5, 3.2.4.1.6, 3.2.5.1.4.
"""

from __future__ import annotations

from smbfs.errors import LocalProtocolError

CREDIT_UNIT = 65536
"""Bytes of payload that one credit pays for."""


def credit_charge(payload: int) -> int:
    """Return the CreditCharge of a request whose larger direction carries ``payload`` bytes."""
    return max(1, (payload + CREDIT_UNIT - 1) // CREDIT_UNIT)


class SequenceWindow:
    """The interval of message ids that the server has granted and we have not used."""

    __slots__ = ("_limit", "_next_message_id")

    def __init__(self) -> None:
        self._next_message_id = 0
        self._limit = 1  # NEGOTIATE may be sent on the single initial credit.

    @property
    def credits(self) -> int:
        """Message ids that may be used now."""
        return self._limit - self._next_message_id

    def take(self, count: int) -> int:
        """Use ``count`` consecutive ids and return the first."""
        if not 0 < count <= self.credits:
            raise LocalProtocolError(f"{count} message ids wanted, {self.credits} granted")
        first = self._next_message_id
        self._next_message_id += count
        return first

    def grant(self, count: int) -> None:
        """Move the end of the window: the server granted ``count`` more credits."""
        self._limit += count

    def check_invariants(self) -> None:
        """Raise ``AssertionError`` when the books are wrong. Called by tests."""
        assert 0 <= self._next_message_id <= self._limit
