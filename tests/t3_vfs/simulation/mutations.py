"""Ways to break the client that the simulation must notice, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from smbfs.client.lifeline import Lifeline
from smbfs.client.open import Open
from smbfs.client.sender import Sender
from smbfs.engine.exchange import Exchange
from smbfs.engine.lease_table import LeaseTable
from smbfs.engine.leases import Lease
from smbfs.engine.protection import authenticate
from smbfs.engine.session import Session
from smbfs.errors import TransportError
from smbfs.vfs.recovery import Recovery
from smbfs.vfs.write_queue import WriteQueue
from smbfs.wire.close_flush import CloseRequest
from smbfs.wire.header import Header, HeaderFlags
from smbfs.wire.message import Buffer, Message

Mutation = Callable[[], AbstractContextManager[Any]]

_exchange = Sender.exchange
_write = Open.write
_next_session = Lifeline.next_session


def _without_replay(self: Sender, *args: Any, **named: Any) -> Exchange:  # noqa: ANN401
    exchange = _exchange(self, *args, **named)
    exchange.is_replay = False
    return exchange


def _as_ever(self: Open, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    del self
    return messages


def _close_anyway(self: Open) -> None:
    self.leave_lease()
    self.tree.send(CloseRequest(self.file_id))


def _count_anew(self: Lifeline) -> None:
    _next_session(self)
    self.channel_sequence = 0


def _believe(session: Session, element: memoryview, header: Header) -> None:
    del session, element, header


def _without_signature(
    element: memoryview, header: Header, exchange: Exchange, sealed_by: Session | None
) -> None:
    if header.flags & HeaderFlags.SIGNED:
        authenticate(element, header, exchange, sealed_by)


def _do_nothing(*_: object) -> None:
    pass


async def _write_anyhow(self: Open, offset: int, data: Buffer) -> int:
    try:
        return await _write(self, offset, data)
    except TransportError:
        return len(data)


def _only_known(lease: Lease) -> bool:
    return bool(lease.opens and lease.is_known)


MUTATIONS: dict[str, Mutation] = {
    "a repeated request does not say so": lambda: mock.patch.object(
        Sender, "exchange", _without_replay
    ),
    "lost channels are not counted": lambda: mock.patch("smbfs.client.lifeline._SEQUENCES", 1),
    "a new session counts anew": lambda: mock.patch.object(Lifeline, "next_session", _count_anew),
    "everything is repeated": lambda: mock.patch(
        "smbfs.client.sender.may_repeat", return_value=True
    ),
    "an open of a lost session is used": lambda: mock.patch.object(Open, "addressed", _as_ever),
    "an open of a lost session is closed": lambda: mock.patch.object(
        Open, "close_unwaited", _close_anyway
    ),
    "a new session is taken for the old one": lambda: mock.patch.object(
        Lifeline, "next_session", _do_nothing
    ),
    "leases outlive their session": lambda: mock.patch.object(
        LeaseTable, "lose_all", return_value=[]
    ),
    "any file at a path is the one that was open": lambda: mock.patch.object(
        Recovery, "_is_same", return_value=True
    ),
    "lost writes are not told": lambda: mock.patch.object(WriteQueue, "_note_lost", _do_nothing),
    "a write without an answer is taken for done": lambda: mock.patch.object(
        Open, "write", _write_anyhow
    ),
    "a wrong signature is good enough": lambda: mock.patch(
        "smbfs.engine.protection.verify_signature", _believe
    ),
    "a missing signature is good enough": lambda: mock.patch(
        "smbfs.engine.connection.authenticate", _without_signature
    ),
    "breaks of unknown leases are not acknowledged": lambda: mock.patch.object(
        Lease, "must_be_acknowledged", property(_only_known)
    ),
}
