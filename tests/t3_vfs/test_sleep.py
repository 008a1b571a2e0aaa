"""A machine that sleeps without its server: no program keeps it awake, and nothing is lost."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from unittest import mock

import pytest
import trio
import trio.testing

from smbfs.auth.credentials import Credentials
from smbfs.client.connect import open_share
from smbfs.client.reconnect import LAST_ANSWERS_S
from smbfs.config.model import MountOptions
from smbfs.config.unc import Unc
from smbfs.errors import ServerAway
from smbfs.vfs.filesystem import FileSystem, open_filesystem
from tests.beds.simulated_network import Agenda, Network
from tests.beds.simulated_requests import ADDRESSES
from tests.beds.simulated_server import SimulatedServer
from tests.beds.simulated_sessions import Settings
from tests.t3_vfs.simulation.world import sign_on_by_token

ROOT = 1
RECORD = b"four"
HOURS_S = 8 * 3600.0


@dataclass
class Laptop:
    """A mount on a machine that sleeps when it is told to."""

    filesystem: FileSystem
    network: Network
    prepare: Callable[[], Awaitable[None]]
    """As logind's word that it is about to sleep."""
    awake: Callable[[], None]
    """As its word that it has slept."""
    lost: list[tuple[object, ...]] = field(default_factory=list)

    async def create(self, name: bytes) -> int:
        """Make a file and open it for writing."""
        opened, _ = await self.filesystem.opening.create(ROOT, name, 0o644, os.O_RDWR)
        return opened.handle

    def contents(self, name: str) -> bytes:
        """What the server has of a file."""
        return bytes(self.network.server.files.names[name].data)

    def leave(self) -> None:
        """Go where the server can't be reached, and nobody says so."""
        for link in self.network.links:
            link.silence(0, 1)
        self.network.away_until_s, self.network.is_away_silent = HOURS_S, True


@asynccontextmanager
async def laptop() -> AsyncIterator[Laptop]:
    """Mount a share whose server is never far away for longer than anybody waits."""
    agenda = Agenda()
    server = SimulatedServer(Settings(), now_s=trio.current_time, later=agenda.later)
    network = Network(server, agenda, random.Random(0))
    options = MountOptions(transport="tcp", posix=False, hard=True)
    unc = Unc(str(ADDRESSES[0]), None, "share")
    logind: list[tuple[Callable[[], Awaitable[None]], Callable[[], None]]] = []

    async def follow(prepare: Callable[[], Awaitable[None]], awake: Callable[[], None]) -> None:
        logind.append((prepare, awake))
        await trio.sleep_forever()

    with (
        mock.patch("smbfs.client.route.dial_tcp", network.dial),
        mock.patch("smbfs.client.reconnect.follow_sleep", follow),
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agenda.run)
            who = Credentials("user", "password")
            async with (
                open_share(unc, options, who, sign_on_by_token) as tree,
                open_filesystem(tree, options) as filesystem,
            ):
                await trio.testing.wait_all_tasks_blocked()
                one = Laptop(filesystem, network, *logind[0])
                filesystem.state.on_writes_lost = lambda *lost: one.lost.append(lost)
                yield one
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("forgets", [False, True], ids=["same session", "restarted server"])
async def test_what_was_written_waits_for_the_morning(
    autojump_clock: trio.testing.MockClock, forgets: bool
) -> None:
    async with laptop() as one, trio.open_nursery() as nursery:
        files = one.filesystem.files
        handle = await one.create(b"file")
        await files.write(handle, 0, RECORD)
        one.leave()
        ended: list[float] = []

        async def synchronise() -> None:
            with pytest.raises(ServerAway, match="sleep"):
                await files.synchronise(handle)
            ended.append(trio.current_time())

        nursery.start_soon(synchronise)
        await trio.testing.wait_all_tasks_blocked()
        began_s = trio.current_time()
        await one.prepare()
        await trio.testing.wait_all_tasks_blocked()
        assert ended
        assert ended[0] <= began_s + LAST_ANSWERS_S
        nursery.start_soon(synchronise)  # Nobody else keeps it awake, either.
        await trio.testing.wait_all_tasks_blocked()
        assert ended[1] == trio.current_time()
        assert one.contents("file") == b""

        if forgets:
            one.network.server.restart(keeps_handles=False)
        one.network.heal()
        one.awake()
        await files.synchronise(handle)
        assert one.contents("file") == RECORD
        await files.write(handle, 4, RECORD)
        await files.flush(handle)
        await files.release(handle)
        assert one.contents("file") == RECORD * 2
        assert one.lost == []


async def test_what_is_closed_meanwhile_is_closed_when_it_is_written(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with laptop() as one, trio.open_nursery() as nursery:
        files = one.filesystem.files
        handle = await one.create(b"file")
        await files.write(handle, 0, RECORD)
        one.leave()
        await one.prepare()
        with pytest.raises(ServerAway, match="sleep"):
            await files.flush(handle)
        nursery.start_soon(files.release, handle)
        await trio.sleep(1)
        one.network.heal()
        one.awake()
        await trio.sleep(10)
        assert one.contents("file") == RECORD
        assert len(one.filesystem.state.handles) == 0
        assert one.lost == []
