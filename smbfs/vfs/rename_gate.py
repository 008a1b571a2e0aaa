"""Renames under way: for questions whose path may be about to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class RenameGate:
    """Knows whether the server may have renamed something that is not noted here yet."""

    def __init__(self) -> None:
        self._under_way = 0
        self._settled = trio.Event()

    @contextmanager
    def renaming(self) -> Iterator[None]:
        """Mark that a rename is asked for in this block, and noted at its end."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._settled.set()
                self._settled = trio.Event()

    async def settled(self) -> None:
        """Return when every rename that was asked for is noted."""
        if self._under_way:
            await self._settled.wait()
