"""The states of a server that comes and goes."""

from __future__ import annotations

import math

import pytest

from smbfs.engine.availability import (
    PAUSE_FIRST_S,
    PAUSE_MAX_S,
    REFUSED_PAUSE_MAX_S,
    STEADY_S,
    Availability,
    State,
)


def test_who_is_only_slow_is_connected_again() -> None:
    server = Availability(patience_s=60)
    server.silent_since(100)
    assert (server.state, server.is_usable, server.deadline_s) == (State.SUSPECT, True, 160)
    server.answered()
    assert (server.state, server.deadline_s) == (State.CONNECTED, math.inf)
    assert server.restorations == 0


def test_patience_is_counted_from_the_first_failure() -> None:
    server = Availability(patience_s=60)
    server.silent_since(100)
    server.lost(115)
    server.lost(130)
    assert (server.state, server.is_usable, server.deadline_s) == (State.RECONNECTING, False, 160)
    server.answered()  # The old connection has nothing to say any more.
    assert server.state is State.RECONNECTING


def test_what_was_restored_may_fail_anew() -> None:
    server = Availability(patience_s=60)
    server.lost(100)
    server.give_up()
    assert (server.state, server.is_usable) == (State.OFFLINE, False)
    server.lost(200)
    assert server.state is State.OFFLINE
    server.restored(210)
    assert (server.state, server.failing_since_s, server.restorations) == (State.CONNECTED, None, 1)
    server.lost(500)
    assert server.deadline_s == 560


@pytest.mark.parametrize(("refused", "longest_s"), [(False, PAUSE_MAX_S), (True, 10.0)])
def test_pauses_grow_to_a_bound_and_begin_anew(longest_s: float, *, refused: bool) -> None:
    server = Availability()
    pauses = [server.pause_s(0.999, refused=refused) for _ in range(12)]
    assert pauses == sorted(pauses)
    assert pauses[0] < PAUSE_FIRST_S
    assert longest_s * 0.99 < pauses[-1] < longest_s <= REFUSED_PAUSE_MAX_S
    server.hurry()
    assert server.pause_s(0.0) == PAUSE_FIRST_S / 2
    assert server.pause_s(0.5) != server.pause_s(0.9)


def test_a_connection_that_does_not_last_does_not_end_the_pauses() -> None:
    server = Availability()
    pauses = []
    for attempt in range(6):
        now = 100.0 + attempt
        server.restored(now)
        server.lost(now + 0.5)
        assert server.was_brief
        pauses.append(server.pause_s(0.999, refused=True))
        assert not server.was_brief
    assert pauses == sorted(pauses)
    assert pauses[-1] > PAUSE_MAX_S
    server.restored(200)
    server.lost(200 + STEADY_S)
    assert not server.was_brief
    assert server.pause_s(0.0) == PAUSE_FIRST_S / 2
