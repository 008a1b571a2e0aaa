"""Every event has one schema, in journal, syslog, file and log; and none of them can stop us."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smbfs.audit import events
from smbfs.audit.datagrams import encode_for_journal, encode_for_syslog
from smbfs.audit.events import Event, event_kinds
from smbfs.audit.places import Kind, Places, usual_places
from smbfs.audit.reader import parse_entry
from smbfs.audit.record import NAMES, TEXT_MAX, Record, format_line, parse_line
from smbfs.audit.writer import open_audit
from tests.t1_audit.samples import ALL, EVIL, UNC

SYSLOG = re.compile(r"<(\d+)>([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) smbfs\[(\d+)\]: @cee: (.*)")


def fields_of(datagram: bytes) -> dict[str, str]:
    lines = datagram.decode().splitlines()
    return dict(line.split("=", 1) for line in lines)


def as_journalctl_says(datagram: bytes, record: Record) -> str:
    """The entry as it comes back: with what journald adds."""
    since_epoch = record.time - datetime(1970, 1, 1, tzinfo=UTC)
    added = {
        "_SOURCE_REALTIME_TIMESTAMP": str(round(since_epoch.total_seconds() * 1e6)),
        "_HOSTNAME": record.host,
        "_PID": str(record.pid),
        "_UID": str(record.uid),
    }
    return json.dumps(fields_of(datagram) | added)


def test_no_kind_of_event_is_forgotten_here() -> None:
    assert {type(event) for event, _ in ALL} == set(event_kinds())


@pytest.mark.parametrize(("event", "windows"), ALL)
def test_every_event_is_the_same_everywhere(event: Event, windows: int | None) -> None:
    record = Record.of(event, "/mnt/media")
    assert record.windows_event == windows
    assert record.message.startswith(UNC)
    assert record.priority in {3, 4, 6}
    assert record.details == {each.name: str(getattr(event, each.name)) for each in fields(event)}
    assert not {*record.details} & {*NAMES, "password", "secret", "key", "ticket"}
    assert record.time.tzinfo is UTC
    assert (record.pid, record.uid) == (os.getpid(), os.geteuid())
    # Three ways there, and back.
    assert parse_line(format_line(record)) == record
    syslog = SYSLOG.fullmatch(encode_for_syslog(record).decode())
    assert syslog is not None
    assert int(syslog[1]) == 10 * 8 + record.priority
    assert int(syslog[3]) == os.getpid()
    assert parse_line(syslog[4]) == record
    datagram = encode_for_journal(record)
    assert parse_entry(as_journalctl_says(datagram, record)) == record
    entry = fields_of(datagram)
    assert entry["SMBFS_EVENT"] == event.event
    assert entry.get("WINDOWS_EVENT") == (None if windows is None else str(windows))
    assert entry["SYSLOG_IDENTIFIER"] == "smbfs"


def test_ids_mean_one_thing() -> None:
    """Kinds that share our id differ in Windows' alone, and are kinds of each other."""
    for kind in event_kinds():
        for other in event_kinds():
            if kind is not other and kind.event == other.event:
                shared = {*kind.__mro__} & {*other.__mro__} - {*Event.__mro__}
                assert kind.event in {getattr(each, "event", None) for each in shared}
                assert kind.windows_event != other.windows_event


def test_text_of_a_server_makes_no_line_and_no_field_of_its_own(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    record = Record.of(events.ConnectionFailed(UNC, EVIL), EVIL)
    datagram = encode_for_journal(record)
    assert datagram.count(b"\n") == len(fields_of(datagram))
    assert fields_of(datagram)["WINDOWS_EVENT"] == "30803"
    lines = (format_line(record), encode_for_syslog(record).decode())
    for text in (*lines, datagram.decode().replace("\n", "")):
        assert text.isprintable()
    assert parse_line(lines[0]).event == "connection-failed"
    audit = open_audit("", Places(tmp_path / "none", tmp_path / "none", tmp_path / "audit.jsonl"))
    with caplog.at_level(logging.INFO):
        audit.write(events.ConnectionFailed(UNC, EVIL))
    audit.close()
    (logged,) = caplog.records
    assert logged.getMessage().isprintable()
    assert len((tmp_path / "audit.jsonl").read_text().splitlines()) == 1


def test_text_of_a_server_is_bounded() -> None:
    record = Record.of(events.ConnectionFailed(UNC, "x" * 100_000), "")
    assert len(record.details["reason"]) == len(record.message) == TEXT_MAX
    assert record.details["reason"].endswith("…")
    assert len(encode_for_journal(record)) < 8192
    lost = events.WritesLost("//nas/a rather long name", "p" * 5000, 4096, 12, "r" * 5000)
    line = encode_for_syslog(Record.of(lost, "/mnt/media"))
    assert 500 < len(line) <= 1024
    found = parse_line(line.decode().partition(": @cee: ")[2])
    assert found.details["path"] == "p" * 149 + "…"


@pytest.mark.parametrize("kind", [Kind.JOURNAL, Kind.SYSLOG])
def test_who_listens_gets_one_datagram(tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / kind.value
    places = Places(tmp_path / "journal", tmp_path / "syslog", tmp_path / "file")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(5)
        assert places.kind() is kind
        audit = open_audit("/mnt/media", places)
        audit.write(events.GuestRefused(UNC, "alice"))
        audit.close()
        assert b"guest-refused" in listener.recv(65536)
    assert not places.file.exists()
    assert places.kind() is Kind.FILE  # what is left of the socket hears nothing


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_a_syslog_that_wants_a_stream_is_none(tmp_path: Path, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_UNIX, kind) as listener:
        listener.bind(str(tmp_path / "log"))
        listener.listen()
        assert Places(tmp_path / "none", tmp_path / "log").kind() is Kind.FILE


def test_a_journal_that_is_full_or_started_anew_stops_nothing_and_hears_what_it_missed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        audit = open_audit("", Places(journal=path))
        for _ in range(1000):  # nobody reads
            audit.write(events.InsecureGuestUsed(UNC))
        journal.setblocking(False)
        taken = []
        with suppress(BlockingIOError):
            while True:
                taken.append(fields_of(journal.recv(65536)))
    assert taken
    assert {entry["SMBFS_LOST"] for entry in taken} == {"0"}
    path.unlink()
    audit.write(events.InsecureGuestUsed(UNC))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        journal.settimeout(5)
        for _ in range(2):
            audit.write(events.InsecureGuestUsed(UNC))
        lost = [fields_of(journal.recv(65536))["SMBFS_LOST"] for _ in range(2)]
    audit.close()
    assert lost == [str(1001 - len(taken)), "0"]


def test_every_event_is_in_the_log_as_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audit = open_audit("", Places(tmp_path / "none", tmp_path / "none", tmp_path / "file"))
    with caplog.at_level(logging.INFO):
        audit.write(events.GuestRefused(UNC, "alice"))
    audit.close()
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().endswith("[guest-refused, Windows 31017]")


@pytest.mark.parametrize(
    ("uid", "environment", "file"),
    [
        (0, {"XDG_STATE_HOME": "/state"}, "/var/log/smbfs/audit.jsonl"),
        (1000, {"XDG_STATE_HOME": "/state", "HOME": "/h"}, "/state/smbfs/audit.jsonl"),
        (1000, {"XDG_STATE_HOME": "state", "HOME": "/h"}, "/h/.local/state/smbfs/audit.jsonl"),
        (1000, {"HOME": "/h"}, "/h/.local/state/smbfs/audit.jsonl"),
        (54321, {}, "/.local/state/smbfs/audit.jsonl"),
    ],
)
def test_where_the_file_is(uid: int, environment: dict[str, str], file: str) -> None:
    assert usual_places(environment, uid).file == Path(file)


@pytest.mark.parametrize(
    "changes",
    [
        {"time": "2026-11-23T02:57:12"},
        {"time": "soon"},
        {"time": "0001-01-01T00:00:00+23:59"},
        {"pid": "17"},
        {"pid": -1},
        {"uid": True},
        {"windows_event": "30803"},
        {"message": None},
        {"event": 5},
        {"lost": 1e300},
    ],
)
def test_a_line_that_is_none_of_ours(changes: dict[str, object]) -> None:
    record = Record.of(events.InsecureGuestUsed(UNC), "/mnt")
    assert parse_line(format_line(record)) == record
    with pytest.raises(ValueError, match=r"no|Invalid"):
        parse_line(json.dumps(record.as_json() | changes))
    for line in ("", "{", "[]", "null", '{"event": "connected"}', "[" * 100_000):
        with pytest.raises(ValueError, match=r"no|Expecting|without"):
            parse_line(line)


def test_what_others_have_written_into_a_file_steers_no_terminal() -> None:
    record = Record.of(events.InsecureGuestUsed(UNC), "")
    line = json.dumps(replace(record, message=EVIL, details={EVIL: EVIL, "unc": EVIL}).as_json())
    found = parse_line(line)
    assert all(text.isprintable() for text in (found.message, *found.details, found.details["unc"]))
