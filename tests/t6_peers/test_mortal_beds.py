"""The beds of the tests that take the server away: kills hit whom they should, checkers check."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from smbfs.auth.credentials import Credentials
from smbfs.auth.spnego import make_authenticator
from smbfs.client.connect import open_share
from smbfs.config.model import MountOptions
from smbfs.config.unc import parse_unc
from smbfs.wire.create import AccessMask, CreateDisposition, CreateRequest
from smbfs.wire.lock import LockElement, LockFlags, LockRequest
from tests.beds.guardian import BedError
from tests.beds.journal import Journal
from tests.beds.load_content import known_content, record, token
from tests.beds.load_run import load_on, prepare, prepare_names, verdict_on
from tests.beds.load_verdict import judge
from tests.beds.mixed_load import moved_names
from tests.beds.mortal_samba import SETTINGS, MortalSamba
from tests.beds.samba_folder import ALICE
from tests.t4_fuse.conftest import wait_until
from tests.t6_peers.conftest import MountShare

MakeMortal = Callable[[str], MortalSamba]

WHOLE_LOCK = LockFlags.EXCLUSIVE_LOCK | LockFlags.FAIL_IMMEDIATELY


def test_a_kill_hits_the_process_of_this_client_alone(
    make_mortal: MakeMortal, mount_share: MountShare
) -> None:
    server = make_mortal("stock")
    hit, spared = (mount_share("-o", "timeout=2", server=server) for _ in range(2))
    listening, serves_hit, serves_spared = (
        server.pid,
        server.serving_pid(hit.pid),
        server.serving_pid(spared.pid),
    )
    assert len({listening, serves_hit, serves_spared}) == 3
    assert server.kill_connection(hit.pid) == serves_hit
    (spared.path / "made afterwards").write_bytes(b"here")
    assert (server.share_path() / "made afterwards").read_bytes() == b"here"
    assert server.serving_pid(spared.pid) == serves_spared
    assert (server.pid, spared.status()["reconnects"]) == (listening, 0)
    wait_until(lambda: serves_hit not in server.serving_pids(hit.pid))


def test_nobody_is_killed_for_who_has_no_connection(make_mortal: MakeMortal) -> None:
    with pytest.raises(BedError, match="nobody"):
        make_mortal("stock").kill_connection(os.getpid())


def test_a_frozen_server_is_silent_until_it_is_thawed(
    make_mortal: MakeMortal, mount_share: MountShare
) -> None:
    server = make_mortal("stock")
    mounted = mount_share(server=server)
    with server.frozen(mounted.pid) as pid:
        asking = subprocess.Popen(["touch", str(mounted.path / "asked for")])
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(1.0)
    assert asking.wait(10.0) == 0
    assert server.serving_pid(mounted.pid) == pid


@pytest.mark.parametrize("setting", SETTINGS)
async def test_a_server_outlives_its_processes(make_mortal: MakeMortal, setting: str) -> None:
    """New clients are served; no lock or share mode of the dead is in their way."""
    server = make_mortal(setting)
    whole = CreateRequest(
        "file", AccessMask.GENERIC_ALL, share_access=0, create_disposition=CreateDisposition.OPEN_IF
    )
    for _ in range(10):
        async with open_share(
            parse_unc(server.unc()),
            MountOptions(timeout_s=5.0),
            Credentials(ALICE.name, password=ALICE.password),
            make_authenticator,
        ) as tree:
            file = await tree.create(whole)
            lock = LockRequest(file.file_id, (LockElement(0, 10, WHOLE_LOCK),))
            await tree.request(lock)
            server.kill_connection(os.getpid())


# --- who checks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lie", "complaint"), [("", ""), ("unsynced", "slot 60"), ("wrong-byte", "byte 9000")]
)
def test_a_load_that_lies_is_caught(tmp_path: Path, lie: str, complaint: str) -> None:
    """On a folder of this machine, which keeps every promise."""
    folder = prepare(tmp_path)
    with load_on(tmp_path, tmp_path / "journals", 1, limit_s=5.0, lie=lie) as run:
        run.watch(1.0)
    verdict = verdict_on(folder, tmp_path / "journals", run)
    assert verdict.promises > 100
    assert verdict.renames > 10
    assert verdict.read_bytes > 1_000_000
    assert bool(verdict.problems) == bool(lie)
    assert all(complaint in each for each in verdict.problems)


def test_an_error_that_nobody_was_told_of_is_caught(
    make_mortal: MakeMortal, mount_share: MountShare, tmp_path: Path
) -> None:
    """The server dies, and writers take what they were refused for done."""
    server, logs = make_mortal("stock"), tmp_path / "journals"
    folder = prepare(server.share_path())
    mounted = mount_share("-o", "timeout=2", server=server)
    with load_on(mounted.path, logs, 1, limit_s=7.0, lie="lost-error") as run:
        run.watch(1.0)
        server.kill()
        run.watch(1.0)
    assert verdict_on(folder, logs, run).problems


def test_who_hangs_is_seen(
    make_mortal: MakeMortal, mount_share: MountShare, tmp_path: Path
) -> None:
    server, logs = make_mortal("stock"), tmp_path / "journals"
    prepare(server.share_path())
    mounted = mount_share(server=server)
    with load_on(mounted.path, logs, 1, limit_s=1.0) as run:
        run.watch(1.0)
        assert run.hung == {}
        with server.frozen(mounted.pid):
            run.watch(2.0)
        assert run.hung
        run.watch(0.5)


def told(tmp_path: Path, name: str, *events: dict[str, object]) -> tuple[Path, Path]:
    """A disk where nothing has happened, and a journal of one process."""
    disk, journals = prepare_names(tmp_path), tmp_path / "journals"
    journals.mkdir()
    journal = Journal(journals, name)
    for event in events:
        journal.say(str(event.pop("kind")), **event)
    return disk, journals


def tried(*sequences: int) -> list[dict[str, object]]:
    return [{"kind": "tried", "file": "f", "slot": 0, "sequence": each} for each in sequences]


PROMISED: dict[str, object] = {"kind": "promised", "file": "f", "records": {"0": 2}}


@pytest.mark.parametrize(
    ("content", "is_right"),
    [
        (record("f", 0, 2), True),
        (record("f", 0, 3), True),
        (record("f", 0, 3)[:9000] + record("f", 0, 2)[9000:], True),
        (record("f", 0, 1), False),
        (record("f", 0, 2)[:-1], False),
        (bytes(len(record("f", 0, 2))), False),
        (None, False),
    ],
)
def test_what_may_be_where_something_was_promised(
    tmp_path: Path, content: bytes | None, *, is_right: bool
) -> None:
    """The second of three records was promised; the third one's fate was never told."""
    events = [*tried(1, 2), dict(PROMISED), *tried(3)]
    disk, journals = told(tmp_path, "writer-0", *events)
    if content is not None:
        (disk / "f").write_bytes(content)
    assert (judge(disk, journals).problems == []) == is_right


@pytest.mark.parametrize(
    ("events", "places", "is_right"),
    [
        (["moved"], ["there"], True),
        (["moved"], ["here"], False),
        (["error"], ["here"], True),
        (["error"], ["there"], True),
        (["error"], [], False),
        (["error"], ["here", "there"], False),
        ([], ["there"], False),
    ],
)
def test_where_a_renamed_file_may_be(
    tmp_path: Path, events: list[str], places: list[str], *, is_right: bool
) -> None:
    known: dict[str, dict[str, object]] = {
        "moved": {"kind": "moved", "number": 0, "to": "there"},
        "error": {"kind": "error", "operation": "rename", "file": "here-0", "errno": "EHOSTDOWN"},
    }
    disk, journals = told(tmp_path, "renamer-0", *(known[each] for each in events))
    (disk / moved_names()[0]).unlink()
    for place in places:
        (disk / f"{place}-0").write_bytes(token(0))
    assert (judge(disk, journals).problems == []) == is_right


@pytest.mark.parametrize(("errno", "is_right"), [("EHOSTDOWN", True), ("ENOTCONN", False)])
def test_which_errors_are_right(tmp_path: Path, errno: str, *, is_right: bool) -> None:
    disk, journals = told(
        *(tmp_path, "reader-0"),
        {"kind": "error", "operation": "read", "file": "known-1", "errno": errno},
    )
    assert (judge(disk, journals).problems == []) == is_right


def test_what_is_known_differs_everywhere() -> None:
    pieces = {known_content(file, at, 64) for file in range(3) for at in range(0, 10**6, 9973)}
    assert len(pieces) == 3 * len(range(0, 10**6, 9973))
    whole = known_content(2, 0, 3_000_000)
    assert known_content(2, 999_990, 1_000_100) == whole[999_990:2_000_090]
