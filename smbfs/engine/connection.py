"""The connection: everything that is decided about frames, in one synchronous place.

How to drive it::

    connection.submit(exchange)             # any time; queues it
    connection.next_transmission()          # buffers of one frame to send now, or None
    connection.receive_message(frame)       # a whole frame arrived; returns events

``next_transmission`` is asked again after every ``submit`` and every ``receive_message`` (which
may bring credits). Ids, credits, signatures and sealing are settled inside these calls, with no
checkpoint in between, so no caller ever sees half a decision.

Receiving is a chain with one function a step: unseal, split the compound, find the request,
authenticate, grant credits, settle. A step that finds a broken MUST raises, and the connection is
dead from then on: nothing is sent or believed any more.

INVARIANT: every message id that was sent and not finally answered is a key of
``_outstanding``; its exchange has ``unanswered > 0``.

Spec: [MS-SMB2] 3.2.1.2, 3.2.4.1 (sending), 3.2.5.1 (receiving).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from smbfs.engine.events import Broken, Completed, Event, Ignored
from smbfs.engine.exchange import Exchange, Request, Response
from smbfs.engine.flow_control import FlowControl
from smbfs.engine.lease_table import LeaseTable
from smbfs.engine.negotiate import Negotiated, Offer, conclude
from smbfs.engine.oplocks import asks_for_oplock
from smbfs.engine.preauth_hash import INITIAL_HASH, extend_hash
from smbfs.engine.protection import (
    authenticate,
    seal_frame,
    signed_message,
    signer_of,
    verify_signature,
)
from smbfs.engine.session import Session
from smbfs.errors import (
    LocalProtocolError,
    RemoteProtocolError,
    SecurityViolation,
    Smb1Answer,
    SmbfsError,
    WireError,
)
from smbfs.wire.create import CreateResponse
from smbfs.wire.dialect import Dialect
from smbfs.wire.echo_cancel import CancelRequest
from smbfs.wire.header import (
    HEADER_SIZE,
    NEXT_COMMAND_OFFSET,
    PROTOCOL_ID_SMB1,
    PROTOCOL_ID_TRANSFORM,
    UNSOLICITED_MESSAGE_ID,
    Command,
    Header,
    HeaderFlags,
)
from smbfs.wire.message import Buffer
from smbfs.wire.negotiate import NegotiateResponse
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.oplock_break import OplockBreakNotification, decode_break
from smbfs.wire.transform import TransformHeader

_ALIGNMENT = 8
_NEXT_COMMAND_FIELD = slice(NEXT_COMMAND_OFFSET, NEXT_COMMAND_OFFSET + 4)


class Connection:
    """One SMB2 connection, seen from the client. See the module's docstring."""

    def __init__(self, offer: Offer, leases: LeaseTable | None = None) -> None:
        """``leases``: those of the client that this connection is another one of."""
        self.offer = offer
        self.negotiated: Negotiated | None = None
        self.failure: SmbfsError | None = None
        """Why the connection is dead; None while it lives."""
        self._has_multi_credit = False
        self.leases = leases if leases is not None else LeaseTable()
        self.flow = FlowControl()
        """Queues and credits."""
        self._outstanding: dict[int, tuple[Exchange, Request]] = {}
        self._cancels: deque[Exchange] = deque()
        self._unreported: list[Exchange] = []  # completed by the frame that killed us
        self._sessions: dict[int, Session] = {}
        self._preauth_hash = INITIAL_HASH

    # ------------------------------------------------------------------ state

    @property
    def outstanding(self) -> int:
        """Requests that were sent and not finally answered."""
        return len(self._outstanding)

    def oldest(self, *, is_pending: bool) -> Exchange | None:
        """Return what was sent first of all that is not answered, if it should be one day.

        ``is_pending``: the server has said that it takes longer.
        """
        for exchange, request in self._outstanding.values():
            is_endless = request.message.command == Command.CHANGE_NOTIFY
            if bool(request.async_id) == is_pending and not is_endless:
                return exchange
        return None

    # ---------------------------------------------------------------- sending

    def submit(self, exchange: Exchange) -> None:
        """Queue an exchange. Raises: LocalProtocolError when the connection is dead."""
        if self.failure is not None:
            raise LocalProtocolError("the connection is dead") from self.failure
        self.flow.add(exchange, multi_credit=self._has_multi_credit)

    def cancel(self, exchange: Exchange) -> bool:
        """Ask the server to end an exchange early; returns whether it was never sent.

        A sent exchange keeps its place until its final answers come (3.2.4.24). A CLOSE is never
        cancelled, or the handle would stay open.
        """
        if all(request.message.command == Command.CLOSE for request in exchange.requests):
            return False
        if self.flow.withdraw(exchange):
            return True
        if exchange.unanswered and self.failure is None:
            self._cancels.append(exchange)
        return False

    def next_transmission(self, now_s: float = 0.0) -> list[Buffer] | None:
        """Return the buffers of the next frame (without its length), or None for now.

        ``now_s``: when its exchanges are sent. It may be an ECHO of ours, which nobody waits for.
        Raises: RemoteProtocolError when the server's credits will never suffice: it is dead.
        """
        if self.failure is not None:
            return None
        while self._cancels:
            frame = self._build_cancel(self._cancels.popleft())
            if frame:
                return frame
        try:
            exchange = self.flow.next_exchange()
        except RemoteProtocolError as error:
            self.failure = error
            raise
        if exchange is None:
            return None
        return self._build(self.flow.with_followers(exchange), now_s)

    def _build(self, exchanges: list[Exchange], now_s: float) -> list[Buffer]:
        """Return the frame of exchanges that have the same session and protection."""
        frame: list[Buffer] = []
        signer = signer_of(exchanges[0])
        last = exchanges[-1].requests[-1]
        for exchange in exchanges:
            exchange.sent_s = now_s
            flags = HeaderFlags.SIGNED if signer is not None else 0
            if exchange.is_replay:
                flags |= HeaderFlags.REPLAY_OPERATION
            for request in exchange.requests:
                self.flow.spend(request)
                self._outstanding[request.message_id] = (exchange, request)
                body = request.message.buffers()
                next_command = 0
                if request is not last:
                    size = HEADER_SIZE + sum(map(len, body))
                    next_command = size + -size % _ALIGNMENT
                    body = (*body, bytes(next_command - size))
                header = self._request_header(exchange, request, flags, next_command)
                frame += signed_message(signer, header, body)
                flags |= HeaderFlags.RELATED_OPERATIONS
        self._hash_outgoing(exchanges[0], frame)
        return seal_frame(exchanges[0], frame)

    def _request_header(
        self, exchange: Exchange, request: Request, flags: int, next_command: int = 0
    ) -> Header:
        return Header(
            credit_charge=request.charge if self._has_multi_credit else 0,
            status=exchange.channel_sequence,
            command=request.message.command,
            credits=request.asked,
            flags=flags,
            next_command=next_command,
            message_id=request.message_id,
            tree_id=exchange.tree_id,
            session_id=exchange.session.session_id if exchange.session else 0,
        )

    def _build_cancel(self, exchange: Exchange) -> list[Buffer]:
        frame: list[Buffer] = []
        for request in exchange.requests:
            if request.response is not None:
                continue
            # A compound has few parts: the first open one will do.
            signer = signer_of(exchange)
            flags = HeaderFlags.SIGNED if signer is not None else 0
            header = self._request_header(exchange, request, flags)
            body = CancelRequest()
            header = header._replace(credit_charge=0, credits=0, command=body.command)
            if request.async_id:
                flags |= HeaderFlags.ASYNC_COMMAND
                header = header._replace(flags=flags, async_id=request.async_id)
            frame += signed_message(signer, header, body.buffers())
            return seal_frame(exchange, frame)
        return frame

    def _hash_outgoing(self, exchange: Exchange, frame: list[Buffer]) -> None:
        command = exchange.requests[0].message.command
        if command == Command.NEGOTIATE:
            self._preauth_hash = extend_hash(self._preauth_hash, frame)
        elif command == Command.SESSION_SETUP and exchange.session is not None:
            if exchange.session.preauth_hash == INITIAL_HASH:
                exchange.session.preauth_hash = self._preauth_hash
            exchange.session.preauth_hash = extend_hash(exchange.session.preauth_hash, frame)

    # -------------------------------------------------------------- receiving

    def receive_message(self, frame: bytearray) -> list[Event]:
        """Take one whole frame (no length prefix). ``frame`` is ours from now on.

        Raises: RemoteProtocolError (or its SecurityViolation), or NegotiationRefused: the
        connection is dead.
        """
        if self.failure is not None:
            raise LocalProtocolError("the connection is dead") from self.failure
        events: list[Event] = []
        try:
            plaintext, sealed_by = self._unseal(frame)
            for element in _split_compound(plaintext):
                event = self._receive_element(element, sealed_by)
                if event is not None:
                    events.append(event)
        except SmbfsError as error:
            self.failure = error
            if isinstance(error, WireError):
                self.failure = RemoteProtocolError(f"the server sent a {error}")
                self.failure.__cause__ = error
            self._unreported = [e.exchange for e in events if isinstance(e, Completed)]
            raise self.failure from error.__cause__
        return events

    def _unseal(self, frame: bytearray) -> tuple[memoryview, Session | None]:
        if frame.startswith(PROTOCOL_ID_SMB1):
            raise Smb1Answer("the server speaks SMB1")
        if not frame.startswith(PROTOCOL_ID_TRANSFORM):
            return memoryview(frame), None
        header = TransformHeader.decode(frame)
        session = self._sessions.get(header.session_id)
        if session is None or session.sealer is None:
            raise SecurityViolation("a sealed frame of a session that has no keys")
        return session.sealer.unseal(frame, header), session

    def _receive_element(self, element: memoryview, sealed_by: Session | None) -> Event | None:
        header = Header.decode(element)
        if not header.flags & HeaderFlags.SERVER_TO_REDIR:
            raise RemoteProtocolError("a request arrived where a response was due")
        if header.message_id == UNSOLICITED_MESSAGE_ID:
            return _unsolicited(header, element, self.leases)
        found = self._outstanding.get(header.message_id)
        if found is None:
            # 3.2.5.1.2: "MUST be discarded as invalid".
            return Ignored(f"a response to message {header.message_id}, which nobody waits for")
        exchange, request = found
        if header.command != request.message.command:
            raise RemoteProtocolError(
                f"{header.command.name} answered {request.message.command.name}"
            )
        authenticate(element, header, exchange, sealed_by)
        self.flow.grant(header.credits)
        if header.status == NtStatus.STATUS_PENDING:
            if not header.flags & HeaderFlags.ASYNC_COMMAND:
                raise RemoteProtocolError("an interim response without an AsyncId")
            self.flow.put_off(request, header.async_id)
            return None
        self._take_part(element, header, exchange, request)
        self._settle(element, header, exchange, request)
        return None if exchange.unanswered else Completed(exchange)

    def _take_part(
        self, element: memoryview, header: Header, exchange: Exchange, request: Request
    ) -> None:
        """Do what the connection itself learns from an answer, before anybody is told of it.

        Raises: NegotiationRefused, RemoteProtocolError, WireError.
        """
        session = exchange.session
        if header.command == Command.NEGOTIATE:
            self._preauth_hash = extend_hash(self._preauth_hash, (element,))
            if header.status == NtStatus.STATUS_SUCCESS:
                response = NegotiateResponse.decode(element[HEADER_SIZE:])
                self.negotiated = conclude(self.offer, response)
                self._has_multi_credit = self.negotiated.supports_multi_credit
        elif header.command == Command.SESSION_SETUP and session is not None:
            session.session_id = header.session_id
            if header.status == NtStatus.STATUS_MORE_PROCESSING_REQUIRED:
                session.preauth_hash = extend_hash(session.preauth_hash, (element,))
        elif asks_for_oplock(request.message) and header.status == NtStatus.STATUS_SUCCESS:
            created = CreateResponse.decode(element[HEADER_SIZE:])
            self.leases.oplock_granted(created.file_id, created.oplock_level)

    def _settle(
        self, element: memoryview, header: Header, exchange: Exchange, request: Request
    ) -> None:
        del self._outstanding[header.message_id]
        self.flow.settle(request)
        exchange.unanswered -= 1
        request.response = Response(header, element[HEADER_SIZE:])
        if header.command == Command.SESSION_SETUP:
            request.raw_response = bytes(element)

    # --------------------------------------------------------------- sessions

    def establish(self, exchange: Exchange, authentication_key: bytes) -> None:
        """Give the session of a successful SESSION_SETUP its keys, and check the last answer.

        An empty ``authentication_key`` means a guest or null session: it has no keys, and so
        signing is not required of it, whatever either side wished.
        Raises: SecurityViolation when the answer is not signed with the key that both sides
        must share by now.
        Spec: [MS-SMB2] 3.2.5.3.1.
        """
        session, negotiated = exchange.session, self.negotiated
        assert session is not None
        assert negotiated is not None
        self._sessions[session.session_id] = session
        if not authentication_key:
            session.signing_required = False
            return
        session.install_keys(negotiated, authentication_key)
        raw = bytearray(exchange.requests[0].raw_response)
        header = Header.decode(raw)
        is_required = session.signing_required or session.binding_signer is not None
        must_be_signed = is_required or negotiated.dialect == Dialect.SMB_3_1_1
        try:
            if header.flags & HeaderFlags.SIGNED:
                verify_signature(session, memoryview(raw), header)
            elif must_be_signed:
                raise SecurityViolation("the last SESSION_SETUP response is not signed")
        except SecurityViolation as error:
            self.failure = error
            raise

    def fail(self, failure: SmbfsError) -> list[Exchange]:
        """Declare the connection dead (the transport ended) and return what will never finish."""
        if self.failure is None:
            self.failure = failure
        unfinished = {id(exchange): exchange for exchange, _ in self._outstanding.values()}
        unfinished.update((id(exchange), exchange) for exchange in self.flow.clear())
        unfinished.update((id(exchange), exchange) for exchange in self._unreported)
        self._outstanding.clear()
        self._unreported.clear()
        return list(unfinished.values())

    def check_invariants(self) -> None:
        """Raise ``AssertionError`` when the books don't add up. Called by tests."""
        self.leases.check_invariants()
        self.flow.check_invariants([request for _, request in self._outstanding.values()])
        for message_id, (exchange, request) in self._outstanding.items():
            assert request.message_id == message_id
            assert exchange.unanswered > 0
            assert request.response is None


def _unsolicited(header: Header, element: memoryview, leases: LeaseTable) -> Event:
    if header.command != Command.OPLOCK_BREAK:
        raise RemoteProtocolError(f"an unsolicited {header.command.name}")
    notification = decode_break(element[HEADER_SIZE:])
    if isinstance(notification, OplockBreakNotification):
        broken = leases.oplock_broken(notification)
        if broken is None:
            return Ignored("the break of an oplock that we do not hold")
        return Broken(*broken)
    lease = leases.broken(notification)
    if lease is None and notification.acknowledgment_required:
        # Of an open that nobody here knows (or that is being closed): others wait for our word.
        return Broken(leases.orphan(notification.lease_key), must_acknowledge=True)
    if lease is None:
        return Ignored("the break of a lease that we do not hold")
    return Broken(lease, notification.acknowledgment_required)


def _split_compound(message: memoryview) -> Iterator[memoryview]:
    """Yield each message of a compound, with its padding. Spec: [MS-SMB2] 3.2.5.1.9."""
    while True:
        # Read alone: the header as a whole is decoded once, by whom the message is for.
        next_command = int.from_bytes(message[_NEXT_COMMAND_FIELD], "little")
        if next_command == 0:
            yield message
            return
        if next_command % _ALIGNMENT or not HEADER_SIZE <= next_command <= len(message):
            raise RemoteProtocolError("a compound with a senseless NextCommand")
        yield message[:next_command]
        message = message[next_command:]
