"""QUIC with those who are not ours: quic-go before the server, and Samba's own client."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.beds.mortal_samba import MortalSamba
from tests.beds.mounted import Mounted, MountFailed, mount
from tests.beds.namespaces import SERVER, cable
from tests.beds.newer_suite import QUIC, newer_suite
from tests.beds.pki import Pki
from tests.beds.quic_across import FIRST_ADDRESS
from tests.beds.quic_gateway import quic_gateway
from tests.beds.quic_smbclient import QuicSmbclient
from tests.beds.quicgo_front import QuicgoFront, build_quicgo_front, quicgo_front
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE
from tests.conftest import require_fuse
from tests.t4_fuse.conftest import wait_until
from tests.t6_peers.moving import Traveller

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces and a root to go to"),
]

NAME = "bed.test"
MIB = 1 << 20
MOVES = 3

MountBy = Callable[..., Mounted]


class Travel(NamedTuple):
    """A client that moves, the front that it speaks to, and its mount."""

    client: Traveller
    front: QuicgoFront
    mounted: Mounted


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_quicgo_front(tmp_path_factory.mktemp("quicgo"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Whatever a test starts: a mount ends before what it goes through."""
    with ExitStack() as everything:
        yield everything


@pytest.fixture
def front(
    stack: ExitStack, program: Path, samba: SambaServer, pki: Pki, tmp_path: Path
) -> QuicgoFront:
    return stack.enter_context(quicgo_front(program, tmp_path, samba.port, pki.leaf("server")))


@pytest.fixture
def mount_by(stack: ExitStack, samba: SambaServer, pki: Pki, tmp_path: Path) -> MountBy:
    """Mount the default share by a front: ``mount_by(front, *options, ip=…, inside=…)``."""
    require_fuse()

    def make(
        front: QuicgoFront, *options: str, ip: str = "127.0.0.1", inside: tuple[str, ...] = ()
    ) -> Mounted:
        known = [f"credentials={samba.credentials_file(ALICE)}", f"ip={ip}", "transport=quic"]
        known += [f"quic_port={front.port}", f"quic_ca={pki.ca}", *options]
        mountpoint = tmp_path / f"mount-{len(list(tmp_path.iterdir()))}"
        return stack.enter_context(
            mount(f"//{NAME}/share", mountpoint, "-o", ",".join(known), inside=inside)
        )

    return make


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_a_tree_comes_and_goes(mount_by: MountBy, front: QuicgoFront, samba: SambaServer) -> None:
    tree, served = mount_by(front).path / "by-quicgo", samba.share_path() / "by-quicgo"
    contents = {f"folder-{number % 3}/file-{number}": os.urandom(number) for number in range(30)}
    for name, content in contents.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    assert {name: (served / name).read_bytes() for name in contents} == contents

    again = mount_by(front).path / "by-quicgo"
    assert {name: (again / name).read_bytes() for name in contents} == contents

    (again / "folder-0").rename(again / "moved")
    (again / "folder-1" / "file-1").unlink()
    assert sorted(path.name for path in served.iterdir()) == ["folder-1", "folder-2", "moved"]
    assert (served / "moved" / "file-3").read_bytes() == contents["folder-0/file-3"]
    assert not (served / "folder-1" / "file-1").exists()


def test_a_session_is_resumed_and_the_first_request_goes_early(
    stack: ExitStack, mount_by: MountBy, program: Path, samba: SambaServer, pki: Pki, tmp_path: Path
) -> None:
    front = stack.enter_context(
        quicgo_front(program, tmp_path, samba.port, pki.leaf("server"), "-early")
    )
    for _ in range(2):
        assert mount_by(front).path.is_dir()
    status = mount_by(front, "quic_0rtt=on").status()["quic"]
    assert status["zero_rtt"]
    assert status["certificate"]["sha256"] == pki.leaf("server").sha256
    told = [(event["resumed"], event["early"]) for event in front.told("connection")]
    assert told == [(False, False), (True, False), (True, True)]


def test_a_lost_connection_is_followed_by_one_that_is_resumed(
    stack: ExitStack,
    mount_by: MountBy,
    program: Path,
    make_mortal: Callable[[str], MortalSamba],
    pki: Pki,
    tmp_path: Path,
) -> None:
    """The front ends a connection when the server behind it does: then there is a new one."""
    server = make_mortal("stock")
    front = stack.enter_context(quicgo_front(program, tmp_path, server.port, pki.leaf("server")))
    mounted = mount_by(front)
    (mounted.path / "before").write_bytes(b"before")
    server.kill_connection(front.pid)
    assert (mounted.path / "before").read_bytes() == b"before"
    (mounted.path / "after").write_bytes(b"after")
    assert (server.share_path() / "after").read_bytes() == b"after"
    assert mounted.status()["reconnects"] == 1
    assert [event["resumed"] for event in front.told("connection")] == [False, True]


def test_large_files_come_and_go(
    mount_by: MountBy, front: QuicgoFront, samba: SambaServer, tmp_path: Path
) -> None:
    mounted = mount_by(front)
    (tmp_path / "up").write_bytes(os.urandom(64 * MIB))
    with (tmp_path / "up").open("rb") as source, (mounted.path / "up").open("wb") as target:
        while piece := source.read(MIB):
            target.write(piece)
    assert sha256(samba.share_path() / "up") == sha256(tmp_path / "up")

    (samba.share_path() / "down").write_bytes(os.urandom(64 * MIB))
    assert sha256(mounted.path / "down") == sha256(samba.share_path() / "down")


def test_both_know_each_other(mount_by: MountBy, front: QuicgoFront, pki: Pki) -> None:
    ours = pki.leaf("client")
    status = mount_by(front, f"quic_cert={ours.cert}", f"quic_key={ours.key}").status()
    assert (status["transport"], status["quic"]["tls"]) == ("quic", "1.3")
    assert status["quic"]["certificate"]["sha256"] == pki.leaf("server").sha256
    seen = front.wait_told("connection")
    assert (seen["server_name"], seen["alpn"]) == (NAME, "smb")
    assert seen["certificate"] == "CN=client.test"


@pytest.fixture
def travel(
    stack: ExitStack, mount_by: MountBy, program: Path, samba: SambaServer, pki: Pki, tmp_path: Path
) -> Travel:
    wire = stack.enter_context(cable())
    wire.give(FIRST_ADDRESS)
    wire.bring(samba.port)
    client = Traveller(wire)
    leaf, end = pki.leaf("server"), wire.in_server
    front = stack.enter_context(
        quicgo_front(program, tmp_path, samba.port, leaf, host=SERVER, inside=end)
    )
    return Travel(client, front, mount_by(front, ip=SERVER, inside=wire.in_client))


@pytest.mark.parametrize("direction", ["read", "write"])
def test_a_client_that_moves_loses_nothing(
    travel: Travel, samba: SambaServer, direction: str
) -> None:
    _, front, mounted = travel
    content = os.urandom(20_000_000)
    served = samba.share_path() / f"moving-{direction}"
    if direction == "read":
        served.write_bytes(content)
        assert _read_moving(travel, served.name, len(content)) == content
    else:
        _write_moving(travel, served.name, content)
        assert served.read_bytes() == content
    status = mounted.status()
    assert (status["state"], status["reconnects"]) == ("connected", 0)
    assert status["quic"]["migrations"] == len(front.told("migrated")) == MOVES
    assert len(front.told("connection")) == 1


def _move(travel: Travel) -> None:
    """Move, and wait until the front has noticed."""
    client, front, mounted = travel
    client.move(mounted)
    wait_until(
        lambda: any(
            event["client"].startswith(f"{client.address}:") for event in front.told("migrated")
        )
    )


def _read_moving(travel: Travel, name: str, size: int) -> bytes:
    pieces = []
    with (travel.mounted.path / name).open("rb", buffering=0) as file:
        for _ in range(MOVES):
            pieces.append(file.read(size // (MOVES + 1)))
            _move(travel)
        pieces.append(file.readall())
    return b"".join(pieces)


def _write_moving(travel: Travel, name: str, content: bytes) -> None:
    size = len(content) // (MOVES + 1)
    # By another process: see Cable.bring.
    with subprocess.Popen(
        ["tee", str(travel.mounted.path / name)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as writer:
        assert writer.stdin is not None
        for number in range(MOVES):
            writer.stdin.write(content[number * size : (number + 1) * size])
            _move(travel)
        writer.stdin.write(content[MOVES * size :])
        writer.stdin.close()
        assert writer.wait(60) == 0


def test_another_protocol_learns_nothing_of_smb(
    mount_by: MountBy, program: Path, pki: Pki, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as backend:
        backend.setblocking(False)
        port = backend.getsockname()[1]
        with quicgo_front(program, tmp_path, port, pki.leaf("server"), "-alpn", "h3") as front:
            with pytest.raises(MountFailed) as caught:
                mount_by(front)
            assert "does not offer SMB over QUIC" in caught.value.output
            assert "TLS alert 120" in caught.value.output
            assert [hello["alpn"] for hello in front.told("hello")] == [["smb"]]
            assert front.told("connection") == []
        with pytest.raises(BlockingIOError):
            backend.accept()


def test_sambas_client_is_served_by_our_gateway(
    samba: SambaServer, pki: Pki, tmp_path: Path
) -> None:
    folder = tmp_path / "smbclient"
    folder.mkdir()
    content = os.urandom(8 * MIB)
    (folder / "up").write_bytes(content)
    with quic_gateway(tmp_path, samba.port, [pki.leaf("server")]) as gateway:
        client = QuicSmbclient(
            newer_suite(QUIC),
            folder,
            gateway.port,
            ca=pki.ca,
            credentials=samba.credentials_file(ALICE),
        )
        client.run("share", "put up from-smbclient")
        assert (samba.share_path() / "from-smbclient").read_bytes() == content
        assert str(len(content)) in client.run("share", "ls from-smbclient")
        client.run("share", "get from-smbclient down")
        assert (folder / "down").read_bytes() == content
        gateway.wait_said(f"name {NAME}, certificate -")
