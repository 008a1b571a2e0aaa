"""A server without room: whoever writes is told, at latest when closing; nothing is silent."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import pytest

from smbfs.wire.header import HEADER_SIZE, Command, Header
from smbfs.wire.ntstatus import NtStatus
from tests.beds.mounted import mount
from tests.beds.proxy import Proxy, Sent, Tampering, framed
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import HOST
from tests.beds.variants import FULL_SHARE_SIZE, QUOTA
from tests.conftest import require_fuse
from tests.t6_peers.conftest import MountShare

BLOCK = 64 * 1024
MANY = 1000

Variants = Callable[[str], SambaServer]


class Full(NamedTuple):
    """A share that is soon full."""

    path: Path
    """The mount point."""
    served: Path
    """Where the server has its files."""
    size: int
    """Bytes, about."""
    errno: int
    """What a program is told when there is no room."""


def emptied(server: SambaServer, share: str) -> Path:
    for left in server.share_path(share).iterdir():
        left.unlink()
    return server.share_path(share)


@pytest.fixture
def small(samba_variant: Variants, mount_share: MountShare) -> Full:
    """A small disk."""
    server = samba_variant("full")
    served = emptied(server, "full")
    mounted = mount_share(server=server, share="full")
    return Full(mounted.path, served, FULL_SHARE_SIZE, errno.ENOSPC)


@pytest.fixture
def quota(samba_variant: Variants, mount_share: MountShare) -> Full:
    """A quota, of which Samba says what it says of a full disk."""
    server = samba_variant("quota")
    served = emptied(server, "quota")
    mounted = mount_share(server=server, share="quota")
    return Full(mounted.path, served, QUOTA, errno.ENOSPC)


def as_quota(frame: bytes) -> Sent:
    """Have a WRITE that finds no room fail for the quota, as it does on other servers."""
    header = Header.decode(frame)
    if header.status == NtStatus.STATUS_DISK_FULL:
        header = header._replace(status=NtStatus.STATUS_QUOTA_EXCEEDED)
    return Sent(framed(header.encode() + frame[HEADER_SIZE:]))


@pytest.fixture
def named_quota(samba_variant: Variants, tmp_path: Path) -> Iterator[Full]:
    """A quota of which the server says that it is one."""
    require_fuse()
    server = samba_variant("quota")
    served = emptied(server, "quota")
    with Proxy(HOST, server.port) as proxy:
        proxy.tamper(Tampering(as_quota, Command.WRITE, times=MANY))
        unc = f"//{HOST}:{proxy.port}/quota"
        nobody_signs = "guest,allow_insecure_guest,signing=if-offered"
        with mount(unc, tmp_path / "mount", "-o", nobody_signs) as mounted:
            yield Full(mounted.path, served, QUOTA, errno.EDQUOT)


@pytest.fixture(params=["small", "quota", "named_quota"])
def full(request: pytest.FixtureRequest) -> Full:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Full)
    return found


def write_too_much(full: Full, *, sync: bool) -> list[int]:
    """Write twice what fits; return the errnos of write, fsync and close, in that order."""
    found: list[int] = []
    descriptor = os.open(full.path / "big", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for _ in range(2 * full.size // BLOCK):
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
def test_too_much_is_refused(full: Full, *, sync: bool) -> None:
    assert full.errno in write_too_much(full, sync=sync)


def test_cp_fails(full: Full, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(2 * full.size))
    done = subprocess.run(
        ["cp", str(tmp_path / "big"), str(full.path / "big")],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert os.strerror(full.errno) in done.stderr


def test_what_was_taken_already_is_told_to_who_wrote_it(full: Full) -> None:
    """Nobody had asked the server yet. Another handle has nothing to do with it."""
    other = os.open(full.path / "other", os.O_WRONLY | os.O_CREAT)
    os.write(other, b"before")
    os.fsync(other)
    writer = os.open(full.path / "big", os.O_WRONLY | os.O_CREAT)
    (full.served / "filler").write_bytes(bytes(full.size - 4 * BLOCK))
    assert os.write(writer, bytes(8 * BLOCK)) == 8 * BLOCK
    assert (full.served / "big").stat().st_size == 0

    with pytest.raises(OSError, match=os.strerror(full.errno)) as caught:
        os.fsync(writer)
    assert caught.value.errno == full.errno
    os.fsync(other)
    os.close(other)
    assert (full.served / "other").read_bytes() == b"before"
    os.close(writer)


def test_after_making_room_it_goes_on(full: Full) -> None:
    assert write_too_much(full, sync=True)
    (full.path / "big").unlink()
    contents = os.urandom(full.size // 2)
    with (full.path / "fits").open("wb") as file:
        file.write(contents)
        os.fsync(file.fileno())
    assert (full.served / "fits").read_bytes() == contents


def test_what_was_written_before_stays(full: Full) -> None:
    contents = os.urandom(BLOCK)
    (full.path / "before").write_bytes(contents)
    assert full.errno in write_too_much(full, sync=True)
    assert (full.served / "before").read_bytes() == contents


@pytest.mark.parametrize(
    ("cache", "asks_for_the_size"),
    [("strict", False), ("strict", True), ("none", False), ("none", True)],
)
def test_who_appends_after_a_refusal_does_so_behind_what_there_is(
    samba_variant: Variants, mount_share: MountShare, cache: str, *, asks_for_the_size: bool
) -> None:
    """Else there would be zeros where the bytes that were refused should have been."""
    server = samba_variant("full")
    served = emptied(server, "full")
    mounted = mount_share("-o", f"cache={cache}", server=server, share="full")
    with (mounted.path / "log").open("ab", buffering=0) as log:
        write_safely(log, b"one\n")
        fill_up(served / "ballast")
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            write_safely(log, b"refused\n" * 1024)
        left = (served / "log").read_bytes()  # It may have taken a part.
        if asks_for_the_size:
            assert os.fstat(log.fileno()).st_size == len(left)
        (served / "ballast").unlink()
        write_safely(log, b"two\n")
        assert (served / "log").read_bytes() == left + b"two\n"
        assert os.fstat(log.fileno()).st_size == len(left) + len(b"two\n")


def fill_up(ballast: Path) -> None:
    """Leave no byte of room on the server."""
    with ballast.open("wb", buffering=0) as file:
        for size in (BLOCK, 4096, 1):
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                write_for_ever(file, bytes(size))


def write_for_ever(file: FileIO, data: bytes) -> None:
    while True:
        file.write(data)


def write_safely(file: FileIO, data: bytes) -> None:
    file.write(data)
    os.fsync(file.fileno())


def test_statfs_tells_how_much_there_is(small: Full) -> None:
    room = os.statvfs(small.path)
    assert room.f_frsize * room.f_blocks == FULL_SHARE_SIZE
    before = room.f_frsize * room.f_bavail
    (small.path / "half").write_bytes(bytes(FULL_SHARE_SIZE // 2))
    room = os.statvfs(small.path)
    assert before - room.f_frsize * room.f_bavail == FULL_SHARE_SIZE // 2
