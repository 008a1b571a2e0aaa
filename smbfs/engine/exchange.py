"""Requests, the compounds they travel in, and the answers that they wait for.

Spec: [MS-SMB2] 3.2.1.7 (Request), 3.2.4.1.4 (compounds).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from smbfs.engine.session import Session
from smbfs.wire.header import Command, Header
from smbfs.wire.message import Message

BULK_COMMANDS = frozenset({Command.READ, Command.WRITE})
"""Commands that carry file contents. They may not spend the last credits."""


class Response(NamedTuple):
    """One answer. ``body`` is a view of the frame that it came in: no copy was made."""

    header: Header
    body: memoryview


@dataclass(slots=True, eq=False)
class Request:
    """One request of an exchange."""

    message: Message
    message_id: int = -1
    """Assigned when it is sent."""
    charge: int = 0
    """Credits that it spent."""
    asked: int = 0
    """Credits that it asked for."""
    async_id: int = 0
    """Set by an interim answer; a CANCEL must then name it instead of the message id."""
    response: Response | None = None
    """The final answer."""
    raw_response: bytes = b""
    """The whole final message; kept for SESSION_SETUP alone, whose signature is checked late."""


@dataclass(slots=True, eq=False)
class Exchange:
    """Requests that travel as one frame, and what became of them.

    More than one request means a related compound: each after the first works on the file and
    tree of the one before (FLAGS_RELATED_OPERATIONS).
    """

    requests: tuple[Request, ...]
    session: Session | None = None
    tree_id: int = 0
    encrypt: bool = False
    """The tree asks for sealing (the session may, too)."""
    channel_sequence: int = 0
    """How many channels the session had lost when this was sent (3.2.4.1, SMB 3 alone)."""
    is_replay: bool = False
    """The server may have executed it before, and shall find out (3.2.4.1)."""
    must_be_protected: bool = False
    """Answers must be signed or sealed even if the session does not require it."""
    epoch: int = 0
    """Which session of its owner's it was sent in."""
    times_proved: int = 0
    """How often that session had been proved anew by then."""
    sent_s: float = 0.0
    """When its frame was made, by whatever clock the owner has."""
    waiter: object = None
    """Whatever the owner wants to be reminded of by ``Completed``."""
    charge: int = 0
    """Credits that it costs, once it is queued."""
    unanswered: int = field(init=False)

    def __post_init__(self) -> None:
        self.unanswered = len(self.requests)

    @property
    def is_bulk(self) -> bool:
        """Whether it moves file contents, and so must leave credits for the others."""
        return any(request.message.command in BULK_COMMANDS for request in self.requests)

    def is_protected_like(self, other: Exchange) -> bool:
        """Whether both can travel in one frame: signed, or sealed, with the same keys."""
        return self.session is other.session and self.encrypt == other.encrypt

    def response(self, index: int = 0) -> Response:
        """Return the answer to the request at ``index`` of a completed exchange."""
        response = self.requests[index].response
        assert response is not None, "the exchange is not complete"
        return response


def exchange_of(
    messages: Sequence[Message],
    *,
    session: Session | None = None,
    tree_id: int = 0,
    encrypt: bool = False,
) -> Exchange:
    """Return an exchange of ``messages``, not yet submitted."""
    return Exchange(
        tuple([Request(message) for message in messages]),
        session=session,
        tree_id=tree_id,
        encrypt=encrypt,
    )
