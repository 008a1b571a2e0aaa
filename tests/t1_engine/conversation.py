"""An engine and a scripted server, joined by a link that is just a function call."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from smbfs.engine.connection import Connection
from smbfs.engine.events import Event
from smbfs.engine.exchange import Exchange, exchange_of
from smbfs.engine.negotiate import Offer
from smbfs.engine.session import Session
from smbfs.wire.message import Message
from smbfs.wire.negotiate import Capabilities
from smbfs.wire.session_setup import SessionSetupRequest
from smbfs.wire.tree_connect import TreeConnectRequest
from tests.beds.scripted_server import AUTHENTICATION_KEY, TREE_ID, ScriptedServer

OFFER = Offer(client_guid=uuid.UUID(int=2), salt=b"c" * 32, server_name="server")


@dataclass
class Conversation:
    """Both ends and the session between them."""

    engine: Connection
    server: ScriptedServer
    session: Session

    def pump(self) -> list[Event]:
        """Deliver everything that either side wants to say; return the engine's events."""
        events: list[Event] = []
        while (frame := self.engine.next_transmission()) is not None:
            for answer in self.server.receive(b"".join(frame)):
                events += self.engine.receive_message(bytearray(answer))
                self.engine.check_invariants()
        return events

    def exchange(self, *messages: Message, encrypt: bool = False) -> Exchange:
        """Return an exchange of the connected tree, not yet submitted."""
        return exchange_of(messages, session=self.session, tree_id=TREE_ID, encrypt=encrypt)

    def perform(self, *messages: Message, encrypt: bool = False) -> Exchange:
        """Send an exchange and deliver until nothing moves any more."""
        exchange = self.exchange(*messages, encrypt=encrypt)
        self.engine.submit(exchange)
        self.pump()
        return exchange


def negotiate(server: ScriptedServer, offer: Offer = OFFER) -> Conversation:
    """Connect and negotiate."""
    conversation = Conversation(Connection(offer), server, Session())
    conversation.session.signing_required = offer.signing_required
    conversation.engine.submit(exchange_of([offer.request()]))
    conversation.pump()
    return conversation


def sign_on(conversation: Conversation, *, key: bytes = AUTHENTICATION_KEY) -> Conversation:
    """Set the session up in two rounds, the second of which gives it its keys."""
    _set_up(conversation, b"hello")
    conversation.engine.establish(_set_up(conversation, b"response"), key)
    return conversation


def _set_up(conversation: Conversation, token: bytes) -> Exchange:
    engine = conversation.engine
    request = SessionSetupRequest(engine.offer.security_mode, Capabilities(0), token)
    exchange = exchange_of([request], session=conversation.session)
    engine.submit(exchange)
    conversation.pump()
    return exchange


def connect(server: ScriptedServer, offer: Offer = OFFER) -> Conversation:
    """Negotiate, sign on and connect the tree."""
    conversation = sign_on(negotiate(server, offer))
    exchange = exchange_of([TreeConnectRequest(r"\\server\share")], session=conversation.session)
    conversation.engine.submit(exchange)
    conversation.pump()
    assert exchange.unanswered == 0
    return conversation
