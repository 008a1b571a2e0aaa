"""Listings that answer for single names: bounded in time, and never older than our own changes."""

from __future__ import annotations

from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import Listed
from smbfs.vfs.known_names import QUESTIONS_BEFORE_LISTING, KnownNames
from smbfs.wire.fscc import FileStat

DIRECTORY = 7


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
    while not known.should_read(DIRECTORY, now_s, window_s=1.0):
        pass
    known.complete(
        known.begin(DIRECTORY), [Listed(name, description()) for name in names], now_s + 1.0
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
    while not known.should_read(DIRECTORY, 0.0, window_s=1.0):
        pass
    reading = known.begin(DIRECTORY)
    known.spoil(DIRECTORY, b"removed")
    known.complete(reading, [Listed(b"removed", description())], 1.0)
    assert known.find(DIRECTORY, b"removed", 0.1) is None


def test_a_listing_is_read_once_at_a_time_and_not_when_too_large() -> None:
    known = KnownNames(None)
    while not known.should_read(DIRECTORY, 0.0, window_s=1.0):
        pass
    reading = known.begin(DIRECTORY)
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
    while not known.should_read(DIRECTORY, 0.0, window_s=1.0):
        pass
    reading = known.begin(DIRECTORY)
    known.forget(DIRECTORY)
    known.spoil(DIRECTORY, b"removed")
    known.should_read(DIRECTORY, 0.1, window_s=1.0)
    known.complete(reading, [Listed(b"removed", description())], 1.0)
    assert known.find(DIRECTORY, b"removed", 0.2) is None


def test_a_good_listing_is_not_read_again_for_what_it_lacks() -> None:
    known = KnownNames(None)
    read_at(known, 0.0, b"here")
    assert not any(known.should_read(DIRECTORY, 0.5, window_s=1.0) for _ in range(100))
