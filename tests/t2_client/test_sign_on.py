"""What sign-on makes of a server that requires signing, or that does not sign what it must."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import trio
import trio.testing

from smbfs.auth.base import Authenticator, Mechanism
from smbfs.auth.credentials import Credentials
from smbfs.client.connect import open_share
from smbfs.client.connection import Connection
from smbfs.client.sign_on import negotiate, sign_on
from smbfs.config.model import MountOptions
from smbfs.config.unc import Unc
from smbfs.engine.connection import Connection as Engine
from smbfs.engine.exchange import exchange_of
from smbfs.engine.negotiate import Offer
from smbfs.engine.session import Session
from smbfs.errors import SecurityViolation, TransportError
from smbfs.transport.memory import memory_stream_pair
from smbfs.wire.create import FileId
from smbfs.wire.dialect import Dialect
from smbfs.wire.error_response import ErrorResponse
from smbfs.wire.header import Command, Header
from smbfs.wire.ioctl import FsctlCode, IoctlResponse, ValidateNegotiateInfoResponse
from smbfs.wire.negotiate import SecurityMode, TransportCapabilities
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.read_write import ReadRequest
from smbfs.wire.session_setup import SessionFlags
from tests.beds.samba_folder import HOST
from tests.beds.scripted_listener import listen
from tests.beds.scripted_server import (
    AUTHENTICATION_KEY,
    FILE_ID,
    TREE_ID,
    Reply,
    ScriptedServer,
)
from tests.t1_engine.conversation import OFFER

ALLOWED = SecurityMode.SIGNING_ENABLED
REQUIRED = SecurityMode.SIGNING_ENABLED | SecurityMode.SIGNING_REQUIRED
IF_OFFERED = Offer(OFFER.client_guid, OFFER.salt, OFFER.server_name, signing_required=False)


class SharedKey:
    """The scripted server's way to sign on: any two tokens, one key."""

    mechanism: Mechanism = "ntlm"
    is_anonymous = False
    session_key = AUTHENTICATION_KEY

    def __init__(self) -> None:
        self.complete = False
        self._steps = 0

    async def prepare(self) -> None:
        pass

    async def step(self, _token: bytes | None) -> bytes | None:
        self._steps += 1
        self.complete = self._steps > 1
        return b"token"


@contextlib.asynccontextmanager
async def signed_on(
    server: ScriptedServer, offer: Offer = IF_OFFERED, *, bound: Session | None = None
) -> AsyncIterator[tuple[Connection, Session]]:
    ours, theirs = memory_stream_pair()
    connection = Connection(Engine(offer), ours, timeout_s=10)

    async def serve() -> None:
        with contextlib.suppress(TransportError):
            while True:
                for answer in server.receive(bytes(await theirs.receive_message())):
                    theirs.send([answer])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        nursery.start_soon(serve)
        await negotiate(connection)
        session, _flags = await sign_on(connection, SharedKey(), bound=bound)
        yield connection, session
        nursery.cancel_scope.cancel()


async def test_a_server_that_requires_signing_must_sign(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """With ``signing=if-offered``, too: only a forger leaves the signature away."""
    server = ScriptedServer(security_mode=REQUIRED)
    async with signed_on(server) as (connection, session):
        assert session.signing_required
        server.sign = False
        read = exchange_of([ReadRequest(FILE_ID, 0, 10)], session=session, tree_id=TREE_ID)
        with pytest.raises(TransportError) as caught:
            await connection.perform(read)
        assert isinstance(caught.value.__cause__, SecurityViolation)


@pytest.mark.parametrize("flags", [SessionFlags.IS_GUEST, SessionFlags.IS_NULL])
async def test_a_channel_of_a_session_with_keys_is_no_guests(
    autojump_clock: trio.testing.MockClock, flags: SessionFlags
) -> None:
    """Or whoever sits in between could have everything on that channel go unsigned."""
    async with signed_on(ScriptedServer()) as (_, session):
        forger = ScriptedServer(session_flags=flags)
        with pytest.raises(ExceptionGroup) as caught:
            async with signed_on(forger, bound=session.for_another_channel()):
                pass
        assert caught.value.subgroup(SecurityViolation) is not None


@pytest.mark.parametrize(
    "server",
    [
        ScriptedServer(security_mode=ALLOWED),
        ScriptedServer(security_mode=REQUIRED, session_flags=SessionFlags.IS_GUEST),
    ],
)
async def test_signing_is_not_required_when_nobody_does_or_nobody_can(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    async with signed_on(server) as (connection, session):
        assert not session.signing_required
        server.sign = False
        read = exchange_of([ReadRequest(FILE_ID, 0, 10)], session=session, tree_id=TREE_ID)
        await connection.perform(read)


@pytest.mark.parametrize("we_accept", [True, False])
@pytest.mark.parametrize(
    "they_say", [None, 0, TransportCapabilities.ACCEPT_TRANSPORT_LEVEL_SECURITY]
)
async def test_what_a_tunnel_seals_is_not_sealed_again_if_both_sides_say_so(
    autojump_clock: trio.testing.MockClock, *, we_accept: bool, they_say: int | None
) -> None:
    """A server that says so unasked changes nothing: without a tunnel it would be a downgrade."""
    server = ScriptedServer(session_flags=SessionFlags.ENCRYPT_DATA, transport_flags=they_say)
    async with signed_on(server, replace(OFFER, trusts_transport=we_accept)) as (_, session):
        assert session.encrypt_data is not (we_accept and bool(they_say))


def repetition() -> IoctlResponse:
    """Return the right answer to the validation of NEGOTIATE."""
    told = ValidateNegotiateInfoResponse(
        ScriptedServer.capabilities, uuid.UUID(int=1), ALLOWED, Dialect.SMB_3_0_2
    )
    code = FsctlCode.VALIDATE_NEGOTIATE_INFO
    return IoctlResponse(code, FileId.RELATED, memoryview(told.encode()))


@contextlib.contextmanager
def validating_server(status: int, *, sign: bool) -> Iterator[int]:
    """Serve SMB 3.0.2 without requiring signing; gives the port."""

    def make() -> ScriptedServer:
        server = ScriptedServer(dialect=Dialect.SMB_3_0_2, cipher=None, security_mode=ALLOWED)

        def answer(_header: Header, _body: memoryview) -> Reply:
            server.sign = sign
            return status, ErrorResponse() if status else repetition()

        server.handlers[Command.IOCTL] = answer
        return server

    with listen(make) as port:
        yield port


async def connect(port: int) -> None:
    def authenticator(_credentials: Credentials, _server: str) -> Authenticator:
        return SharedKey()

    unc = Unc(HOST, port, "share")
    options = MountOptions(signing="if-offered", timeout_s=10)
    async with open_share(unc, options, Credentials("alice"), authenticator):
        pass


async def test_a_signed_validation_passes() -> None:
    with validating_server(NtStatus.STATUS_SUCCESS, sign=True) as port:
        await connect(port)


@pytest.mark.parametrize("status", [NtStatus.STATUS_SUCCESS, NtStatus.STATUS_NOT_SUPPORTED])
async def test_an_unprotected_validation_is_refused(status: NtStatus) -> None:
    """Whoever altered NEGOTIATE can forge it, an error as well as a success."""
    with (
        validating_server(status, sign=False) as port,
        pytest.raises(SecurityViolation, match="unsigned IOCTL"),
    ):
        await connect(port)
