"""Who must not wait for a server that is away while this machine goes to sleep.

A program that waits in the kernel keeps the machine awake: it is told. What nobody waits for, like
bytes that are written behind, lasts until the machine has slept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from smbfs.errors import ServerAway

if TYPE_CHECKING:
    from smbfs.client.lifeline import Lifeline


class Sleepers:
    """Tasks that are parked somewhere else, and have to look whether they may go on waiting."""

    def __init__(self) -> None:
        self._lots: Counter[trio.lowlevel.ParkingLot] = Counter()

    @contextmanager
    def waking(self, lot: trio.lowlevel.ParkingLot) -> Iterator[None]:
        """Wake who is parked there during the block whenever :func:`check_awake` may raise."""
        self._lots[lot] += 1
        try:
            yield
        finally:
            self._lots[lot] -= 1
            if not self._lots[lot]:
                del self._lots[lot]

    def wake(self) -> None:
        """Have all of them look."""
        for lot in list(self._lots):
            lot.unpark_all()


def check_awake(line: Lifeline) -> None:
    """Raise ServerAway if whoever waits for the server now would keep the machine awake."""
    if line.is_asleep and line.ready is None:
        raise ServerAway("this machine goes to sleep")


async def wait_until_awake(line: Lifeline) -> None:
    """Return when the machine does not sleep, nor is about to."""
    while line.is_asleep:
        await line.wait_for_change()
