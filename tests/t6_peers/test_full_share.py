"""A server without room: whoever writes is told, at latest when closing; nothing is silent."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.beds.mounted import Mounted
from tests.beds.samba import SambaServer
from tests.beds.variants import FULL_SHARE_SIZE
from tests.t6_peers.conftest import MountShare

BLOCK = 64 * 1024


@pytest.fixture
def full_server(samba_variant: Callable[[str], SambaServer]) -> SambaServer:
    server = samba_variant("full")
    for left in server.share_path("full").iterdir():
        left.unlink()
    return server


@pytest.fixture
def full(full_server: SambaServer, mount_share: MountShare) -> Mounted:
    return mount_share(server=full_server, share="full")


def write_too_much(path: Path, *, sync: bool) -> list[int]:
    """Write twice what fits; return the errnos of write, fsync and close, in that order."""
    found: list[int] = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for _ in range(2 * FULL_SHARE_SIZE // BLOCK):
            os.write(descriptor, os.urandom(BLOCK))
        if sync:
            os.fsync(descriptor)
    except OSError as error:
        found.append(error.errno or 0)
    try:
        os.close(descriptor)
    except OSError as error:
        found.append(error.errno or 0)
    return found


@pytest.mark.parametrize("sync", [True, False], ids=["fsync", "close"])
def test_too_much_is_refused(full: Mounted, *, sync: bool) -> None:
    assert errno.ENOSPC in write_too_much(full.path / "big", sync=sync)


def test_cp_fails(full: Mounted, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(2 * FULL_SHARE_SIZE))
    done = subprocess.run(
        ["cp", str(tmp_path / "big"), str(full.path / "big")],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "No space left on device" in done.stderr


def test_after_making_room_it_goes_on(full: Mounted, full_server: SambaServer) -> None:
    assert write_too_much(full.path / "big", sync=True)
    (full.path / "big").unlink()
    contents = os.urandom(FULL_SHARE_SIZE // 2)
    with (full.path / "fits").open("wb") as file:
        file.write(contents)
        os.fsync(file.fileno())
    assert (full_server.share_path("full") / "fits").read_bytes() == contents


def test_what_was_written_before_stays(full: Mounted, full_server: SambaServer) -> None:
    contents = os.urandom(BLOCK)
    (full.path / "before").write_bytes(contents)
    assert errno.ENOSPC in write_too_much(full.path / "big", sync=True)
    assert (full_server.share_path("full") / "before").read_bytes() == contents


def test_statfs_tells_how_much_there_is(full: Mounted) -> None:
    room = os.statvfs(full.path)
    assert room.f_frsize * room.f_blocks == FULL_SHARE_SIZE
    before = room.f_frsize * room.f_bavail
    (full.path / "half").write_bytes(bytes(FULL_SHARE_SIZE // 2))
    room = os.statvfs(full.path)
    assert before - room.f_frsize * room.f_bavail == FULL_SHARE_SIZE // 2
