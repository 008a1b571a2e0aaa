"""The beds themselves: every kind of server starts, and is what its name says."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.beds.guardian import BedError, is_mounted
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE, BOB, ROOT, Share
from tests.beds.variants import FULL_SHARE_SIZE, QUOTA, VARIANTS
from tests.conftest import require_fuse

AVOID_SMB_1 = [name for name in VARIANTS if name != "smb-1"]
DIALECTS = {
    "smb-2.0.2": "SMB2_02",
    "smb-2.1": "SMB2_10",
    "smb-3.0": "SMB3_00",
    "smb-3.0.2": "SMB3_02",
    "smb-3.1.1": "SMB3_11",
}

Variants = Callable[[str], SambaServer]


def only(dialect: str) -> list[str]:
    return [f"--option=client min protocol={dialect}", f"--option=client max protocol={dialect}"]


@pytest.mark.parametrize("name", AVOID_SMB_1)
def test_every_variant_starts_and_lists_its_shares(samba_variant: Variants, name: str) -> None:
    server = samba_variant(name)
    listing = server.list_shares()
    for share in VARIANTS[name].shares:
        assert f"\t{share.name} " in listing


def test_smb_1_only_server_speaks_nothing_newer(samba_variant: Variants) -> None:
    server = samba_variant("smb-1")
    server.smbclient("share", *only("NT1"), "-c", "ls")
    with pytest.raises(BedError, match=r"PROTOCOL_NOT_SUPPORTED|NOT_SUPPORTED|DISCONNECT|RESET"):
        server.smbclient("share", "-c", "ls")


@pytest.mark.parametrize("name", DIALECTS)
def test_dialects_are_limited(samba_variant: Variants, name: str) -> None:
    server = samba_variant(name)
    server.smbclient("share", *only(DIALECTS[name]), "-c", "ls")
    newer = list(DIALECTS.values())[list(DIALECTS).index(name) + 1 :]
    for dialect in newer:
        with pytest.raises(BedError):
            server.smbclient("share", *only(dialect), "-c", "ls")


@pytest.mark.parametrize("name", ["aes-128-ccm", "aes-128-gcm", "aes-256-ccm", "aes-256-gcm"])
def test_ciphers_are_limited(samba_variant: Variants, name: str) -> None:
    server = samba_variant(name)
    others = [cipher for cipher in VARIANTS if cipher.startswith("aes-") and cipher[-2:] == "cm"]
    for cipher in others:
        offer = f"--option=client smb3 encryption algorithms={cipher.upper()}"
        if cipher == name:
            server.smbclient("share", offer, "-c", "ls")
        else:
            with pytest.raises(BedError):
                server.smbclient("share", offer, "-c", "ls")


def test_a_sealed_share_wants_encryption(samba: SambaServer) -> None:
    samba.smbclient("sealed", "--client-protection=encrypt", "-c", "ls")
    with pytest.raises(BedError, match=r"ACCESS_DENIED"):
        samba.smbclient("sealed", "--client-protection=sign", *only("SMB2_10"), "-c", "")


def test_guests_reach_the_public_share_only(samba_variant: Variants, samba: SambaServer) -> None:
    server = samba_variant("guest")
    server.smbclient("public", "-c", "ls", user=None)
    with pytest.raises(BedError, match=r"ACCESS_DENIED"):
        server.smbclient("share", "-c", "ls", user=None)
    with pytest.raises(BedError, match=r"ACCESS_DENIED|LOGON_FAILURE"):
        samba.smbclient("share", "-c", "ls", user=None)


def test_a_full_share_is_full(samba_variant: Variants, tmp_path: Path) -> None:
    server = samba_variant("full")
    big = tmp_path / "big"
    big.write_bytes(os.urandom(FULL_SHARE_SIZE + 1))
    with pytest.raises(BedError, match=r"DISK_FULL"):
        server.smbclient("full", "-c", f"put {big} big")
    assert server.share_path("full").is_mount()


def test_a_quota_is_one(samba_variant: Variants) -> None:
    """There is room on the disk, and nobody may have it."""
    served = samba_variant("quota").share_path("quota")
    with pytest.raises(OSError, match="Disk quota exceeded"):
        (served / "big").write_bytes(os.urandom(QUOTA + 1))
    room = os.statvfs(served)
    assert room.f_frsize * room.f_bavail > QUOTA
    (served / "big").unlink()


def test_users_own_what_they_make(samba: SambaServer, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("who am I")
    for user in (ALICE, BOB, ROOT):
        samba.smbclient("share", "-c", f"put {tmp_path}/note owned-{user.name}", user=user)
        made = samba.share_path() / f"owned-{user.name}"
        assert made.stat().st_uid == (user.uid if os.geteuid() == 0 else os.geteuid())
        assert made.read_text() == "who am I"


def test_a_restart_keeps_port_and_files(make_samba: Callable[..., SambaServer]) -> None:
    server = make_samba(shares=(Share("share"),))
    port = server.port
    server.share_path().joinpath("kept").write_text("kept")
    server.restart()
    server.kill()
    server.start()
    assert server.port == port
    assert "kept" in server.smbclient("share", "-c", "ls")


def processes_using(folder: Path) -> list[int]:
    """Ids of the processes that hold a file below ``folder`` open."""
    users = []
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            if any(folder in fd.readlink().parents for fd in descriptors.iterdir()):
                users.append(int(descriptors.parent.name))
    return users


@contextlib.contextmanager
def killed_when_ready(script: str) -> Iterator[list[int]]:
    """Run a script until it prints process ids (yielded as pidfds); then kill the script."""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        printed = run.stdout.readline().split()
        yield [os.pidfd_open(int(word)) for word in printed]
        run.kill()


def ends(pidfd: int) -> bool:
    """Whether the process of ``pidfd`` ends within 20 s."""
    ended = bool(select.select([pidfd], [], [], 20)[0])
    os.close(pidfd)
    return ended


def test_a_killed_run_leaves_nothing(beds_folder: Path) -> None:
    """A run that dies by SIGKILL takes its smbd, Samba's daemons and its mounts with it."""
    root = beds_folder / "killed"
    share = Share("full", size=(1 << 20) if os.geteuid() == 0 else None)
    script = f"""
from pathlib import Path
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import Share
server = SambaServer(Path({str(root)!r}), shares=({share!r},))
server.list_shares()  # starts Samba's RPC daemons
print(server.guardian_pid, flush=True)
input()
"""
    with killed_when_ready(script) as [guardian]:
        assert len(processes_using(root)) > 3
    assert ends(guardian)
    assert processes_using(root) == []
    assert not is_mounted(root / "shares" / "full")


def test_a_killed_run_leaves_no_mount(samba: SambaServer, tmp_path: Path) -> None:
    """The same for a mount: its daemon ends and the mount point is free again."""
    require_fuse()
    mountpoint = tmp_path / "mnt"
    script = f"""
from pathlib import Path
from tests.beds.mounted import mount
credentials = "credentials={samba.credentials_file()}"
with mount({samba.unc()!r}, Path({str(mountpoint)!r}), "-o", credentials) as mounted:
    print(mounted.pid, mounted.guardian_pid, flush=True)
    input()
"""
    with killed_when_ready(script) as [daemon, guardian]:
        assert is_mounted(mountpoint)
        assert mountpoint.is_dir()
    assert ends(daemon)
    assert ends(guardian)
    assert not is_mounted(mountpoint)
