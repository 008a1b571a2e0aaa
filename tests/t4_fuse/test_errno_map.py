"""Every refusal has a word of its own."""

from __future__ import annotations

import errno

import pytest

from smbfs import errors
from smbfs.errors import (
    DeadlineExceeded,
    HandleLost,
    InvalidName,
    ServerStatusError,
    SmbfsError,
    TransportError,
    WireError,
)
from smbfs.fuse.errno_map import ERRNO_OF_STATUS, errno_of
from smbfs.vfs.names import NameNotText, NameTooLong
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.wire.ntstatus import NtStatus


def status_error(status: int) -> ServerStatusError:
    return ServerStatusError(status, "CREATE")


@pytest.mark.parametrize("status", list(NtStatus))
def test_every_status_has_a_row(status: NtStatus) -> None:
    assert status in ERRNO_OF_STATUS
    assert errno_of(status_error(status)) in errno.errorcode


@pytest.mark.parametrize("reason", list(Refusal))
def test_every_refusal_has_an_errno(reason: Refusal) -> None:
    assert errno_of(Refused(reason)) in errno.errorcode


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (NtStatus.STATUS_ACCESS_DENIED, errno.EACCES),
        (NtStatus.STATUS_OBJECT_NAME_NOT_FOUND, errno.ENOENT),
        (NtStatus.STATUS_OBJECT_PATH_NOT_FOUND, errno.ENOENT),
        (NtStatus.STATUS_OBJECT_NAME_COLLISION, errno.EEXIST),
        (NtStatus.STATUS_DIRECTORY_NOT_EMPTY, errno.ENOTEMPTY),
        (NtStatus.STATUS_SHARING_VIOLATION, errno.EBUSY),
        (NtStatus.STATUS_DISK_FULL, errno.ENOSPC),
        (NtStatus.STATUS_DISK_QUOTA_EXCEEDED, errno.EDQUOT),
        (NtStatus.STATUS_QUOTA_EXCEEDED, errno.EDQUOT),
        (NtStatus.STATUS_MEDIA_WRITE_PROTECTED, errno.EROFS),
        (NtStatus.STATUS_NAME_TOO_LONG, errno.ENAMETOOLONG),
        (NtStatus.STATUS_OBJECT_NAME_INVALID, errno.EINVAL),
        (NtStatus.STATUS_FILE_IS_A_DIRECTORY, errno.EISDIR),
        (NtStatus.STATUS_NOT_A_DIRECTORY, errno.ENOTDIR),
        (NtStatus.STATUS_NOT_SUPPORTED, errno.EOPNOTSUPP),
        (NtStatus.STATUS_NOT_SAME_DEVICE, errno.EXDEV),
        (NtStatus.STATUS_TOO_MANY_OPENED_FILES, errno.EMFILE),
        (NtStatus.STATUS_IO_TIMEOUT, errno.ETIMEDOUT),
        (NtStatus.STATUS_NETWORK_NAME_DELETED, errno.EHOSTDOWN),
        (NtStatus.STATUS_DATA_ERROR, errno.EIO),
        (0xC0DE_BEEF, errno.EIO),
    ],
)
def test_what_users_of_cifs_see(status: int, expected: int) -> None:
    assert errno_of(status_error(status)) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InvalidName("x"), errno.EINVAL),
        (NameTooLong("x"), errno.ENAMETOOLONG),
        (NameNotText("x"), errno.EILSEQ),
        (TransportError("gone"), errno.EHOSTDOWN),
        (DeadlineExceeded("READ", 60), errno.ETIMEDOUT),
        (HandleLost("x"), errno.ESTALE),
        (WireError("x"), errno.EIO),
        (SmbfsError("x"), errno.EIO),
        (ValueError("a bug"), errno.EIO),
    ],
)
def test_our_own_errors(error: Exception, expected: int) -> None:
    assert errno_of(error) == expected


def test_silence_is_a_timeout_wherever_it_was_noticed() -> None:
    lost = TransportError("given up")
    lost.__cause__ = DeadlineExceeded("our requests", 60)
    assert errno_of(lost) == errno.ETIMEDOUT


def test_a_group_is_its_first_error() -> None:
    group = ExceptionGroup("several", [ExceptionGroup("inner", [Refused(Refusal.STALE)])])
    assert errno_of(group) == errno.ESTALE


def test_every_error_class_has_an_answer() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for kind in kinds:
        if issubclass(kind, SmbfsError):
            assert (
                errno_of(kind.__new__(kind)) in errno.errorcode
                if (kind is not ServerStatusError)
                else True
            )
