"""A client that goes from one address to the next while it has something to do."""

from __future__ import annotations

from tests.beds.mounted import Mounted
from tests.beds.namespaces import Cable
from tests.t4_fuse.conftest import wait_until


class Traveller:
    """The client's end of a cable, which has one address at a time."""

    def __init__(self, wire: Cable) -> None:
        self._wire = wire
        self._number = 10
        self.moves = 0
        wire.give(self.address)

    @property
    def address(self) -> str:
        """Where it is now."""
        return f"10.77.0.{self._number}"

    def move(self, mounted: Mounted) -> None:
        """Go to another address, and wait until the mount has: moves that come together are one."""
        self._wire.take(self.address)
        self._number += 1
        self.moves += 1
        self._wire.give(self.address)
        wait_until(lambda: bool(mounted.status()["quic"]["migrations"] == self.moves))
