"""The control socket answers its owner, survives everybody else, and cleans up after itself."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trio

from smbfs.cli import unmount
from smbfs.cli.control import Peer, bind_control_socket, peer_of, serve_control
from smbfs.cli.daemons import SOCKET_SUFFIX, Daemon, ask, find_daemons
from smbfs.cli.mount_table import FILE_SYSTEM_TYPE, MountEntry
from smbfs.cli.runtime import (
    file_stem,
    make_runtime_directory,
    runtime_directory,
    visible_directories,
)
from smbfs.cli.status import format_json, format_people
from smbfs.errors import UserError
from tests.beds.mounted import run_smbfs

STATUS = {"mountpoint": "/mnt", "pid": 1}
OURSELVES = Peer(os.getpid(), os.geteuid())


def report() -> Mapping[str, Any]:
    return STATUS


def refuse_to_stop() -> None:
    raise AssertionError("nobody said stop")


def test_a_socket_has_its_name_only_once_somebody_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is refused there takes it away: so does every ``smbfs status`` with a stale one."""
    path = tmp_path / "socket"

    class Watched(socket.socket):
        def listen(self, backlog: int = 1, /) -> None:
            assert not path.exists()
            super().listen(backlog)

    monkeypatch.setattr(socket, "socket", Watched)
    with bind_control_socket(path):
        assert path.is_socket()
        assert list(tmp_path.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == []


async def test_status_and_stop(tmp_path: Path, nursery: trio.Nursery) -> None:
    path = tmp_path / "control.sock"
    stopped = trio.Event()
    with bind_control_socket(path) as listener:
        nursery.start_soon(serve_control, listener, report, stopped.set)
        assert await trio.to_thread.run_sync(ask, path, "status") == (OURSELVES, STATUS)
        _, answer = await trio.to_thread.run_sync(ask, path, "nonsense")
        assert "error" in answer
        assert not stopped.is_set()
        assert (await trio.to_thread.run_sync(ask, path, "stop"))[1] == {"stopping": True}
        with trio.fail_after(5):
            await stopped.wait()
        assert path.stat().st_mode & 0o077 == 0
    assert not path.exists()


@pytest.mark.parametrize(
    "request_",
    [b"", b"\n", b"garbage\n", b"[]\n", b'{"command":', b"[" * 4095 + b"\n", b"x" * 9000],
)
async def test_garbage_costs_only_its_own_answer(
    tmp_path: Path, nursery: trio.Nursery, request_: bytes
) -> None:
    path = tmp_path / "control.sock"
    with bind_control_socket(path) as listener:
        nursery.start_soon(serve_control, listener, report, refuse_to_stop)
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(request_)
            await stream.send_eof()
            with trio.fail_after(10):
                answer = await stream.receive_some(4096)
        assert "error" in json.loads(answer)
        assert await trio.to_thread.run_sync(ask, path, "status") == (OURSELVES, STATUS)


async def test_other_users_are_not_answered(beds_folder: Path, nursery: trio.Nursery) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be two users at once")
    path = beds_folder / "control.sock"
    # It becomes that user by itself: who runs the tests may have them in a folder of their own.
    talk = (
        "import os, socket, sys\n"
        "os.setgroups([]); os.setgid(12345); os.setuid(12345)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); os.write(1, b'connected')\n"
        's.sendall(b\'{"command": "stop"}\\n\'); os.write(1, s.recv(99))\n'
    )
    with bind_control_socket(path) as listener:
        path.chmod(0o666)
        nursery.start_soon(serve_control, listener, report, refuse_to_stop)
        done = await trio.run_process(
            [sys.executable, "-c", talk, str(path)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert done.stdout == b"connected", done.stderr


def test_peer_is_known(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert peer_of(ours) == (os.getpid(), os.geteuid())


def test_socket_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with bind_control_socket(path):
        path.unlink()
        path.touch()
    assert path.exists()


def test_stale_sockets_are_removed_by_status() -> None:
    directory = make_runtime_directory(os.environ, os.geteuid())
    stale = directory / f"stale-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    assert stale.exists()
    assert str(stale) not in {str(each.socket_path) for each in find_daemons(os.environ)}
    assert not stale.exists()


def test_stuck_daemon_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smbfs.cli.daemons._ANSWER_PATIENCE_S", 0.2)
    directory = make_runtime_directory(os.environ, os.geteuid())
    path = directory / f"stuck-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(path))
        stuck.listen()
        try:
            (found,) = (each for each in find_daemons(os.environ) if each.socket_path == path)
            assert (found.peer, found.status) == (OURSELVES, {})
            assert f"pid {os.getpid()} does not answer" in format_people([found])
            assert format_json([found]) == "[]"
            assert path.exists()
        finally:
            path.unlink()


def test_who_answers_bit_by_bit_keeps_nobody_for_longer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Other users' sockets may be many, too. They get one patience together."""
    monkeypatch.setattr("smbfs.cli.daemons._ANSWER_PATIENCE_S", 0.5)
    monkeypatch.setattr("smbfs.cli.daemons.visible_directories", lambda *_: [tmp_path])
    ended = threading.Event()

    def trickle(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # nobody comes, or he has gone
            connection, _ = listener.accept()
            with connection:
                while not ended.wait(0.1):
                    connection.sendall(b" ")

    with ThreadPoolExecutor() as others, contextlib.ExitStack() as stack:
        for number in range(5):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(tmp_path / f"{number}{SOCKET_SUFFIX}"))
            listener.listen()
            listener.settimeout(3)
            others.submit(trickle, listener)
        stack.callback(ended.set)
        start = time.monotonic()
        (found,) = find_daemons(os.environ)
        assert time.monotonic() - start < 2
        assert (found.peer, found.status) == (OURSELVES, {})


def test_only_the_daemon_of_a_mount_point_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Root's umount waits for no socket of another mount's, or of nobody's."""
    monkeypatch.setattr("smbfs.cli.daemons.visible_directories", lambda *_: [tmp_path])
    asked = []

    def answer(path: Path, *_: object) -> tuple[Peer, Mapping[str, Any]]:
        asked.append(path)
        return OURSELVES, STATUS

    monkeypatch.setattr("smbfs.cli.daemons.ask", answer)
    (tmp_path / f"other{SOCKET_SUFFIX}").touch()
    ours = tmp_path / f"{file_stem('/mnt')}{SOCKET_SUFFIX}"
    ours.touch()
    assert [each.mountpoint for each in find_daemons(os.environ, "/mnt")] == ["/mnt"]
    assert asked == [ours]


def test_a_runtime_directory_may_have_a_long_name(tmp_path: Path) -> None:
    """A socket's address has 107 bytes; who sets XDG_RUNTIME_DIR or TMPDIR does not think of it."""
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    path = folder / f"mnt{SOCKET_SUFFIX}"
    with bind_control_socket(path) as listener, ThreadPoolExecutor() as others:
        asked = others.submit(ask, path, "status")
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b'{"mountpoint": "/mnt"}\n')
            assert asked.result(20) == (peer_of(connection), {"mountpoint": "/mnt"})


def test_runtime_directory_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert runtime_directory(environment, 0) == Path("/run/smbfs")
    assert runtime_directory(environment, 1000) == tmp_path / "smbfs"
    assert runtime_directory({}, 1000) == Path("/tmp/smbfs-1000")  # noqa: S108
    monkeypatch.setattr("smbfs.cli.runtime.SYSTEM_DIRECTORY", tmp_path / "system")
    uid = os.geteuid()
    made = make_runtime_directory(environment, uid)
    made.chmod(0o755)
    assert make_runtime_directory(environment, uid).stat().st_mode & 0o777 == 0o700
    made.rmdir()
    made.symlink_to(tmp_path)
    with pytest.raises(UserError, match="refused"):
        make_runtime_directory(environment, uid)


def test_runtime_directory_that_somebody_else_has_made_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    made = tmp_path / "smbfs"
    made.mkdir(mode=0o700)
    os.chown(made, 12346, 12346)
    with pytest.raises(UserError, match="not a directory of yours alone"):
        make_runtime_directory(environment, 12345)


@pytest.mark.parametrize(
    ("is_ours", "mode", "allowed"),
    [(True, 0o777, False), (True, 0o770, False), (True, 0o1777, True), (False, 0o755, False)],
)
def test_runtime_directory_that_others_can_exchange_is_refused(
    tmp_path: Path, mode: int, *, is_ours: bool, allowed: bool
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    (tmp_path / "smbfs").mkdir(mode=0o700)
    os.chown(tmp_path / "smbfs", 12345, 12345)
    os.chown(tmp_path, 12345 if is_ours else 12346, 12345)
    tmp_path.chmod(mode)
    with contextlib.nullcontext() if allowed else pytest.raises(UserError, match="exchange it"):
        make_runtime_directory({"XDG_RUNTIME_DIR": str(tmp_path)}, 12345)


def test_root_enters_no_directory_that_is_not_its_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    monkeypatch.setattr("smbfs.cli.runtime.SYSTEM_DIRECTORY", tmp_path / "system")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    for name, owner, mode in (("1000", 1000, 0o700), ("1001", 12345, 0o700), ("1002", 1002, 0o755)):
        (tmp_path / f"smbfs-{name}").mkdir()
        (tmp_path / f"smbfs-{name}").chmod(mode)
        os.chown(tmp_path / f"smbfs-{name}", owner, owner)
    (tmp_path / "smbfs-1003").symlink_to(tmp_path / "smbfs-1000")
    (tmp_path / "smbfs-nobody").mkdir(mode=0o700)
    seen = [path for path in visible_directories({}, 0) if path.is_relative_to(tmp_path)]
    assert seen == [tmp_path / "smbfs-1000"]


def test_what_another_users_daemon_says_of_a_mount_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else root's umount would wait for a process of that user's choice."""
    status = {"mountpoint": "/mnt/nas"}
    liar, daemon = (Daemon(Peer(7, uid), status, Path("/x.sock")) for uid in (12345, 1000))
    monkeypatch.setattr("smbfs.cli.unmount.find_daemons", lambda *_: [liar, daemon])
    entry = MountEntry("0:41", "/mnt/nas", FILE_SYSTEM_TYPE, "//nas/share", 1000)
    assert unmount.daemon_of(entry) is daemon
    assert unmount.daemon_of(entry._replace(user_id=1)) is None


def test_names_of_files_are_readable_and_different() -> None:
    assert file_stem("/mnt/nas").startswith("mnt-nas-")
    assert len({file_stem(path) for path in ("/mnt/a b", "/mnt/a-b", "/mnt/a/b", "/")}) == 4
    assert all(c.isalnum() or c in "-._" for c in file_stem("/mnt/é\n\udcff/../x"))
    assert len(file_stem("/x" * 2000)) < 60


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mount", "//a/b", "/mnt", "--sael"], "did you mean --seal?"),
        (["mount", "//a/b", "/mnt", "--cache-sise", "1"], "did you mean --cache-size?"),
        (["mount", "//a/b"], "MOUNTPOINT"),
        (["mount", "//a/b", "/mnt", "extra"], "one too many"),
        (["mount", "//a/b", "/mnt", "-o", "sael"], "did you mean seal?"),
        (["mount", "//a/b", "/mnt", "-o", "password=hunter2"], "command lines"),
        (["mount", "//a/b", "/mnt", "--port", "x"], "--port"),
        (["mount", "smb://u:hunter2@a/b", "/mnt"], "password in the address"),
        (["frobnicate"], "frobnicate"),
        ([], "COMMAND"),
        (["umount", "/"], "not mounted by smbfs"),
        (["config", "get", "require_singing"], "did you mean require_signing?"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    done = run_smbfs(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["mount", "--help"], ["umount", "--help"]])
def test_help(arguments: list[str]) -> None:
    done = run_smbfs(*arguments)
    assert done.returncode == 0
    assert "usage: smbfs" in done.stdout
    # What does not work yet is not advertised.
    assert "compress" not in done.stdout


def config(tmp_path: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder = tmp_path / "smbfs"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "smbfs.cli.main", "config", *arguments],
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_config(tmp_path: Path) -> None:
    listed = config(tmp_path, "require_encryption = true", "list").stdout.splitlines()
    assert f"require_encryption = true  # {tmp_path}/smbfs/config.toml, line 1" in listed
    assert "require_signing = true  # default" in listed
    assert config(tmp_path, 'minimum_dialect = "3.0"', "get", "minimum_dialect").stdout == '"3.0"\n'
    wrong = config(tmp_path, "\nrequire_singing = true", "list")
    assert wrong.returncode == 1
    assert f"{tmp_path}/smbfs/config.toml, line 2" in wrong.stderr
