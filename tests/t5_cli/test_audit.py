"""`smbfs audit`: what daemons have recorded comes back, wherever this machine keeps it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.beds.machine import Machine
from tests.beds.mounted import SMBFS
from tests.beds.samba import SambaServer

pytestmark = pytest.mark.usefixtures("fuse")

REPOSITORY = Path(__file__).parents[2]
USER = 12345
RECORD = """
from smbfs.audit.events import PolicyOverrideRefused
from smbfs.audit.writer import record_once
record_once(PolicyOverrideRefused("//nas/media", "of user {user}"))
"""
# The capability by which a user finds our programs anywhere would open the journal to him, too.
AUDIT_WITHOUT_CAPABILITY = """
import smbfs.cli.arguments, smbfs.cli.audit, smbfs.cli.main
from smbfs.cli.privileges import give_up_privileges
give_up_privileges()
raise SystemExit(smbfs.cli.main.main())
"""

UMOUNT_WHILE_THE_DISK_IS_SLOW = """
flock -o /var/log/smbfs sh -c 'while mountpoint -q "$0"; do sleep 0.02; done; sleep 0.5' "$2" &
while flock -n /var/log/smbfs true; do :; done
"$1" umount "$2"
"""

Event = dict[str, Any]
MakeMachine = Callable[..., Machine]


def wrong_credentials(folder: Path) -> Path:
    path = folder / "wrong"
    path.touch(mode=0o600)
    path.write_text("username=alice\npassword=wrong\n")
    return path


def mount_and_fail(here: Machine, samba: SambaServer) -> None:
    """Mount and unmount a share; then fail to sign on."""
    mountpoint = str(here.folder / "mnt")
    good = f"credentials={samba.credentials_file()}"
    done = here.smbfs("mount", samba.unc(), mountpoint, "-o", good)
    assert done.returncode == 0, done.stderr
    assert here.smbfs("umount", mountpoint).returncode == 0
    bad = f"credentials={wrong_credentials(here.folder)}"
    assert here.smbfs("mount", samba.unc(), mountpoint, "-o", bad).returncode == 32


def expected(here: Machine, samba: SambaServer) -> list[Event]:
    """What `mount_and_fail` leaves, but for times and processes."""
    share = {
        "unc": samba.unc(),
        "mountpoint": str(here.folder / "mnt"),
        "host": socket.gethostname(),
        "uid": 0,
        "lost": 0,
        "priority": 6,
        "windows_event": None,
    }
    source = f"credentials file {samba.credentials_file()}"
    wrong = f"credentials file {here.folder / 'wrong'}"
    status = "STATUS_LOGON_FAILURE, 0xC000006D"
    sealed = "signed aes-128-gmac"
    return [
        share
        | {
            "event": "credential-used",
            "message": f"{samba.unc()}: credentials of alice from {source}",
            "user": "alice",
            "source": source,
        },
        share
        | {
            "event": "connected",
            "message": f"{samba.unc()} connected over tcp as alice: SMB 3.1.1, {sealed}",
            "user": "alice",
            "transport": "tcp",
            "dialect": "3.1.1",
            "protection": sealed,
        },
        share
        | {
            "event": "disconnected",
            "windows_event": 30804,
            "message": f"{samba.unc()} disconnected: unmounted",
            "reason": "unmounted",
        },
        share
        | {
            "event": "credential-used",
            "message": f"{samba.unc()}: credentials of alice from {wrong}",
            "user": "alice",
            "source": wrong,
        },
        share
        | {
            "event": "logon-failed",
            "windows_event": 31001,
            "priority": 3,
            "message": f"{samba.unc()}: alice could not sign on: {status}",
            "user": "alice",
            "reason": status,
        },
    ]


def audit_as(
    here: Machine, uid: int, home: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", AUDIT_WITHOUT_CAPABILITY, "audit", *arguments]
    environment = {"HOME": str(home), "XDG_STATE_HOME": "", "PYTHONPATH": str(REPOSITORY)}
    return here.run(*command, uid=uid, environment=environment)


def audit(here: Machine, *arguments: str) -> list[Event]:
    return events_of(here.smbfs("audit", "--json", *arguments))


def events_of(done: subprocess.CompletedProcess[str]) -> list[Event]:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    events: list[Event] = json.loads(done.stdout)
    times = [event["time"] for event in events]
    assert times == sorted(times)
    return events


def without_times(events: list[Event]) -> list[Event]:
    return [
        {name: value for name, value in event.items() if name not in {"time", "pid"}}
        for event in events
    ]


def sync(here: Machine) -> None:
    assert here.run("journalctl", "--sync").returncode == 0


@pytest.mark.parametrize("journal", [True, False])
def test_events_come_back_from_journal_and_file(
    make_machine: MakeMachine, samba: SambaServer, *, journal: bool
) -> None:
    here = make_machine(journal=journal)
    assert here.smbfs("audit").stdout == "no events\n"
    mount_and_fail(here, samba)
    if journal:
        sync(here)
    events = audit(here)
    assert without_times(events) == expected(here, samba)
    assert [event["pid"] for event in events][:3] == [events[0]["pid"]] * 3
    # The same questions, the same answers.
    recent = ("--since", "-2h", samba.unc("share").upper())
    assert audit(here, "--event", "logon-failed", *recent) == events[-1:]
    assert audit(here, "--since", events[2]["time"], "--until", events[3]["time"]) == events[2:4]
    lines = here.smbfs("audit").stdout.splitlines()
    assert len(lines) == len(events)
    assert lines[2].split(None, 2)[2] == (
        f"disconnected             30804  {samba.unc()} disconnected: unmounted"
    )
    file = here.run("cat", "/var/log/smbfs/audit.jsonl")
    assert (file.returncode == 0) != journal
    if not journal:
        modes = here.run("stat", "-c", "%a", "/var/log/smbfs", "/var/log/smbfs/audit.jsonl").stdout
        assert modes == "700\n600\n"
        assert [json.loads(line) for line in file.stdout.splitlines()] == events


def test_syslog_gets_the_same_and_is_not_ours_to_read(
    make_machine: MakeMachine, samba: SambaServer
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        here = make_machine(syslog=syslog)
        mount_and_fail(here, samba)
        syslog.setblocking(False)
        lines = [syslog.recv(65536).decode() for _ in range(5)]
        events = [json.loads(line.partition(": @cee: ")[2]) for line in lines]
        assert without_times(events) == expected(here, samba)
        assert lines[0].startswith("<86>")
        assert lines[-1].startswith("<83>")
        done = here.smbfs("audit")
        assert (done.returncode, done.stdout) == (2, "")
        assert "are with its syslog" in done.stderr
        assert "/var/log/auth.log" in done.stderr


@pytest.mark.parametrize("journal", [True, False])
def test_a_plain_user_sees_events_of_his_own(make_machine: MakeMachine, *, journal: bool) -> None:
    here = make_machine(journal=journal)
    home = here.folder / "home"
    home.mkdir()
    os.chown(home, USER, USER)
    for user in (0, USER):
        code = RECORD.format(user=user)
        done = here.run(
            *(sys.executable, "-c", code),
            uid=user,
            environment={"HOME": str(home), "XDG_STATE_HOME": "", "PYTHONPATH": str(REPOSITORY)},
        )
        assert done.returncode == 0, done.stderr
    if journal:
        sync(here)
    seen = events_of(audit_as(here, USER, home, "--json"))
    assert [(event["reason"], event["uid"]) for event in seen] == [(f"of user {USER}", USER)]
    # Root sees the whole journal, but its own file.
    assert [event["uid"] for event in audit(here)] == ([0, USER] if journal else [0])
    assert (home / ".local/state/smbfs/audit.jsonl").exists() != journal
    if journal:
        assert f"(user {USER})" in here.smbfs("audit").stdout
        done = audit_as(here, USER + 1, Path("/none"))
        assert done.returncode == 2
        assert "the journal can't be read" in done.stderr
        assert "systemd-journal" in done.stderr


def test_two_daemons_share_the_file_and_the_server_that_it_lies_on_may_stand_still(
    make_machine: MakeMachine, samba: SambaServer
) -> None:
    """The first mount covers the file's folder: then its own events, too, are on the share."""
    here = make_machine()
    assert here.run("mkdir", "/var/log/smbfs").returncode == 0
    options = ("-o", f"credentials={samba.credentials_file()},noposix,uid=0,dir_mode=0700")
    covering = ("mount", samba.unc(), "/var/log/smbfs", *options)
    done = here.smbfs(*covering)
    assert done.returncode == 0, done.stderr
    (status,) = json.loads(here.smbfs("status", "--json").stdout)
    assert here.run("kill", "-STOP", str(status["pid"])).returncode == 0
    mountpoint = str(here.folder / "mnt")
    try:
        done = here.smbfs("mount", samba.unc("sealed"), mountpoint, *options)
        assert done.returncode == 0, done.stderr
        assert here.run("ls", mountpoint).returncode == 0
    finally:
        here.run("kill", "-CONT", str(status["pid"]))
    assert here.smbfs("umount", mountpoint).returncode == 0
    assert here.smbfs("umount", "/var/log/smbfs").returncode == 0
    kept = (samba.share_path() / "audit.jsonl").read_text("utf-8").splitlines()
    found = [(event["event"], event["unc"]) for event in map(json.loads, kept)]
    assert found == [
        ("connected", samba.unc()),
        *((name, samba.unc("sealed")) for name in ("credential-used", "connected", "disconnected")),
    ]


def test_the_last_event_waits_for_a_slow_disk(
    make_machine: MakeMachine, samba: SambaServer
) -> None:
    here = make_machine()
    mountpoint = str(here.folder / "mnt")
    option = f"credentials={samba.credentials_file()}"
    assert here.smbfs("mount", samba.unc(), mountpoint, "-o", option).returncode == 0
    done = here.run("sh", "-c", UMOUNT_WHILE_THE_DISK_IS_SLOW, "sh", str(SMBFS), mountpoint)
    assert done.returncode == 0, done.stderr
    assert [event["event"] for event in audit(here)][1:] == ["connected", "disconnected"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "soon"], "--since soon is no point in time"),
        (["--until=2h"], "--until 2h is no point in time"),
        (["--event", "conected"], "did you mean connected?"),
        (["--event", "xyz"], "the events are certificate-expires,"),
        (["nas"], "nas"),
        (["--evnt", "x"], "there is no option --evnt"),
    ],
)
def test_what_can_not_be_asked(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from smbfs.cli.main import main

    assert main(["audit", *arguments]) == 1
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
