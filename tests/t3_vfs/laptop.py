"""A mount on a machine that goes away from its server, sleeps, and comes back."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from unittest import mock

import trio
import trio.testing

from smbfs.auth.credentials import Credentials
from smbfs.client.connect import open_share
from smbfs.config.model import MountOptions
from smbfs.config.unc import Unc
from smbfs.vfs.filesystem import FileSystem, open_filesystem
from tests.beds.simulated_network import Agenda, Network
from tests.beds.simulated_requests import ADDRESSES
from tests.beds.simulated_server import SimulatedServer
from tests.beds.simulated_sessions import Settings
from tests.t3_vfs.simulation.world import sign_on_by_token

ROOT = 1
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
