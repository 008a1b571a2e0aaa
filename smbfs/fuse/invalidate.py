"""Telling the kernel that what it remembers is wrong.

Dropping pages or names may block until the kernel has finished a request that we are serving, so
that never happens in a handler: handlers put what they know into a queue, and one task hands it to
a thread. When the queue is full the news is dropped, and the kernel's timeouts do the rest.

Attributes alone are dropped without waiting for anybody, as long as the inode is in use: so the
handler of an open may do that before it answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import pyfuse3
import trio

QUEUE_LENGTH_MAX: Final = 4096
"""Pieces of news that may wait."""

_log = logging.getLogger(__name__)


class Invalidator:
    """Implements :class:`smbfs.vfs.state.KernelCache` for a mount."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Callable[[], None]](QUEUE_LENGTH_MAX)

    def inode_changed(self, number: int) -> None:
        """Have the kernel drop attributes and pages of an inode."""
        self._put(lambda: pyfuse3.invalidate_inode(number))

    def attributes_changed(self, number: int) -> None:
        """Have the kernel ask for the attributes of an inode, from now on."""
        try:
            pyfuse3.invalidate_inode(number, attr_only=True)
        except OSError as error:
            _log.debug("the kernel does not know inode %d: %s", number, error)

    def entry_changed(self, parent: int, name: bytes) -> None:
        """Have the kernel look up a name again."""
        self._put(lambda: pyfuse3.invalidate_entry(parent, name))

    def _put(self, news: Callable[[], None]) -> None:
        try:
            self._send.send_nowait(news)
        except trio.WouldBlock:
            _log.warning("too much news for the kernel; it will learn by its timeouts")

    async def run(self) -> None:
        """Hand over news, one piece at a time, until cancelled."""
        async for news in self._receive:
            try:
                await trio.to_thread.run_sync(news, abandon_on_cancel=True)
            except FileNotFoundError:
                pass  # It did not remember that.
            except OSError as error:
                _log.debug("the kernel did not take the news: %s", error)
