"""Which event an error becomes, where no server of the tests brings it about."""

from __future__ import annotations

import pytest

from smbfs import errors
from smbfs.audit import events
from smbfs.audit.events import Event
from smbfs.auth.guest import guest_refused
from smbfs.cli.errors import CommandError
from smbfs.cli.failure_events import failure_event
from smbfs.wire.ntstatus import NtStatus

UNC = "//nas/media"
ALTERED = "NEGOTIATE was altered"
REFUSED = "STATUS_ACCESS_DENIED, 0xC0000022"


def caused_by(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (guest_refused(UNC, asked=False), events.GuestRefused(UNC, "alice")),
        (errors.SecurityViolation("forged"), events.SignatureFailed(UNC, "forged")),
        (errors.DecryptionFailed("sealed"), events.DecryptionFailed(UNC, "sealed")),
        (errors.NotEncrypted("clear"), events.NotEncrypted(UNC, "clear")),
        (errors.NegotiateAltered(ALTERED), events.NegotiationAltered(UNC, ALTERED)),
        (
            caused_by(errors.DialectRefused("too old"), errors.Smb1Answer("SMB1")),
            events.Smb1Refused(UNC, "too old"),
        ),
        (
            errors.AuthenticationError("no ticket", "it has\nended."),
            events.LogonFailed(UNC, "alice", "no ticket it has ended."),
        ),
        (
            errors.ServerStatusError(NtStatus.STATUS_ACCESS_DENIED, "CREATE"),
            events.ConnectionFailed(UNC, f"CREATE: {REFUSED}"),
        ),
        (
            errors.ServerStatusError(NtStatus.STATUS_ACCESS_DENIED, "TREE_CONNECT"),
            events.ShareRefused(UNC, "alice", REFUSED),
        ),
        (
            errors.ServerStatusError(0xC1234567, "SESSION_SETUP"),
            events.LogonFailed(UNC, "alice", "0xC1234567, 0xC1234567"),
        ),
        (
            errors.NegotiationRefused("no QUIC here"),
            events.ConnectionFailed(UNC, "no QUIC here"),
        ),
        (
            errors.DeadlineExceeded("us", 3),
            events.ConnectionFailed(UNC, "no answer to us within 3 s"),
        ),
        (errors.WireError("header"), events.ConnectionFailed(UNC, "malformed header at byte 0")),
        (CommandError("no fusermount3"), events.MountFailed(UNC, "no fusermount3")),
        (RuntimeError("fuse_session_mount"), events.MountFailed(UNC, "fuse_session_mount")),
    ],
)
def test_errors_become_events(error: BaseException, event: Event) -> None:
    found = failure_event(error, UNC, "alice")
    assert (type(found), found) == (type(event), event)
