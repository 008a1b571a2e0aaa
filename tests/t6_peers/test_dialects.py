"""Every dialect, signing algorithm and cipher, each with a server that has no other choice."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.beds.mounted import Mounted
from tests.beds.samba import SambaServer
from tests.t6_peers.conftest import MountShare

DIALECTS = {
    "smb-2.0.2": ("2.0.2", "hmac-sha256"),
    "smb-2.1": ("2.1", "hmac-sha256"),
    "smb-3.0": ("3.0", "aes-128-cmac"),
    "smb-3.0.2": ("3.0.2", "aes-128-cmac"),
    "smb-3.1.1": ("3.1.1", "aes-128-gmac"),
}
CIPHERS = ["aes-128-ccm", "aes-128-gcm", "aes-256-ccm", "aes-256-gcm"]
SIGNING = ["hmac-sha256", "aes-128-cmac", "aes-128-gmac"]

Variants = Callable[[str], SambaServer]


def use(mounted: Mounted, server: SambaServer) -> None:
    """Do a little of everything, with pieces larger than any single message."""
    contents = os.urandom(3_333_333)
    folder = mounted.path / "used"
    folder.mkdir()
    (folder / "file").write_bytes(contents)
    assert (server.share_path() / "used" / "file").read_bytes() == contents
    assert (folder / "file").read_bytes() == contents
    os.truncate(folder / "file", 1000)
    (folder / "file").rename(folder / "renamed")
    assert (folder / "renamed").read_bytes() == contents[:1000]
    assert [entry.name for entry in folder.iterdir()] == ["renamed"]
    assert os.statvfs(folder).f_blocks > 0
    (folder / "renamed").unlink()
    folder.rmdir()
    assert not (server.share_path() / "used").exists()


@pytest.mark.parametrize("name", DIALECTS)
def test_a_server_of_one_dialect(
    samba_variant: Variants, mount_share: MountShare, name: str
) -> None:
    label, algorithm = DIALECTS[name]
    options = ("-o", "vers=2.0") if label == "2.0.2" else ()
    server = samba_variant(name)
    mounted = mount_share(*options, server=server)
    use(mounted, server)
    status = mounted.status()
    assert status["dialect"] == label
    assert status["signing"] == {"required": True, "algorithm": algorithm}


@pytest.mark.parametrize("label", ["2.0", "2.1", "3.0", "3.0.2", "3.1.1"])
def test_a_dialect_that_we_ask_for(samba: SambaServer, mount_share: MountShare, label: str) -> None:
    mounted = mount_share("-o", f"vers={label}")
    use(mounted, samba)
    assert mounted.status()["dialect"] == label.replace("2.0", "2.0.2")


@pytest.mark.parametrize("name", CIPHERS)
def test_a_server_that_seals_with_one_cipher(
    samba_variant: Variants, mount_share: MountShare, name: str
) -> None:
    server = samba_variant(name)
    mounted = mount_share(server=server)
    use(mounted, server)
    assert mounted.status()["encryption"] == name


@pytest.mark.parametrize("label", ["3.0", "3.0.2", "3.1.1"])
def test_sealing_that_we_ask_for(samba: SambaServer, mount_share: MountShare, label: str) -> None:
    mounted = mount_share("-o", f"vers={label},seal")
    use(mounted, samba)
    wanted = "aes-128-ccm" if label < "3.1" else "aes-128-gcm"
    assert mounted.status()["encryption"] == wanted


@pytest.mark.parametrize("name", SIGNING)
def test_a_server_that_signs_with_one_algorithm(
    samba_variant: Variants, mount_share: MountShare, name: str
) -> None:
    server = samba_variant(name)
    mounted = mount_share(server=server)
    use(mounted, server)
    status = mounted.status()
    assert status["signing"] == {"required": True, "algorithm": name}
    assert status["encryption"] is None


def test_a_server_without_leases(samba_variant: Variants, mount_share: MountShare) -> None:
    server = samba_variant("no-leases")
    use(mount_share(server=server), server)
