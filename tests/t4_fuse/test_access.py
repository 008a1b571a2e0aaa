"""access(2) and chdir(2): what the server would let us do, asked before trying."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE
from tests.t4_fuse.conftest import MountShare, Place, wait_until

RIGHTS = {"r": os.R_OK, "w": os.W_OK, "x": os.X_OK}


def allowed(path: Path) -> str:
    """Return what may be done with a file, as the three letters of ``ls -l``."""
    assert os.access(path, os.F_OK)
    return "".join(letter if os.access(path, right) else "-" for letter, right in RIGHTS.items())


def make(served: Path, mode: int, *, is_ours: bool, is_directory: bool = False) -> str:
    """Make a file on the server and return its name."""
    owner = "ours" if is_ours else "theirs"
    file = served / f"{'folder' if is_directory else 'file'} {mode:o} {owner}"
    file.mkdir() if is_directory else file.write_bytes(b"#!/bin/sh\n")
    if is_ours:
        os.chown(file, ALICE.uid, ALICE.uid)
    file.chmod(mode)
    return file.name


@pytest.mark.parametrize("is_directory", [False, True], ids=["file", "directory"])
@pytest.mark.parametrize(
    ("mode", "is_ours", "expected"),
    [
        (0o644, True, "rw-"),
        (0o644, False, "r--"),
        (0o400, True, "r--"),
        (0o600, False, "---"),
        (0o666, False, "rw-"),
        (0o711, False, "--x"),
        (0o755, False, "r-x"),
        (0o755, True, "rwx"),
        (0o300, True, "-wx"),
    ],
)
def test_what_the_server_allows(
    place: Place, mode: int, *, is_ours: bool, is_directory: bool, expected: str
) -> None:
    name = make(place.served, mode, is_ours=is_ours, is_directory=is_directory)
    if not place.posix:
        expected = expected[:2] + "x"  # The mode is not the server's.
    assert allowed(place.path / name) == expected


def test_a_list_of_access_rights_counts(place: Place) -> None:
    file = place.served / "file"
    file.touch(0o600)
    everybody = 0xFFFF_FFFF
    entries = [(1, 6, everybody), (2, 6, ALICE.uid), (4, 0, everybody), (16, 6, everybody)]
    entries.append((32, 0, everybody))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(file, "system.posix_acl_access", acl)
    assert stat.S_IMODE(file.stat().st_mode) == 0o660
    assert allowed(place.path / "file").startswith("rw")
    (place.path / "file").write_bytes(b"as was said")


def test_who_may_not_enter_a_directory_does_not(place: Place) -> None:
    """Windows lets everybody pass through."""
    make(place.served, 0o700, is_ours=False, is_directory=True)
    done = subprocess.run(["sh", "-c", 'cd "folder 700 theirs"'], cwd=place.path, check=False)
    assert bool(done.returncode) == place.posix
    subprocess.run(["sh", "-c", "cd ."], cwd=place.path, check=True)


def test_what_is_read_only(place: Place) -> None:
    file = place.path / "file"
    file.touch()
    assert os.access(file, os.W_OK)
    file.chmod(0o444)
    assert not os.access(file, os.W_OK)
    assert os.access(file, os.R_OK)
    file.chmod(0o644)
    assert os.access(file, os.W_OK)


def test_a_dos_attribute_forbids_nothing_to_posix(
    mount_share: MountShare, served_folder: Path
) -> None:
    name = make(served_folder, 0o644, is_ours=True)
    (mount_share(posix=False).path / served_folder.name / name).chmod(0o444)
    assert stat.S_IMODE((served_folder / name).stat().st_mode) == 0o644
    file = mount_share(posix=True).path / served_folder.name / name
    assert allowed(file) == "rw-"
    file.write_bytes(b"written")


@pytest.mark.parametrize("posix", [True, False])
def test_a_share_that_is_read_only(
    mount_share: MountShare, samba: SambaServer, *, posix: bool
) -> None:
    (samba.share_path("readonly") / "file").touch()
    (samba.share_path("readonly") / "file").chmod(0o666)
    path = mount_share(share="readonly", posix=posix).path
    assert os.access(path / "file", os.R_OK)
    assert not os.access(path / "file", os.W_OK)
    assert not os.access(path, os.W_OK)


def test_a_mode_that_the_user_has_chosen_tells_nothing(
    mount_share: MountShare, served_folder: Path
) -> None:
    file = make(served_folder, 0o600, is_ours=False)
    directory = make(served_folder, 0o600, is_ours=False, is_directory=True)
    folder = mount_share(file_mode=0o777, dir_mode=0o777).path / served_folder.name
    assert allowed(folder / file) == allowed(folder / directory) == "---"


def test_rights_that_others_change_are_seen_a_moment_later(place: Place) -> None:
    name = make(place.served, 0o644, is_ours=False)
    assert not os.access(place.path / name, os.W_OK)
    (place.served / name).chmod(0o666)
    wait_until(lambda: os.access(place.path / name, os.W_OK))


def test_a_removed_file_that_is_open_has_no_path_to_ask_about(place: Place) -> None:
    with (place.path / "file").open("wb") as file:
        (place.path / "file").unlink()
        assert os.access(f"/proc/self/fd/{file.fileno()}", os.W_OK)
