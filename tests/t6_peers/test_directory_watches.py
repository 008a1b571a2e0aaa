"""Servers that lease no directories tell what changes in them, and are believed as long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.beds.mounted import Mounted
from tests.beds.samba import SambaServer
from tests.t4_fuse.conftest import wait_until
from tests.t6_peers.conftest import MountShare

KINDS = ("no-directory-leases", "smb-2.1")
FILES = 50
SOON_S = 3.0
"""Long before anything expires; Samba takes a second to tell."""


@pytest.fixture(params=KINDS)
def server(
    request: pytest.FixtureRequest, samba_variant: Callable[[str], SambaServer]
) -> SambaServer:
    return samba_variant(request.param)


@pytest.fixture
def served(server: SambaServer) -> Iterator[Path]:
    """A folder of small files on that server."""
    folder = server.share_path() / "watched"
    folder.mkdir()
    folder.chmod(0o777)
    for number in range(FILES):
        file = folder / f"file-{number}"
        file.write_bytes(b"old")
        file.chmod(0o666)
    yield folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@pytest.fixture
def ours(mount_share: MountShare, server: SambaServer) -> Mounted:
    """A mount that would believe for a minute."""
    return mount_share("-o", "actimeo=60", server=server)


@pytest.fixture
def theirs(mount_share: MountShare, server: SambaServer) -> Path:
    return mount_share(server=server).path / "watched"


def look(folder: Path) -> dict[str, int]:
    """What is there, and how large; a file may go between the two questions."""
    sizes = {}
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            sizes[path.name] = path.stat().st_size
    return sizes


def soon(condition: Callable[[], bool]) -> None:
    began = time.monotonic()
    wait_until(condition)
    assert time.monotonic() - began < SOON_S


def test_what_others_change_is_seen_soon(served: Path, ours: Mounted, theirs: Path) -> None:
    folder = ours.path / "watched"
    assert look(folder) == {f"file-{number}": 3 for number in range(FILES)}
    wait_until(lambda: ours.status()["io"]["round_trips"].get("CHANGE_NOTIFY", 0) > 0)
    (theirs / "made").write_bytes(b"by them")
    (theirs / "file-1").unlink()
    (theirs / "file-2").rename(theirs / "moved")
    (theirs / "file-3").write_bytes(b"longer than before")
    expected = {path.name: path.stat().st_size for path in served.iterdir()}
    soon(lambda: look(folder) == expected)
    soon(lambda: (folder / "made").read_bytes() == b"by them")
    soon(lambda: not (folder / "file-1").exists() and (folder / "moved").exists())
    soon(lambda: (folder / "file-3").read_bytes() == b"longer than before")


def test_what_the_server_changes_itself_is_seen_soon(served: Path, ours: Mounted) -> None:
    """No lease would tell that."""
    folder = ours.path / "watched"
    look(folder)
    wait_until(lambda: ours.status()["io"]["round_trips"].get("CHANGE_NOTIFY", 0) > 0)
    (served / "made").write_bytes(b"")
    (served / "file-1").unlink()
    soon(lambda: look(folder).keys() == {path.name for path in served.iterdir()})


def test_our_own_changes_are_in_our_own_listing_at_once(served: Path, ours: Mounted) -> None:
    folder = ours.path / "watched"
    look(folder)
    for number in range(20):
        (folder / f"ours-{number}").write_bytes(b"x" * number)
        (folder / f"file-{number}").unlink()
        assert look(folder) == {path.name: path.stat().st_size for path in served.iterdir()}


def test_a_watched_directory_is_listed_again_without_a_request(
    served: Path, server: SambaServer, mount_share: MountShare
) -> None:
    """For much longer than ``actimeo``, which is a second here."""
    mounted = mount_share(server=server)
    folder = mounted.path / "watched"

    def listings() -> int:
        count: int = mounted.status()["io"]["round_trips"].get("QUERY_DIRECTORY", 0)
        return count

    deadline = time.monotonic() + 6
    seen = []
    while time.monotonic() < deadline:
        look(folder)
        seen.append(listings())
    assert seen[-1] == seen[len(seen) // 2]
