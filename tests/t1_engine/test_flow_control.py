"""Servers that grant few credits: what we do for more, and when we give up."""

from __future__ import annotations

from collections import deque

import pytest

from smbfs.engine.exchange import Exchange
from smbfs.errors import RemoteProtocolError
from smbfs.wire.change_notify import ChangeNotifyRequest
from smbfs.wire.close_flush import CloseRequest, FlushRequest
from smbfs.wire.create import CreateRequest, FileId
from smbfs.wire.error_response import ErrorResponse
from smbfs.wire.header import Command, Header
from smbfs.wire.message import Message
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.read_write import ReadRequest, ReadResponse
from tests.beds.scripted_server import FILE_ID, ScriptedServer, file_contents
from tests.t1_engine.conversation import Conversation, connect
from tests.t1_engine.test_connection import pending

UNIT = 65536
COMPOUND: tuple[Message, ...] = (
    CreateRequest("file", desired_access=1),
    FlushRequest(FileId.RELATED),
    CloseRequest(FileId.RELATED),
)


def commands(conversation: Conversation) -> list[Command]:
    return [header.command for header in conversation.server.received]


def grant_one(_header: Header) -> int:
    return 1


def grant_one_more_for_echo(header: Header) -> int:
    return 2 if header.command == Command.ECHO else 1


def test_echo_brings_the_credits_that_a_compound_needs() -> None:
    conversation = connect(ScriptedServer(grant=grant_one_more_for_echo))
    assert conversation.engine.flow.credits == 1
    exchange = conversation.perform(*COMPOUND)
    assert exchange.unanswered == 0
    assert commands(conversation)[-5:] == [
        Command.ECHO,
        Command.ECHO,
        Command.CREATE,
        Command.FLUSH,
        Command.CLOSE,
    ]
    assert conversation.server.violations == []


def test_echo_brings_the_credits_that_a_large_read_needs() -> None:
    conversation = connect(ScriptedServer(grant=grant_one_more_for_echo))
    exchange = conversation.perform(ReadRequest(FILE_ID, 0, 4 * UNIT))
    data = ReadResponse.decode(exchange.response().body).data
    assert bytes(data) == file_contents(0, 4 * UNIT)


def watched(conversation: Conversation) -> tuple[Exchange, list[bytes]]:
    """Ask a server that says that it takes longer; return that, and its final answer."""
    server = conversation.server
    kept: list[bytes] = []

    def say_that_it_takes_longer(frames: list[bytes]) -> list[bytes]:
        kept.extend(frames)
        return [pending(server, server.received[-1], async_id=5)]

    server.handlers[Command.CHANGE_NOTIFY] = lambda _header, _body: (
        NtStatus.STATUS_NOTIFY_ENUM_DIR,
        ErrorResponse(),
    )
    server.mangle = say_that_it_takes_longer
    watch = conversation.perform(ChangeNotifyRequest(FILE_ID, completion_filter=1))
    assert (watch.unanswered, conversation.engine.flow.credits) == (1, 1)
    server.mangle = lambda frames: frames
    return watch, kept


def test_what_was_put_off_may_bring_what_no_echo_does() -> None:
    grants = iter([3, 1])  # With the final answer, which is made first, and the interim one.

    def grant(header: Header) -> int:
        return next(grants) if header.command == Command.CHANGE_NOTIFY else 1

    conversation = connect(ScriptedServer(grant=grant))
    watch, kept = watched(conversation)
    compound = conversation.perform(*COMPOUND)
    assert commands(conversation)[-1] == Command.ECHO
    assert compound.unanswered == len(COMPOUND)
    conversation.engine.receive_message(bytearray(kept[0]))
    conversation.pump()
    assert (watch.unanswered, compound.unanswered) == (0, 0)


def test_what_may_take_for_ever_keeps_nobody_from_asking_for_credits() -> None:
    """A watched directory: nothing says when its answer comes, or that it brings a credit."""
    conversation = connect(ScriptedServer(grant=grant_one_more_for_echo))
    engine = conversation.engine
    watch, kept = watched(conversation)
    assert conversation.perform(*COMPOUND).unanswered == 0
    assert commands(conversation)[-4:] == [
        Command.ECHO,
        Command.CREATE,
        Command.FLUSH,
        Command.CLOSE,
    ]
    engine.receive_message(bytearray(kept[0]))
    assert (watch.unanswered, engine.outstanding) == (0, 0)
    engine.check_invariants()


@pytest.mark.parametrize("messages", [COMPOUND, (ReadRequest(FILE_ID, 0, 2 * UNIT),)])
def test_a_server_that_never_grants_enough_ends_the_connection(
    messages: tuple[Message, ...],
) -> None:
    conversation = connect(ScriptedServer(grant=grant_one))
    exchange = conversation.exchange(*messages)
    conversation.engine.submit(exchange)
    with pytest.raises(RemoteProtocolError, match="too few credits") as caught:
        conversation.pump()
    assert commands(conversation).count(Command.ECHO) == 1
    assert conversation.engine.failure is caught.value
    assert conversation.engine.fail(caught.value) == [exchange]


def test_a_server_that_takes_the_last_credit_ends_the_connection() -> None:
    conversation = connect(ScriptedServer(grant=grant_one))
    conversation.server.grant = lambda _header: 0
    conversation.perform(ReadRequest(FILE_ID, 0, 10))
    with pytest.raises(RemoteProtocolError, match="too few credits"):
        conversation.perform(ReadRequest(FILE_ID, 0, 10))


def test_bulk_does_not_overtake_control_that_waits_for_credits() -> None:
    conversation = connect(ScriptedServer(grant=lambda header: min(header.credits, 2)))
    engine, server = conversation.engine, conversation.server
    server.grant = lambda header: header.credit_charge
    answers: deque[bytes] = deque()

    def send() -> None:
        while (frame := engine.next_transmission()) is not None:
            answers.extend(server.receive(b"".join(frame)))

    def submit(*messages: Message) -> None:
        engine.submit(conversation.exchange(*messages))

    total = engine.flow.credits
    for _ in range(total):
        submit(ReadRequest(FILE_ID, 0, 10))
    send()
    assert (total, engine.flow.credits) == (5, 1)  # the reserve: not enough for the compound
    submit(*COMPOUND)
    for _ in range(20):
        submit(ReadRequest(FILE_ID, 0, 10))
    while answers:
        engine.receive_message(bytearray(answers.popleft()))
        send()
    sent = commands(conversation)
    reads_before = sent[: sent.index(Command.CREATE)].count(Command.READ)
    assert reads_before <= total
    assert sent.count(Command.READ) == total + 20
