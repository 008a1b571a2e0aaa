"""The file of events: whole lines of many processes, private, bounded, and never in the way."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from smbfs.audit import events, file
from smbfs.audit.file import FILE_MAX, AuditFile, append, read_lines
from smbfs.audit.reader import Wanted, read_file
from smbfs.audit.record import Record, parse_line
from tests.conftest import require_root
from tests.t1_audit.samples import ALL, UNC

REPOSITORY = Path(__file__).parents[2]

# $1 is the file, $2 who writes, $3 how many, $4 the file's limit.
WRITER = """
import sys
from pathlib import Path
from smbfs.audit.events import WritesLost
from smbfs.audit.file import AuditFile
from smbfs.audit.record import Record
path, who, count, limit = sys.argv[1:]
audit = AuditFile(Path(path), int(limit))
for number in range(int(count)):
    audit.put(Record.of(WritesLost("//nas/media", who * 100, number, 1, "x" * 500), who))
audit.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "smbfs" / "audit.jsonl"


def records_of(path: Path) -> list[Record]:
    return [parse_line(line) for line in read_lines(path)]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put_all(audit: AuditFile) -> list[Record]:
    records = [Record.of(event, "/mnt") for event, _ in ALL]
    for record in records:
        audit.put(record)
    return records


def test_events_come_back_in_order(path: Path) -> None:
    audit = AuditFile(path)
    records = put_all(audit)
    audit.close()
    assert records_of(path) == records


def test_it_is_nobody_elses(path: Path) -> None:
    path.parent.mkdir(parents=True, mode=0o755)
    path.touch(mode=0o644)
    append(path, b"{}\n", FILE_MAX)
    assert (mode_of(path.parent), mode_of(path)) == (0o700, 0o600)


@pytest.mark.parametrize("limit", [FILE_MAX, 40_000])
def test_processes_that_write_at_once_lose_nothing(path: Path, limit: int) -> None:
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, who, "200", str(limit)], cwd=REPOSITORY) for who in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found: dict[str, list[int]] = {"a": [], "b": []}
    for record in records_of(path):
        assert record.lost == 0
        found[record.mountpoint].append(int(record.details["offset"]))
    if limit == FILE_MAX:
        assert found == {"a": [*range(200)], "b": [*range(200)]}
        return
    # What was exchanged twice is gone; the rest has no gap.
    sizes = [each.stat().st_size for each in path.parent.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= limit
    assert sum(sizes) > limit
    for numbers in found.values():
        assert numbers == [*range(200)][200 - len(numbers) :]


def test_a_full_disk_is_survived_and_counted(tmp_path: Path) -> None:
    require_root()
    script = f"mount -t tmpfs -o size=64k bed {tmp_path} && exec {sys.executable} -"
    code = f"""
from pathlib import Path
from smbfs.audit.file import AuditFile, read_lines
from smbfs.audit.record import Record, parse_line
from smbfs.audit.events import WritesLost
path, ballast = Path({str(tmp_path / "audit.jsonl")!r}), Path({str(tmp_path / "ballast")!r})
def put(number):
    audit.put(Record.of(WritesLost("//nas/media", "x" * 900, number, 1, ""), ""))
audit = AuditFile(path)
for number in range(100):
    put(number)
audit.close()
before = [parse_line(line) for line in read_lines(path)]  # no half line
print(len(before), {{record.lost for record in before}})
path.with_name("audit.jsonl.1").write_bytes(b"")
path.write_bytes(b"")  # somebody makes room
audit._thread = None
put(100)
put(101)
audit.close()
print([parse_line(line).lost for line in read_lines(path)])
"""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        input=code,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, lost = done.stdout.splitlines()
    kept = int(count.split()[0])
    assert 10 < kept < 40
    assert count == f"{kept} {{0}}"
    assert lost == f"[{100 - kept}, 0]"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.mkdir(),
        lambda path: path.symlink_to(path.parent / "elsewhere"),
        os.mkfifo,
    ],
)
def test_what_is_no_file_is_left_alone(
    path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir(parents=True)
    spoil(path)
    audit = AuditFile(path)
    put_all(audit)
    audit.close()
    assert not (path.parent / "elsewhere").exists()
    (said,) = caplog.records  # once, not for each
    assert "in this log alone" in said.getMessage()


def test_a_folder_of_another_user_is_refused(path: Path) -> None:
    require_root()
    path.parent.mkdir(parents=True)
    os.chown(path.parent, 12345, 12345)
    with pytest.raises(PermissionError, match="another user's"):
        append(path, b"{}\n", FILE_MAX)
    with pytest.raises(PermissionError, match="another user's"):
        list(read_lines(path))


def test_a_disk_that_blocks_stops_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, goes_on = threading.Event(), threading.Event()

    def slow(path: Path, line: bytes, limit: int) -> None:
        blocks.set()
        goes_on.wait()
        append(path, line, limit)

    monkeypatch.setattr(file, "append", slow)
    monkeypatch.setattr(file, "_END_S", 0.01)
    audit = AuditFile(path)
    audit.put(Record.of(events.InsecureGuestUsed(UNC), ""))
    assert blocks.wait(30)
    for _ in range(file.QUEUE_MAX + 7):
        audit.put(Record.of(events.InsecureGuestUsed(UNC), ""))
    audit.close()  # gives up soon
    goes_on.set()
    assert audit._thread is not None
    monkeypatch.setattr(file, "_END_S", 30)
    audit.close()
    lost = [record.lost for record in records_of(path)]
    assert (len(lost), sum(lost)) == (1 + file.QUEUE_MAX, 7)


def test_one_process_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured and exchanged under the lock is nobody else's meanwhile."""
    path.parent.mkdir(parents=True)
    folder = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    audit = AuditFile(path)
    audit.put(Record.of(events.InsecureGuestUsed(UNC), ""))
    monkeypatch.setattr(file, "_END_S", 0.2)
    audit.close()
    assert not path.exists()
    os.close(folder)
    monkeypatch.setattr(file, "_END_S", 30)
    audit.close()
    assert len(records_of(path)) == 1


def test_lines_that_are_none_of_ours_are_counted(path: Path) -> None:
    audit = AuditFile(path)
    records = put_all(audit)
    audit.close()
    with path.open("ab") as written:
        written.write(json.dumps({"event": "connected"}).encode() + b"\n\xff\0")
    strange: list[None] = []
    assert list(read_file(path, Wanted(), lambda: strange.append(None))) == records
    assert len(strange) == 2
