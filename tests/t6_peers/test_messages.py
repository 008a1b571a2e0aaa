"""A mount that can't be: exit code 32, three parts that a person can act on, nothing left."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smbfs.wire.dialect import Dialect
from smbfs.wire.negotiate import SecurityMode
from tests.beds.guardian import is_mounted
from tests.beds.mounted import run_smbfs
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE, HOST, User
from tests.beds.scripted_listener import listen
from tests.beds.scripted_server import ScriptedServer
from tests.conftest import require_fuse
from tests.t6_peers.conftest import MountShare

Variants = Callable[[str], SambaServer]
MOUNT_FAILED = 32


@pytest.fixture(autouse=True)
def fuse() -> None:
    require_fuse()


@pytest.fixture
def mountpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mnt"
    path.mkdir()
    return path


@pytest.fixture
def refused(mountpoint: Path) -> Callable[..., str]:
    """Try to mount; return the message when it was refused as it should be."""

    def attempt(unc: str, *options: str) -> str:
        done = run_smbfs("mount", unc, str(mountpoint), *options)
        assert done.returncode == MOUNT_FAILED, done.stderr
        assert done.stdout == ""
        assert not is_mounted(mountpoint)
        assert mountpoint not in served()
        check_parts(done.stderr)
        assert unc in done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    return attempt


def check_parts(message: str) -> None:
    """``smbfs: what``, ``Why:``, ``Do:``, each with something to say."""
    lines = message.splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith("smbfs: ")]
    assert len(starts) == 1, message
    what, *rest = lines[starts[0] :]
    assert len(what) > 20
    assert rest[0].startswith("  Why: ")
    assert len(rest[0]) > 30
    (remedy,) = [index for index, line in enumerate(rest) if line.startswith("  Do:  ")]
    assert len(rest[remedy]) > 30
    assert all(line.startswith("       ") for line in (*rest[1:remedy], *rest[remedy + 1 :]))


def served() -> set[Path]:
    """Where there are daemons for."""
    return {Path(each["mountpoint"]) for each in json.loads(run_smbfs("status", "--json").stdout)}


def with_credentials(server: SambaServer, user: User = ALICE) -> tuple[str, str]:
    return ("-o", f"credentials={server.credentials_file(user)}")


def credentials_of(tmp_path: Path, user: str, password: str) -> tuple[str, str]:
    path = tmp_path / "credentials"
    path.touch(mode=0o600)
    path.write_text(f"username={user}\npassword={password}\n")
    return ("-o", f"credentials={path}")


def test_wrong_password(samba: SambaServer, refused: Callable[..., str], tmp_path: Path) -> None:
    options = credentials_of(tmp_path, samba.user, "not the password")
    message = refused(samba.unc(), *options)
    assert "wrong user name or password" in message
    assert "STATUS_LOGON_FAILURE, 0xC000006D" in message
    assert "not the password" not in message


def test_unknown_user(samba: SambaServer, refused: Callable[..., str], tmp_path: Path) -> None:
    message = refused(samba.unc(), *credentials_of(tmp_path, "nobody-here", "guess"))
    assert "wrong user name or password" in message


def test_unknown_share(samba: SambaServer, refused: Callable[..., str]) -> None:
    message = refused(samba.unc("none-such"), *with_credentials(samba))
    assert "there is no such share" in message
    assert "STATUS_BAD_NETWORK_NAME, 0xC00000CC" in message


def test_nobody_listens(samba: SambaServer, refused: Callable[..., str]) -> None:
    with socket.socket() as bound:  # a port that is taken, and not listened on
        bound.bind((HOST, 0))
        unc = f"//{HOST}:{bound.getsockname()[1]}/share"
        message = refused(unc, *with_credentials(samba))
        credentials, chosen = with_credentials(samba)
        alone = refused(unc, credentials, f"{chosen},transport=tcp")
    assert "neither by TCP nor by QUIC" in message
    assert "TCP port" in message
    assert "UDP port 443" in message
    assert "nothing listens there" in alone
    for each in (message, alone):
        assert "0x80070035" in each


def test_a_silent_server(samba: SambaServer, refused: Callable[..., str]) -> None:
    with socket.create_server((HOST, 0)) as silent:
        unc = f"//{HOST}:{silent.getsockname()[1]}/share"
        credentials, chosen = with_credentials(samba)
        message = refused(unc, credentials, f"{chosen},timeout=1")
    assert "does not answer" in message


def test_a_server_of_smb_1_only(samba_variant: Variants, refused: Callable[..., str]) -> None:
    server = samba_variant("smb-1")
    message = refused(server.unc(), *with_credentials(server))
    assert "SMB1" in message or "SMB 1" in message


def test_a_dialect_older_than_we_ask_for(
    samba_variant: Variants, refused: Callable[..., str]
) -> None:
    server = samba_variant("smb-2.1")
    credentials, chosen = with_credentials(server)
    message = refused(server.unc(), credentials, f"{chosen},vers=3.0")
    assert "dialect" in message


@pytest.fixture
def no_signing() -> Iterator[int]:
    """The port of a server that does not offer signing, which no Samba can be brought to."""
    with listen(lambda: ScriptedServer(Dialect.SMB_2_1, security_mode=SecurityMode(0))) as port:
        yield port


def test_a_server_that_does_not_sign(
    samba: SambaServer, no_signing: int, refused: Callable[..., str]
) -> None:
    message = refused(f"//{HOST}:{no_signing}/share", *with_credentials(samba))
    assert "does not offer signing" in message
    assert "signing=if-offered" in message


def test_a_server_that_can_not_seal(samba_variant: Variants, refused: Callable[..., str]) -> None:
    server = samba_variant("smb-2.1")
    credentials, chosen = with_credentials(server)
    message = refused(server.unc(), credentials, f"{chosen},seal")
    assert "encrypt" in message


# --- guests -----------------------------------------------------------------------------------


def test_guest_that_nobody_asked_for(
    samba_variant: Variants, refused: Callable[..., str], tmp_path: Path
) -> None:
    """The server makes a guest of a user whom it does not know: refused, with both remedies."""
    server = samba_variant("guest")
    message = refused(server.unc("public"), *credentials_of(tmp_path, "stranger", "secret"))
    assert "the server logged you on as a guest" in message
    assert "0x80070035" in message
    assert "-o guest,allow_insecure_guest,signing=if-offered" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "options",
    ["guest", "guest,allow_insecure_guest", "guest,signing=if-offered"],
)
def test_guest_that_is_not_allowed(
    samba_variant: Variants, refused: Callable[..., str], options: str
) -> None:
    message = refused(samba_variant("guest").unc("public"), "-o", options)
    assert "-o guest,allow_insecure_guest,signing=if-offered" in message


def test_the_first_remedy_a_real_account(samba_variant: Variants, mount_share: MountShare) -> None:
    server = samba_variant("guest")
    mounted = mount_share(server=server, share="public")
    assert (mounted.status()["user"], mounted.status()["auth"]) == ("alice", "ntlm")
    assert mounted.status()["signing"]["required"]


def test_the_second_remedy_an_insecure_guest(samba_variant: Variants, mountpoint: Path) -> None:
    server = samba_variant("guest")
    options = "guest,allow_insecure_guest,signing=if-offered"
    done = run_smbfs("mount", server.unc("public"), str(mountpoint), "-o", options)
    try:
        assert done.returncode == 0, done.stderr
        assert "anyone on the network can read and change this traffic" in done.stderr
        (mountpoint / "left by a guest").write_text("hello")
        assert (server.share_path("public") / "left by a guest").read_text() == "hello"
        (status,) = json.loads(run_smbfs("status", "--json", str(mountpoint)).stdout)
        assert status["auth"] == "guest"
    finally:
        run_smbfs("umount", str(mountpoint))
    assert os.listdir(mountpoint) == []  # noqa: PTH208 - nothing but the empty directory
