"""Persistent handles: the whole server dies, and comes back, while files are open.

A server of Debian's unstable suite, whose shares say that they are continuously available.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.beds.copier import Copying, Report
from tests.beds.holder import Holding
from tests.beds.mounted import Mounted
from tests.beds.newer_samba import PERSISTENT, NewerSamba
from tests.beds.newer_suite import PERSISTENT_HANDLES, newer_suite
from tests.beds.samba import SambaServer
from tests.t4_fuse.conftest import wait_until
from tests.t6_peers.conftest import MountShare
from tests.t6_peers.recovery import GRACE_S, RECOVERY_S

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a root to go to"),
]

MIB = 1 << 20
SIZE = 400 * MIB
KILLS = 15
PAUSE_MAX_S = 1.5
"""The most between a mount that is back and the server's next end.

On the average that has to be long enough for a few answers: a request that was lost nine times is
given up.
"""

COPY_S = 120.0


@dataclass
class Deaths:
    """A server that dies again and again."""

    server: NewerSamba
    mounted: Mounted
    chance: random.Random
    count: int = 0
    longest_s: float = 0.0
    """Until the mount was back."""

    @property
    def returns(self) -> int:
        """How often the mount has come back."""
        return int(self.mounted.status()["reconnects"])

    def die(self) -> None:
        """Have it die at a random moment, all of its processes at once, and start it again."""
        time.sleep(self.chance.uniform(0.0, PAUSE_MAX_S))
        before = self.returns
        self.server.kill()
        self.server.start()
        self.count += 1
        start = time.monotonic()
        wait_until(lambda: self.returns > before)
        self.longest_s = max(self.longest_s, time.monotonic() - start)


@pytest.fixture
def server(make_samba: Callable[..., SambaServer]) -> NewerSamba:
    made = make_samba(NewerSamba, suite=newer_suite(PERSISTENT_HANDLES), globals=PERSISTENT)
    assert isinstance(made, NewerSamba)
    return made


@contextmanager
def held(mounted: Mounted, server: NewerSamba) -> Iterator[Holding]:
    """Have a file open from before the first death until after the last one."""
    (server.share_path() / "held").touch()
    (server.share_path() / "held").chmod(0o666)
    with Holding(mounted.path / "held") as file:
        file.write(b"before ")
        file.sync()
        file.write(b"gathered ")
        yield file
        file.write(b"after")
        file.sync()
        status = mounted.status()
        assert (status["state"], status["handles"]["persistent"]) == ("connected", 1)
        file.close()
    assert (server.share_path() / "held").read_bytes() == b"before gathered after"


def test_a_server_that_dies_costs_nothing_but_time(
    server: NewerSamba, mount_share: MountShare, tmp_path: Path
) -> None:
    seed = secrets.randbelow(10**9)
    content = os.urandom(SIZE)
    near, far = tmp_path / "near", server.share_path() / "far"
    for path in (near, far):
        path.write_bytes(content)
    far.chmod(0o644)
    mounted = mount_share("-o", "cache_size=16M", server=server)
    deaths = Deaths(server, mounted, random.Random(seed))
    reports: list[Report] = []
    start = time.monotonic()
    with held(mounted, server):
        assert mounted.status()["handles"] == {
            "open": 1, "cached": 0, "durable": 1, "persistent": 1
        }  # fmt: skip
        while deaths.count < KILLS:
            with (
                Copying(near, mounted.path / "there") as there,
                Copying(mounted.path / "far", tmp_path / "back") as back,
            ):
                for each in (there, back):
                    each.go_on()
                while there.is_under_way or back.is_under_way:
                    deaths.die()
                reports += [each.report(COPY_S) for each in (there, back)]
            assert [each.failed for each in reports] == [""] * len(reports)
            for copied in (server.share_path() / "there", tmp_path / "back"):
                assert copied.read_bytes() == content
                copied.unlink()
        wait_until(lambda: bool(mounted.status()["state"] == "connected"))
    took_s = time.monotonic() - start
    longest_s = max(each.longest_s for each in reports)
    print(  # noqa: T201
        f"seed {seed}: {deaths.count} deaths during {len(reports)} copies of {SIZE // MIB} MiB, "
        f"{took_s:.0f} s; back within {deaths.longest_s:.2f} s; the longest operation "
        f"took {longest_s:.2f} s"
    )
    assert longest_s < RECOVERY_S + GRACE_S
