"""The server's process for our connection dies, again and again, while programs use the mount.

What fsync has promised is on the server's disk, every error came out on its handle, nobody hangs,
and the mount is back within ``RECOVERY_S``. A run that fails leaves its journals.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.beds.load_run import LoadRun, load_on, prepare, verdict_on
from tests.beds.load_verdict import Verdict
from tests.beds.mortal_samba import SETTINGS, MortalSamba
from tests.beds.mounted import Mounted
from tests.t4_fuse.conftest import wait_until
from tests.t6_peers.conftest import MountShare
from tests.t6_peers.recovery import GRACE_S, RECOVERY_S

TIMEOUT_S = 10.0
"""The mount's ``timeout=``."""

LIMIT_S = TIMEOUT_S + GRACE_S
"""The most that one operation of a program may take."""

PAUSE_MAX_S = 1.5
"""The most between a connection that is back and its next end."""

OPTIONS = ("-o", f"timeout={TIMEOUT_S:g},cache_size=8M")
"""A cache so small that readers need the server."""

MakeMortal = Callable[[str], MortalSamba]


def wait_connected(server: MortalSamba, mounted: Mounted, client: int, run: LoadRun) -> float:
    """Wait until the mount says that it is connected, and somebody serves it; how long it took."""
    start = time.monotonic()
    while mounted.status()["state"] != "connected" or len(server.serving_pids(client)) != 1:
        run.watch(0.05)
        took_s = time.monotonic() - start
        assert took_s < RECOVERY_S, f"{mounted.status()['state']} for {took_s:.1f} s"
    return time.monotonic() - start


def kill_often(server: MortalSamba, mount_share: MountShare, logs: Path, kills: int) -> Verdict:
    """Run a load, killing its server at random moments; what was found."""
    seed = secrets.randbelow(10**9)
    chance = random.Random(seed)
    print(f"seed {seed}; journals in {logs}")  # noqa: T201 - pytest shows it when this fails
    folder = prepare(server.share_path())
    mounted = mount_share(*OPTIONS, server=server)
    client, longest_s, killed = mounted.pid, 0.0, set[int]()
    with load_on(mounted.path, logs, seed, limit_s=LIMIT_S) as run:
        for _ in range(kills):
            run.watch(chance.uniform(0.02, PAUSE_MAX_S))
            killed.add(server.kill_connection(client))
            longest_s = max(longest_s, wait_connected(server, mounted, client, run))
            assert run.hung == {}
        before = run.events()
        run.watch(1.0)
        assert run.events() > before
    verdict = verdict_on(folder, logs, run)
    print(verdict, f"longest: {run.longest}; back within {longest_s:.2f} s")  # noqa: T201
    assert len(killed) == kills
    assert mounted.status()["reconnects"] >= kills
    return verdict


@pytest.mark.parametrize("setting", ["durable", "volatile"])
def test_a_server_that_dies_a_few_times(
    make_mortal: MakeMortal, mount_share: MountShare, tmp_path: Path, setting: str
) -> None:
    verdict = kill_often(make_mortal(setting), mount_share, tmp_path / "journals", kills=7)
    assert verdict.problems == []
    assert verdict.promises > 100


@pytest.mark.long
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_server_that_dies_two_hundred_times(
    make_mortal: MakeMortal, mount_share: MountShare, tmp_path: Path, setting: str
) -> None:
    verdict = kill_often(make_mortal(setting), mount_share, tmp_path / "journals", kills=200)
    assert verdict.problems == []
    assert verdict.promises > 3000


def test_a_server_that_never_comes_back(
    make_mortal: MakeMortal, mount_share: MountShare, tmp_path: Path
) -> None:
    """Every promise holds, every error comes out in time, and unmounting works."""
    server, logs = make_mortal("stock"), tmp_path / "journals"
    folder = prepare(server.share_path())
    mounted = mount_share("-o", "timeout=2,cache_size=8M", server=server)
    with load_on(mounted.path, logs, 1, limit_s=7.0) as run:
        run.watch(1.0)
        server.kill()
        run.watch(4.0)
    verdict = verdict_on(folder, logs, run)
    assert verdict.problems == []
    assert verdict.errors
    assert mounted.status()["state"] == "offline"


def test_who_looks_for_mounts_does_not_wait_for_their_servers(
    make_mortal: MakeMortal, mount_share: MountShare
) -> None:
    server = make_mortal("stock")
    mounted = mount_share("-o", "timeout=30,actimeo=0", server=server)
    before = mounted.path.stat()
    server.kill()
    wait_until(lambda: mounted.status()["state"] == "reconnecting")
    began_s = time.monotonic()
    assert mounted.path.stat() == before
    assert os.access(mounted.path, os.X_OK)
    assert time.monotonic() - began_s < 5.0
