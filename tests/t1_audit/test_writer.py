"""Events reach the journal with all their fields, or the log, one line each and no secret."""

from __future__ import annotations

import logging
import socket
from dataclasses import fields
from pathlib import Path

import pytest

from smbfs.audit import events
from smbfs.audit.events import Event
from smbfs.audit.writer import JournalWriter, LogWriter, encode_entry, open_audit

UNC = "//nas/media"
BY_QUIC = events.ConnectedByQuic(UNC, "alice", "quic", "3.1.1", "signed aes-128-gmac")
ALL: list[tuple[Event, int | None]] = [
    (events.Connected(UNC, "alice", "tcp", "3.1.1", "signed aes-128-gmac"), None),
    (events.Migrated(UNC, "10.0.0.2", "10.0.0.3"), None),
    (events.CertificateRefused(UNC, "the server's certificate has expired"), None),
    (events.CertificateExpires(UNC, "2026-12-01"), None),
    (events.ConnectionFailed(UNC, "no route"), 30803),
    (events.Disconnected(UNC, "unmounted"), 30804),
    (events.Reconnected(UNC, "quic", "10.0.0.3"), 30808),
    (events.WentOffline(UNC, "no answer to our requests within 60 s"), 30809),
    (events.WritesLost(UNC, "a folder/a file", 4096, 12, "no answer"), None),
    (events.GuestRefused(UNC, "alice"), 31017),
    (events.InsecureGuestUsed(UNC), 31022),
    (events.SignatureFailed(UNC, "the signature of a message is wrong"), 31013),
    (events.CredentialUsed(UNC, "alice", "keyring"), None),
    (events.PolicyOverrideRefused(UNC, "guest access refused by the policy"), None),
    (events.ProtectionLowered(UNC, "signing=if-offered", "-o"), None),
    (events.GuestAllowed(UNC, "allow_insecure_guest", "-o"), 31018),
    (events.GatewayListening(UNC, "127.0.0.1:443"), None),
    (events.GatewayAccepted(UNC, "192.0.2.7:5353", "nas.example.org", "-"), None),
    (events.GatewayRefused(UNC, "192.0.2.7:5353", "-", "no common ALPN protocols"), None),
    (events.GatewayEnded(UNC, "192.0.2.7:5353", "closed by the client", 12, 34), None),
    (events.GatewayMigrated(UNC, "192.0.2.7:5353", "192.0.2.8:5353"), None),
    (events.GatewayReloaded(UNC, 2), None),
    (events.GatewayReloadFailed(UNC, "no such file"), None),
]


def fields_of(datagram: bytes) -> dict[str, str]:
    lines = datagram.decode().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_no_kind_of_event_is_forgotten_here() -> None:
    # By name: a slotted dataclass is made twice.
    kinds = {kind.__name__ for kind in Event.__subclasses__()} | {"GuestAllowed"}
    assert {type(event).__name__ for event, _ in ALL} == kinds


@pytest.mark.parametrize(("event", "windows"), [*ALL, (BY_QUIC, 30832)])
def test_entry_has_both_ids_and_every_field(event: Event, windows: int | None) -> None:
    entry = fields_of(encode_entry(event))
    assert entry["SMBFS_EVENT"] == event.event
    assert entry.get("WINDOWS_EVENT") == (None if windows is None else str(windows))
    assert entry["MESSAGE"].startswith(UNC)
    assert entry["PRIORITY"] in {"3", "4", "6"}
    for each in fields(event):
        assert entry[f"SMBFS_{each.name.upper()}"] == str(getattr(event, each.name))
        assert each.name not in {"password", "secret", "key", "ticket"}


def test_ids_are_not_used_twice() -> None:
    ids = [event.event for event, _ in ALL]
    assert len(ids) == len(set(ids))


def test_text_of_a_server_makes_no_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    evil = events.ConnectionFailed(UNC, "x\nWINDOWS_EVENT=1\nMESSAGE=\x1b[2J\u2028y\ud800")
    datagram = encode_entry(evil)
    assert datagram.count(b"\n") == len(fields_of(datagram))
    assert fields_of(datagram)["WINDOWS_EVENT"] == "30803"
    assert b"\x1b" not in datagram
    with caplog.at_level(logging.INFO):
        LogWriter().write(evil)
    (record,) = caplog.records
    assert record.getMessage().isprintable()


def test_journal_gets_one_datagram(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        journal.settimeout(5)
        audit = open_audit(path)
        assert isinstance(audit, JournalWriter)
        audit.write(events.GuestRefused(UNC, "alice"))
        assert fields_of(journal.recv(65536))["SMBFS_EVENT"] == "guest-refused"
        audit.close()


def test_journal_that_is_full_or_gone_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        audit = JournalWriter(path)
        for _ in range(1000):  # nobody reads
            audit.write(events.InsecureGuestUsed(UNC))
    audit.write(events.InsecureGuestUsed(UNC))
    audit.close()


def test_log_where_there_is_no_journal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    audit = open_audit(tmp_path / "none")
    assert isinstance(audit, LogWriter)
    with caplog.at_level(logging.INFO):
        audit.write(events.GuestRefused(UNC, "alice"))
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().endswith("[guest-refused, Windows 31017]")
