"""A server without leases: oplocks let us keep handles and contents, and write behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from smbfs.client.tree_connect import OPLOCKS_REFUSED_MAX
from tests.beds.coherence import FOLDERS, Coherence, MountedFolder
from tests.beds.samba import SambaServer
from tests.t6_peers.conftest import MountShare
from tests.t6_peers.test_write_behind import forced_breaks

DIALECTS = ("3.1.1", "2.1", "2.0.2")
OPERATIONS = [200, pytest.param(3000, marks=pytest.mark.long)]
BREAKS = [20, pytest.param(300, marks=pytest.mark.long)]


@pytest.fixture
def server(samba_variant: Callable[[str], SambaServer]) -> SambaServer:
    return samba_variant("only-oplocks")


@pytest.fixture
def served(server: SambaServer, request: pytest.FixtureRequest) -> Path:
    folder = server.share_path() / "".join(c if c.isalnum() else "-" for c in request.node.name)
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_file_is_read_again_without_a_request(
    server: SambaServer, served: Path, mount_share: MountShare, dialect: str
) -> None:
    mounted = mount_share("-o", f"vers={dialect},actimeo=60", server=server)
    (served / "file").write_bytes(os.urandom(200_000))
    path = mounted.path / served.name / "file"
    content = path.read_bytes()
    assert mounted.status()["leases"]["file"] == 1
    before = mounted.status()["io"]["requests"]
    for _ in range(3):
        assert path.read_bytes() == content
    assert mounted.status()["io"]["requests"] == before


def test_directories_have_no_oplocks_and_are_not_held_against_the_share(
    server: SambaServer, served: Path, mount_share: MountShare
) -> None:
    mounted = mount_share("-o", "actimeo=60", server=server)
    folder = mounted.path / served.name
    for number in range(OPLOCKS_REFUSED_MAX + 1):
        (folder / f"folder-{number}").mkdir()
        assert not list((folder / f"folder-{number}").iterdir())
    (folder / "file").write_bytes(b"content")
    assert (folder / "file").read_bytes() == b"content"
    assert mounted.status()["leases"]["file"] == 1


def test_writes_wait_for_company_until_somebody_looks(
    server: SambaServer, served: Path, mount_share: MountShare
) -> None:
    ours, theirs = mount_share(server=server), mount_share(server=server)
    content = bytearray(os.urandom(100_000))
    with (ours.path / served.name / "file").open("wb", buffering=0) as file:
        file.write(content)
        for offset in range(0, len(content), 10_000):
            os.pwrite(file.fileno(), b"here and there", offset)
            content[offset : offset + 14] = b"here and there"
        assert (served / "file").stat().st_size == 0
        assert (theirs.path / served.name / "file").read_bytes() == content
    assert ours.status()["leases"]["breaks"] > 0


@pytest.mark.parametrize("count", BREAKS)
def test_forced_breaks_under_load(
    server: SambaServer, served: Path, mount_share: MountShare, count: int
) -> None:
    ours = mount_share(server=server)
    theirs = mount_share("-o", "nohandlecache", server=server).path / served.name
    forced_breaks(ours, ours.path / served.name, theirs, count)


@pytest.mark.parametrize("operations", OPERATIONS)
def test_clients_see_what_others_did(
    server: SambaServer, served: Path, mount_share: MountShare, operations: int
) -> None:
    mounts = [MountedFolder(mount_share(server=server).path / served.name) for _ in range(2)]
    for inner in FOLDERS:
        (served / inner).mkdir(exist_ok=True)
        (served / inner).chmod(0o777)
    coherence = Coherence(mounts, [], seed=operations)
    coherence.run(operations)
    story = "\n".join(str(each) for each in coherence.late)
    assert len(coherence.late) < coherence.looks / 10, story
