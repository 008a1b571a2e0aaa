"""What is a sign of life, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from smbfs.client.silence import SilenceWatch
from smbfs.errors import DeadlineExceeded
from smbfs.transport.base import Flow

TIMEOUT_S = 60.0
ECHO_SIZE = 72

Line = Callable[[float, int], Flow]
"""Returns what has passed, given the time and how often we have asked."""


async def silence_on(line: Line) -> tuple[float, bool]:
    """Wait for an answer that never comes; return for how long, and whether it seemed silent."""
    asked = 0
    silences: list[float] = []

    def ask() -> None:
        nonlocal asked
        asked += 1

    began_s = trio.current_time()
    watch = SilenceWatch(
        timeout_s=TIMEOUT_S,
        is_busy=lambda: True,
        ask=ask,
        flow=lambda: line(trio.current_time() - began_s, asked),
        overtaken_s=lambda: 0.0,
    )
    watch.on_silent = silences.append
    watch.begins(began_s)
    with trio.fail_after(10 * TIMEOUT_S), pytest.raises(DeadlineExceeded):
        await watch.run()
    return trio.current_time() - began_s, bool(silences)


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
    after_s, was_silent = await silence_on(line)
    assert after_s == pytest.approx(ends_s, abs=2.0)
    assert was_silent == seems_silent
