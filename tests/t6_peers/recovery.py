"""What a mount owes to programs when its server is back, or is not."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.beds.mounted import Mounted

GRACE_S = 5.0
"""Seconds beyond ``timeout=`` within which an error must come out."""

RECOVERY_S = 5.0
"""Seconds after which a mount works whose server can be reached again."""


def assert_works_soon(mounted: Mounted, within_s: float = RECOVERY_S) -> None:
    """Programs can make, read and remove files again, within ``within_s``."""
    start = time.monotonic()
    path = mounted.path / "afterwards"
    script = f"until touch {path} && cat {path} && rm {path}; do sleep 0.05; done 2>/dev/null"
    try:
        subprocess.run(["sh", "-c", script], check=True, timeout=within_s)
    except subprocess.TimeoutExpired:
        pytest.fail(f"{mounted.status()['state']} for {within_s:g} s, and nothing works")
    assert mounted.status()["state"] == "connected"
    assert time.monotonic() - start < within_s


def assert_fails_in_time(mounted: Mounted, timeout_s: float) -> str:
    """Programs get an error within ``timeout_s`` and ``GRACE_S``; return what it says."""
    path = mounted.path / "asked for"
    try:
        done = subprocess.run(
            ["touch", str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s + GRACE_S,
            env={"LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"nobody was told within {timeout_s + GRACE_S:g} s")
    assert done.returncode, "it worked"
    return done.stderr.rpartition(": ")[2].strip()
