"""What a daemon may not do, and what others may not do to it, as the kernel sees it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from smbfs.cli.mount_table import find_mount
from smbfs.cli.privileges import Capability
from tests.beds.mounted import SMBFS, Mounted
from tests.beds.pki import Pki
from tests.beds.quic_gateway import quic_gateway
from tests.beds.samba import SambaServer
from tests.t5_cli.plain_user import AsPlainUser
from tests.t5_cli.waiting import PATIENCE_S, children_of, wait_process_ended

pytestmark = pytest.mark.usefixtures("fuse")

MountShare = Callable[..., Mounted]

MOUNT = """
set -e
"$1" mount "$2" mnt -o credentials=credentials{options} >&2
"$1" status --json mnt | sed -n 's/^ *"pid": *\\([0-9]*\\),$/\\1/p' >pid
"""
LOOK = """
grep -E '^(NoNewPrivs|CapPrm|CapAmb)' /proc/$(cat pid)/status
stat -c 'environ of %u' /proc/$(cat pid)/environ
for secret in environ mem fd/0; do
    head -c 1 "/proc/$(cat pid)/$secret" && echo read
done
"""
END = """
kill -TERM "$(cat pid)"
for try in $(seq 150); do
    grep -q " $HOME/mnt " /proc/self/mountinfo || { echo nothing is left; exit; }
    sleep 0.1
done
"""


def threads_of(pid: int) -> list[dict[str, str]]:
    """What the kernel says of every thread. Spec: proc_pid_status(5)."""
    texts = [each.read_text("ascii") for each in Path(f"/proc/{pid}/task").glob("*/status")]
    return [dict(line.split(":\t", 1) for line in text.splitlines()) for text in texts]


def umask_of(pid: int) -> str:
    return threads_of(pid)[0]["Umask"]


def assert_confined(pid: int, *keep: Capability) -> None:
    wanted = sum(1 << capability for capability in keep)
    threads = threads_of(pid)
    assert threads
    for thread in threads:
        assert thread["NoNewPrivs"] == "1"
        allowed = wanted if os.geteuid() == 0 else 0
        assert int(thread["CapEff"], 16) == int(thread["CapPrm"], 16) == allowed, thread["Name"]
        assert int(thread["CapInh"], 16) == int(thread["CapAmb"], 16) == 0
        if os.geteuid() == 0:
            assert int(thread["CapBnd"], 16) == wanted
    limits = Path(f"/proc/{pid}/limits").read_text("ascii")
    (cores,) = (line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert cores.split()[4:6] == ["0", "0"]


def test_every_thread_of_a_daemon_is_confined(mount_share: MountShare, tmp_path: Path) -> None:
    # The cache on disk has had a thread since before there was a mount.
    mounted = mount_share("-o", f"cache_dir={tmp_path / 'blocks'}")
    pid = mounted.pid
    assert len(threads_of(pid)) > 1
    assert_confined(pid, Capability.DAC_READ_SEARCH)
    assert umask_of(pid) == "0077"


def test_a_server_gives_nobody_rights_here(mount_share: MountShare) -> None:
    """No program of its is setuid, and no device of its is one, whatever it says."""
    mounted = mount_share("-o", "suid,dev")
    flags = os.statvfs(mounted.path).f_flag
    assert flags & os.ST_NOSUID
    assert flags & os.ST_NODEV


def test_guard_knows_nothing_of_the_environment(mount_share: MountShare) -> None:
    (guard,) = children_of(mount_share().pid)
    environment = Path(f"/proc/{guard}/environ").read_bytes()
    assert environment.startswith(b"PATH=")
    assert environment.count(b"\0") <= 2  # dash adds PWD


def test_gateway_is_confined(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    with quic_gateway(tmp_path, 9, [pki.leaf("server")]) as gateway:
        assert_confined(gateway.pid, Capability.NET_BIND_SERVICE, Capability.DAC_READ_SEARCH)
        assert umask_of(gateway.pid) == "0077"


@pytest.mark.parametrize("command", ["doctor", "shares"])
def test_who_only_asks_is_confined_before_it_connects(samba: SambaServer, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        line = [str(SMBFS), command, f"//127.0.0.1:{silent.getsockname()[1]}/share"]
        line += ["-o", f"credentials={samba.credentials_file()},transport=tcp"]
        with subprocess.Popen(line, stdout=subprocess.DEVNULL) as process:
            connection, _ = silent.accept()
            try:
                assert_confined(process.pid, Capability.DAC_READ_SEARCH)
            finally:
                process.kill()
                connection.close()


def test_foreground_keeps_nothing_of_its_caller(samba: SambaServer, tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    reading, writing = os.pipe()
    command = [str(SMBFS), "mount", "--foreground", samba.unc(), str(tmp_path / "mnt")]
    command += ["-o", f"credentials={samba.credentials_file()}"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, pass_fds=[writing]
    ) as process:
        try:
            os.close(writing)
            assert process.stderr is not None
            assert any("connected over tcp" in line for line in process.stderr)
            assert select.select([reading], [], [], PATIENCE_S)[0]
            assert os.read(reading, 1) == b""
            assert_confined(process.pid, Capability.DAC_READ_SEARCH)
            assert umask_of(process.pid) == "0077"
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            os.close(reading)
    assert find_mount(str(tmp_path / "mnt")) is None


def test_killed_while_it_connects_leaves_no_process(tmp_path: Path, samba: SambaServer) -> None:
    """The mounter and the guard end with the daemon that they wait for."""
    (tmp_path / "mnt").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        unc = f"//127.0.0.1:{silent.getsockname()[1]}/share"
        command = [str(SMBFS), "mount", "--foreground", unc, str(tmp_path / "mnt")]
        command += ["-o", f"credentials={samba.credentials_file()}"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            connection, _ = silent.accept()
            helpers = [os.pidfd_open(child) for child in children_of(process.pid)]
            process.kill()
            connection.close()
    assert len(helpers) == 2
    for helper in helpers:
        assert wait_process_ended(helper)
        os.close(helper)


def test_plain_users_daemon_is_confined_shut_and_unmounts_all_the_same(
    as_plain_user: AsPlainUser,
) -> None:
    """Without new privileges it could not run fusermount3 itself."""
    done = as_plain_user("nobody", MOUNT.format(options="") + LOOK + END)
    lines = done.stdout.split("\n")
    assert "NoNewPrivs:\t1" in lines, done.stderr
    assert "CapPrm:\t0000000000000004" in lines
    assert "CapAmb:\t0000000000000000" in lines
    assert "environ of 0" in lines
    assert "read" not in lines
    assert lines[-2] == "nothing is left"


READ_BY_OTHERS = """
chmod 711 .
cat mnt/seen-by-all && echo root reads
setpriv --reuid 12345 --regid 12345 --clear-groups cat mnt/seen-by-all && echo others read
kill -TERM "$(cat pid)"
"""


@pytest.mark.parametrize(
    ("options", "seen"), [("", ""), (",allow_other", "root reads, others read")]
)
def test_mount_of_a_user_is_for_others_only_if_asked_and_allowed(
    samba: SambaServer, as_plain_user: AsPlainUser, options: str, seen: str
) -> None:
    seen_by_all = samba.share_path() / "seen-by-all"
    seen_by_all.touch()
    seen_by_all.chmod(0o644)
    done = as_plain_user(
        "nobody",
        MOUNT.format(options=options),
        fuse_conf="user_allow_other\n",
        afterwards=READ_BY_OTHERS,
    )
    assert done.returncode == 0, done.stderr
    assert ", ".join(done.stdout.splitlines()) == seen


def test_allow_other_is_refused_where_fuse_conf_does_not_allow_it(
    as_plain_user: AsPlainUser,
) -> None:
    done = as_plain_user(
        "nobody", MOUNT.format(options=",allow_other"), fuse_conf="# user_allow_other\n"
    )
    assert done.returncode == 1
    assert "allow_other is refused" in done.stderr
    assert "add the line user_allow_other to /etc/fuse.conf" in done.stderr


def test_capabilities_go_to_no_program() -> None:
    """Root's programs have root's capabilities again, but for the bounds."""
    code = (
        "import subprocess\n"
        "from smbfs.cli.privileges import *\n"
        "give_up_privileges({Capability.NET_BIND_SERVICE})\n"
        "subprocess.run(['grep', '^Cap[PEB]', '/proc/self/status'])\n"
    )
    if os.geteuid() != 0:
        pytest.skip("only root has capabilities to give up")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in done.stdout.splitlines()} == {f"{1 << 10:016x}"}


def test_other_processes_of_the_user_cannot_read_what_is_kept_secret() -> None:
    code = (
        "import sys; from smbfs.cli.privileges import keep_secrets; keep_secrets()\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )
    # The same user twice, neither with what root may.
    bare = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.geteuid() == 0 else []
    with subprocess.Popen(
        [*bare, sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        done = subprocess.run(
            [*bare, "cat", f"/proc/{process.pid}/environ"], capture_output=True, check=False
        )
        assert (done.returncode, done.stdout) == (1, b"")
        process.communicate()
