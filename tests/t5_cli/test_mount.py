"""``smbfs mount``, ``umount`` and ``status`` on real mounts, and how daemons end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from smbfs.cli.mount_table import FILE_SYSTEM_TYPE, find_mount
from tests.beds.mounted import SMBFS, Mounted, mount, run_smbfs
from tests.beds.samba import SambaServer
from tests.t5_cli.plain_user import AsPlainUser
from tests.t5_cli.waiting import children_of, resident_bytes, wait_process_ended, wait_unmounted

pytestmark = pytest.mark.usefixtures("fuse")

MIB = 1024 * 1024

MountShare = Callable[..., Mounted]

STATUS_FIELDS = {
    "mountpoint", "unc", "pid", "since", "state", "transport", "server", "dialect", "signing",
    "encryption", "user", "auth", "channels", "credits", "leases", "handles", "cache", "io",
    "reconnects", "errors", "quic", "rss_bytes",
}  # fmt: skip


@pytest.fixture
def options(samba: SambaServer) -> tuple[str, str]:
    return ("-o", f"credentials={samba.credentials_file()}")


@pytest.fixture
def mounted(mount_share: MountShare) -> Mounted:
    return mount_share()


def names_in(directory: Path | int) -> list[str]:
    return os.listdir(directory)  # noqa: PTH208 (takes descriptors as well)


def test_mount_answers_when_the_command_returns(samba: SambaServer, mounted: Mounted) -> None:
    samba.share_path().joinpath("seen").touch()
    assert "seen" in names_in(mounted.path)
    entry = find_mount(str(mounted.path))
    assert entry is not None
    assert (entry.file_system_type, entry.source) == (FILE_SYSTEM_TYPE, samba.unc())


def test_umount_returns_when_the_daemon_is_gone(mounted: Mounted) -> None:
    daemon = os.pidfd_open(mounted.pid)
    done = run_smbfs("umount", str(mounted.path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert find_mount(str(mounted.path)) is None
    # It has ended already: this does not wait.
    assert select.select([daemon], [], [], 0)[0]
    os.close(daemon)


@pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces are root's to make")
def test_umount_does_not_wait_for_another_mount_namespace(mounted: Mounted) -> None:
    watched = os.pidfd_open(mounted.pid)
    (mounted.path / "file").write_bytes(b"content")
    waits = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; exec cat"]
    with subprocess.Popen(waits, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.read(1)
        done = run_smbfs("umount", str(mounted.path))
        assert (done.returncode, done.stdout) == (0, "")
        assert f"not where process {holder.pid} is" in done.stderr
        assert find_mount(str(mounted.path)) is None
        theirs = Path(f"/proc/{holder.pid}/root{mounted.path}/file")
        assert theirs.read_bytes() == b"content"
        holder.communicate()
    assert wait_process_ended(watched)
    os.close(watched)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts are root's to bind")
def test_umount_names_another_place_of_the_mount(mounted: Mounted, tmp_path: Path) -> None:
    watched = os.pidfd_open(mounted.pid)
    (mounted.path / "file").write_bytes(b"content")
    place = tmp_path / "other place"
    place.mkdir()
    subprocess.run(["mount", "--bind", mounted.path, place], check=True)
    try:
        done = run_smbfs("umount", str(mounted.path))
        assert (done.returncode, done.stdout) == (0, "")
        assert f"also mounted at {place}." in done.stderr
        assert find_mount(str(mounted.path)) is None
        assert (place / "file").read_bytes() == b"content"
    finally:
        subprocess.run(["umount", place], check=True)
    assert wait_process_ended(watched)
    os.close(watched)


def test_status_json_has_every_documented_field(samba: SambaServer, mounted: Mounted) -> None:
    status = mounted.status()
    assert set(status) >= STATUS_FIELDS
    assert status["unc"] == samba.unc()
    assert status["mountpoint"] == str(mounted.path)
    assert status["state"] == "connected"
    assert status["transport"] == "tcp"
    assert status["server"]["port"] == samba.port
    assert status["dialect"] == "3.1.1"
    assert status["signing"] == {"required": True, "algorithm": "aes-128-gmac"}
    assert status["encryption"] is None
    assert (status["user"], status["auth"]) == ("alice", "ntlm")
    assert status["quic"] is None
    assert Path(status["log"]).stat().st_mode & 0o077 == 0
    assert "connected over tcp as alice" in Path(status["log"]).read_text()


def test_status_for_people_and_for_nothing(mounted: Mounted, tmp_path: Path) -> None:
    text = run_smbfs("status", str(mounted.path)).stdout
    assert "signed, aes-128-gmac" in text
    assert str(mounted.pid) in text
    nothing = run_smbfs("status", str(tmp_path))
    assert nothing.returncode == 1
    assert "is not mounted by smbfs" in nothing.stderr


def test_memory_after_mounting(mounted: Mounted) -> None:
    status = mounted.status()
    (guard,) = children_of(status["pid"])
    assert status["rss_bytes"] == pytest.approx(resident_bytes(status["pid"]), rel=0.1)
    assert status["rss_bytes"] <= 80 * MIB
    assert resident_bytes(guard) <= 4 * MIB


def test_two_mounts_side_by_side(samba: SambaServer, mount_share: MountShare) -> None:
    first, second = mount_share(), mount_share(share="sealed")
    listed = json.loads(run_smbfs("status", "--json").stdout)
    found = {each["mountpoint"]: each for each in listed}
    assert found[str(first.path)]["encryption"] is None
    assert found[str(second.path)]["encryption"] == "aes-128-gcm"
    assert run_smbfs("umount", str(first.path)).returncode == 0
    assert second.status()["unc"] == samba.unc("sealed")


@pytest.mark.parametrize("killed", [False, True])
def test_mount_point_with_odd_characters(
    samba: SambaServer, tmp_path: Path, options: tuple[str, str], *, killed: bool
) -> None:
    """Blanks, tabs and backslashes are escaped in the mount table, which the guard reads."""
    path = tmp_path / "a b\t\\c\u00e9 -z"
    path.mkdir()
    assert run_smbfs("mount", samba.unc(), str(path), *options).returncode == 0
    assert find_mount(str(path)) is not None
    if killed:
        (status,) = json.loads(run_smbfs("status", "--json", str(path)).stdout)
        os.kill(status["pid"], signal.SIGKILL)
    else:
        assert run_smbfs("umount", str(path)).returncode == 0
    assert wait_unmounted(path)


def test_place_that_is_mounted_already(
    samba: SambaServer, options: tuple[str, str], mounted: Mounted
) -> None:
    done = run_smbfs("mount", samba.unc(), str(mounted.path), *options)
    assert done.returncode == 32
    assert "already mounted" in done.stderr
    assert mounted.status()["state"] == "connected"


def test_mount_in_use_is_not_unmounted_but_detached_on_demand(mounted: Mounted) -> None:
    daemon = os.pidfd_open(mounted.pid)
    inside = os.open(mounted.path, os.O_RDONLY)
    try:
        done = run_smbfs("umount", str(mounted.path))
        assert done.returncode == 16
        assert "in use" in done.stderr
        assert "--lazy" in done.stderr
        assert find_mount(str(mounted.path)) is not None
        assert run_smbfs("umount", "--lazy", str(mounted.path)).returncode == 0
        assert find_mount(str(mounted.path)) is None
        names_in(inside)  # Whoever is in it can go on.
    finally:
        os.close(inside)
    assert wait_process_ended(daemon)
    os.close(daemon)


@pytest.mark.parametrize("busy", [False, True])
def test_killed_daemon_leaves_no_mount_and_no_orphan(mounted: Mounted, *, busy: bool) -> None:
    (guard,) = children_of(mounted.pid)
    watched = os.pidfd_open(guard)
    inside = os.open(mounted.path, os.O_RDONLY) if busy else None
    os.kill(mounted.pid, signal.SIGKILL)
    assert wait_unmounted(mounted.path)
    assert wait_process_ended(watched)
    names_in(mounted.path)
    assert str(mounted.path) not in run_smbfs("status").stdout
    for descriptor in (watched, inside):
        if descriptor is not None:
            os.close(descriptor)


def test_a_daemon_that_stands_still_is_told_and_waited_for(
    samba: SambaServer, tmp_path: Path, options: tuple[str, str]
) -> None:
    """It may have something to write; nobody is told that nothing is mounted."""
    path = tmp_path / "m"
    path.mkdir()
    assert run_smbfs("mount", samba.unc(), str(path), *options).returncode == 0
    (status,) = json.loads(run_smbfs("status", "--json", str(path)).stdout)
    pid = int(status["pid"])
    os.kill(pid, signal.SIGSTOP)
    try:
        told = run_smbfs("status", str(path))
        assert told.returncode == 16
        assert f"(pid {pid}) does not answer" in told.stderr
        with subprocess.Popen([SMBFS, "umount", str(path)]) as unmounting:
            assert wait_unmounted(path)
            with pytest.raises(subprocess.TimeoutExpired):
                unmounting.wait(1)
            os.kill(pid, signal.SIGCONT)
            assert unmounting.wait(20) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_umount_of_a_mount_whose_daemon_and_guard_are_dead(mounted: Mounted) -> None:
    pid = mounted.pid
    (guard,) = children_of(pid)
    daemon = os.pidfd_open(pid)
    os.kill(guard, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    assert wait_process_ended(daemon)
    os.close(daemon)
    with pytest.raises(OSError, match="not connected"):
        names_in(mounted.path)
    assert run_smbfs("umount", str(mounted.path)).returncode == 0
    assert find_mount(str(mounted.path)) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_unmounts_also_what_is_in_use(mounted: Mounted, number: signal.Signals) -> None:
    daemon = os.pidfd_open(mounted.pid)
    inside = os.open(mounted.path, os.O_RDONLY)
    log = Path(mounted.status()["log"])
    os.kill(mounted.pid, number)
    assert wait_process_ended(daemon)
    assert find_mount(str(mounted.path)) is None
    assert "disconnected" in log.read_text()
    os.close(inside)
    os.close(daemon)


def test_foreground_ends_with_its_mount(
    samba: SambaServer, tmp_path: Path, options: tuple[str, str]
) -> None:
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    command = [str(SMBFS), "mount", "--foreground", samba.unc(), str(mountpoint), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said = next(line for line in process.stderr if "connected over tcp" in line)
            assert "alice" in said
            assert find_mount(str(mountpoint)) is not None
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert wait_unmounted(mountpoint)


def test_verbose_names_the_source_of_the_credentials(
    samba: SambaServer, mount_share: MountShare
) -> None:
    verbose = mount_share("--verbose", "--seal")
    assert f"credentials file {samba.credentials_file()}" in verbose.output()
    assert verbose.status()["encryption"] == "aes-128-gcm"
    log = Path(verbose.status()["log"]).read_text()
    assert samba.password not in verbose.output() + log


def test_path_of_the_unc_is_the_root(
    samba: SambaServer, tmp_path: Path, options: tuple[str, str]
) -> None:
    folder = samba.share_path() / "deep" / "er"
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("here").touch()
    with mount(f"{samba.unc()}/deep/er", tmp_path / "m", *options) as mounted:
        assert names_in(mounted.path) == ["here"]
    for path, said in (("deep/none", "no such folder"), ("deep/er/here", "that is no folder")):
        done = run_smbfs("mount", f"{samba.unc()}/{path}", str(tmp_path / "m"), *options)
        assert done.returncode == 32
        assert said in done.stderr


@pytest.mark.parametrize("name", ["\u00fcbung", "\u5171\u6709", "a, b"])
def test_folder_of_the_unc_in_any_script(
    samba: SambaServer, tmp_path: Path, options: tuple[str, str], name: str
) -> None:
    folder = samba.share_path() / name
    folder.mkdir(exist_ok=True)
    unc = f"{samba.unc()}/{name}"
    with mount(unc, tmp_path / "m", *options) as mounted:
        entry = find_mount(str(mounted.path))
        assert entry is not None
        assert entry.source == mounted.status()["unc"] == unc


def test_prompt_on_a_terminal(samba: SambaServer, tmp_path: Path) -> None:
    """A password is asked for on the terminal, not echoed, and used."""
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    parent, terminal = os.openpty()
    # A session of its own, with the terminal as its controlling one: getpass opens /dev/tty.
    starter = "import os,sys; os.setsid(); os.close(os.open(os.ttyname(0), os.O_RDWR)); "
    starter += "os.execv(sys.argv[1], sys.argv[1:])"
    command = [str(SMBFS), "mount", samba.unc(), str(mountpoint), "--user", samba.user]
    environment = dict(os.environ) | {"HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", starter, *command],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment,
    ) as process:
        os.close(terminal)
        said = b""
        while not said.endswith(b": "):
            said += os.read(parent, 1024)
        assert f"Password for {samba.user} at 127.0.0.1".encode() in said
        os.write(parent, samba.password.encode() + b"\n")
        try:
            assert process.wait(60) == 0
            assert samba.password.encode() not in said + os.read(parent, 1024)
            assert find_mount(str(mountpoint)) is not None
        finally:
            os.close(parent)
            run_smbfs("umount", str(mountpoint))


def test_interrupted_mount_leaves_nothing(
    samba: SambaServer, tmp_path: Path, options: tuple[str, str]
) -> None:
    """Ctrl-C while the server keeps us waiting ends the daemon as well."""
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        unc = f"//127.0.0.1:{silent.getsockname()[1]}/share"
        # A shell that runs the tests in the background would have them ignore Ctrl-C.
        command = ["env", "--default-signal=INT"]
        command += [str(SMBFS), "mount", unc, str(mountpoint), *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = silent.accept()
            (child,) = children_of(process.pid)
            daemon = os.pidfd_open(child)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 1
            assert wait_process_ended(daemon)
            os.close(daemon)
            connection.close()
    assert find_mount(str(mountpoint)) is None


def test_daemon_keeps_nothing_of_its_caller_open(
    samba: SambaServer, tmp_path: Path, options: tuple[str, str]
) -> None:
    """Somebody who waits for the end of a pipe must not wait for the mount's."""
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    reading, writing = os.pipe()
    try:
        command = [str(SMBFS), "mount", samba.unc(), str(mountpoint), *options]
        done = subprocess.run(
            command, pass_fds=[writing], capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0
        os.close(writing)
        assert select.select([reading], [], [], 10)[0]
        assert os.read(reading, 1) == b""
    finally:
        os.close(reading)
        run_smbfs("umount", str(mountpoint))


MOUNT_AND_KILL = """
set -e
"$1" mount "$2" mnt -o credentials=credentials
ls mnt
"$1" status --json mnt | sed -n 's/^ *"pid": *\\([0-9]*\\),$/\\1/p' >pid
kill -KILL "$(cat pid)"
for try in $(seq 150); do
    grep -q " $HOME/mnt " /proc/self/mountinfo || { echo nothing is left; exit; }
    sleep 0.1
done
"""


def test_plain_user_mounts_and_a_killed_daemon_leaves_nothing(
    samba: SambaServer, as_plain_user: AsPlainUser
) -> None:
    samba.share_path().joinpath("seen").touch()
    done = as_plain_user("nobody", MOUNT_AND_KILL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "nothing is left"
    assert "seen" in done.stdout.splitlines()


def test_refusal_of_the_kernel_is_shown_in_fusermounts_own_words(
    as_plain_user: AsPlainUser,
) -> None:
    """fusermount3 mounts for nobody whom it can't name."""
    done = as_plain_user("12345", '"$1" mount "$2" mnt -o credentials=credentials')
    assert done.returncode == 2
    assert "Why: fusermount3: could not determine username" in done.stderr
