"""Dialects, status codes and times: what they are called and how they convert."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol.header import NtStatus as SmbprotocolStatus

from smbfs.wire.dialect import Dialect
from smbfs.wire.filetime import FILETIME_MAX, filetime_to_ns, ns_to_filetime
from smbfs.wire.negotiate import Cipher, SigningAlgorithm
from smbfs.wire.ntstatus import NtStatus, nt_status, status_name
from tests.t0_wire.values import QUICK, U64


def test_labels() -> None:
    labels = ["2.0.2", "2.1", "2.???", "3.0", "3.0.2", "3.1.1"]
    assert [dialect.label for dialect in sorted(Dialect)] == labels
    ciphers = ["aes-128-ccm", "aes-128-gcm", "aes-256-ccm", "aes-256-gcm"]
    assert [cipher.label for cipher in Cipher] == ciphers
    algorithms = ["hmac-sha256", "aes-128-cmac", "aes-128-gmac"]
    assert [algorithm.label for algorithm in SigningAlgorithm] == algorithms


def test_status_names() -> None:
    assert status_name(0xC0000022) == "STATUS_ACCESS_DENIED"
    assert status_name(0) == "STATUS_SUCCESS"
    assert status_name(0xC0DEC0DE) == "0xC0DEC0DE"
    assert nt_status(0xC0000022) is NtStatus.STATUS_ACCESS_DENIED
    assert nt_status(0xC0DEC0DE) == 0xC0DEC0DE


def test_statuses_agree_with_smbprotocol() -> None:
    theirs = {name: code for name, code in vars(SmbprotocolStatus).items() if name[0] == "S"}
    assert len(theirs) > 60
    assert {name: int(NtStatus[name]) for name in theirs} == theirs


@pytest.mark.parametrize(
    ("filetime", "moment"),
    [
        (116_444_736_000_000_000, datetime(1970, 1, 1, tzinfo=UTC)),
        (1, datetime(1601, 1, 1, tzinfo=UTC)),
        (133_801_632_000_000_000, datetime(2025, 1, 1, tzinfo=UTC)),
    ],
)
def test_filetime_of_a_moment(filetime: int, moment: datetime) -> None:
    since_epoch = moment - datetime(1970, 1, 1, tzinfo=UTC)
    nanoseconds = (since_epoch.days * 86_400 + since_epoch.seconds) * 10**9
    assert filetime_to_ns(filetime) - nanoseconds in {0, 100}
    assert ns_to_filetime(filetime_to_ns(filetime)) == filetime


@QUICK
@given(st.integers(1, FILETIME_MAX))
def test_filetime_round_trip(filetime: int) -> None:
    assert ns_to_filetime(filetime_to_ns(filetime)) == filetime


@QUICK
@given(st.integers(-(2**80), 2**80))
def test_times_outside_are_clamped_to_what_the_wire_holds(time_ns: int) -> None:
    filetime = ns_to_filetime(time_ns)
    assert 1 <= filetime <= FILETIME_MAX
    if 1 < filetime < FILETIME_MAX:
        assert 0 <= time_ns - filetime_to_ns(filetime) < 100


@QUICK
@given(U64)
def test_every_filetime_converts(filetime: int) -> None:
    never_set = filetime == 0 or filetime > FILETIME_MAX
    assert (filetime_to_ns(filetime) == 0) == (never_set or filetime == 116_444_736_000_000_000)
