"""The sample units: systemd accepts them, and smbfs accepts what they ask of it."""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from smbfs.config.options import parse_options, split_options
from smbfs.config.unc import parse_unc
from tests.beds.guardian import is_mounted
from tests.beds.mounted import mount
from tests.beds.samba import SambaServer
from tests.t5_cli.waiting import wait_process_ended

UNITS = Path(__file__).parents[2] / "systemd"


def analyze() -> str:
    """Where systemd-analyze is."""
    path = shutil.which("systemd-analyze")
    if path is None:
        pytest.fail("systemd-analyze is not installed: run `./dev setup` as root (systemd)")
    return path


def verify(folder: Path) -> str:
    """What ``systemd-analyze verify`` has against the units in ``folder``."""
    units = [str(unit) for unit in sorted(folder.iterdir())]
    done = subprocess.run(
        [analyze(), "verify", *units], capture_output=True, text=True, check=False
    )
    return done.stderr if done.returncode or done.stderr else ""


def read_unit(name: str) -> configparser.ConfigParser:
    # Some settings stand there several times, which adds up; we read what stands there once.
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign, assignment]
    unit.read_string((UNITS / name).read_text())
    return unit


def test_systemd_accepts_the_samples() -> None:
    assert verify(UNITS) == ""


def test_systemd_would_refuse_a_wrong_one(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("Where=/mnt/share", "Where=/mnt/elsewhere")
        (tmp_path / unit.name).write_text(text)
    assert "doesn't match unit name" in verify(tmp_path)


def test_smbfs_accepts_what_the_mount_asks() -> None:
    mount = read_unit("mnt-share.mount")["Mount"]
    assert mount["Type"] == "smbfs"
    assert parse_unc(mount["What"]).share == "share"
    parsed = parse_options(split_options(mount["Options"]))
    assert {"uid", "gid"} <= parsed.given
    assert parsed.warnings == ()
    assert mount["Where"] == read_unit("mnt-share.automount")["Automount"]["Where"]


def test_systemd_finds_the_gateway_little_exposed() -> None:
    """The scale goes to 10, and 0.5 of it is for speaking to the network at all."""
    command = [analyze(), "security", "--offline=yes", "--no-pager", "--threshold=25"]
    unit = UNITS / "smbfs-gateway.service"
    done = subprocess.run([*command, str(unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_mount_needs_no_more_than_its_unit_allows(samba: SambaServer, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts by systemd")
    names = read_unit("mnt-share.mount")["Mount"]["CapabilityBoundingSet"].split()
    bounds = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in names)])
    inside = ("setpriv", "--no-new-privs", "--inh-caps", "-all", "--bounding-set", bounds)
    samba.share_path().joinpath("seen").touch()
    credentials = f"credentials={samba.credentials_file()}"
    with mount(samba.unc(), tmp_path / "mnt", "-o", credentials, inside=inside) as mounted:
        assert (mounted.path / "seen").exists()
        daemon = os.pidfd_open(mounted.pid)
        os.kill(mounted.pid, signal.SIGTERM)
        assert wait_process_ended(daemon)
        os.close(daemon)
        assert not is_mounted(mounted.path)
