"""The sample units: systemd accepts them, and smbfs accepts what they ask of it."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from smbfs.config.options import parse_options, split_options
from smbfs.config.unc import parse_unc

UNITS = Path(__file__).parents[2] / "systemd"


def verify(folder: Path) -> str:
    """What ``systemd-analyze verify`` has against the units in ``folder``."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.fail("systemd-analyze is not installed: run `./dev setup` as root (systemd)")
    units = [str(unit) for unit in sorted(folder.iterdir())]
    done = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, check=False)
    return done.stderr if done.returncode or done.stderr else ""


def read_unit(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
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
