"""A name that another client gives to another file while we have the old one open, or kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.beds.samba import SambaServer
from tests.t4_fuse.conftest import wait_until
from tests.t6_peers.conftest import MountShare

KINDS = ("default", "no-directory-leases", "only-oplocks")
SOON_S = 3.0
"""Long before a leased directory is asked about again."""

OLD, NEW = b"old" * 25_000, b"new!" * 30_000
SMALL = 1000


@dataclass
class Pair:
    """The same folder through two mounts."""

    ours: Path
    theirs: Path
    news: Callable[[], int]
    """How often our mount has asked what changes in directories: anew after each piece of news."""

    def make(self, old: bytes, new: bytes) -> None:
        """Make ``file``, and what is to take its place."""
        (self.theirs / "file").write_bytes(old)
        (self.theirs / "next").write_bytes(new)
        for _ in range(3):
            assert sorted(each.name for each in self.ours.iterdir()) == ["file", "next"]
            assert (self.ours / "file").stat().st_size == len(old)

    def replace(self) -> None:
        (self.theirs / "next").replace(self.theirs / "file")


@pytest.fixture(params=KINDS)
def pair(
    request: pytest.FixtureRequest,
    samba_variant: Callable[[str], SambaServer],
    mount_share: MountShare,
) -> Iterator[Pair]:
    server = samba_variant(request.param)
    served = server.share_path() / "replaced"
    served.mkdir()
    served.chmod(0o777)
    theirs = mount_share("-o", "nohandlecache", server=server).path / served.name
    ours = mount_share(server=server)

    def news() -> int:
        asked: int = ours.status()["io"]["round_trips"].get("CHANGE_NOTIFY", 0)
        return asked

    yield Pair(ours.path / served.name, theirs, news)
    for each in served.iterdir():
        each.unlink()
    served.rmdir()


def soon(condition: Callable[[], bool]) -> None:
    began = time.monotonic()
    wait_until(condition)
    assert time.monotonic() - began < SOON_S


def is_new(path: Path, new: bytes) -> bool:
    return path.stat().st_size == len(new) and path.read_bytes() == new


def test_while_a_program_has_it_open(pair: Pair) -> None:
    pair.make(OLD, NEW)
    with (pair.ours / "file").open("rb") as file:
        assert file.read(3) == b"old"
        before = pair.news()
        pair.replace()
        if before:
            wait_until(lambda: pair.news() >= before + 2)  # It got a name, and it changed.
        # The file that had the name answers for itself, not for the name.
        assert os.fstat(file.fileno()).st_size == len(OLD)
        soon(lambda: is_new(pair.ours / "file", NEW))
        file.seek(0)
        assert file.read() == OLD


def test_opened_when_the_directory_was_known_no_more(pair: Pair) -> None:
    """The kernel still believes in the name then, and no lease on the directory takes it back."""
    pair.make(OLD, NEW)
    (pair.theirs / "another").write_bytes(b"")
    wait_until((pair.ours / "another").exists)
    with (pair.ours / "file").open("rb") as file:
        assert os.fstat(file.fileno()).st_size == len(OLD)
        pair.replace()
        soon(lambda: is_new(pair.ours / "file", NEW))


@pytest.mark.parametrize("reads", [1, 2, 3])
def test_while_a_handle_is_kept(pair: Pair, reads: int) -> None:
    old, new = OLD[:SMALL], NEW[: 2 * SMALL]
    pair.make(old, new)
    for _ in range(reads):
        assert (pair.ours / "file").read_bytes() == old
    pair.replace()
    soon(lambda: (pair.ours / "file").read_bytes() == new)
