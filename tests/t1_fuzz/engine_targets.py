"""The engine, at stages of a conversation, given whatever a server or somebody on the way may send.

An input is a list of frames: a byte that says what is done with it, its length, the frame. The
harness knows the session's keys: it signs or seals frames if that byte says so, and then only what
is behind authentication stands in their way. Valid inputs are what the scripted server would have
answered.

Whatever arrives, the engine keeps its books or ends the connection, and then it is over.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Final

import pytest
from hypothesis import strategies as st

from smbfs.engine.connection import Connection
from smbfs.engine.events import Broken, Completed, Event, Ignored
from smbfs.engine.exchange import Exchange, exchange_of
from smbfs.engine.session import Session
from smbfs.errors import (
    LocalProtocolError,
    NegotiationRefused,
    RemoteProtocolError,
    SmbfsError,
    TransportError,
    WireError,
)
from smbfs.wire.close_flush import CloseRequest, CloseResponse, FlushResponse
from smbfs.wire.create import (
    AccessMask,
    CreateAction,
    CreateRequest,
    CreateResponse,
    FileId,
    OplockLevel,
)
from smbfs.wire.create_contexts import LeaseResponseV2
from smbfs.wire.dialect import Dialect
from smbfs.wire.echo_cancel import EchoRequest, EchoResponse
from smbfs.wire.error_response import ErrorResponse
from smbfs.wire.header import HEADER_SIZE, UNSOLICITED_MESSAGE_ID, Command, Header, HeaderFlags
from smbfs.wire.info import FileInfoClass
from smbfs.wire.lease import LeaseState
from smbfs.wire.message import Message
from smbfs.wire.negotiate import NegotiateResponse
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.oplock_break import (
    LeaseBreakNotification,
    OplockBreakNotification,
    decode_break_response,
)
from smbfs.wire.query_directory import QueryDirectoryRequest, QueryDirectoryResponse
from smbfs.wire.read_write import ReadRequest, ReadResponse
from smbfs.wire.session_setup import SessionFlags, SessionSetupRequest, SessionSetupResponse
from smbfs.wire.tree_connect import TreeConnectRequest, TreeConnectResponse
from tests.beds.scripted_server import AUTHENTICATION_KEY, FILE_ID, Reply, ScriptedServer
from tests.t1_engine.conversation import OFFER, Conversation, connect, negotiate, sign_on
from tests.t1_fuzz.contract import Target

_PROTECT: Final = 0x01
"""Sign or seal the frame, with the session's keys."""
_ANSWER: Final = 0x02
"""Make its header that of an answer to a request that waits."""
_FRAME: Final = struct.Struct("<BH")
_FRAMES_MAX: Final = 32
_LEASE_KEY: Final = b"k" * 16
_DIRECTORY_ID: Final = FileId(0x33, 0x44)

_RESPONSES: Final[dict[Command, Callable[[memoryview], object]]] = {
    Command.NEGOTIATE: NegotiateResponse.decode,
    Command.SESSION_SETUP: SessionSetupResponse.decode,
    Command.TREE_CONNECT: TreeConnectResponse.decode,
    Command.CREATE: CreateResponse.decode,
    Command.CLOSE: CloseResponse.decode,
    Command.FLUSH: FlushResponse.decode,
    Command.READ: ReadResponse.decode,
    Command.ECHO: EchoResponse.decode,
    Command.QUERY_DIRECTORY: QueryDirectoryResponse.decode,
    Command.OPLOCK_BREAK: decode_break_response,
}


class _OpenServer(ScriptedServer):
    """A scripted server whose answers can be had before they are signed or sealed."""

    plain = False

    def signed(self, element: bytes) -> bytes:
        return element if self.plain else super().signed(element)

    def seal(self, message: bytes) -> bytes:
        return message if self.plain else super().seal(message)


class Stage:
    """A conversation that has come to some point, and what the client of it does next."""

    def __init__(self, conversation: Conversation, server: _OpenServer) -> None:
        self.engine = conversation.engine
        self._session = conversation.session
        self._server = server
        self.answers = self._waiting_answers()

    def _waiting_answers(self) -> list[bytes]:
        """Send what is queued; return the answers, not yet protected, and some breaks."""
        answers: list[bytes] = []
        self._server.plain = True
        while (frame := self.engine.next_transmission()) is not None:
            answers += self._server.receive(b"".join(frame))
        self._server.plain = False
        return [*answers, *map(_unsolicited, _BREAKS)]

    def play(self, script: bytes) -> None:
        """Receive the frames of an input, and do what a client does about them."""
        for how, frame in _frames(script):
            try:
                self._receive(self._prepared(how, frame))
            except (RemoteProtocolError, NegotiationRefused):
                break
            assert self.engine.failure is None
            self.engine.check_invariants()
        self._end()

    def _receive(self, frame: bytes) -> None:
        for event in self.engine.receive_message(bytearray(frame)):
            self._handle(event)
        while self.engine.next_transmission() is not None:
            pass

    def _prepared(self, how: int, frame: bytes) -> bytes:
        if how & _ANSWER and self.engine._outstanding and len(frame) >= HEADER_SIZE:
            waiting = [*self.engine._outstanding.values()]
            exchange, request = waiting[(how >> 2) % len(waiting)]
            session_id = exchange.session.session_id if exchange.session else 0
            with suppress(WireError):
                header = Header.decode(frame)._replace(
                    message_id=request.message_id,
                    command=request.message.command,
                    session_id=session_id,
                )
                frame = header.encode() + frame[HEADER_SIZE:]
        if how & _PROTECT and self._server.keys is not None:
            if self._session.encrypt_data:
                return self._server.seal(frame)
            return self._signed(frame)
        return frame

    def _signed(self, frame: bytes) -> bytes:
        """Sign each part of a compound, as far as it can be told."""
        signed = b""
        while len(frame) >= HEADER_SIZE:
            size = int.from_bytes(frame[20:24], "little")
            end = size if HEADER_SIZE <= size < len(frame) else len(frame)
            try:
                signed += self._server.signed(frame[:end])
            except WireError:
                break
            frame = frame[end:]
        return signed + frame

    def _handle(self, event: Event) -> None:
        match event:
            case Completed(exchange):
                self._complete(exchange)
            case Broken(lease, must_acknowledge):
                if must_acknowledge:
                    self._submit(lease.acknowledgment())
            case Ignored(reason):
                assert reason

    def _complete(self, exchange: Exchange) -> None:
        for request in exchange.requests:
            assert request.response is not None
            header, body = request.response
            decode = ErrorResponse.decode if header.status else _RESPONSES[header.command]
            with suppress(WireError):
                found = decode(body)
                if isinstance(found, CreateResponse):
                    self._opened(found)
                if isinstance(found, SessionSetupResponse):
                    self._signed_on(exchange, found)

    def _opened(self, created: CreateResponse) -> None:
        lease = self.engine.leases.opening(_LEASE_KEY)
        lease.granted(created.context(LeaseResponseV2))
        oplock = self.engine.leases.oplock_of(created.file_id)
        if oplock is not None:
            self.engine.leases.closed(oplock)
        self._submit(CloseRequest(created.file_id))

    def _signed_on(self, exchange: Exchange, response: SessionSetupResponse) -> None:
        if self.engine.negotiated is None or self._session.signer is not None:
            return
        unsigned = response.session_flags & (SessionFlags.IS_GUEST | SessionFlags.IS_NULL)
        self.engine.establish(exchange, b"" if unsigned else AUTHENTICATION_KEY)

    def _submit(self, message: Message) -> None:
        if self.engine.failure is None:
            self.engine.submit(exchange_of([message], session=self._session))

    def _end(self) -> None:
        """See that a dead connection stays dead, and that nobody is left waiting."""
        engine = self.engine
        failure: SmbfsError = engine.failure or TransportError("the test is over")
        engine.check_invariants()
        engine.fail(failure)
        engine.check_invariants()
        assert engine.failure is failure
        assert engine.outstanding == engine.flow.queued == 0
        assert engine.next_transmission() is None
        for answer in (*self.answers[:2], b""):
            with pytest.raises(LocalProtocolError):
                engine.receive_message(bytearray(answer))
        with pytest.raises(LocalProtocolError):
            engine.submit(exchange_of([EchoRequest()]))
        assert engine.failure is failure


def _frames(script: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    for _ in range(_FRAMES_MAX):
        if at + _FRAME.size > len(script):
            return
        how, length = _FRAME.unpack_from(script, at)
        at += _FRAME.size
        yield how, script[at : at + length]
        at += length


def script_of(frames: list[tuple[int, bytes]]) -> bytes:
    """Return the input that has these frames."""
    return b"".join(_FRAME.pack(how, len(frame)) + frame for how, frame in frames)


_BREAKS: Final[tuple[Message, ...]] = (
    LeaseBreakNotification(
        _LEASE_KEY, LeaseState.READ_CACHING, LeaseState.NONE, new_epoch=2, flags=1
    ),
    OplockBreakNotification(FILE_ID, OplockLevel.LEVEL_II),
)


def _unsolicited(message: Message) -> bytes:
    header = Header(
        0,
        0,
        message.command,
        flags=HeaderFlags.SERVER_TO_REDIR,
        message_id=UNSOLICITED_MESSAGE_ID,
    )
    return header.encode() + message.encode()


def _created(_header: Header, _body: memoryview) -> Reply:
    times = (0,) * 4
    return NtStatus.STATUS_SUCCESS, CreateResponse(
        *(OplockLevel.BATCH, 0, CreateAction.OPENED, *times, 4096, 4096, 0x20, FILE_ID),
        (LeaseResponseV2(_LEASE_KEY, LeaseState.READ_CACHING, epoch=1),),
    )


def _listed(_header: Header, _body: memoryview) -> Reply:
    return NtStatus.STATUS_SUCCESS, QueryDirectoryResponse(memoryview(bytes(200)))


def _server(dialect: Dialect) -> _OpenServer:
    server = _OpenServer(dialect=dialect)
    server.handlers = {Command.CREATE: _created, Command.QUERY_DIRECTORY: _listed}
    return server


def _before_negotiate() -> Stage:
    server = _server(Dialect.SMB_3_1_1)
    return Stage(Conversation(Connection(OFFER), server, Session()), server)


def _negotiating() -> Stage:
    server = _server(Dialect.SMB_3_1_1)
    conversation = Conversation(Connection(OFFER), server, Session())
    conversation.engine.submit(exchange_of([OFFER.request()]))
    return Stage(conversation, server)


def _negotiated() -> Stage:
    server = _server(Dialect.SMB_3_1_1)
    return Stage(negotiate(server), server)


def _signing_on(rounds: int) -> Stage:
    """In the first or the second round of SESSION_SETUP."""
    server = _server(Dialect.SMB_3_1_1)
    conversation = negotiate(server)
    for number in range(rounds):
        request = SessionSetupRequest(OFFER.security_mode, OFFER.capabilities, b"token")
        conversation.engine.submit(exchange_of([request], session=conversation.session))
        if number < rounds - 1:
            conversation.pump()
    return Stage(conversation, server)


def _signed_on(
    dialect: Dialect = Dialect.SMB_3_1_1, *, sealed: bool = False, signed: bool = True
) -> Stage:
    """With requests of many kinds under way."""
    server = _server(dialect)
    if signed:
        conversation = connect(server)
    else:
        server.session_flags = int(SessionFlags.IS_GUEST)
        conversation = sign_on(negotiate(server, replace(OFFER, signing_required=False)), key=b"")
    conversation.session.encrypt_data = sealed
    conversation.engine.leases.opening(_LEASE_KEY)
    for messages in (
        (ReadRequest(FILE_ID, 0, 200),),
        (CreateRequest("a", AccessMask.READ_DATA, oplock_level=OplockLevel.BATCH),),
        (
            CreateRequest("b", AccessMask.READ_DATA, oplock_level=OplockLevel.LEASE),
            ReadRequest(FileId.RELATED, 0, 100),
            CloseRequest(FileId.RELATED),
        ),
        (QueryDirectoryRequest(_DIRECTORY_ID, FileInfoClass.ID_BOTH_DIRECTORY, "*", 65536),),
        (EchoRequest(),),
        (TreeConnectRequest(r"\\server\other"),),
    ):
        conversation.engine.submit(conversation.exchange(*messages))
    return Stage(conversation, server)


STAGES: Final[dict[str, Callable[[], Stage]]] = {
    "engine_before_negotiate": _before_negotiate,
    "engine_negotiating": _negotiating,
    "engine_negotiated": _negotiated,
    "engine_session_setup": lambda: _signing_on(1),
    "engine_session_setup_again": lambda: _signing_on(2),
    "engine_signed": _signed_on,
    "engine_signed_2_1": lambda: _signed_on(Dialect.SMB_2_1),
    "engine_signed_3_0": lambda: _signed_on(Dialect.SMB_3_0),
    "engine_sealed": lambda: _signed_on(sealed=True),
    "engine_guest": lambda: _signed_on(signed=False),
}


def engine_targets() -> Iterator[Target]:
    """Yield one for each stage."""
    for name, make in STAGES.items():
        yield _target(name, make)


def _target(name: str, make: Callable[[], Stage]) -> Target:
    ready: list[Stage] = []

    def run(data: bytes) -> None:
        if not ready:
            prepare()
        ready.pop().play(data)

    def prepare() -> None:
        ready.append(make())

    return Target(name, run, _scripts(make), prepare=prepare, is_slow=True)


def _scripts(make: Callable[[], Stage]) -> st.SearchStrategy[bytes]:
    """Return answers of the stage in any order, protected as they must be or otherwise."""

    @cache
    def answers() -> list[bytes]:
        return make().answers

    how = st.sampled_from((_PROTECT, _PROTECT, _PROTECT, 0, *range(_PROTECT | _ANSWER, 64, 4)))
    frame = st.deferred(lambda: st.sampled_from(answers()))
    return st.lists(st.tuples(how, frame), min_size=1, max_size=6).map(script_of)
