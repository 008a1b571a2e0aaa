"""The benchmarks run, measure what they say, and name what is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.bench import Bench, Scale
from benchmarks.clients import MountedShare
from benchmarks.data import BLOCK
from benchmarks.floors import FLOORS, below_floors
from benchmarks.run import SEALED, Samples
from benchmarks.workloads import WORKLOADS
from tests.beds.guardian import BedError
from tests.beds.samba import SambaServer
from tests.conftest import require_fuse

REPOSITORY = Path(__file__).parents[2]


def run_benchmarks(*arguments: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_quick_run(tmp_path: Path) -> None:
    """Everything that smbfs and smbclient do, on little data."""
    require_fuse()
    results, chart = tmp_path / "results.json", tmp_path / "chart.svg"
    done = run_benchmarks(
        *("--quick", "--size", "8M", "--clients", f"smbfs,{SEALED},smbclient"),
        *("--json", str(results), "--plot", str(chart)),
        path=os.environ["PATH"],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sequential read, cold" in done.stdout
    document = json.loads(results.read_text())
    assert document["failures"] == []
    measured = {key: set(each["candidates"]) for key, each in document["measures"].items()}
    assert measured["read"] == measured["write"] == {"smbfs", SEALED, "smbclient"}
    assert measured["copy"] == {"smbfs", "smbclient"}
    assert {"create", "unlink", "list", "tar_extract", "tar_create"} <= set(measured)
    assert {"read_again", "read_dropped", "list_again", "rss_file"} <= set(measured)
    for key, each in document["measures"].items():
        for candidate in each["candidates"].values():
            assert candidate["median"] >= 0 or key == "rss_file"  # Of so few it may be noise.
    assert ET.parse(chart).getroot().tag.endswith("svg")  # noqa: S314 - a file of our own


def test_who_is_missing_is_named(tmp_path: Path) -> None:
    """A machine with nothing but what a private server needs."""
    for name in ("smbd", "pdbedit", "umount", "mount", "stat", "tar"):
        found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
        assert found is not None
        (tmp_path / name).symlink_to(found)
    done = run_benchmarks(
        "--quick", "--size", "1M", "--only", "read", "--clients", "smbnetfs,smbclient",
        path=str(tmp_path),
    )  # fmt: skip
    assert "smbnetfs is missing: " in done.stdout
    assert "smbclient: not measured, it is missing (" in done.stdout


def samples_of(**ratios: float) -> Samples:
    """Samples in which rclone does 100 of everything, and smbfs so many times that."""
    samples = Samples()
    samples.add("rclone", dict.fromkeys(ratios, 100.0))
    samples.add("smbfs", {key: 100.0 * ratio for key, ratio in ratios.items()})
    samples.add("smbfs", {"rss_mounted": 79.0})
    return samples


ENOUGH = {
    "read": 3.0,
    "write": 1.5,
    "create": 1.5,
    "read_small": 1.5,
    "unlink": 1.5,
    "list": 1.0,
    "list_again": 1.0,
    "tar_extract": 1.0,
    "copy": 3.0,
}


def test_floors_let_pass_what_reaches_them() -> None:
    samples = samples_of(**ENOUGH)
    samples.add(SEALED, {"read": 210.0, "write": 105.0})
    assert below_floors(samples) == []


@pytest.mark.parametrize("key", ENOUGH)
def test_floors_catch_what_is_too_slow(key: str) -> None:
    samples = samples_of(**{**ENOUGH, key: ENOUGH[key] - 0.01})
    samples.add(SEALED, {"read": 300.0, "write": 150.0})
    (complaint,) = below_floors(samples)
    assert complaint.startswith(f"{key} of smbfs")


def test_floors_catch_slow_sealing_and_what_was_not_measured() -> None:
    samples = samples_of(**ENOUGH)
    samples.add(SEALED, {"read": 209.0})
    assert len(below_floors(samples)) == 2
    assert len(below_floors(Samples())) == len(FLOORS) + 1


@pytest.fixture
def bench(make_samba: Callable[..., SambaServer], tmp_path: Path) -> Bench:
    """A bench with the server's own folder in place of a mount: nothing is in between."""
    return Bench(make_samba(), tmp_path, Scale(2 * BLOCK, 10, 20, 30, 10))


def test_workloads_measure_a_healthy_folder(bench: Bench) -> None:
    bench.prepare()
    mounted = MountedShare(bench.on_server("share"), os.getpid())
    for each in WORKLOADS:
        assert all(value >= 0 for value in each.run(bench, mounted).values())


@pytest.mark.parametrize(
    ("workload", "spoil"),
    [
        ("read", lambda folder: os.truncate(folder / "big", BLOCK)),
        ("read", lambda folder: (folder / "big").write_bytes(bytes(2 * BLOCK))),
        ("random", lambda folder: os.truncate(folder / "big", 5000)),
        ("list", lambda folder: next((folder / "listed").iterdir()).unlink()),
        ("pack", lambda folder: shutil.rmtree(folder / "tree" / "source" / "part0")),
    ],
)
def test_workloads_notice_wrong_data(
    bench: Bench, workload: str, spoil: Callable[[Path], object]
) -> None:
    """A candidate that loses data is not fast, it is wrong."""
    bench.prepare()
    folder = bench.on_server("share")
    spoil(folder)
    (chosen,) = [each for each in WORKLOADS if each.name == workload]
    with pytest.raises(BedError):
        chosen.run(bench, MountedShare(folder, os.getpid()))


def test_writing_is_checked_on_the_server(bench: Bench, tmp_path: Path) -> None:
    """Writing to somewhere else than the server is no writing."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (chosen,) = [each for each in WORKLOADS if each.name == "write"]
    with pytest.raises(BedError, match="not on the server"):
        chosen.run(bench, MountedShare(elsewhere, os.getpid()))
