"""Another client of a simulated server: what it does breaks leases, and then happens at once."""

from __future__ import annotations

import random
from collections.abc import Callable

from smbfs.wire.lease import LeaseState
from tests.beds.simulated_files import Node
from tests.beds.simulated_leases import NOTHING
from tests.beds.simulated_server import SimulatedServer

_READ_HANDLE = LeaseState.READ_CACHING | LeaseState.HANDLE_CACHING


class Neighbour:
    """Changes files by chance. ``content`` returns bytes for a file's number, offset, length."""

    def __init__(
        self,
        server: SimulatedServer,
        chance: random.Random,
        content: Callable[[int, int, int], bytes],
    ) -> None:
        self._server = server
        self._chance = chance
        self._content = content

    def act(self) -> None:
        """Do something to a file."""
        files = self._server.files
        names = sorted(files.names)
        if not names:
            self._make("n")
            return
        node = files.names[self._chance.choice(names)]
        kind = self._chance.random()
        if kind < 0.6:
            offset = self._chance.randrange(0, 24)
            self._after_breaks(node, lambda: self._write(node, offset))
        elif kind < 0.75:
            self._after_breaks(node, lambda: self._replace(node))
        elif kind < 0.85:
            self._after_breaks(node, lambda: self._remove(node))
        else:
            self._make(f"n{len(files.nodes)}")

    def _after_breaks(self, node: Node, do: Callable[[], None]) -> None:
        """Open it for writing, which waits until nobody has anything that is not sent."""
        waiting = self._server.leases.hinders(node, _READ_HANDLE, None)
        if waiting:
            waiting[0].on_settled.append(lambda: self._after_breaks(node, do))
        elif not node.is_going and node.name is not None:
            do()
            self._server.leases.hinders(self._server.files.root, NOTHING, None)

    def _write(self, node: Node, offset: int) -> None:
        self._server.leases.hinders(node, NOTHING, None)
        self._server.files.write(node, offset, self._content(node.number, offset, 4))
        self._server.files.flush(node)

    def _replace(self, node: Node) -> None:
        """Put another file in its place, of the same length."""
        files, name = self._server.files, node.name
        assert name is not None
        if self._has_opens(node) and not self._server.settings.posix_semantics:
            return
        self._server.leases.hinders(node, LeaseState.READ_CACHING, None)
        other = files.make(f"{name}.new")
        if node.data:
            files.write(other, 0, self._content(other.number, 0, len(node.data)))
            files.flush(other)
            other.changed = node.changed
        files.rename(other, name)

    def _remove(self, node: Node) -> None:
        self._server.leases.hinders(node, LeaseState.READ_CACHING, None)
        if self._server.settings.posix_semantics or not self._has_opens(node):
            self._server.files.unlink(node)
        else:
            node.is_going = True

    def _make(self, name: str) -> None:
        files = self._server.files
        if name not in files.names:
            node = files.make(name)
            files.write(node, 0, self._content(node.number, 0, 6))
            files.flush(node)
            self._server.leases.hinders(files.root, NOTHING, None)

    def _has_opens(self, node: Node) -> bool:
        return any(each.node is node for each in self._server.leases.opens)
