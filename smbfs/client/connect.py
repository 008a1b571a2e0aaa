"""From a UNC to a usable share: dial, negotiate, sign on, connect the tree, check for downgrades.

Spec: [MS-SMB2] 3.2.4.2 (connecting), 3.2.5.5 (validation).
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from smbfs.auth.base import Authenticator
from smbfs.auth.credentials import Credentials
from smbfs.auth.guest import guest_permitted, guest_refused
from smbfs.client.answers import answer
from smbfs.client.background import background_tasks
from smbfs.client.connection import Connection
from smbfs.client.progress import Progress
from smbfs.client.route import dial_route, route_to
from smbfs.client.sign_on import negotiate, sign_on
from smbfs.client.status import Identity
from smbfs.client.tree_connect import TRANSACT_SIZE, TreeConnect
from smbfs.config.model import MountOptions
from smbfs.config.unc import Unc
from smbfs.engine.connection import Connection as Engine
from smbfs.engine.exchange import exchange_of
from smbfs.engine.negotiate import Offer
from smbfs.engine.session import Session
from smbfs.errors import (
    DeadlineExceeded,
    NegotiationRefused,
    SecurityViolation,
    ServerStatusError,
    SmbfsError,
    TransportError,
)
from smbfs.transport.base import MessageStream, TransportName
from smbfs.transport.server_memory import ServerMemory
from smbfs.wire.create import (
    AccessMask,
    CreateDisposition,
    CreateRequest,
    FileId,
    ShareAccess,
)
from smbfs.wire.create_contexts import PosixCreateRequest, PosixCreateResponse
from smbfs.wire.dialect import Dialect
from smbfs.wire.ioctl import (
    FsctlCode,
    IoctlRequest,
    IoctlResponse,
    ValidateNegotiateInfoResponse,
)
from smbfs.wire.session_setup import LogoffRequest, SessionFlags
from smbfs.wire.tree_connect import TreeConnectRequest, TreeConnectResponse

GOODBYE_S = 2.0
"""Seconds that LOGOFF may take before we just hang up."""

SIGN_ON_S = 30.0
"""Seconds for everything from NEGOTIATE to TREE_CONNECT, if ``timeout`` is not shorter."""

HANDSHAKE_FRAME_MAX = 256 * 1024
"""Bytes that a frame may have until we ask for more than tokens."""

FRAME_OVERHEAD_MAX = 128 * 1024
"""Bytes that a frame may have beyond the largest payload that we ask for."""

_SALT_SIZE = 32

_log = logging.getLogger(__name__)

AuthenticatorFactory = Callable[[Credentials, str], Authenticator]
"""Makes the sign-on of these credentials at this server."""


@asynccontextmanager
async def open_share(
    unc: Unc,
    options: MountOptions,
    credentials: Credentials,
    authenticator: AuthenticatorFactory,
    memory: ServerMemory | None = None,
) -> AsyncIterator[TreeConnect]:
    """Reach the server, and connect to a share as :func:`connect_share` does.

    ``memory`` is where what we learn of the server is kept, to reach it sooner the next time.

    Raises: TransportError, DeadlineExceeded (nobody answers); CertificateRefused; and what
    :func:`connect_share` raises.
    """
    stream = await dial_route(route_to(unc, options, memory), unc.server)
    async with connect_share(stream, unc, options, credentials, authenticator) as tree:
        yield tree


@asynccontextmanager
async def connect_share(
    stream: MessageStream,
    unc: Unc,
    options: MountOptions,
    credentials: Credentials,
    authenticator: AuthenticatorFactory,
    *,
    progress: Progress | None = None,
) -> AsyncIterator[TreeConnect]:
    """Connect to a share for the length of an ``async with`` block; log off at its end.

    ``stream`` leads to the server; it is closed in any case. ``progress`` is told how far it is.

    When the connection fails later, the block goes on, and every request of the share raises
    TransportError.

    Raises: TransportError, DeadlineExceeded; CertificateRefused (ours, over QUIC);
    NegotiationRefused, AuthenticationError (we or the server won't); ServerStatusError (its
    NTSTATUS: wrong password, no such share, …); SecurityViolation (somebody tampers).
    """
    engine = Engine(_offer(unc, options, stream.transport))
    stream.max_message_size = HANDSHAKE_FRAME_MAX
    connection = Connection(engine, stream, timeout_s=options.timeout_s)
    sign_on_s = min(SIGN_ON_S, options.timeout_s)
    async with background_tasks() as background:
        background.start_soon(connection.run)
        background.start_soon(connection.follow_network)
        try:
            with trio.fail_after(sign_on_s):
                session, identity = await _sign_on(
                    connection,
                    unc,
                    options,
                    credentials,
                    authenticator,
                    progress=progress or Progress(),
                )
                tree = await _connect_tree(connection, session, unc, options)
                tree.identity = identity
        except trio.TooSlowError as error:
            raise DeadlineExceeded(f"signing on to {unc.server}", sign_on_s) from error
        try:
            yield tree
        finally:
            await _say_goodbye(connection, tree.session)


def _offer(unc: Unc, options: MountOptions, transport: TransportName) -> Offer:
    oldest, newest = options.vers
    if transport == "quic":
        oldest = newest  # Nothing older than 3.1.1 runs over QUIC (2.1).
    dialects = tuple(d for d in Dialect if d != Dialect.WILDCARD)
    labels = [dialect.label for dialect in dialects]
    return Offer(
        client_guid=uuid.uuid4(),
        salt=os.urandom(_SALT_SIZE),
        server_name=unc.server,
        dialects=dialects[labels.index(oldest) : labels.index(newest) + 1],
        signing_required=options.signing == "required",
        encryption_required=options.seal,
        posix=options.posix,
        trusts_transport=transport == "quic" and not options.seal,
    )


async def _sign_on(
    connection: Connection,
    unc: Unc,
    options: MountOptions,
    credentials: Credentials,
    authenticator: AuthenticatorFactory,
    *,
    progress: Progress,
) -> tuple[Session, Identity]:
    progress.negotiated(await negotiate(connection))
    mechanism = authenticator(credentials, unc.server)
    session, flags = await sign_on(connection, mechanism)
    is_guest = bool(flags & (SessionFlags.IS_GUEST | SessionFlags.IS_NULL))
    if is_guest and not guest_permitted(options):
        raise guest_refused(str(unc), asked=options.guest)
    if options.seal:
        if session.sealer is None:
            raise NegotiationRefused(
                f"{unc} refused: the connection can't be encrypted.",
                "encryption was asked for (seal), and this session has no keys.",
                "mount with a real account, or without seal.",
            )
        session.encrypt_data = True
    identity = Identity(
        server_name=unc.server,
        user=credentials.username,
        auth="guest" if is_guest else mechanism.mechanism,
    )
    progress.signed_on(identity)
    return session, identity


async def _connect_tree(
    connection: Connection, session: Session, unc: Unc, options: MountOptions
) -> TreeConnect:
    tree = await _request_tree(connection, session, unc)
    tree.rsize = options.rsize or tree.rsize
    tree.wsize = options.wsize or tree.wsize
    connection.stream.max_message_size = (
        max(tree.rsize, TRANSACT_SIZE) + FRAME_OVERHEAD_MAX  # we never ask for more
    )
    if session.signer is not None:
        await _validate_negotiation(tree)
    tree.posix = await _posix_works(tree)
    return tree


async def _request_tree(connection: Connection, session: Session, unc: Unc) -> TreeConnect:
    request = TreeConnectRequest(unc.share_path)
    exchange = await connection.perform(exchange_of([request], session=session))
    response = answer(exchange, context=str(unc))
    return TreeConnect(
        connection,
        session,
        tree_id=response.header.tree_id,
        share_name=unc.share,
        response=TreeConnectResponse.decode(response.body),
    )


async def _validate_negotiation(tree: TreeConnect) -> None:
    """Have the server repeat, signed, what it answered to NEGOTIATE (before SMB 3.1.1).

    Raises: SecurityViolation when the repetition differs, or when the answer, an error too, is
    neither signed nor sealed, whether or not signing is required otherwise: it ends the
    connection (3.2.5.5). ServerStatusError when a server that must know the question refuses.
    """
    engine = tree.connection.engine
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
        [request], session=tree.session, tree_id=tree.tree_id, encrypt=tree.encrypt_data
    )
    exchange.must_be_protected = True
    try:
        response = answer(await tree.connection.perform(exchange))
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


async def _posix_works(tree: TreeConnect) -> bool:
    """Ask for the share's root the POSIX way: servers switch the extensions off per share."""
    negotiated = tree.connection.engine.negotiated
    if negotiated is None or not negotiated.posix:
        return False
    probe = CreateRequest(
        name="",
        desired_access=AccessMask.READ_ATTRIBUTES,
        share_access=ShareAccess.READ | ShareAccess.WRITE | ShareAccess.DELETE,
        create_disposition=CreateDisposition.OPEN,
        contexts=(PosixCreateRequest(0),),
    )
    try:
        result = await tree.compound(probe)
    except ServerStatusError as error:
        _log.info("POSIX extensions offered, but not on this share: %s", error)
        return False
    return result.create.context(PosixCreateResponse) is not None


async def _say_goodbye(connection: Connection, session: Session) -> None:
    with trio.move_on_after(GOODBYE_S) as scope:
        scope.shield = True
        if connection.is_alive:
            try:
                await connection.perform(exchange_of([LogoffRequest()], session=session))
            except SmbfsError as error:
                _log.debug("LOGOFF: %s", error)
