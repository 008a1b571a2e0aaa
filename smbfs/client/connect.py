"""From a UNC to a usable share, which is kept reachable for as long as it is used.

Spec: [MS-SMB2] 3.2.4.2 (connecting).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from smbfs.auth.credentials import Credentials
from smbfs.client.attach import (
    AuthenticatorFactory,
    Destination,
    connect_tree,
    connection_over,
    log_on,
)
from smbfs.client.background import background_tasks
from smbfs.client.connection import Connection
from smbfs.client.lifeline import Channel, Lifeline
from smbfs.client.multichannel import Multichannel
from smbfs.client.progress import Progress
from smbfs.client.reconnect import Reconnector, reconnect_route
from smbfs.client.route import dial_route, route_to
from smbfs.client.sign_on import negotiate
from smbfs.client.tree_connect import TreeConnect
from smbfs.config.model import MountOptions
from smbfs.config.unc import Unc
from smbfs.engine.availability import Availability
from smbfs.engine.exchange import exchange_of
from smbfs.errors import DeadlineExceeded, ServerStatusError, SmbfsError
from smbfs.transport.base import MessageStream
from smbfs.transport.server_memory import ServerMemory
from smbfs.wire.create import (
    AccessMask,
    CreateDisposition,
    CreateRequest,
    ShareAccess,
)
from smbfs.wire.create_contexts import PosixCreateRequest, PosixCreateResponse
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.session_setup import LogoffRequest

GOODBYE_S = 0.5
"""Seconds that LOGOFF may take before we just hang up."""

SIGN_ON_S = 30.0
"""Seconds for everything from NEGOTIATE to TREE_CONNECT, if ``timeout`` is not shorter."""

_NOT_NOW = frozenset(
    {
        NtStatus.STATUS_INSUFFICIENT_RESOURCES,
        NtStatus.STATUS_INSUFF_SERVER_RESOURCES,
        NtStatus.STATUS_REQUEST_NOT_ACCEPTED,
    }
)
"""How a server says that it has too much to do, which tells nothing of what it can do."""

_log = logging.getLogger(__name__)


@asynccontextmanager
async def open_share(
    unc: Unc,
    options: MountOptions,
    credentials: Credentials,
    authenticator: AuthenticatorFactory,
    memory: ServerMemory | None = None,
    *,
    renew: Callable[[], Credentials] | None = None,
) -> AsyncIterator[TreeConnect]:
    """Reach the server, connect to a share as :func:`connect_share` does, and keep it so.

    ``memory`` is where what we learn of the server is kept, to reach it sooner the next time.
    When the connection fails later, it is made again (:mod:`smbfs.client.reconnect`); ``renew``
    looks the credentials up again if the server does not take these any more.

    Raises: TransportError, DeadlineExceeded (nobody answers); CertificateRefused; and what
    :func:`connect_share` raises.
    """
    route = route_to(unc, options, memory)
    stream = await dial_route(route, unc.server)
    is_private = stream.transport == "quic"
    to = Destination(unc, options, credentials, authenticator, uuid.uuid4(), is_private)
    line = Lifeline(Availability(patience_s=options.patience_s))
    async with (
        background_tasks() as background,
        _connected(stream, to, line, background, Progress()) as tree,
    ):
        reconnector = Reconnector(tree, to, reconnect_route(route), background, renew)
        tree.sender.on_expired = reconnector.reauthenticate
        line.on_expired = lambda channel, exchange: background.start_soon(
            tree.sender.tell_again, channel, exchange
        )
        background.start_soon(reconnector.run)
        background.start_soon(Multichannel(tree, lambda: reconnector.to, route, background).run)
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
    to = Destination(unc, options, credentials, authenticator, uuid.uuid4())
    async with (
        background_tasks() as background,
        _connected(stream, to, Lifeline(), background, progress or Progress()) as tree,
    ):
        yield tree


@asynccontextmanager
async def _connected(
    stream: MessageStream,
    to: Destination,
    line: Lifeline,
    background: trio.Nursery,
    progress: Progress,
) -> AsyncIterator[TreeConnect]:
    connection = connection_over(stream, to, line)
    sign_on_s = min(SIGN_ON_S, to.options.timeout_s)
    background.start_soon(connection.run)
    try:
        with trio.fail_after(sign_on_s):
            tree = await _first_tree(connection, to, line, progress)
    except trio.TooSlowError as error:
        raise DeadlineExceeded(f"signing on to {to.unc.server}", sign_on_s) from error
    try:
        yield tree
    finally:
        await _say_goodbye(line)


async def _first_tree(
    connection: Connection, to: Destination, line: Lifeline, progress: Progress
) -> TreeConnect:
    progress.negotiated(await negotiate(connection))
    session, identity = await log_on(connection, to, progress=progress)
    channel = Channel(connection, session)
    answered = await connect_tree(channel, to)
    tree = TreeConnect(line, to.unc.share)
    tree.identity = identity
    tree.rsize = to.options.rsize or tree.rsize
    tree.wsize = to.options.wsize or tree.wsize
    connection.on_break = tree.broken
    line.add(channel)
    tree.attach(channel, answered)
    tree.posix = await _posix_works(tree)
    return tree


async def _posix_works(tree: TreeConnect) -> bool:
    """Ask for the share's root the POSIX way: servers switch the extensions off per share."""
    if not tree.negotiated.posix:
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
        if error.status in _NOT_NOW:
            raise
        _log.info("POSIX extensions offered, but not on this share: %s", error)
        return False
    return result.create.context(PosixCreateResponse) is not None


async def _say_goodbye(line: Lifeline) -> None:
    with trio.move_on_after(GOODBYE_S) as scope:
        scope.shield = True
        channel = line.ready
        if channel is not None:
            try:
                await channel.connection.perform(
                    exchange_of([LogoffRequest()], session=channel.session)
                )
            except SmbfsError as error:
                _log.debug("LOGOFF: %s", error)
