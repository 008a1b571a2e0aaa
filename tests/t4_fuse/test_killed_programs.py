"""Programs that wait for a server that says nothing: they can be killed, and not disturbed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from smbfs.fuse.askers import is_being_killed
from tests.beds.hung_server import silent
from tests.beds.samba import SambaServer
from tests.t4_fuse.conftest import Mount, MountShare, wait_until

TIMEOUT_S = 60.0
ENDS_WITHIN_S = 5.0

_DISTURBED = """
import os, signal, sys
beats = []
signal.signal(signal.SIGALRM, lambda *_: beats.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
print("begins", flush=True)
print(len(os.listdir(sys.argv[1])), len(beats) > 0)
"""


def wait_asleep(pid: int) -> None:
    """Wait until a process waits in the kernel for an answer."""
    deadline = time.monotonic() + 20
    while "fuse" not in Path(f"/proc/{pid}/wchan").read_text() and (
        "request_wait_answer" not in Path(f"/proc/{pid}/stack").read_text()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)


COMMANDS = {
    "lookup": "stat folder/never-seen",
    "listing": "ls folder",
    "read": "cat large",
    "create": "echo x > folder/new",
    "unlink": "rm -f small",
    "rename": "mv small other",
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees what a process waits for")
@pytest.mark.parametrize(
    ("name", "number"),
    [*((name, signal.SIGKILL) for name in COMMANDS), ("lookup", signal.SIGINT)],
)
def test_who_waits_for_a_silent_server_can_be_killed(
    make_samba: Callable[..., SambaServer],
    mount_share: MountShare,
    name: str,
    number: signal.Signals,
) -> None:
    server, command = make_samba(), COMMANDS[name]
    mount = _prepared(server, mount_share)
    with silent(server):
        program = subprocess.Popen(
            ["sh", "-c", f"exec {command}" if ">" not in command else command],
            cwd=mount.path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        wait_asleep(program.pid)
        program.send_signal(number)
        assert program.wait(ENDS_WITHIN_S) == -number
    # Whatever came late was taken back, and the mount works.
    assert sorted(entry.name for entry in (mount.path / "folder").iterdir() if entry.name != "new")
    (mount.path / "after").write_bytes(b"after")
    assert (server.share_path() / "after").read_bytes() == b"after"
    assert "Traceback" not in mount.log()


def test_a_server_that_hangs_is_given_up_in_time(
    make_samba: Callable[..., SambaServer], mount_share: MountShare
) -> None:
    """Its machine goes on taking our questions."""
    server = make_samba()
    mount = _prepared(server, mount_share, timeout_s=2.0)
    with silent(server):
        began_s = time.monotonic()
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the numbers below decide
            (mount.path / "never-seen").stat()
        assert caught.value.errno in {errno.ETIMEDOUT, errno.EHOSTDOWN}
        assert time.monotonic() - began_s < 2.0 + ENDS_WITHIN_S
    wait_until(lambda: os.access(mount.path / "small", os.F_OK))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees what a process waits for")
def test_names_of_a_directory_are_looked_up_side_by_side(
    make_samba: Callable[..., SambaServer], mount_share: MountShare
) -> None:
    """Who waits does not hold up who comes later, not even from being killed."""
    server = make_samba()
    mount = _prepared(server, mount_share)
    with silent(server):
        programs = [
            subprocess.Popen(["stat", name], cwd=mount.path, stderr=subprocess.DEVNULL)
            for name in ("never-seen", "nor-this")
        ]
        for program in programs:
            wait_asleep(program.pid)
        programs[1].kill()
        assert programs[1].wait(ENDS_WITHIN_S) == -signal.SIGKILL
        assert programs[0].poll() is None
    assert programs[0].wait(ENDS_WITHIN_S) == 1


def _prepared(
    server: SambaServer, mount_share: MountShare, *, timeout_s: float = TIMEOUT_S
) -> Mount:
    share = server.share_path()
    (share / "folder").mkdir()
    for name in ("folder/a", "small"):
        (share / name).write_bytes(b"content")
    (share / "large").write_bytes(bytes(1 << 20))
    for path in (share, *share.rglob("*")):
        path.chmod(0o777)
    return mount_share(server=server, timeout_s=timeout_s, actimeo_s=0.0)


def test_other_signals_end_no_call(
    make_samba: Callable[..., SambaServer], mount_share: MountShare
) -> None:
    server = make_samba()
    mount = _prepared(server, mount_share)
    with silent(server):
        program = subprocess.Popen(
            [sys.executable, "-c", _DISTURBED, str(mount.path / "folder")],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert program.stdout is not None
        assert program.stdout.readline() == "begins\n"
        time.sleep(1)  # For so long it is disturbed.
    said, _ = program.communicate(timeout=20)
    assert said.split() == ["1", "True"]


def test_who_is_being_killed() -> None:
    assert not is_being_killed(os.getpid())
    assert not is_being_killed(threading.get_native_id())
    assert not is_being_killed(0)
    assert not is_being_killed(2**30)
