"""A cache on disk outlives the mount, and knows what has changed meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from smbfs.config.model import MIB
from tests.beds.mounted import MountFailed, mount
from tests.beds.samba import SambaServer

SIZE = 8 * MIB
PATIENCE_S = 30.0

Read = Callable[[], tuple[bytes, int]]


@pytest.fixture
def file(samba: SambaServer) -> Path:
    """A large file on the server."""
    path = samba.share_path() / "kept on disk"
    path.write_bytes(Random(1).randbytes(SIZE))
    return path


@pytest.fixture
def read(samba: SambaServer, tmp_path: Path, file: Path) -> Read:
    """Mount, read the file and unmount; return what was read, and with how many READs."""

    def read_once() -> tuple[bytes, int]:
        options = f"credentials={samba.credentials_file()},cache_dir={tmp_path / 'cache'}"
        with mount(samba.unc("share"), tmp_path / "mnt", "-o", options) as mounted:
            contents = (mounted.path / file.name).read_bytes()
            return contents, mounted.status()["io"]["round_trips"].get("READ", 0)

    return read_once


def read_until_it_is_kept(read: Read, expected: bytes) -> None:
    """What has just changed is not kept: another change could get the same time."""
    deadline = time.monotonic() + PATIENCE_S
    reads = 1
    while reads:
        assert time.monotonic() < deadline
        contents, reads = read()
        assert contents == expected


def test_the_next_mount_reads_from_disk_what_has_not_changed(read: Read, file: Path) -> None:
    first = file.read_bytes()
    read_until_it_is_kept(read, first)
    with file.open("r+b") as changing:
        changing.write(b"changed on the server, while nobody had it mounted")
    second = file.read_bytes()
    contents, reads = read()
    assert contents == second
    assert reads >= SIZE // MIB
    read_until_it_is_kept(read, second)


def test_a_folder_that_others_can_read_is_refused(read: Read, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o755)
    with pytest.raises(MountFailed) as refused:
        read()
    assert "chmod 700" in refused.value.output
