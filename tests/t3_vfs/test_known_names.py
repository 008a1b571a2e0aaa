"""Listings that answer for single names: bounded in time, and never older than our own changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest

from smbfs.client.open import Open
from smbfs.engine.leases import Lease
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import Listed
from smbfs.vfs.known_names import (
    DIRECTORIES_MAX,
    QUESTIONS_BEFORE_LISTING,
    Answer,
    KnownNames,
    Reading,
)
from smbfs.wire.fscc import FileStat
from smbfs.wire.lease import LeaseResponseV2, LeaseState
from smbfs.wire.oplock_break import LeaseBreakNotification

DIRECTORY = 7
KEY = b"k" * 16
READ = LeaseState.READ_CACHING


@dataclass
class OpenDirectory:
    """Stands in for the server's handle."""

    lease: Lease | None = None
    is_open: bool = True

    def close_unwaited(self) -> None:
        assert self.is_open
        self.is_open = False


def leased_directory(state: LeaseState = READ) -> OpenDirectory:
    lease = Lease(KEY)
    lease.granted(LeaseResponseV2(KEY, state, None, 1))
    return OpenDirectory(lease)


def description(size: int = 0) -> Description:
    return Description(
        FileStat(
            file_id=1,
            size=size,
            allocation_size=0,
            creation_time=0,
            access_time=0,
            write_time=0,
            change_time=0,
            attributes=0,
            link_count=1,
            reparse_tag=0,
            mode=None,
            owner=None,
            group=None,
        )
    )


def read_at(known: KnownNames, now_s: float, *names: bytes) -> None:
    """Ask until it pays to read the directory, then have it read at once."""
    complete(known, begin(known, now_s), *names, now_s=now_s)


def begin(known: KnownNames, now_s: float = 0.0) -> Reading:
    while not known.should_read(DIRECTORY, now_s, window_s=1.0):
        pass
    return known.begin(DIRECTORY)


def complete(
    known: KnownNames,
    reading: Reading,
    *names: bytes,
    now_s: float = 0.0,
    directory: OpenDirectory | None = None,
    is_whole: bool = True,
) -> None:
    known.complete(
        reading,
        [Listed(name, description()) for name in names],
        cast(Open, directory or OpenDirectory()),
        is_whole=is_whole,
        until_s=now_s + 1.0,
    )


def test_a_few_questions_are_asked_one_by_one() -> None:
    known = KnownNames(None)
    asked = [known.should_read(DIRECTORY, 0.0, window_s=1.0) for _ in range(20)]
    assert asked.index(True) == QUESTIONS_BEFORE_LISTING


def test_slow_questions_are_asked_one_by_one_for_ever() -> None:
    known = KnownNames(None)
    assert not any(known.should_read(DIRECTORY, now / 2, window_s=1.0) for now in range(100))


def test_a_listing_answers_for_what_is_there_and_not_for_what_is_missing() -> None:
    known = KnownNames(None)
    read_at(known, 0.0, b"here")
    here = known.find(DIRECTORY, b"here", 0.25)
    assert here is not None
    assert here.description == description()
    assert here.left_s == 0.75
    assert known.find(DIRECTORY, b"missing", 0.25) is None
    assert known.find(DIRECTORY + 1, b"here", 0.25) is None


def test_nothing_is_believed_after_its_time() -> None:
    known = KnownNames(None)
    read_at(known, 0.0, b"here")
    assert known.find(DIRECTORY, b"here", 1.0) is None


def test_a_spoiled_name_is_asked_for_and_its_neighbours_are_not() -> None:
    known = KnownNames(None)
    read_at(known, 0.0, b"here", b"neighbour")
    known.spoil(DIRECTORY, b"here")
    assert known.find(DIRECTORY, b"here", 0.1) is None
    assert known.find(DIRECTORY, b"neighbour", 0.1) is not None


def test_a_name_spoiled_while_the_listing_is_on_its_way_stays_spoiled() -> None:
    known = KnownNames(None)
    reading = begin(known)
    known.spoil(DIRECTORY, b"removed")
    complete(known, reading, b"removed")
    assert known.find(DIRECTORY, b"removed", 0.1) is None


def test_a_listing_is_read_once_at_a_time_and_not_when_too_large() -> None:
    known = KnownNames(None)
    reading = begin(known)
    assert not known.should_read(DIRECTORY, 0.1, window_s=1.0)
    known.give_up(reading, too_large=True)
    assert not known.should_read(DIRECTORY, 0.2, window_s=1.0)


def test_where_case_does_not_count_a_name_is_spoiled_in_every_spelling() -> None:
    known = KnownNames(bytes.lower)
    read_at(known, 0.0, b"Here")
    assert known.find(DIRECTORY, b"HERE", 0.1) is None
    known.spoil(DIRECTORY, b"HERE")
    assert known.find(DIRECTORY, b"Here", 0.1) is None


def test_a_listing_that_was_forgotten_on_its_way_is_not_kept() -> None:
    """What was spoiled meanwhile was forgotten with it."""
    known = KnownNames(None)
    reading = begin(known)
    known.forget(DIRECTORY)
    known.spoil(DIRECTORY, b"removed")
    known.should_read(DIRECTORY, 0.1, window_s=1.0)
    complete(known, reading, b"removed")
    assert known.find(DIRECTORY, b"removed", 0.2) is None


def test_a_good_listing_is_not_read_again_for_what_it_lacks() -> None:
    known = KnownNames(None)
    read_at(known, 0.0, b"here")
    assert not any(known.should_read(DIRECTORY, 0.5, window_s=1.0) for _ in range(100))


def test_under_a_lease_what_is_missing_is_known() -> None:
    known, directory = KnownNames(None), leased_directory()
    complete(known, begin(known), b"here", directory=directory)
    assert known.find(DIRECTORY, b"missing", 0.75) == Answer(None, 0.25)
    assert known.find(DIRECTORY, b"missing", 1.0) is None
    assert known.lease_key(DIRECTORY) == KEY
    known.spoil(DIRECTORY, b"missing")  # We make it.
    assert known.find(DIRECTORY, b"missing", 0.1) is None
    assert directory.is_open


@pytest.mark.parametrize(
    ("fold", "state", "is_whole"),
    [(None, LeaseState.NONE, True), (None, READ, False), (bytes.lower, READ, True)],
    ids=["not granted", "a name is not shown", "case does not count"],
)
def test_what_is_missing_is_asked_for(fold: None, state: LeaseState, *, is_whole: bool) -> None:
    known = KnownNames(fold)
    complete(known, begin(known), directory=leased_directory(state), is_whole=is_whole)
    assert known.find(DIRECTORY, b"missing", 0.1) is None


def test_a_broken_lease_ends_what_is_known_to_be_missing() -> None:
    known, directory = KnownNames(None), leased_directory()
    complete(known, begin(known), b"here", directory=directory)
    assert directory.lease is not None
    known.broken(Lease(KEY))  # Another one.
    assert known.find(DIRECTORY, b"missing", 0.1) is not None
    directory.lease.broken(LeaseBreakNotification(KEY, READ, LeaseState.NONE, 2))
    assert known.find(DIRECTORY, b"missing", 0.1) is None
    known.broken(directory.lease)
    assert known.find(DIRECTORY, b"here", 0.1) is not None
    assert not directory.is_open


def test_while_a_directory_is_read_again_the_old_listing_tells_nothing() -> None:
    """What was spoiled would be answered from it."""
    known, old, new = KnownNames(None), leased_directory(), leased_directory()
    complete(known, begin(known), directory=old)
    known.spoil(DIRECTORY, b"made")
    reading = begin(known, 2.0)
    assert known.find(DIRECTORY, b"made", 2.0) is None
    complete(known, reading, b"made", now_s=2.0, directory=new)
    assert known.find(DIRECTORY, b"made", 2.1) is not None
    assert (old.is_open, new.is_open) == (False, True)


def test_no_directory_stays_open_for_nothing() -> None:
    known = KnownNames(None)
    forgotten, ungranted, crowded, last = (
        leased_directory(),
        leased_directory(LeaseState.NONE),
        leased_directory(),
        leased_directory(),
    )
    reading = begin(known)
    known.forget(DIRECTORY)
    complete(known, reading, directory=forgotten)
    complete(known, begin(known), directory=ungranted)
    complete(known, begin(known, 2.0), directory=crowded, now_s=2.0)
    for other in range(DIRECTORIES_MAX):
        known.should_read(DIRECTORY + 1 + other, 3.0, window_s=1.0)
    complete(known, begin(known, 4.0), directory=last, now_s=4.0)
    known.forget_all()
    assert not any(each.is_open for each in (forgotten, ungranted, crowded, last))
