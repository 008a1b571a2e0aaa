"""Whole conversations of the engine with a scripted server, without I/O."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbfs.engine.events import Completed, Ignored
from smbfs.engine.exchange import exchange_of
from smbfs.engine.flow_control import CREDITS_RESERVED
from smbfs.errors import (
    LocalProtocolError,
    NegotiationRefused,
    RemoteProtocolError,
    SecurityViolation,
    TransportError,
)
from smbfs.wire.close_flush import CloseRequest
from smbfs.wire.create import AccessMask, CreateRequest, FileId
from smbfs.wire.dialect import Dialect
from smbfs.wire.echo_cancel import EchoRequest
from smbfs.wire.error_response import ErrorResponse
from smbfs.wire.header import (
    HEADER_SIZE,
    UNSOLICITED_MESSAGE_ID,
    Command,
    Header,
    HeaderFlags,
)
from smbfs.wire.negotiate import Cipher, SecurityMode, SigningAlgorithm
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.read_write import ReadRequest, ReadResponse, WriteRequest
from tests.beds.scripted_server import FILE_ID, ScriptedServer, file_contents
from tests.t1_engine.conversation import OFFER, Conversation, connect, negotiate, sign_on

MIB = 1024 * 1024


def read(conversation: Conversation, offset: int, length: int, **options: bool) -> bytes:
    exchange = conversation.perform(ReadRequest(FILE_ID, offset, length), **options)
    return bytes(ReadResponse.decode(exchange.response().body).data)


# ---------------------------------------------------------------- what must work


@pytest.mark.parametrize("algorithm", list(SigningAlgorithm))
def test_signed_read_with_every_algorithm_of_3_1_1(algorithm: SigningAlgorithm) -> None:
    conversation = connect(ScriptedServer(signing_algorithm=algorithm))
    assert read(conversation, 4096, 100_000) == file_contents(4096, 100_000)
    assert conversation.server.violations == []


@pytest.mark.parametrize("dialect", [Dialect.SMB_2_1, Dialect.SMB_3_0, Dialect.SMB_3_0_2])
def test_signed_read_with_older_dialects(dialect: Dialect) -> None:
    conversation = connect(ScriptedServer(dialect=dialect, cipher=None))
    assert read(conversation, 0, 70_000) == file_contents(0, 70_000)
    assert conversation.server.received[-1].flags & HeaderFlags.SIGNED


@pytest.mark.parametrize("cipher", [Cipher.AES_128_GCM, Cipher.AES_256_GCM])
def test_sealed_read(cipher: Cipher) -> None:
    conversation = connect(ScriptedServer(cipher=cipher))
    conversation.session.encrypt_data = True
    assert read(conversation, 1, 100_000) == file_contents(1, 100_000)


def test_compound_is_one_frame_with_signed_parts() -> None:
    conversation = connect(ScriptedServer())
    exchange = conversation.perform(
        CreateRequest("file", desired_access=AccessMask.READ_DATA),
        ReadRequest(FileId.RELATED, 8, 100),
        CloseRequest(FileId.RELATED),
    )
    create, second, last = conversation.server.received[-3:]
    assert create.next_command
    assert second.next_command
    assert not last.next_command
    assert not create.flags & HeaderFlags.RELATED_OPERATIONS
    assert second.flags & last.flags & HeaderFlags.RELATED_OPERATIONS
    assert bytes(ReadResponse.decode(exchange.response(1).body).data) == file_contents(8, 100)


@pytest.mark.parametrize("sealed", [False, True], ids=["signed", "sealed"])
def test_closes_that_nobody_waits_for_travel_together_and_with_nothing_else(
    *, sealed: bool
) -> None:
    conversation = connect(ScriptedServer())
    conversation.session.encrypt_data = sealed
    closes = [conversation.exchange(CloseRequest(FILE_ID)) for _ in range(2)]
    asked = conversation.exchange(
        CreateRequest("file", desired_access=AccessMask.READ_DATA), CloseRequest(FileId.RELATED)
    )
    for exchange in (*closes, asked):
        conversation.engine.submit(exchange)
    frame = conversation.engine.next_transmission()
    assert frame is not None
    answers = conversation.server.receive(b"".join(frame))
    first, second = conversation.server.received[-2:]
    assert (first.command, second.command) == (Command.CLOSE, Command.CLOSE)
    assert not (first.flags | second.flags) & HeaderFlags.RELATED_OPERATIONS
    assert not second.next_command  # What may have to wait has a frame of its own.
    for answer in answers:
        conversation.engine.receive_message(bytearray(answer))
    conversation.engine.check_invariants()
    assert [exchange.unanswered for exchange in (*closes, asked)] == [0, 0, 2]
    conversation.pump()
    assert asked.unanswered == 0
    assert conversation.server.violations == []


def test_what_has_other_keys_does_not_travel_along() -> None:
    conversation = connect(ScriptedServer())
    conversation.engine.submit(conversation.exchange(CloseRequest(FILE_ID)))
    conversation.engine.submit(conversation.exchange(CloseRequest(FILE_ID), encrypt=True))
    frame = conversation.engine.next_transmission()
    assert frame is not None
    conversation.server.receive(b"".join(frame))
    assert conversation.server.received[-1].command == Command.CLOSE
    assert not conversation.server.received[-1].next_command


def test_payload_of_a_write_is_not_copied() -> None:
    conversation = connect(ScriptedServer())
    payload = bytes(MIB)
    conversation.engine.submit(conversation.exchange(WriteRequest(FILE_ID, 0, payload)))
    frame = conversation.engine.next_transmission()
    assert frame is not None
    assert any(
        piece is payload or (isinstance(piece, memoryview) and piece.obj is payload)
        for piece in frame
    )


def test_payload_of_a_read_is_a_view_of_the_frame() -> None:
    conversation = connect(ScriptedServer())
    exchange = conversation.exchange(ReadRequest(FILE_ID, 0, MIB))
    conversation.engine.submit(exchange)
    request = conversation.engine.next_transmission()
    assert request is not None
    frame = bytearray(conversation.server.receive(b"".join(request))[0])
    conversation.engine.receive_message(frame)
    assert ReadResponse.decode(exchange.response().body).data.obj is frame


# ------------------------------------------------------------- credits and ids


def test_charge_follows_the_payload() -> None:
    conversation = connect(ScriptedServer())
    read(conversation, 0, MIB)
    assert conversation.server.received[-1].credit_charge == 16


def test_a_server_that_grants_one_credit_at_a_time_is_served_in_order() -> None:
    conversation = connect(ScriptedServer(grant=lambda header: max(1, header.credit_charge)))
    exchanges = [conversation.exchange(ReadRequest(FILE_ID, i * 100, 100)) for i in range(50)]
    for exchange in exchanges:
        conversation.engine.submit(exchange)
    conversation.pump()
    assert all(exchange.unanswered == 0 for exchange in exchanges)
    assert conversation.server.violations == []


def test_bulk_leaves_credits_for_control() -> None:
    conversation = connect(ScriptedServer())
    engine = conversation.engine
    for index in range(200):
        engine.submit(conversation.exchange(ReadRequest(FILE_ID, index * MIB, MIB)))
    while engine.next_transmission() is not None:
        pass  # The server does not answer: all credits that bulk may spend are spent.
    assert engine.flow.queued > 0
    assert engine.flow.credits >= CREDITS_RESERVED
    echo = exchange_of([EchoRequest()], session=conversation.session)
    engine.submit(echo)
    assert engine.next_transmission() is not None
    assert echo.requests[0].message_id >= 0


@given(grants=st.lists(st.integers(0, 40), min_size=5, max_size=30))
@settings(max_examples=60, deadline=None)
def test_ids_stay_within_what_was_granted(grants: list[int]) -> None:
    """Whatever the server grants, no id is used twice, skipped, or taken without a grant."""
    conversation = connect(ScriptedServer())
    given_out = iter(grants)
    conversation.server.grant = lambda _header: next(given_out, 0)
    for index in range(40):
        length = (index % 4) * 65536 + 1
        conversation.engine.submit(conversation.exchange(ReadRequest(FILE_ID, index, length)))
    conversation.pump()
    conversation.engine.check_invariants()
    assert conversation.server.violations == []


# -------------------------------------------------------- interim and unsolicited


def pending(server: ScriptedServer, request: Header, *, async_id: int) -> bytes:
    flags = HeaderFlags.SERVER_TO_REDIR | HeaderFlags.ASYNC_COMMAND
    answer = server.response(request, NtStatus.STATUS_PENDING, ErrorResponse(), flags=flags)
    header = Header.decode(answer)._replace(flags=flags, async_id=async_id, tree_id=0)
    return header.encode() + answer[HEADER_SIZE:]


def test_interim_answer_keeps_the_request_and_names_it_for_cancel() -> None:
    conversation = connect(ScriptedServer())
    server, engine = conversation.server, conversation.engine
    kept: list[bytes] = []

    def later(frames: list[bytes]) -> list[bytes]:
        kept.extend(frames)
        return [pending(server, server.received[-1], async_id=77)]

    server.mangle = later
    exchange = conversation.perform(ReadRequest(FILE_ID, 0, 100))
    assert exchange.unanswered == 1
    server.mangle = lambda frames: frames
    assert engine.cancel(exchange) is False
    frame = engine.next_transmission()
    assert frame is not None
    cancel = Header.decode(b"".join(frame))
    assert (cancel.command, cancel.async_id) == (Command.CANCEL, 77)
    assert cancel.flags & HeaderFlags.ASYNC_COMMAND
    events = engine.receive_message(bytearray(kept[0]))
    assert events == [Completed(exchange)]


def test_a_break_of_what_we_do_not_hold_is_ignored() -> None:
    conversation = connect(ScriptedServer())
    # An oplock break notification: StructureSize 24, level, reserved, FileId (2.2.23.1).
    body = (24).to_bytes(2, "little") + bytes(6) + bytes(16)
    header = Header.decode(
        conversation.server.response(conversation.server.received[-1], 0, ErrorResponse())
    )._replace(command=Command.OPLOCK_BREAK, message_id=UNSOLICITED_MESSAGE_ID, session_id=0)
    events = conversation.engine.receive_message(bytearray(header.encode() + body))
    assert [type(event) for event in events] == [Ignored]
    assert read(conversation, 0, 10) == file_contents(0, 10)


def test_an_answer_to_nothing_is_ignored() -> None:
    conversation = connect(ScriptedServer())
    repeated: list[bytes] = []

    def keep(frames: list[bytes]) -> list[bytes]:
        repeated.extend(frames)
        return frames

    conversation.server.mangle = keep
    read(conversation, 0, 10)
    events = conversation.engine.receive_message(bytearray(repeated[0]))
    assert [type(event) for event in events] == [Ignored]


# ------------------------------------------------------------- what must not pass


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_an_altered_answer_never_passes(data: st.DataObject) -> None:
    """One flipped bit anywhere in a signed READ answer: refused, or the answer is not taken."""
    conversation = connect(ScriptedServer())
    bit = data.draw(st.integers(0, (HEADER_SIZE + 16 + 64) * 8 - 1))

    def flip(frames: list[bytes]) -> list[bytes]:
        altered = bytearray(frames[0])
        altered[bit // 8] ^= 1 << bit % 8
        return [bytes(altered)]

    conversation.server.mangle = flip
    exchange = conversation.exchange(ReadRequest(FILE_ID, 0, 64))
    conversation.engine.submit(exchange)
    try:
        conversation.pump()
    except RemoteProtocolError:
        assert conversation.engine.failure is not None
    assert exchange.unanswered == 1


def test_an_unsigned_answer_kills_the_connection() -> None:
    conversation = connect(ScriptedServer())
    conversation.server.sign = False
    with pytest.raises(SecurityViolation, match="unsigned READ"):
        read(conversation, 0, 10)
    assert conversation.engine.next_transmission() is None
    with pytest.raises(LocalProtocolError):
        conversation.engine.submit(conversation.exchange(EchoRequest()))


def test_an_answer_signed_for_another_message_is_refused() -> None:
    """A recorded answer, renumbered, does not pass as the answer to a later question."""
    conversation = connect(ScriptedServer())
    recorded: list[bytes] = []

    def replay(frames: list[bytes]) -> list[bytes]:
        recorded.extend(frames)
        if len(recorded) == 1:
            return frames
        right = Header.decode(recorded[1])
        old = Header.decode(recorded[0])._replace(message_id=right.message_id)
        return [old.encode() + recorded[0][HEADER_SIZE:]]

    conversation.server.mangle = replay
    read(conversation, 0, 10)
    with pytest.raises(SecurityViolation):
        read(conversation, 4096, 10)


def test_a_clear_answer_to_a_sealed_request_is_refused() -> None:
    conversation = connect(ScriptedServer())
    server = conversation.server
    server.mangle = lambda _frames: [
        server.signed(server.response(server.received[-1], 0, ErrorResponse()))
    ]
    with pytest.raises(SecurityViolation, match="clear"):
        read(conversation, 0, 10, encrypt=True)


@given(position=st.integers(0, 52 + 64 + 16 + 9), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_an_altered_sealed_frame_is_refused(position: int, bit: int) -> None:
    conversation = connect(ScriptedServer())
    conversation.session.encrypt_data = True

    def flip(frames: list[bytes]) -> list[bytes]:
        altered = bytearray(frames[0])
        altered[position] ^= 1 << bit
        return [bytes(altered)]

    conversation.server.mangle = flip
    exchange = conversation.exchange(ReadRequest(FILE_ID, 0, 10))
    conversation.engine.submit(exchange)
    with pytest.raises(RemoteProtocolError):
        conversation.pump()
    assert exchange.unanswered == 1


@pytest.mark.parametrize("position", [HEADER_SIZE + 8, HEADER_SIZE + 28, HEADER_SIZE + 65])
def test_an_altered_negotiation_is_noticed_at_sign_on(position: int) -> None:
    """Server GUID, transact size, security buffer: the keys of both sides differ then."""
    server = ScriptedServer()

    def alter(frames: list[bytes]) -> list[bytes]:
        altered = bytearray(frames[0])
        altered[position] ^= 1
        return [bytes(altered)]

    server.mangle = alter
    conversation = negotiate(server)
    server.mangle = lambda frames: frames
    with pytest.raises(SecurityViolation):
        sign_on(conversation)


def test_sign_on_without_a_signed_last_answer_is_refused() -> None:
    server = ScriptedServer(sign=False)
    with pytest.raises(SecurityViolation, match="not signed"):
        sign_on(negotiate(server))


def test_wrong_key_is_refused() -> None:
    with pytest.raises(SecurityViolation):
        sign_on(negotiate(ScriptedServer()), key=b"another key, 16b")


@pytest.mark.parametrize(
    ("server", "error"),
    [
        (ScriptedServer(dialect=Dialect.SMB_2_0_2), RemoteProtocolError),
        (ScriptedServer(security_mode=SecurityMode(0)), NegotiationRefused),
        (ScriptedServer(cipher=Cipher.AES_256_CCM), SecurityViolation),
    ],
)
def test_negotiation_that_is_refused(server: ScriptedServer, error: type[Exception]) -> None:
    offer = replace(OFFER, ciphers=(Cipher.AES_128_GCM,))
    with pytest.raises(error):
        negotiate(server, offer)


def test_encryption_required_and_not_offered() -> None:
    with pytest.raises(NegotiationRefused, match="encryption"):
        negotiate(ScriptedServer(cipher=None), replace(OFFER, encryption_required=True))


def test_senseless_next_command() -> None:
    conversation = connect(ScriptedServer())

    def chain(frames: list[bytes]) -> list[bytes]:
        header = Header.decode(frames[0])._replace(next_command=12)
        return [header.encode() + frames[0][HEADER_SIZE:]]

    conversation.server.mangle = chain
    with pytest.raises(RemoteProtocolError, match="NextCommand"):
        read(conversation, 0, 10)


def test_smb1_answer_is_named() -> None:
    conversation = negotiate(ScriptedServer())
    with pytest.raises(RemoteProtocolError, match="SMB1"):
        conversation.engine.receive_message(bytearray(b"\xffSMB" + bytes(32)))


@given(frame=st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_garbage_raises_the_protocol_error_and_nothing_else(frame: bytes) -> None:
    conversation = negotiate(ScriptedServer())
    try:
        conversation.engine.receive_message(bytearray(frame))
    except RemoteProtocolError:
        assert conversation.engine.failure is not None


@given(prefix=st.sampled_from([b"\xfeSMB\x40\x00", b"\xfdSMB"]), rest=st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_garbage_behind_a_right_start(prefix: bytes, rest: bytes) -> None:
    conversation = connect(ScriptedServer())
    exchange = conversation.exchange(ReadRequest(FILE_ID, 0, 10))
    conversation.engine.submit(exchange)
    conversation.engine.next_transmission()
    try:
        conversation.engine.receive_message(bytearray(prefix + rest))
    except RemoteProtocolError:
        assert conversation.engine.failure is not None
    assert exchange.unanswered == 1


def test_failing_returns_everything_unfinished_once() -> None:
    conversation = connect(ScriptedServer())
    engine = conversation.engine
    sent = conversation.exchange(ReadRequest(FILE_ID, 0, 10))
    queued = conversation.exchange(ReadRequest(FILE_ID, 0, 10))
    engine.submit(sent)
    engine.next_transmission()
    engine.submit(queued)
    assert set(engine.fail(TransportError("gone"))) == {sent, queued}
    assert engine.fail(TransportError("gone")) == []


def test_the_frame_that_kills_us_loses_no_exchange() -> None:
    """Two answers in one frame, the second one bad: both callers must hear of the end."""
    conversation = connect(ScriptedServer())
    engine, server = conversation.engine, conversation.server
    first = conversation.exchange(ReadRequest(FILE_ID, 0, 8))
    second = conversation.exchange(ReadRequest(FILE_ID, 8, 8))
    answers: list[bytes] = []
    for exchange in (first, second):
        engine.submit(exchange)
        frame = engine.next_transmission()
        assert frame is not None
        answers += server.receive(b"".join(frame))
    header = Header.decode(answers[0])
    good = header._replace(next_command=len(answers[0])).encode() + answers[0][HEADER_SIZE:]
    with pytest.raises(RemoteProtocolError):
        engine.receive_message(bytearray(server.signed(good) + b"garbage"))
    assert set(engine.fail(TransportError("gone"))) == {first, second}
