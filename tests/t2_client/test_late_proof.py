"""A connection that is lost while we look at the last word of a sign-on, as Kerberos does.

The mechanism is satisfied all the same, for it has all that it needs: nothing fails of itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
import trio.testing

from smbfs.auth.base import Mechanism
from smbfs.auth.credentials import Credentials
from smbfs.client.attach import Destination, bind
from smbfs.client.connection import Connection
from smbfs.client.reconnect import Reconnector
from smbfs.client.route import Route, route_to
from smbfs.client.sign_on import negotiate
from smbfs.config.model import MountOptions
from smbfs.config.unc import Unc
from smbfs.engine.availability import State
from smbfs.engine.connection import Connection as Engine
from smbfs.errors import TransportError
from smbfs.transport.memory import MemoryStream, memory_stream_pair
from smbfs.wire.create import CreateRequest
from smbfs.wire.negotiate import Capabilities
from tests.beds.scripted_server import AUTHENTICATION_KEY, ScriptedServer, file_contents
from tests.t1_engine.conversation import OFFER
from tests.t2_client.test_connection import TIMEOUT_S, signed_on
from tests.t2_client.test_lifeline import PATIENCE_S
from tests.t2_client.test_open import connected_tree

CAPABILITIES = Capabilities.LARGE_MTU | Capabilities.MULTI_CHANNEL
UNC = Unc("server", None, "share")

Meanwhile = Callable[[], Awaitable[None]]


class LateProof:
    """Takes its time with the server's last token, and something happens meanwhile."""

    mechanism: Mechanism = "kerberos"
    is_anonymous = False
    session_key = AUTHENTICATION_KEY

    def __init__(self, meanwhile: Meanwhile) -> None:
        self.complete = False
        self._steps = 0
        self._meanwhile = meanwhile

    async def prepare(self) -> None:
        pass

    async def step(self, _token: bytes | None) -> bytes | None:
        self._steps += 1
        if self._steps < 3:
            return b"token"
        await self._meanwhile()
        self.complete = True
        return None


def destination(meanwhile: Meanwhile) -> Destination:
    return Destination(
        UNC,
        MountOptions(),
        Credentials("alice"),
        lambda _who, _server: LateProof(meanwhile),
        OFFER.client_guid,
    )


async def serve(end: MemoryStream) -> None:
    """Be one more way to a server that lets connections join a session."""
    server = ScriptedServer(capabilities=CAPABILITIES)
    with suppress(TransportError):
        while True:
            for answer in server.receive(bytes(await end.receive_message())):
                end.send([answer])


async def hang_up(end: MemoryStream) -> None:
    await end.aclose()
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_connection_that_was_lost_meanwhile_is_no_channel(
    autojump_clock: trio.testing.MockClock, *, is_lost: bool
) -> None:
    ours, theirs = memory_stream_pair()
    connection = Connection(Engine(OFFER), ours, timeout_s=TIMEOUT_S)

    async def meanwhile() -> None:
        if is_lost:
            await hang_up(theirs)

    async with signed_on() as bed, trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        nursery.start_soon(serve, theirs)
        await negotiate(connection)
        if is_lost:
            with pytest.raises(TransportError, match="lost again"):
                await bind(connection, destination(meanwhile), bed.session)
        else:
            channel = await bind(connection, destination(meanwhile), bed.session)
            assert channel.connection is connection
        nursery.cancel_scope.cancel()


async def test_a_share_whose_new_connection_is_lost_meanwhile_comes_back_by_the_next(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who took it for a channel would never hear of its end, and all would wait for ever."""
    ends: list[MemoryStream] = []

    async def meanwhile() -> None:
        if len(ends) == 1:
            await hang_up(ends[0])

    to = destination(meanwhile)
    async with (
        signed_on(server=ScriptedServer(capabilities=CAPABILITIES)) as bed,
        trio.open_nursery() as nursery,
    ):

        async def dial(_route: Route, _server_name: str) -> MemoryStream:
            await trio.lowlevel.checkpoint()
            ours, theirs = memory_stream_pair()
            ends.append(theirs)
            nursery.start_soon(serve, theirs)
            return ours

        monkeypatch.setattr("smbfs.client.attach.dial_route", dial)
        tree = connected_tree(bed)
        tree.line.availability.patience_s = PATIENCE_S
        file = await tree.create(CreateRequest("file", desired_access=1))
        reconnector = Reconnector(tree, to, route_to(UNC, to.options), nursery)
        nursery.start_soon(reconnector.run)
        bed.connection.give_up(TransportError("lost"))
        with trio.fail_after(PATIENCE_S):
            assert await file.read(8, 16) == file_contents(8, 16)
        assert len(ends) == 2
        assert tree.line.availability.state is State.CONNECTED
        assert [each.connection.is_alive for each in tree.line.channels] == [True]
        nursery.cancel_scope.cancel()
