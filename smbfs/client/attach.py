"""The steps from a stream to a share: negotiate, sign on, connect the tree, check for downgrades.

Every connection goes through them, the first one of a mount, those that follow a lost one, and
those that join a session as one more channel.

Spec: [MS-SMB2] 3.2.4.2 (connecting), 3.2.5.5 (validation).
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import trio

from smbfs.auth.base import Authenticator
from smbfs.auth.credentials import Credentials
from smbfs.auth.guest import guest_permitted, guest_refused
from smbfs.client.answers import answer
from smbfs.client.connection import Connection
from smbfs.client.lifeline import Channel, Lifeline
from smbfs.client.progress import Progress
from smbfs.client.route import Route, dial_route
from smbfs.client.sign_on import negotiate, sign_on
from smbfs.client.status import Identity
from smbfs.client.tree_connect import TRANSACT_SIZE, TRANSFER_SIZE, ConnectedTree
from smbfs.config.model import MountOptions
from smbfs.config.unc import Unc
from smbfs.engine.connection import Connection as Engine
from smbfs.engine.exchange import exchange_of
from smbfs.engine.negotiate import Negotiated, Offer
from smbfs.engine.session import Session
from smbfs.errors import (
    DeadlineExceeded,
    NegotiationRefused,
    SecurityViolation,
    ServerStatusError,
    TransportError,
)
from smbfs.transport.base import MessageStream, TransportName
from smbfs.wire.create import FileId
from smbfs.wire.dialect import Dialect
from smbfs.wire.ioctl import FsctlCode, IoctlRequest, IoctlResponse, ValidateNegotiateInfoResponse
from smbfs.wire.negotiate import Cipher, SigningAlgorithm
from smbfs.wire.session_setup import SessionFlags
from smbfs.wire.tree_connect import TreeConnectRequest, TreeConnectResponse

HANDSHAKE_FRAME_MAX = 256 * 1024
"""Bytes that a frame may have until we ask for more than tokens."""

FRAME_OVERHEAD_MAX = 128 * 1024
"""Bytes that a frame may have beyond the largest payload that we ask for."""

_SALT_SIZE = 32

_log = logging.getLogger(__name__)

AuthenticatorFactory = Callable[[Credentials, str], Authenticator]
"""Makes the sign-on of these credentials at this server."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Which share, as whom, and on what terms: what every connection of a mount has in common."""

    unc: Unc
    options: MountOptions
    credentials: Credentials
    authenticator: AuthenticatorFactory
    client_guid: UUID
    """By which a server knows that connections are of one client: leases and handles are its."""
    is_private: bool = False
    """Whether it began by a transport that encrypts: nothing that follows may travel in clear."""

    def must_seal(self, transport: TransportName) -> bool:
        """Whether SMB has to encrypt what travels by this transport."""
        if transport == "quic":
            return self.options.seal or self.options.seal_over_quic
        return self.options.seal or self.is_private


def connection_over(stream: MessageStream, to: Destination, line: Lifeline) -> Connection:
    """Return a connection over a fresh stream; the caller runs it."""
    stream.max_message_size = HANDSHAKE_FRAME_MAX
    engine = Engine(_offer(to, stream.transport), line.leases)
    return Connection(engine, stream, timeout_s=to.options.patience_s, counters=line.counters)


def _offer(to: Destination, transport: TransportName) -> Offer:
    options, must_seal = to.options, to.must_seal(transport)
    oldest, newest = options.vers
    if transport == "quic":
        oldest = newest  # Nothing older than 3.1.1 runs over QUIC (2.1).
    dialects = tuple(d for d in Dialect if d != Dialect.WILDCARD)
    labels = [dialect.label for dialect in dialects]
    ciphers = {cipher.label: cipher for cipher in Cipher}
    algorithms = {algorithm.label: algorithm for algorithm in SigningAlgorithm}
    return Offer(
        client_guid=to.client_guid,
        salt=os.urandom(_SALT_SIZE),
        server_name=to.unc.server,
        dialects=dialects[labels.index(oldest) : labels.index(newest) + 1],
        ciphers=tuple(ciphers[label] for label in options.ciphers),
        signing_algorithms=tuple(algorithms[label] for label in options.signing_algorithms),
        signing_required=options.signing == "required",
        encryption_required=must_seal,
        posix=options.posix,
        trusts_transport=transport == "quic" and not must_seal,
    )


@dataclass(slots=True, eq=False)
class Candidate:
    """A further connection to the server of a mount, which has greeted us."""

    connection: Connection
    negotiated: Negotiated
    is_used: bool = False
    """Whether the mount lives by it from now on; else it ends with the block."""


@asynccontextmanager
async def candidate(
    to: Destination, route: Route, line: Lifeline, background: trio.Nursery, *, within_s: float
) -> AsyncIterator[Candidate]:
    """Reach the server once more, for what the block makes of that within so many seconds.

    ``background`` runs the connection.
    Raises: what :func:`smbfs.client.route.dial_route` and :func:`negotiate` do; DeadlineExceeded.
    """
    stream = await dial_route(route, to.unc.server)
    connection = connection_over(stream, to, line)
    background.start_soon(connection.run)
    found = None
    try:
        with trio.fail_after(within_s):
            found = Candidate(connection, await negotiate(connection))
            yield found
    except trio.TooSlowError as error:
        raise DeadlineExceeded(f"signing on to {to.unc.server}", within_s) from error
    finally:
        if found is None or not found.is_used:
            connection.give_up(TransportError("it was not needed, or not wanted"))


async def log_on(
    connection: Connection,
    to: Destination,
    *,
    progress: Progress,
    previous_session_id: int = 0,
) -> tuple[Session, Identity]:
    """Sign on, and accept or refuse what the server makes of us.

    ``previous_session_id``: the session that the server shall end now, if it still has it.
    Raises: AuthenticationError, NegotiationRefused, ServerStatusError, SecurityViolation.
    """
    mechanism = to.authenticator(to.credentials, to.unc.server)
    session, flags = await sign_on(connection, mechanism, previous_session_id=previous_session_id)
    if to.credentials.tickets is not None:
        to.credentials.tickets.session_began()
    is_guest = bool(flags & (SessionFlags.IS_GUEST | SessionFlags.IS_NULL))
    if is_guest and not guest_permitted(to.options):
        raise guest_refused(str(to.unc), asked=to.options.guest)
    if to.must_seal(connection.stream.transport):
        if session.sealer is None:
            raise NegotiationRefused(
                f"{to.unc} refused: the connection can't be encrypted.",
                "encryption was asked for (seal, or by QUIC before), and this session has no keys.",
                "mount with a real account, or without seal.",
                rule="seal",
            )
        session.encrypt_data = True
    identity = Identity(
        server_name=to.unc.server,
        user=to.credentials.username,
        auth="guest" if is_guest else mechanism.mechanism,
    )
    progress.signed_on(identity)
    return session, identity


async def bind(connection: Connection, to: Destination, session: Session) -> Channel:
    """Sign on to a session that the server has already, and so make a channel of it.

    Raises: ServerStatusError when the server does not know that session, or does not want to;
    then the connection can be used for another one. SecurityViolation; TransportError, also when it
    was lost while we looked at the server's last word.
    Spec: [MS-SMB2] 3.2.4.2.3.1.
    """
    mechanism = to.authenticator(to.credentials, to.unc.server)
    bound, _ = await sign_on(connection, mechanism, bound=session.for_another_channel())
    _allow_payloads(connection, to.options)
    if not connection.is_alive:
        raise TransportError("the connection was lost again")
    return Channel(connection, bound)


async def connect_tree(channel: Channel, to: Destination) -> ConnectedTree:
    """Connect to the share. Raises: ServerStatusError, SecurityViolation."""
    request = TreeConnectRequest(to.unc.share_path)
    exchange = exchange_of([request], session=channel.session)
    await channel.connection.perform(exchange)
    response = answer(exchange, context=str(to.unc))
    tree = ConnectedTree(response.header.tree_id, TreeConnectResponse.decode(response.body))
    _allow_payloads(channel.connection, to.options)
    if channel.session.signer is not None:
        await _validate_negotiation(channel, tree)
    return tree


def _allow_payloads(connection: Connection, options: MountOptions) -> None:
    largest = max(options.rsize or TRANSFER_SIZE, TRANSACT_SIZE)
    connection.stream.max_message_size = largest + FRAME_OVERHEAD_MAX  # we never ask for more


async def _validate_negotiation(channel: Channel, tree: ConnectedTree) -> None:
    """Have the server repeat, signed, what it answered to NEGOTIATE (before SMB 3.1.1).

    Raises: SecurityViolation when the repetition differs, or when the answer, an error too, is
    neither signed nor sealed, whether or not signing is required otherwise: it ends the
    connection (3.2.5.5). ServerStatusError when a server that must know the question refuses.
    """
    engine = channel.connection.engine
    assert engine.negotiated is not None
    if (
        engine.negotiated.dialect == Dialect.SMB_3_1_1
        or max(engine.offer.dialects) < Dialect.SMB_3_0
    ):
        return
    request = IoctlRequest(
        FsctlCode.VALIDATE_NEGOTIATE_INFO,
        FileId.RELATED,
        engine.offer.validation_request().encode(),
    )
    exchange = exchange_of(
        [request],
        session=channel.session,
        tree_id=tree.tree_id,
        encrypt=tree.wants_sealing(engine.negotiated),
    )
    exchange.must_be_protected = True
    try:
        response = answer(await channel.connection.perform(exchange))
    except TransportError as error:
        if isinstance(error.__cause__, SecurityViolation):
            raise error.__cause__ from None
        raise
    except ServerStatusError as error:
        _log.info("the server does not validate NEGOTIATE: %s", error)
        if engine.negotiated.dialect >= Dialect.SMB_3_0:
            raise
        return
    output = IoctlResponse.decode(response.body).data
    engine.negotiated.check_validation(ValidateNegotiateInfoResponse.decode(output))
