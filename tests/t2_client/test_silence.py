"""What is a sign of life, on a virtual clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from smbfs.client.silence import HUNG_S, SilenceWatch
from smbfs.errors import DeadlineExceeded
from smbfs.transport.base import Flow

TIMEOUT_S = 60.0
ECHO_SIZE = 72

Line = Callable[[float, int], Flow]
"""Returns what has passed, given the time and how often we have asked."""


@dataclass
class Told:
    """What a watch has told."""

    silent_s: list[float] = field(default_factory=list)
    """When it was silent, from the beginning on."""
    answered: int = 0


def watch_on(line: Line, timeout_s: float = TIMEOUT_S) -> tuple[SilenceWatch, Told]:
    """Begin to wait for an answer."""
    asked, told = 0, Told()

    def ask() -> None:
        nonlocal asked
        asked += 1

    def answered() -> None:
        told.answered += 1

    began_s = trio.current_time()
    watch = SilenceWatch(
        timeout_s=timeout_s,
        is_busy=lambda: True,
        ask=ask,
        flow=lambda: line(trio.current_time() - began_s, asked),
        overtaken_s=lambda: 0.0,
    )
    watch.on_silent = lambda _since_s: told.silent_s.append(trio.current_time() - began_s)
    watch.on_answered = answered
    watch.begins(began_s)
    return watch, told


def cut(_now_s: float, asked: int) -> Flow:
    """A line that takes nothing."""
    return Flow(0, 100 + asked * ECHO_SIZE, 0)


def hung(_now_s: float, asked: int) -> Flow:
    """A machine that takes all that we say, and a server that does not look at it."""
    return Flow(0, 100 + asked * ECHO_SIZE, 100 + asked * ECHO_SIZE)


def slow_to_take(now_s: float, asked: int) -> Flow:
    """A line that takes ten thousand bytes a second of a million."""
    sent = 1_000_000 + asked * ECHO_SIZE
    return Flow(0, sent, min(sent, int(10_000 * now_s)))


def slow_to_bring(now_s: float, asked: int) -> Flow:
    """A line that brings as much of a million."""
    sent = 100 + asked * ECHO_SIZE
    return Flow(min(1_000_000, int(10_000 * now_s)), sent, sent)


@pytest.mark.parametrize(
    ("line", "ends_s", "seems_silent"),
    [
        (cut, TIMEOUT_S, True),
        (hung, TIMEOUT_S, False),
        (slow_to_take, 100 + TIMEOUT_S, False),
        (slow_to_bring, 100 + TIMEOUT_S, False),
    ],
)
async def test_silence_ends_in_time_and_not_before(
    autojump_clock: trio.testing.MockClock, line: Line, ends_s: float, *, seems_silent: bool
) -> None:
    began_s = trio.current_time()
    watch, told = watch_on(line)
    with trio.fail_after(10 * TIMEOUT_S), pytest.raises(DeadlineExceeded):
        await watch.run()
    assert trio.current_time() - began_s == pytest.approx(ends_s, abs=2.0)
    assert bool(told.silent_s) == seems_silent


@pytest.mark.parametrize(("line", "silent_s"), [(cut, 10.0), (hung, HUNG_S)])
async def test_who_waits_for_ever_looks_for_another_way(
    autojump_clock: trio.testing.MockClock, line: Line, silent_s: float
) -> None:
    watch, told = watch_on(line, timeout_s=math.inf)
    with trio.move_on_after(20 * HUNG_S):
        await watch.run()
    assert told.silent_s == [pytest.approx(silent_s, abs=2.0)]
    assert told.answered == 0
    watch.heard()
    assert told.answered == 1


@pytest.mark.parametrize("line", [slow_to_take, slow_to_bring])
async def test_who_waits_for_ever_stays_on_a_slow_line(
    autojump_clock: trio.testing.MockClock, line: Line
) -> None:
    watch, told = watch_on(line, timeout_s=math.inf)
    with trio.move_on_after(100 + HUNG_S - 2.0):
        await watch.run()
    assert told.silent_s == []


@pytest.mark.parametrize("line", [cut, hung])
async def test_who_leaves_waits_no_longer_than_that(
    autojump_clock: trio.testing.MockClock, line: Line
) -> None:
    watch, told = watch_on(line)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(3.0)
        watch.answer_within(1.0)
        await trio.sleep(0.9)
        assert told.silent_s == []
        watch.answer_within(1.0)  # The second time makes it no longer.
        await trio.sleep(0.4)
        assert told.silent_s == [pytest.approx(4.0, abs=0.3)]
        watch.answer_within(0.5)
        await trio.sleep(0.4)
        assert told.answered == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("line", [cut, hung])
async def test_what_nobody_heard_was_no_silence(
    mock_clock: trio.testing.MockClock, line: Line
) -> None:
    """A process that was stopped asks before it gives up who has been there all the time."""
    watch, told = watch_on(line)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(10 * TIMEOUT_S)
        await trio.testing.wait_all_tasks_blocked()
        assert told.silent_s == []
        mock_clock.autojump_threshold = 0
        with pytest.raises(trio.TooSlowError), trio.fail_after(TIMEOUT_S - 5.0):
            await trio.sleep_forever()
        assert told.silent_s == (
            [] if line is hung else [pytest.approx(10 * TIMEOUT_S + 10, abs=2)]
        )
        nursery.cancel_scope.cancel()
