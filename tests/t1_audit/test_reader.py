"""What is asked of journalctl, and of times as people write them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from smbfs.audit import events
from smbfs.audit.reader import Wanted, journalctl, parse_entry
from smbfs.audit.record import Record
from smbfs.audit.when import parse_when
from tests.t1_audit.samples import EVIL, UNC

NOW = datetime(2026, 11, 23, 14, 5, 6, tzinfo=datetime.now().astimezone().tzinfo)
ENTRY = {
    "SYSLOG_IDENTIFIER": "smbfs",
    "MESSAGE": "//nas/media: something",
    "PRIORITY": "6",
    "SMBFS_EVENT": "credential-used",
    "SMBFS_MOUNTPOINT": "/mnt",
    "SMBFS_LOST": "0",
    "SMBFS_UNC": UNC,
    "_PID": "17",
    "_UID": "1000",
    "_HOSTNAME": "desk",
    "__REALTIME_TIMESTAMP": "1795401432100000",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("-2h", NOW - timedelta(hours=2)),
        ("- 90 min", NOW - timedelta(minutes=90)),
        ("2 hours ago", NOW - timedelta(hours=2)),
        ("1 Week  ago", NOW - timedelta(weeks=1)),
        ("30s ago", NOW - timedelta(seconds=30)),
        ("-1d", NOW - timedelta(days=1)),
        ("today", datetime(2026, 11, 23).astimezone()),
        ("yesterday", datetime(2026, 11, 22).astimezone()),
        ("2026-11-20", datetime(2026, 11, 20).astimezone()),
        ("2026-11-20 14:05", datetime(2026, 11, 20, 14, 5).astimezone()),
        ("2026-11-20T14:05:06.5Z", datetime(2026, 11, 20, 14, 5, 6, 500_000, UTC)),
        (
            "2026-11-20T14:05:06+02:00",
            datetime(2026, 11, 20, 14, 5, 6, tzinfo=timezone(timedelta(hours=2))),
        ),
    ],
)
def test_times_as_people_write_them(text: str, expected: datetime) -> None:
    assert parse_when(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2h", "2 hours", "ago", "-h", "-2x", "2 moons ago", "-999999999w", "2026-13-01",
     "0001-01-01T00:00+23:59", "-2h ago", "9" * 30 + "s ago"],
)  # fmt: skip
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="no point in time"):
        parse_when(text, NOW)


def test_what_is_asked_of_journalctl() -> None:
    since = datetime(2026, 11, 23, 2, 57, 12, 900_000, UTC)
    command = journalctl(Wanted(since, since, "connected"))
    assert command[1:3] == ["--output=json", "--all"]
    assert command[-4:] == [
        "--since=@1795402632",
        "--until=@1795402635",
        "SYSLOG_IDENTIFIER=smbfs",
        "SMBFS_EVENT=connected",
    ]
    end_of_time = datetime.max.replace(tzinfo=UTC)
    assert "--until=@253402300802" in journalctl(Wanted(until=end_of_time))
    assert journalctl(Wanted())[-1] == "SYSLOG_IDENTIFIER=smbfs"


@pytest.mark.parametrize(
    ("unc", "taken"),
    [
        *((None, True), ("//nas/media", True), ("//NAS/Media", True), ("//nas", True)),
        *(("//nas/med", False), ("//na", False), ("//nas/media/more", False)),
    ],
)
def test_events_of_a_share(unc: str | None, *, taken: bool) -> None:
    assert Wanted(unc=unc).takes(Record.of(events.InsecureGuestUsed(UNC), "")) == taken


def test_events_between_two_times() -> None:
    record = Record.of(events.InsecureGuestUsed(UNC), "")
    later = record.time + timedelta(microseconds=1)
    assert Wanted(since=record.time, until=record.time).takes(record)
    assert not Wanted(since=later).takes(record)
    assert not Wanted(until=record.time).takes(replace(record, time=later))
    assert not Wanted(event="connected").takes(record)


def test_who_has_written_an_entry_is_what_the_kernel_says() -> None:
    """Anybody may write into the journal under our name, but not under another user's."""
    forged = {"SMBFS_UID": "0", "SMBFS_PID": "1", "SMBFS_TIME": "x", "SMBFS_HOST": "y"}
    record = parse_entry(json.dumps(ENTRY | forged | {"SMBFS_MESSAGE": "z", "MESSAGE": EVIL}))
    assert (record.uid, record.pid, record.host) == (1000, 17, "desk")
    assert record.message.isprintable()
    assert record.details == {"unc": UNC}


@pytest.mark.parametrize(
    "changes",
    [
        {"SMBFS_EVENT": None},  # a line of a daemon's log
        {"_PID": None},
        {"PRIORITY": "high"},
        {"MESSAGE": [104, 105]},  # as journalctl shows what is no text
        {"SMBFS_EVENT": ["connected", "disconnected"]},
        {"__REALTIME_TIMESTAMP": "9" * 19},
        {"__REALTIME_TIMESTAMP": None},
    ],
)
def test_an_entry_that_is_none_of_ours(changes: dict[str, object]) -> None:
    assert parse_entry(json.dumps(ENTRY)).event == "credential-used"
    with pytest.raises(ValueError, match="no"):
        parse_entry(json.dumps(ENTRY | changes))
