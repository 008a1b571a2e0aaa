"""A client that goes from one address to the next while it has something to do."""

from __future__ import annotations

from ipaddress import ip_address

from tests.beds.mounted import Mounted
from tests.beds.namespaces import Cable
from tests.beds.quic_across import FIRST_ADDRESS
from tests.t4_fuse.conftest import wait_until


class Traveller:
    """The client's end of a cable, at ``FIRST_ADDRESS`` to begin with."""

    def __init__(self, wire: Cable) -> None:
        self.address = FIRST_ADDRESS
        """Where it is now."""
        self.moves = 0
        self._wire = wire

    def move(self, mounted: Mounted) -> None:
        """Go to another address, and wait until the mount has: moves that come together are one."""
        self._wire.take(self.address)
        self.address = str(ip_address(self.address) + 1)
        self.moves += 1
        self._wire.give(self.address)
        wait_until(lambda: bool(mounted.status()["quic"]["migrations"] == self.moves))
