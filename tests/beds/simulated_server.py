"""An SMB 3.1.1 server with real state: bytes in, bytes out, no I/O and no clock of its own.

It knows one client with any number of connections, and another one that is not on the network
(``simulated_neighbour``). It keeps books of what a client must never do, in ``violations``: message
ids that were not granted, wrong signatures, requests about opens that this session does not have.

Spec: [MS-SMB2] 3.3.5 (processing), 3.3.5.2.10 (ChannelSequence), 3.3.7.1 (lost connections).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from smbfs.engine.preauth_hash import extend_hash
from smbfs.wire.create import AccessMask
from smbfs.wire.echo_cancel import EchoResponse
from smbfs.wire.error_response import ErrorResponse
from smbfs.wire.file_id import FileId
from smbfs.wire.header import (
    HEADER_SIZE,
    UNSOLICITED_MESSAGE_ID,
    Command,
    Header,
    HeaderFlags,
)
from smbfs.wire.message import Message
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.oplock_break import LeaseBreakNotification
from smbfs.wire.session_setup import (
    LogoffResponse,
    SessionFlags,
    SessionSetupFlags,
    SessionSetupRequest,
    SessionSetupResponse,
)
from smbfs.wire.tree_connect import (
    ShareCapabilities,
    ShareFlags,
    ShareType,
    TreeConnectResponse,
)
from tests.beds.framing import (
    ROLE_CANCEL,
    ROLE_CLIENT,
    compound_of,
    elements_of,
    response_to,
    without_signature,
)
from tests.beds.simulated_creates import MustWait, Related
from tests.beds.simulated_files import Files
from tests.beds.simulated_leases import NOTHING, Leases, ServerOpen
from tests.beds.simulated_requests import FileRequests
from tests.beds.simulated_sessions import (
    ChannelKey,
    Peer,
    ServerSession,
    Settings,
    negotiate_response,
)

_ERROR = ErrorResponse()
_FOR_EXPIRED = frozenset({Command.CLOSE, Command.LOGOFF, Command.OPLOCK_BREAK})
"""What a session may still do when its ticket has expired."""


@dataclass(frozen=True)
class _Raw(Message):
    """A body that was encoded before."""

    data: bytes

    def encode(self) -> bytes:
        return self.data


_ACCEPTED = _Raw(SessionSetupResponse(SessionFlags(0), b"accepted").encode())
_TREE = _Raw(
    TreeConnectResponse(
        ShareType.DISK, ShareFlags(0), ShareCapabilities(0), AccessMask(0x001F01FF)
    ).encode()
)
_LOGGED_OFF = _Raw(LogoffResponse().encode())
_NOTIFICATION_HEADER = Header(
    credit_charge=0,
    status=0,
    command=Command.OPLOCK_BREAK,
    flags=HeaderFlags.SERVER_TO_REDIR,
    message_id=UNSOLICITED_MESSAGE_ID,
)


class SimulatedServer:
    """See the module. ``later`` calls something after some seconds; ``now_s`` tells the time."""

    def __init__(
        self,
        settings: Settings,
        *,
        now_s: Callable[[], float],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self.settings = settings
        self.files = Files(now_s)
        self.leases = Leases(self._send_break, later)
        self.peers: list[Peer] = []
        self.sessions: dict[int, ServerSession] = {}
        self.violations: list[str] = []
        self.on_executed: Callable[[Header], None] = lambda _header: None
        """Called with each request that is about to be executed."""
        self.name_changes = 0
        """Names that the client has moved or taken away."""
        self.repeats_breaks = 0
        """How many of the next notifications are sent twice."""
        self._last_session = 0x100
        self._last_async = 0
        self._tokens: dict[int, bytes] = {}
        self._requests = FileRequests(self)
        self.leases.on_closed = self._closed

    # ------------------------------------------------------------- connections

    def accept(self, name: str, send: Callable[[bytes], None]) -> Peer:
        """A client has connected."""
        peer = Peer(name, send)
        self.peers.append(peer)
        return peer

    def hang_up(self, peer: Peer) -> None:
        """A connection is lost; with the last one of a session that ends. Spec: 3.3.7.1."""
        if peer.is_gone:
            return
        peer.is_gone = True
        self.peers.remove(peer)
        for session_id in list(peer.channels):
            session = self.sessions.get(session_id)
            if session is not None:
                session.peers.remove(peer)
                if not session.peers:
                    self.end_session(session)

    def end_session(self, session: ServerSession, *, is_logoff: bool = False) -> None:
        """Forget a session; its durable opens wait for their client."""
        del self.sessions[session.session_id]
        for peer in session.peers:
            peer.channels.pop(session.session_id, None)
        for open_ in list(session.opens.values()):
            lease = open_.lease
            is_kept = open_.create_guid is not None and lease is not None and not is_logoff
            open_.session_id = None
            if not is_kept:
                self.leases.close(open_)
        self.leases.give_up_breaks()

    def restart(self, *, keeps_handles: bool) -> list[Peer]:
        """Begin anew; return the connections that are lost by that."""
        lost = list(self.peers)
        for peer in lost:
            self.hang_up(peer)
        if not keeps_handles:
            for open_ in list(self.leases.opens):
                self.leases.close(open_)
            self.files.crash()
        return lost

    def _closed(self, open_: ServerOpen) -> None:
        session = self.sessions.get(open_.session_id or 0)
        if session is not None:
            del session.opens[open_.file_id.volatile]
            session.closed.add(open_.file_id.volatile)
        node = open_.node
        node.is_going = node.is_going or open_.is_deleting
        if node.is_going and not any(each.node is node for each in self.leases.opens):
            self.files.unlink(node)
            key = open_.parent_key if open_.is_deleting else None  # Or somebody else wanted it.
            self.leases.hinders(self.files.root, NOTHING, key)

    def _send_break(self, session_id: int, news: LeaseBreakNotification) -> bool:
        session = self.sessions.get(session_id)
        if session is None or not session.peers:
            return False
        frame = _NOTIFICATION_HEADER.encode() + news.encode()
        session.peers[-1].send(frame)
        if self.repeats_breaks:
            self.repeats_breaks -= 1
            session.peers[0].send(frame)
        return True

    def send_again(self, peer: Peer, notifications: list[bytes]) -> None:
        """A connection is lost: send by another one what nobody has seen. Spec: 3.3.4.7."""
        for session_id in peer.channels:
            session = self.sessions.get(session_id)
            others = [each for each in session.peers if each is not peer] if session else []
            for frame in notifications if others else ():
                others[-1].send(frame)

    # ------------------------------------------------------------- frames

    def receive(self, peer: Peer, frame: bytes) -> None:
        """Execute one frame of a connection; what is answered goes out by its ``send``."""
        if not peer.is_gone:
            self._execute(peer, frame, was_pending=False)

    def _execute(self, peer: Peer, frame: bytes, *, was_pending: bool) -> None:
        answers: list[bytes] = []
        related = Related()
        key: ChannelKey | None = None
        for header, element in elements_of(frame):
            if header.command == Command.CANCEL:
                continue
            if not was_pending:
                self._keep_books(peer, header)
            is_new = header.command == Command.SESSION_SETUP
            key = peer.channels.get(header.session_id) if not is_new else key
            try:
                status, body, fields = self._answer(peer, header, element, related)
            except MustWait as wait:
                self._park(peer, frame, header, wait, was_pending=was_pending)
                return
            if is_new:
                key = peer.channels.get(fields.get("session_id", 0))
            granted = self._grant(peer, header)
            answer = response_to(header, status, body, credits_granted=granted, **fields)
            if header.command == Command.NEGOTIATE:
                peer.preauth_hash = extend_hash(peer.preauth_hash, (answer,))
            answers.append(answer)
        if answers and not peer.is_gone:
            peer.send(compound_of(answers, key.sign if key is not None else None))

    def _keep_books(self, peer: Peer, header: Header) -> None:
        ids = range(header.message_id, header.message_id + max(1, header.credit_charge))
        if peer.used.intersection(ids):
            self.violations.append(f"message id {header.message_id} used twice")
        if ids.stop > peer.granted_end:
            self.violations.append(f"message id {ids.stop - 1} was never granted")
        peer.used.update(ids)
        peer.outstanding -= len(ids)

    def _grant(self, peer: Peer, header: Header) -> int:
        room = self.settings.credits_max - peer.outstanding
        granted = max(0 if peer.outstanding else 1, min(header.credits, room))
        peer.outstanding += granted
        peer.granted_end += granted
        return granted

    def _park(
        self, peer: Peer, frame: bytes, header: Header, wait: MustWait, *, was_pending: bool
    ) -> None:
        """Execute a frame when the leases in its way are broken. Spec: 3.3.4.2 (interim)."""
        if not was_pending:
            self._last_async += 1
            interim = response_to(
                header,
                NtStatus.STATUS_PENDING,
                _ERROR,
                credits_granted=0,
                flags=HeaderFlags.SERVER_TO_REDIR | HeaderFlags.ASYNC_COMMAND,
                async_id=self._last_async,
            )
            key = peer.channels[header.session_id]
            peer.send(compound_of([interim], key.sign))

        def go_on() -> None:
            if not peer.is_gone:
                self._execute(peer, frame, was_pending=True)

        wait.lease.on_settled.append(go_on)

    # ------------------------------------------------------------- requests

    def _answer(
        self, peer: Peer, header: Header, element: memoryview, related: Related
    ) -> tuple[int, Message, dict[str, int]]:
        if header.command == Command.NEGOTIATE:
            self.on_executed(header)
            peer.preauth_hash = extend_hash(peer.preauth_hash, (element,))
            its = self.settings
            grants = its.leases and its.directory_leases
            return 0, _Raw(negotiate_response(its.multichannel, its.leases, grants)), {}
        if header.command == Command.SESSION_SETUP:
            self.on_executed(header)
            return self._session_setup(peer, header, element)
        if header.command == Command.ECHO:
            return 0, EchoResponse(), {}
        session = self.sessions.get(header.session_id)
        if session is None or header.session_id not in peer.channels:
            return NtStatus.STATUS_USER_SESSION_DELETED, _ERROR, {}
        self._check_signature(peer, header, element)
        if session.is_expired and header.command not in _FOR_EXPIRED:
            return NtStatus.STATUS_NETWORK_SESSION_EXPIRED, _ERROR, {}
        self.on_executed(header)
        return self._answer_in(session, header, element, related)

    def _answer_in(
        self, session: ServerSession, header: Header, element: memoryview, related: Related
    ) -> tuple[int, Message, dict[str, int]]:
        """Execute a request of a session."""
        if header.command == Command.TREE_CONNECT:
            tree_id = 1 + len(session.trees)
            session.trees.add(tree_id)
            return 0, _TREE, {"tree_id": tree_id}
        if header.command == Command.LOGOFF:
            self.end_session(session, is_logoff=True)
            return 0, _LOGGED_OFF, {}
        if not header.flags & HeaderFlags.RELATED_OPERATIONS and (
            header.tree_id not in session.trees and header.command != Command.OPLOCK_BREAK
        ):
            return NtStatus.STATUS_NETWORK_NAME_DELETED, _ERROR, {}
        status, told = self._requests.answer(session, header, element[HEADER_SIZE:], related)
        return status, told or _ERROR, {}

    def _check_signature(self, peer: Peer, header: Header, element: memoryview) -> None:
        key = peer.channels[header.session_id]
        role = ROLE_CANCEL if header.command == Command.CANCEL else ROLE_CLIENT
        wanted = key.sign(without_signature(element), header.message_id, role)
        if not header.flags & HeaderFlags.SIGNED or bytes(element[48:64]) != wanted:
            self.violations.append(f"{header.command.name} with a wrong signature")

    def _session_setup(
        self, peer: Peer, header: Header, element: memoryview
    ) -> tuple[int, Message, dict[str, int]]:
        request = SessionSetupRequest.decode(element[HEADER_SIZE:])
        preauth_hash = extend_hash(peer.preauth_hash, (element,))
        key = ChannelKey(request.security_buffer, preauth_hash)
        if request.flags & SessionSetupFlags.BINDING:
            bound = self.sessions.get(header.session_id)
            if bound is None or not self.settings.multichannel:
                return NtStatus.STATUS_USER_SESSION_DELETED, _ERROR, {}
            message = without_signature(element)
            if bytes(element[48:64]) != bound.key.sign(message, header.message_id, ROLE_CLIENT):
                self.violations.append("a binding with a wrong signature")
            bound.peers.append(peer)
            peer.channels[bound.session_id] = key
            return 0, _ACCEPTED, {"session_id": bound.session_id}
        known = self.sessions.get(header.session_id)
        if known is not None and header.session_id in peer.channels:
            known.is_expired = False  # Signed on again; the keys stay (3.3.5.5.2).
            return 0, _ACCEPTED, {"session_id": known.session_id}
        previous = self.sessions.get(request.previous_session_id)
        if previous is not None:
            self.end_session(previous)
        self._last_session += 1
        session = ServerSession(self._last_session, key)
        session.peers.append(peer)
        self.sessions[session.session_id] = session
        peer.channels[session.session_id] = key
        return 0, _ACCEPTED, {"session_id": session.session_id}

    def find(self, session: ServerSession, file_id: FileId) -> ServerOpen | None:
        """Return an open of a session."""
        open_ = session.opens.get(file_id.volatile)
        return open_ if open_ is not None and open_.file_id == file_id else None
