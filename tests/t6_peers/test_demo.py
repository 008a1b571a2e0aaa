"""The demo: `./dev demo` for somebody who has just cloned this."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import require_fuse

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 120


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The demo, with its files in ``folder``."""
    require_fuse()
    folder.chmod(0o755)
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def folder(beds_folder: Path, request: pytest.FixtureRequest) -> Path:
    """A folder that the demo's server can enter."""
    path = beds_folder / f"demo-{len(request.node.name)}"
    path.mkdir()
    return path


def leaves_nothing(folder: Path) -> bool:
    mounts = Path("/proc/self/mountinfo").read_text()
    return str(folder) not in mounts and list(folder.iterdir()) == []


def test_once_gives_the_tour_and_cleans_up(folder: Path) -> None:
    with start(folder, "--once") as demo:
        said, _ = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 0, said
    for shown in (
        "$ ls",
        "$ cp",
        "$ cat",
        "$ df",
        "$ mv",
        "This comes from a Samba server",
        "SMB 3.1.1",
    ):
        assert shown in said
    assert leaves_nothing(folder)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=lambda end: end.name)
def test_it_stays_until_it_is_ended(folder: Path, end: signal.Signals) -> None:
    with start(folder) as demo:
        assert demo.stdout is not None
        said = ""
        for line in demo.stdout:
            said += line
            if "Ctrl-C ends all of it" in line:
                break
        (mountpoint,) = folder.glob("*/mnt")
        assert str(mountpoint) in said
        assert mountpoint.is_mount()
        assert (mountpoint / "welcome.txt").read_text() == "This comes from a Samba server.\n"
        demo.send_signal(end)
        demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == (0 if end == signal.SIGINT else 128 + end)
    assert leaves_nothing(folder)
