"""Telling the kernel that what it remembers is wrong.

Dropping pages or names may block until the kernel has finished a request that we are serving, so
that never happens in a handler: handlers put what they know into a queue, and one task hands it to
a thread. When the queue is full the news is dropped, and the kernel's timeouts do the rest.

Attributes alone are dropped without waiting for anybody, so a handler may do so before it answers.
The kernel may not know the inode yet, because it has not looked at the answer that tells of it; so
what it did not know is told again until it has had the time to.
"""

from __future__ import annotations

import logging
import os
from typing import Final

import trio

from smbfs.fuse.answers import encode_entry_changed, encode_inode_changed
from smbfs.vfs.attributes import AttributeQuestions

QUEUE_LENGTH_MAX: Final = 4096
"""Pieces of news that may wait."""

REPEAT_S: Final = 0.01
"""Seconds after which what the kernel did not know is told again."""

REPEATS_MAX: Final = 50
"""Times that it is told."""

_log = logging.getLogger(__name__)


class Invalidator:
    """Implements :class:`smbfs.vfs.state.KernelCache` for a mount."""

    def __init__(self, device: int, questions: AttributeQuestions) -> None:
        """``device``: the open /dev/fuse. ``questions``: what the kernel asks just now."""
        self._device = device
        self._questions = questions
        self._send, self._receive = trio.open_memory_channel[bytes](QUEUE_LENGTH_MAX)
        self._later: dict[int, int] = {}
        """Inodes of which it shall be told (again), and how often it did not know them."""
        self._repeater = trio.lowlevel.ParkingLot()

    def inode_changed(self, number: int) -> None:
        """Have the kernel drop attributes and pages of an inode."""
        self._put(encode_inode_changed(number, attributes_only=False))

    def attributes_changed(self, number: int) -> None:
        """Have the kernel ask for the attributes of an inode, from now on."""
        if not self._drop_attributes(number):
            self.attributes_will_change(number)

    def attributes_will_change(self, number: int) -> None:
        """Have the kernel ask for them when it has had the time to look at what it is told now."""
        self._later[number] = -1  # The next look at these may be any moment.
        self._repeater.unpark()

    def entry_changed(self, parent: int, name: bytes) -> None:
        """Have the kernel look up a name again."""
        self._put(encode_entry_changed(parent, name))

    def _put(self, notice: bytes) -> None:
        try:
            self._send.send_nowait(notice)
        except trio.WouldBlock:
            _log.warning("too much news for the kernel; it will learn by its timeouts")

    async def run(self) -> None:
        """Hand over news until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hand_over)
            nursery.start_soon(self._repeat)

    async def _repeat(self) -> None:
        while True:
            while not self._later:
                await self._repeater.park()
            await trio.sleep(REPEAT_S)
            for number, times in list(self._later.items()):
                is_last = times >= REPEATS_MAX
                waits = not is_last and (times < 0 or number in self._questions)
                if not waits and (self._drop_attributes(number) or is_last):
                    del self._later[number]
                else:
                    self._later[number] = times + 1

    async def _hand_over(self) -> None:
        async for notice in self._receive:
            try:
                await trio.to_thread.run_sync(
                    os.write, self._device, notice, abandon_on_cancel=True
                )
            except FileNotFoundError:
                pass  # It did not remember that.
            except OSError as error:
                _log.debug("the kernel did not take the news: %s", error)

    def _drop_attributes(self, number: int) -> bool:
        """Have the kernel ask for the attributes of an inode; False if it does not know that."""
        try:
            os.write(self._device, encode_inode_changed(number, attributes_only=True))
        except FileNotFoundError:
            return False
        except OSError as error:
            _log.debug("the kernel did not take the news of inode %d: %s", number, error)
        return True
