"""One run: everything that it consists of, from a seed, in a clock of its own."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from unittest import mock

import trio
import trio.testing

from smbfs.auth.base import Authenticator, Mechanism
from smbfs.auth.credentials import Credentials
from smbfs.client.connect import open_share
from smbfs.client.lifeline import Lifeline
from smbfs.config.model import MountOptions
from smbfs.config.unc import Unc
from smbfs.engine.availability import State
from smbfs.vfs.filesystem import FileSystem, open_filesystem
from tests.beds.simulated_neighbour import Neighbour
from tests.beds.simulated_network import Agenda, Logged, Network
from tests.beds.simulated_requests import ADDRESSES
from tests.beds.simulated_server import SimulatedServer
from tests.beds.simulated_sessions import Settings, session_key_of
from tests.t3_vfs.simulation.determined import nothing_by_chance, packed_once
from tests.t3_vfs.simulation.faults import Faults
from tests.t3_vfs.simulation.oracle import Broken, Oracle
from tests.t3_vfs.simulation.workload import NAMES, Programs

BELIEF_S = 1.2
"""Seconds after which nothing is believed any more that no lease vouches for."""

BACK_S = 40.0
"""Seconds within which a share is back when nothing is wrong any more."""

RUN_S = 400.0
"""No run takes longer than that."""


@dataclass
class Run:
    """What became of a seed."""

    seed: int
    failure: str = ""
    logged: list[Logged] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    plan: dict[int, str] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    reconnections: int = 0


class KeyOfToken:
    """Signs on with a token that only we and the server can make a key of."""

    mechanism: Mechanism = "ntlm"
    is_anonymous = False
    complete = True

    def __init__(self) -> None:
        self._token = os.urandom(1)
        self.session_key = session_key_of(self._token)

    async def prepare(self) -> None:
        """Nothing: it is alone with the server."""

    async def step(self, _token: bytes | None) -> bytes:
        """Return the token."""
        return self._token


def sign_on_by_token(_credentials: Credentials, _server: str) -> Authenticator:
    """Sign on without asking who it is."""
    return KeyOfToken()


def simulate(seed: int) -> Run:
    """Run a seed from beginning to end."""
    run = Run(seed)
    with nothing_by_chance(seed), packed_once():
        clock = trio.testing.MockClock(autojump_threshold=0)
        try:
            trio.run(_simulate, run, clock=clock)
        except* Broken as group:
            run.failure = str(_leaf(group))
        except* Exception as group:  # noqa: BLE001 - whatever it is, it is a finding
            leaf = _leaf(group)
            run.failure = run.failure or f"{type(leaf).__name__}: {leaf}"
    return run


def _leaf(error: BaseException) -> BaseException:
    return _leaf(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def _simulate(run: Run) -> None:
    chance = random.Random(run.seed)
    agenda = Agenda()
    settings = run.settings = Settings(
        leases=chance.random() < 0.8,
        directory_leases=chance.random() < 0.7,
        durable=chance.random() < 0.6,
        multichannel=chance.random() < 0.6,
        posix_semantics=chance.random() < 0.7,
        credits_max=chance.choice((512, 512, 16)),
    )
    server = SimulatedServer(settings, now_s=trio.current_time, later=agenda.later)
    network = Network(server, agenda, chance)
    network.logged = run.logged
    network.latency_s = chance.choice((0.0, 0.001, 0.02))
    network.jitter_s = chance.choice((0.0, 0.0, 0.01))
    oracle = Oracle(server.files)
    for name in NAMES[:2]:
        node = server.files.make(name.decode())
        server.files.write(node, 0, oracle.write(node.number, 0, 20, is_ours=False))
        server.files.flush(node)
    neighbour = Neighbour(
        server, chance, lambda node, at, size: oracle.write(node, at, size, is_ours=False)
    )
    options = MountOptions(
        transport="tcp",
        posix=False,
        timeout_s=chance.choice((6.0, 20.0)),
        cache=chance.choice(("strict", "strict", "strict", "none")),
        leases=settings.leases,
        max_channels=chance.choice((1, 1, 2, 3)),
        cache_size=1 << 22,
    )
    calm_s = chance.choice((8.0, 15.0, 30.0))
    with (
        mock.patch("smbfs.client.route.dial_tcp", network.dial),
        trio.fail_after(RUN_S),
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agenda.run)
            async with (
                open_share(
                    Unc(str(ADDRESSES[0]), None, "share"),
                    options,
                    Credentials("user", "password"),
                    sign_on_by_token,
                ) as tree,
                open_filesystem(tree, options) as filesystem,
            ):
                count = chance.choice((0, 2, 3, 4, 6, 8))
                faults = Faults(chance, network, neighbour, count=count, until_s=calm_s)
                run.plan = faults.plan
                filesystem.state.on_writes_lost = lambda *lost: oracle.lost.append(lost)
                programs = Programs(
                    filesystem, oracle, server.files, chance, options.timeout_s, calm_s
                )
                run.errors = programs.errors
                await _work(programs, filesystem, chance, faults)
                run.reconnections = tree.line.availability.restorations
                if settings.posix_semantics:  # Elsewhere each takes several steps.
                    oracle.names_changed(server.name_changes)
                    oracle.check()
                _check_books(filesystem, server)
            nursery.cancel_scope.cancel()


async def _work(
    programs: Programs, filesystem: FileSystem, chance: random.Random, faults: Faults
) -> None:
    async with trio.open_nursery() as nursery:
        for slot in range(chance.choice((1, 2, 3))):
            nursery.start_soon(programs.program, slot)
    faults.heal()
    programs.calm_s = trio.current_time()
    line = filesystem.state.share.tree.line
    for channel in line.channels:
        channel.connection.check()
    with trio.fail_after(BACK_S + programs.patience_s):
        await trio.sleep(BELIEF_S)
        while not _is_connected(line):
            await line.wait_for_change()
    await trio.sleep(BELIEF_S)
    await programs.see_the_truth()


def _is_connected(line: Lifeline) -> bool:
    return line.availability.state is State.CONNECTED


def _check_books(filesystem: FileSystem, server: SimulatedServer) -> None:
    line = filesystem.state.share.tree.line
    line.leases.check_invariants()
    for channel in line.channels:
        channel.connection.engine.check_invariants()
    if server.violations:
        raise Broken(server.violations[0])
