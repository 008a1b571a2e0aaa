"""fsx on a mount: random operations on a file, held against a model in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.beds.fsx import Exerciser, Mismatch
from tests.t6_peers.conftest import MountShare

IN_CI = 5_000
AT_LENGTH = 100_000
PER_OPERATION_S = 0.05
"""Generous: for the patience only."""


def start(path: Path, operations: int, seed: int, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.beds.fsx", str(path), *options]
    return subprocess.Popen(
        [*command, "--operations", str(operations), "--seed", str(seed)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(run: subprocess.Popen[str], operations: int) -> None:
    with run:
        story, _ = run.communicate(timeout=60 + operations * PER_OPERATION_S)
        assert run.returncode == 0, story


OPERATIONS = [IN_CI, pytest.param(AT_LENGTH, marks=pytest.mark.long)]


@pytest.mark.parametrize("operations", OPERATIONS)
def test_fsx_finds_no_mismatch(work: Path, operations: int) -> None:
    finish(start(work / "fsx", operations, seed=operations), operations)


@pytest.mark.parametrize("operations", OPERATIONS)
def test_two_fsx_on_two_mounts_do_not_disturb_each_other(
    mount_share: MountShare, operations: int
) -> None:
    folder = f"fsx-{operations}"
    mounts = [mount_share(), mount_share()]
    (mounts[0].path / folder).mkdir()
    runs = [
        start(mounted.path / folder / f"file-{seed}", operations, seed)
        for seed, mounted in enumerate(mounts)
    ]
    for run in runs:
        finish(run, operations)
    assert len(os.listdir(mounts[1].path / folder)) == len(runs)  # noqa: PTH208 - the kernel's list


def test_fsx_without_caching(mount_share: MountShare) -> None:
    """What is never remembered must be as right as what is (FUSE maps no such files)."""
    mounted = mount_share("-o", "cache=none,noposix")
    finish(start(mounted.path / "fsx-uncached", 1000, 3, "--no-mappings"), 1000)


@pytest.mark.parametrize("how", ["byte", "size"])
def test_fsx_notices(tmp_path: Path, how: str) -> None:
    """On a local file that somebody else changes."""
    exerciser = Exerciser(tmp_path / "file", seed=1)
    exerciser.run(200)
    exerciser.write()
    with exerciser.path.open("r+b") as file:
        if how == "byte":
            file.seek(len(exerciser.model) - 1)
            file.write(bytes([exerciser.model[-1] ^ 1]))
        else:
            file.truncate(len(exerciser.model) + 1)
    with pytest.raises(Mismatch, match="wrong at" if how == "byte" else "is right"):
        exerciser.run(0)  # which compares the whole file
    exerciser.close()
