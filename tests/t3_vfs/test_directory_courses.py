"""In which order files are opened, and which ones are expected next."""

from __future__ import annotations

from random import Random

import pytest

from smbfs.vfs.directory_courses import AHEAD, LEFT_OUT_MAX, RUN_MIN, DirectoryCourse

NUMBERED = [b"img_%d.png" % number for number in range(200)]
LISTED = Random(1).sample(NUMBERED, len(NUMBERED))
ORDERS = {
    "as listed": LISTED,
    "by name": sorted(LISTED),
    "by number": NUMBERED,
}


def course() -> DirectoryCourse:
    return DirectoryCourse(LISTED, built_s=0.0)


@pytest.mark.parametrize("order", ORDERS)
def test_what_follows_is_told_once_and_in_time(order: str) -> None:
    names, opened = ORDERS[order], course()
    told: list[bytes] = []
    for place, name in enumerate(names):
        told += opened.opened(name)
        if place >= RUN_MIN:
            assert name in told
        assert len(told) <= place + 1 + AHEAD
    assert told == names[RUN_MIN:]


def test_not_before_it_is_clear() -> None:
    opened = course()
    assert [opened.opened(name) for name in sorted(LISTED)[: RUN_MIN - 1]] == [[]] * (RUN_MIN - 1)


def test_no_order_is_no_order() -> None:
    opened, random = course(), Random(2)
    told = [name for name in random.choices(LISTED, k=300) if opened.opened(name)]
    assert len(told) < 10


def test_some_may_be_left_out() -> None:
    opened, names = course(), sorted(LISTED)
    told: list[bytes] = []
    for name in names[:: LEFT_OUT_MAX + 1]:
        told += opened.opened(name)
    assert set(names[40::5]) <= set(told)


def test_after_a_jump_it_begins_anew() -> None:
    opened, names = course(), sorted(LISTED)
    for name in names[:10]:
        opened.opened(name)
    assert opened.opened(names[100]) == []
    assert opened.opened(names[101]) == []
    assert opened.opened(names[102]) == names[103 : 103 + AHEAD]


def test_opening_one_twice_changes_nothing() -> None:
    opened, names = course(), sorted(LISTED)
    told: list[bytes] = []
    for name in names[:20]:
        told += opened.opened(name)
        assert opened.opened(name) == []
    assert told[:5] == names[RUN_MIN : RUN_MIN + 5]


def test_names_that_are_not_known_are_passed_over() -> None:
    opened = course()
    assert not opened.knows(b"new")
    assert opened.opened(b"new") == []
