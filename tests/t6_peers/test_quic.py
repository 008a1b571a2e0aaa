"""Mounts over QUIC: a real Samba server behind the real gateway."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.beds.mounted import Mounted, MountFailed, mount
from tests.beds.pki import Pki
from tests.beds.proxy import Proxy
from tests.beds.quic_gateway import QuicGateway, quic_gateway
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE
from tests.beds.tcp_sockets import free_port
from tests.t6_peers.recovery import assert_works_soon

NAME = "bed.test"
LARGE = 20_000_000

MountByQuic = Callable[..., Mounted]


@pytest.fixture(scope="module")
def gateway(
    samba: SambaServer, pki: Pki, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QuicGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with quic_gateway(folder, samba.port, [pki.leaf("server")]) as running:
        yield running


@pytest.fixture
def mount_by_quic(
    samba: SambaServer, pki: Pki, gateway: QuicGateway, tmp_path: Path
) -> Iterator[MountByQuic]:
    """Mount the default share by its name, with more options if there are."""
    with ExitStack() as mounts:

        def make(
            *options: str, name: str = NAME, trust: str = f"quic_ca={pki.ca}", share: str = "share"
        ) -> Mounted:
            known = ["ip=127.0.0.1", f"credentials={samba.credentials_file(ALICE)}"]
            if "quic_port" not in ",".join(options):
                known.append(f"quic_port={gateway.port}")
            if "transport" not in ",".join(options):
                known.append("transport=quic")
            text = ",".join([*known, *([trust] if trust else []), *options])
            mountpoint = tmp_path / f"mount-{len(list(tmp_path.iterdir()))}"
            return mounts.enter_context(mount(f"//{name}/{share}", mountpoint, "-o", text))

        yield make


def test_what_is_written_is_there_and_read_again(
    mount_by_quic: MountByQuic, samba: SambaServer, pki: Pki
) -> None:
    mounted = mount_by_quic()
    content = os.urandom(LARGE)
    (mounted.path / "by-quic").write_bytes(content)
    assert (samba.share_path() / "by-quic").read_bytes() == content
    again = mount_by_quic()
    assert (again.path / "by-quic").read_bytes() == content
    status = again.status()
    assert (status["transport"], status["dialect"]) == ("quic", "3.1.1")
    assert status["server"]["name"] == NAME
    assert status["quic"]["tls"] == "1.3"
    assert status["quic"]["certificate"]["sha256"] == pki.leaf("server").sha256
    assert NAME in status["quic"]["certificate"]["san"]
    assert "connected over quic" in Path(status["log"]).read_text()
    assert "Windows 30832" in Path(status["log"]).read_text()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("wrong_name", "another name"),
        ("expired", "has expired"),
        ("not_yet_valid", "not valid yet"),
        ("client_eku", "made for something else"),
        ("foreign", "nobody whom we trust"),
        ("self_signed", "nobody whom we trust"),
        ("rsa_1024", "can be forged"),
        ("sha1_signed", "can be forged"),
    ],
)
def test_a_certificate_that_is_refused_learns_nothing_of_smb(
    mount_by_quic: MountByQuic, samba: SambaServer, pki: Pki, tmp_path: Path, kind: str, words: str
) -> None:
    with quic_gateway(tmp_path, samba.port, [pki.leaf(kind)]) as front:
        with pytest.raises(MountFailed) as caught:
            mount_by_quic(f"quic_port={front.port}")
        assert words in caught.value.output
        front.wait_said(r"refused .*closed by the client \(code 0x12a")
        assert "to the server" not in front.log()


WEB_SERVER = """
import asyncio, sys
from aioquic.asyncio import serve
from aioquic.quic.configuration import QuicConfiguration
async def main(port, certificate, key):
    settings = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
    settings.load_cert_chain(certificate, key)
    await serve("127.0.0.1", int(port), configuration=settings)
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main(*sys.argv[1:]))
"""


def test_a_web_server_is_no_file_server(mount_by_quic: MountByQuic, pki: Pki) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    leaf = pki.leaf("server")
    command = [sys.executable, "-c", WEB_SERVER, port, str(leaf.cert), str(leaf.key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            with pytest.raises(MountFailed) as caught:
                mount_by_quic(f"quic_port={port}")
        finally:
            server.kill()
    assert "does not offer SMB over QUIC" in caught.value.output
    assert "TLS alert 120" in caught.value.output


def test_a_pin_is_enough_and_is_all(
    mount_by_quic: MountByQuic, samba: SambaServer, pki: Pki, tmp_path: Path
) -> None:
    with quic_gateway(tmp_path, samba.port, [pki.leaf("self_signed")]) as front:
        pin = f"quic_pin={pki.leaf('self_signed').sha256}"
        assert mount_by_quic(f"quic_port={front.port}", trust=pin).path.is_dir()
    with pytest.raises(MountFailed) as caught:
        mount_by_quic(trust=pin)
    assert pki.leaf("self_signed").sha256 in caught.value.output
    assert pki.leaf("server").sha256 in caught.value.output


def test_the_systems_authorities_do_not_know_ours(mount_by_quic: MountByQuic) -> None:
    with pytest.raises(MountFailed) as caught:
        mount_by_quic(trust="")
    assert "the system's store" in caught.value.output


def test_a_client_certificate_is_shown_when_it_is_wanted(
    mount_by_quic: MountByQuic, samba: SambaServer, pki: Pki, tmp_path: Path
) -> None:
    ours, other = pki.leaf("client"), pki.leaf("other_client")
    with quic_gateway(
        tmp_path, samba.port, [pki.leaf("server")], "--client-cert-sha256", ours.sha256
    ) as front:
        port = f"quic_port={front.port}"
        assert mount_by_quic(port, f"quic_cert={ours.cert}", f"quic_key={ours.key}").path.is_dir()
        with pytest.raises(MountFailed) as none:
            mount_by_quic(port)
        with pytest.raises(MountFailed) as wrong:
            mount_by_quic(port, f"quic_cert={other.cert}", f"quic_key={other.key}")
    assert "wants a certificate of ours" in none.value.output
    assert "refuses our certificate" in wrong.value.output


def test_a_certificate_without_its_key_is_said(mount_by_quic: MountByQuic, pki: Pki) -> None:
    with pytest.raises(MountFailed) as caught:
        mount_by_quic(f"quic_cert={pki.leaf('client').cert}")
    assert caught.value.code == 1
    assert "quic_key=" in caught.value.output


def test_a_key_of_everybody_is_refused(
    mount_by_quic: MountByQuic, pki: Pki, tmp_path: Path
) -> None:
    ours = pki.leaf("client")
    key = tmp_path / "open.key"
    key.write_bytes(ours.key.read_bytes())
    options = f"quic_cert={ours.cert}", f"quic_key={key}"
    key.chmod(0o644)
    with pytest.raises(MountFailed) as caught:
        mount_by_quic(*options)
    assert caught.value.code == 1
    assert f"chmod 600 {key}" in caught.value.output
    key.chmod(0o640)
    assert mount_by_quic(*options).path.is_dir()


def test_auto_takes_tcp_where_it_works_and_quic_where_it_does_not(
    mount_by_quic: MountByQuic, samba: SambaServer
) -> None:
    closed = free_port()
    assert mount_by_quic("transport=auto", f"port={samba.port}").status()["transport"] == "tcp"
    assert mount_by_quic("transport=auto", f"port={closed}").status()["transport"] == "quic"


def test_what_was_private_by_quic_stays_so_over_tcp(
    mount_by_quic: MountByQuic, samba: SambaServer, pki: Pki, tmp_path: Path
) -> None:
    closed = free_port()
    with quic_gateway(tmp_path, samba.port, [pki.leaf("server")]) as front:
        options = ("transport=auto", f"port={closed}", f"quic_port={front.port}")
        mounted = mount_by_quic(*options)
        assert mounted.status()["encryption"] is None  # QUIC does it.
        (mounted.path / "file").write_text("before")
    with Proxy("127.0.0.1", samba.port, listen=closed):
        assert_works_soon(mounted, 30)
        status = mounted.status()
        assert (status["transport"], status["encryption"]) == ("tcp", "aes-128-gcm")
        assert (mounted.path / "file").read_text() == "before"


def test_a_certificate_that_ends_soon_is_told_of(mount_by_quic: MountByQuic) -> None:
    """Those of the tests last for thirty days."""
    mounted = mount_by_quic()
    assert "certificate ends on" in mounted.output()
    assert "certificate-expires" in Path(mounted.status()["log"]).read_text()


def test_sealing_once_is_what_was_asked_for(mount_by_quic: MountByQuic) -> None:
    """The server behind the gateway sees TCP, so a share that must be sealed is."""
    assert mount_by_quic(share="sealed").status()["encryption"] == "aes-128-gcm"
    assert mount_by_quic("seal").status()["encryption"] == "aes-128-gcm"
