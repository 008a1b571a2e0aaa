"""What is known of directories: bounded in time, never older than our own changes or a break."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from smbfs.client.open import Open
from smbfs.engine.leases import Lease
from smbfs.vfs import known_directories
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import Listed
from smbfs.vfs.known_directories import (
    DIRECTORIES_MAX,
    QUESTIONS_BEFORE_LISTING,
    KnownDirectories,
)
from smbfs.vfs.known_directory import (
    ENTRIES_MAX,
    KEPT_LEFT_MIN_S,
    Answer,
    Fold,
    Kept,
    KnownDirectory,
    Reading,
    is_kept,
    keep,
    lease_key,
    lose_name,
)
from smbfs.wire.lease import LeaseResponseV2, LeaseState
from smbfs.wire.oplock_break import LeaseBreakNotification
from tests.t3_vfs.file_stats import told

DIRECTORY = 7
KEY = b"k" * 16
READ = LeaseState.READ_CACHING
LEASED_S = 30.0


@dataclass
class Handle:
    """Stands in for the server's handle of a directory."""

    lease: Lease | None = None
    is_open: bool = True

    def close_unwaited(self) -> None:
        assert self.is_open
        self.is_open = False


def leased(state: LeaseState = READ, key: bytes = KEY) -> Handle:
    lease = Lease(key)
    lease.granted(LeaseResponseV2(key, state, None, 1))
    return Handle(lease)


def description(size: int = 0, file_id: int = 1) -> Description:
    return Description(told(size=size, file_id=file_id))


HERE = description(1)


@dataclass
class Bed:
    """Directories of which one is read, by a clock that the test sets."""

    fold: Fold | None = None
    lost: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.all = KnownDirectories(
            self.fold, leased_s=LEASED_S, unleased_s=1.0, on_lost=self.lost.append
        )

    @property
    def known(self) -> KnownDirectory:
        return self.all.of(DIRECTORY)

    def begin(self, directory: int = DIRECTORY) -> Reading:
        reading = self.all.begin(directory, KEY)
        assert reading is not None
        return reading

    def finish(
        self,
        reading: Reading,
        *names: bytes,
        handle: Handle,
        now_s: float = 0.0,
        directory: int = DIRECTORY,
        is_whole: bool = True,
        tells_absence: bool = True,
    ) -> bool:
        self.all.opened(directory, reading, cast(Open, handle), now_s)
        listed = [Listed(name, HERE) for name in names]
        if not self.all.add(directory, reading, listed):
            return False
        kept = self.all.complete(
            directory,
            reading,
            cast(Open, handle),
            is_whole=is_whole,
            tells_absence=tells_absence and is_whole,
        )
        return kept is not None

    def read(self, *names: bytes, handle: Handle | None = None, now_s: float = 0.0) -> Handle:
        handle = handle or leased()
        self.finish(self.begin(), *names, handle=handle, now_s=now_s)
        return handle

    def break_lease(self, handle: Handle) -> None:
        assert handle.lease is not None
        notification = LeaseBreakNotification(handle.lease.key, READ, LeaseState.NONE, 2)
        handle.lease.broken(notification)
        self.all.broken(handle.lease)


# ------------------------------------------------------------- when to list


def test_a_few_questions_are_asked_one_by_one() -> None:
    bed = Bed()
    asked = [bed.all.should_read(DIRECTORY, 0.0, window_s=1.0) for _ in range(20)]
    assert asked.index(True) == QUESTIONS_BEFORE_LISTING


def test_slow_questions_are_asked_one_by_one_for_ever() -> None:
    bed = Bed()
    assert not any(bed.all.should_read(DIRECTORY, now / 2, window_s=1.0) for now in range(100))


def test_a_directory_is_read_once_at_a_time_and_not_at_once_again_when_that_failed() -> None:
    bed = Bed()
    for _ in range(10):
        bed.all.should_read(DIRECTORY, 0.1, window_s=1.0)
    reading = bed.begin()
    assert not bed.all.should_read(DIRECTORY, 0.1, window_s=1.0)
    assert bed.all.begin(DIRECTORY, KEY) is None
    bed.all.give_up(DIRECTORY, reading)
    assert not bed.all.should_read(DIRECTORY, 0.2, window_s=1.0)


def test_a_good_listing_is_not_read_again_for_what_it_lacks() -> None:
    bed = Bed()
    bed.read(b"here", handle=Handle())
    assert not any(bed.all.should_read(DIRECTORY, 0.5, window_s=1.0) for _ in range(100))


def test_half_a_listing_is_read_to_its_end_when_that_pays() -> None:
    bed = Bed()
    handle = leased()
    assert bed.finish(bed.begin(), b"here", handle=handle, is_whole=False)
    assert not bed.known.may_be_leased
    assert bed.known.find(b"here", 1.0) == Answer(HERE, LEASED_S - 1.0)
    assert bed.known.find(b"missing", 1.0) is None
    assert bed.known.listing(1.0) is None
    assert any(bed.all.should_read(DIRECTORY, 1.0, window_s=1.0) for _ in range(10))
    reading = bed.begin()
    assert reading.handle is cast(Open, handle)  # Its lease has held all the time.
    assert bed.finish(reading, b"here", b"more", handle=handle, now_s=1.0)
    assert handle.is_open
    assert bed.known.listing(1.0) is not None


# ------------------------------------------------------------- what is believed


def test_without_a_lease_what_is_there_is_believed_for_a_while_and_what_is_missing_is_not() -> None:
    bed = Bed()
    assert not bed.finish(bed.begin(), b"here", handle=Handle())
    assert bed.known.find(b"here", 0.25) == Answer(HERE, 0.75)
    assert bed.known.find(b"here", 1.0) is None
    assert bed.known.find(b"missing", 0.25) is None
    assert bed.known.listing(0.25) is None
    assert bed.known.believed_s(b"here", HERE, 0.25) == 0.0
    assert bed.all.of(DIRECTORY + 1).find(b"here", 0.25) is None


def test_under_a_lease_everything_is_known() -> None:
    bed = Bed()
    handle = bed.read(b"here")
    assert bed.known.find(b"here", 10.0) == Answer(HERE, 20.0)
    assert bed.known.find(b"missing", 10.0) == Answer(None, 20.0)
    assert bed.known.listing(10.0) == [Listed(b"here", HERE)]
    assert bed.known.believed_s(b"here", HERE, 10.0) == 20.0
    assert bed.known.believed_s(b"here", description(1), 10.0) == 0.0  # Told by somebody else.
    assert lease_key(bed.all.of(DIRECTORY)) == KEY
    assert bed.all.leased == 1
    assert handle.is_open


def test_programs_on_the_server_itself_are_noticed_in_the_end() -> None:
    bed = Bed()
    handle = bed.read(b"here")
    assert bed.known.find(b"here", LEASED_S) is None
    assert bed.known.listing(LEASED_S) is None
    assert bed.all.expire(LEASED_S - 1.0)
    assert bed.all.leased == 1
    assert not bed.all.expire(LEASED_S)
    assert bed.all.leased == 0
    assert not handle.is_open
    assert bed.lost == [DIRECTORY]


@pytest.mark.parametrize(
    ("fold", "state", "tells_absence"),
    [(None, LeaseState.NONE, True), (None, READ, False), (bytes.lower, READ, True)],
    ids=["not granted", "a name is not shown", "case does not count"],
)
def test_what_is_missing_is_asked_for(
    fold: Fold | None, state: LeaseState, *, tells_absence: bool
) -> None:
    bed = Bed(fold)
    bed.finish(bed.begin(), b"here", handle=leased(state), tells_absence=tells_absence)
    assert bed.known.find(b"here", 0.1) is not None or state == LeaseState.NONE
    assert bed.known.find(b"missing", 0.1) is None


def test_an_answer_is_entered() -> None:
    bed = Bed()
    bed.read(b"here")
    asked, new = bed.all.asking(), description(2)
    bed.known.note(b"here", new, asked)
    assert bed.known.find(b"here", 0.1) == Answer(new, LEASED_S - 0.1)
    assert bed.known.believed_s(b"here", new, 0.1) == LEASED_S - 0.1


def test_an_answer_to_a_question_from_before_the_lease_is_not_entered() -> None:
    bed = Bed()
    asked = bed.all.asking()
    bed.read(b"here")
    bed.known.note(b"here", description(2), asked)
    assert bed.known.find(b"here", 0.1) == Answer(HERE, LEASED_S - 0.1)
    assert bed.known.own_believed_s(asked, 0.1) == 0.0
    assert bed.known.own_believed_s(bed.all.asking(), 0.1) == LEASED_S - 0.1


def test_without_a_lease_an_answer_makes_the_listing_doubtful() -> None:
    bed = Bed()
    bed.read(b"here", b"neighbour", handle=Handle())
    bed.known.note(b"here", description(2), bed.all.asking())
    assert bed.known.find(b"here", 0.1) is None
    assert bed.known.find(b"neighbour", 0.1) is not None


# ------------------------------------------------------------- our own changes


def test_a_change_is_entered_when_the_server_has_answered() -> None:
    bed = Bed()
    bed.read(b"old", b"other")
    made = description(3, file_id=3)
    with bed.all.changing(DIRECTORY, b"new") as change:
        assert bed.known.find(b"new", 0.1) is None
        assert bed.known.listing(0.1) is None
        change.description = made
    with bed.all.changing(DIRECTORY, b"old") as change:
        change.is_gone = True
    assert bed.known.find(b"new", 0.1) == Answer(made, LEASED_S - 0.1)
    assert bed.known.find(b"old", 0.1) == Answer(None, LEASED_S - 0.1)
    listing = bed.known.listing(0.1)
    assert listing is not None
    assert [each.name for each in listing] == [b"other", b"new"]
    assert bed.known.own_believed_s(0, 0.1) == 0.0


def test_a_change_that_failed_leaves_a_name_that_is_asked_for() -> None:
    bed = Bed()
    bed.read(b"here", b"neighbour")
    with pytest.raises(KeyError), bed.all.changing(DIRECTORY, b"here"):
        raise KeyError
    assert bed.known.find(b"here", 0.1) is None
    assert bed.known.listing(0.1) is None
    assert bed.known.find(b"neighbour", 0.1) is not None
    bed.known.note(b"here", HERE, bed.all.asking())
    assert bed.known.listing(0.1) is not None


@pytest.mark.parametrize("is_answered_first", [True, False])
def test_an_answer_that_overlaps_a_change_is_not_entered(*, is_answered_first: bool) -> None:
    bed = Bed()
    bed.read(b"here")
    before, after = description(2), description(3)
    asked_before = bed.all.asking()
    with bed.all.changing(DIRECTORY, b"here") as change:
        asked = bed.all.asking()
        if is_answered_first:
            bed.known.note(b"here", before, asked)
            bed.known.note(b"here", before, asked_before)
            assert bed.known.find(b"here", 0.1) is None
        change.description = after
    if not is_answered_first:
        bed.known.note(b"here", before, asked)
        bed.known.note(b"here", before, asked_before)
    assert bed.known.find(b"here", 0.1) == Answer(after, LEASED_S - 0.1)


def test_of_two_changes_at_once_nobody_knows_which_came_last() -> None:
    bed = Bed()
    bed.read(b"here")
    with bed.all.changing(DIRECTORY, b"here") as first:
        with bed.all.changing(DIRECTORY, b"here") as second:
            second.is_gone = True
        first.description = HERE
    assert bed.known.find(b"here", 0.1) is None


def test_what_changes_while_the_listing_is_on_its_way_is_not_taken_from_it() -> None:
    bed = Bed()
    reading = bed.begin()
    bed.all.spoil(DIRECTORY, b"spoiled")
    with bed.all.changing(DIRECTORY, b"removed") as change:
        change.is_gone = True
    bed.finish(reading, b"spoiled", b"removed", b"here", handle=leased())
    assert bed.known.find(b"spoiled", 0.1) is None
    assert bed.known.find(b"removed", 0.1) is None
    assert bed.known.find(b"here", 0.1) is not None


def test_a_change_that_began_before_the_listing_leaves_its_name_unknown() -> None:
    bed = Bed()
    with bed.all.changing(DIRECTORY, b"made") as change:
        reading = bed.begin()
        change.description = HERE
    bed.finish(reading, handle=leased())
    assert bed.known.find(b"made", 0.1) is None


def test_where_case_does_not_count_a_name_changes_in_every_spelling() -> None:
    bed = Bed(bytes.lower)
    bed.read(b"Here")
    assert bed.known.find(b"Here", 0.1) is not None
    assert bed.known.find(b"HERE", 0.1) is None
    with bed.all.changing(DIRECTORY, b"HERE") as change:
        change.is_gone = True
    assert bed.known.listing(0.1) == []


# ------------------------------------------------------------- losing


def test_a_break_ends_all_belief_and_gives_the_handle_back() -> None:
    bed = Bed()
    handle = bed.read(b"here")
    bed.all.broken(Lease(KEY))  # Another one.
    assert bed.known.find(b"here", 0.1) is not None
    bed.break_lease(handle)
    assert bed.known.find(b"here", 0.1) is None
    assert bed.known.find(b"missing", 0.1) is None
    assert bed.known.listing(0.1) is None
    assert not handle.is_open
    assert bed.lost == [DIRECTORY]
    assert bed.known.may_be_leased


def test_an_answer_from_before_a_break_is_not_entered_after_it() -> None:
    bed = Bed()
    handle = bed.read(b"here")
    asked = bed.all.asking()
    bed.break_lease(handle)
    bed.known.note(b"here", description(2), asked)
    assert bed.known.find(b"here", 0.1) is None
    bed.read(b"here", handle=leased())
    bed.known.note(b"here", description(2), asked)
    assert bed.known.find(b"here", 0.1) == Answer(HERE, LEASED_S - 0.1)


@pytest.mark.parametrize("is_opened", [True, False])
def test_a_break_ends_a_listing_that_is_on_its_way(*, is_opened: bool) -> None:
    bed = Bed()
    reading, handle = bed.begin(), leased()
    if is_opened:
        bed.all.opened(DIRECTORY, reading, cast(Open, handle), 0.0)
    bed.break_lease(handle)
    assert not bed.finish(reading, b"here", handle=handle)
    assert bed.known.find(b"here", 0.1) is None
    assert handle.is_open  # It is still the listing's.


def test_a_listing_that_was_forgotten_on_its_way_is_not_kept() -> None:
    bed = Bed()
    reading = bed.begin()
    bed.all.forget(DIRECTORY)
    handle = leased()
    assert not bed.finish(reading, b"here", handle=handle)
    again = bed.begin()
    assert not bed.finish(reading, b"here", handle=handle)
    assert bed.finish(again, b"there", handle=handle)
    assert bed.known.find(b"there", 0.1) is not None


def test_what_is_too_large_is_not_remembered() -> None:
    bed = Bed()
    reading, handle = bed.begin(), leased()
    names = [b"%d" % number for number in range(ENTRIES_MAX + 1)]
    assert not bed.finish(reading, *names, handle=handle)
    assert bed.known.find(b"0", 0.1) is None
    assert bed.lost == []


def test_directories_and_entries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_directories, "ALL_ENTRIES_MAX", 25)
    bed, handles = Bed(), []
    for directory in range(3):
        handles.append(leased(key=b"%016d" % directory))
        names = [b"%d" % number for number in range(10)]
        bed.finish(bed.begin(directory), *names, handle=handles[-1], directory=directory)
    assert [handle.is_open for handle in handles] == [False, True, True]
    assert bed.lost == [0]  # The kernel may believe in what was told of it.
    for other in range(DIRECTORIES_MAX):
        bed.all.should_read(100 + other, 0.0, window_s=1.0)
    assert not any(handle.is_open for handle in handles)


def test_only_what_is_concerned_is_forgotten() -> None:
    bed = Bed()
    bed.read(b"here")
    bed.all.forget_where(lambda directory: directory != DIRECTORY)
    assert bed.known.find(b"here", 0.1) is not None
    bed.all.forget_where(lambda directory: directory == DIRECTORY)
    assert bed.known.find(b"here", 0.1) is None


def test_a_lease_that_was_refused_is_not_believed() -> None:
    """The open has a lease to ask with, all the same."""
    bed = Bed()
    handle = leased(LeaseState.NONE)
    assert not bed.finish(bed.begin(), b"here", handle=handle)
    assert bed.known.find(b"here", 0.25) == Answer(HERE, 0.75)
    assert bed.known.find(b"here", 1.0) is None
    assert bed.known.may_be_leased


def test_what_is_told_during_a_reading_is_told_for_no_time() -> None:
    """It may be given up, and the lease with it."""
    bed = Bed()
    reading, handle = bed.begin(), leased()
    bed.all.opened(DIRECTORY, reading, cast(Open, handle), 0.0)
    bed.all.add(DIRECTORY, reading, [Listed(b"here", HERE)])
    assert bed.known.find(b"here", 0.1) == Answer(HERE, 0.0)
    assert bed.known.believed_s(b"here", HERE, 0.1) == 0.0
    bed.all.give_up(DIRECTORY, reading)
    assert bed.known.find(b"here", 0.1) is None


def test_a_change_that_ends_during_a_reading_leaves_its_name_unknown() -> None:
    """Another client may have changed it again before the lease was granted."""
    bed = Bed()
    reading = bed.begin()
    with bed.all.changing(DIRECTORY, b"changed") as change:
        change.description = HERE
    bed.finish(reading, b"changed", b"here", handle=leased())
    assert bed.known.find(b"changed", 0.1) is None
    assert bed.known.find(b"here", 0.1) is not None


def test_doubts_about_a_directory_that_nobody_knows_are_not_kept() -> None:
    bed = Bed()
    for number in range(100):
        bed.all.of(DIRECTORY).doubt(b"%d" % number, 0)
        bed.all.spoil(DIRECTORY, b"%d" % number)
    assert bed.all.of(DIRECTORY).unknown == set()


def test_a_doubt_is_asked_about() -> None:
    bed = Bed()
    bed.read(b"here")
    asked = bed.all.asking()
    bed.known.doubt(b"here", asked)
    assert bed.known.find(b"here", 0.1) is None
    bed.known.note(b"here", HERE, asked)
    assert bed.known.find(b"here", 0.1) is not None


def test_what_a_handle_tells_does_not_bring_a_lost_name_back() -> None:
    """The file that had the name has been told of, but the name may lead to another one."""
    bed = Bed()
    bed.read(b"here", b"other")
    assert bed.known.description_of(b"here", HERE.stat.file_id) is HERE
    lose_name(bed.known, b"here")
    assert bed.known.description_of(b"here", HERE.stat.file_id) is None
    assert bed.known.find(b"here", 0.0) is None
    assert bed.known.listing(0.0) is None


def test_a_listing_under_way_goes_on_with_a_name_that_was_lost() -> None:
    """It may lead elsewhere, but nobody said that it leads nowhere."""
    bed = Bed()
    bed.read(b"here", b"other")
    listed = Listed(b"here", HERE)
    lose_name(bed.known, b"here")
    assert bed.known.current(listed, 0.0) == listed
    with bed.all.changing(DIRECTORY, b"other") as change:
        change.is_gone = True
    assert bed.known.current(Listed(b"other", HERE), 0.0) is None


def test_the_beginning_of_a_listing_does_not_say_that_an_entry_is_gone() -> None:
    """Of a reader who had begun before the lease was lost, and another one was granted."""
    bed = Bed()
    bed.finish(bed.begin(), b"here", handle=leased(), is_whole=False)
    far = Listed(b"far behind", HERE)
    assert bed.known.current(far, 0.0) is far
    with bed.all.changing(DIRECTORY, far.name) as change:
        change.is_gone = True
    assert bed.known.current(far, 0.0) is None


# ------------------------------------------------------------- what the kernel keeps


def told_now(bed: Bed, *, until_s: float = LEASED_S) -> Kept:
    return Kept(bed.all.asking(), bed.known.armed, until_s)


def test_a_listing_may_be_kept_until_something_changes() -> None:
    bed = Bed()
    bed.read(b"here", b"there")
    assert not is_kept(bed.known, 1.0)
    keep(bed.known, told_now(bed))
    assert is_kept(bed.known, 1.0)
    with bed.all.changing(DIRECTORY, b"here") as change:
        assert not is_kept(bed.known, 1.0)
        change.description = HERE
    assert not is_kept(bed.known, 1.0)  # Who has kept it does not know how it came out.


def test_a_listing_from_before_a_change_is_not_kept() -> None:
    bed = Bed()
    bed.read(b"here")
    told = told_now(bed)
    with bed.all.changing(DIRECTORY, b"here") as change:
        change.description = HERE
    keep(bed.known, told)
    assert not is_kept(bed.known, 1.0)


def test_a_listing_under_an_earlier_lease_is_not_kept() -> None:
    bed = Bed()
    handle = bed.read(b"here")
    told = told_now(bed)
    keep(bed.known, told)
    assert handle.lease is not None
    bed.all.broken(handle.lease)
    assert not is_kept(bed.known, 1.0)
    bed.read(b"here", b"new")
    keep(bed.known, told)  # A slow reader has come to the end of what was before.
    assert not is_kept(bed.known, 1.0)


def test_a_listing_read_again_has_to_be_told_again() -> None:
    bed = Bed()
    bed.read(b"here")
    keep(bed.known, told_now(bed))
    reading = bed.begin()
    assert not is_kept(bed.known, 1.0)
    bed.finish(reading, b"here", handle=leased())
    assert not is_kept(bed.known, 1.0)


@pytest.mark.parametrize("is_leased", [False, True])
@pytest.mark.parametrize("is_whole", [False, True])
def test_only_what_is_known_whole_under_a_lease_is_kept(is_leased: bool, is_whole: bool) -> None:
    bed = Bed()
    handle = leased() if is_leased else Handle()
    bed.finish(bed.begin(), b"here", handle=handle, is_whole=is_whole)
    keep(bed.known, told_now(bed))
    assert is_kept(bed.known, 0.5) == (is_leased and is_whole)


def test_what_is_soon_too_old_is_told_again() -> None:
    """Else the kernel would ask about every entry."""
    bed = Bed()
    bed.read(b"here")
    keep(bed.known, told_now(bed, until_s=5.0))
    assert is_kept(bed.known, 5.0 - KEPT_LEFT_MIN_S)
    assert not is_kept(bed.known, 5.1 - KEPT_LEFT_MIN_S)
    keep(bed.known, told_now(bed, until_s=LEASED_S * 2))
    assert not is_kept(bed.known, LEASED_S + 0.1)
