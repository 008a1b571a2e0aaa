"""Opens, leases and their breaks, as a simulated server keeps them.

Spec: [MS-SMB2] 3.3.1.10 (Open), 3.3.1.12 (Lease), 3.3.4.7 (breaking one), 3.3.5.22.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from smbfs.wire.file_id import FileId
from smbfs.wire.lease import LeaseState, lease_state
from smbfs.wire.oplock_break import LeaseBreakFlags, LeaseBreakNotification
from tests.beds.simulated_files import Node

BREAK_S = 35.0
"""Seconds that a client has to acknowledge a break."""

_READ, _HANDLE, _WRITE = (
    LeaseState.READ_CACHING,
    LeaseState.HANDLE_CACHING,
    LeaseState.WRITE_CACHING,
)
NOTHING = LeaseState.NONE


@dataclass(eq=False)
class ServerLease:
    """A lease of the one client."""

    key: bytes
    node: Node
    state: LeaseState = NOTHING
    epoch: int = 0
    breaking_to: LeaseState | None = None
    opens: list[ServerOpen] = field(default_factory=list)
    on_settled: list[Callable[[], None]] = field(default_factory=list)
    """Who waits for the end of a break."""


@dataclass(eq=False)
class ServerOpen:
    """An open of the one client."""

    file_id: FileId
    node: Node
    session_id: int | None
    """None while it waits for its client to come back."""
    lease: ServerLease | None = None
    create_guid: UUID | None = None
    """Of a durable open."""
    channel_sequence: int = 0
    parent_key: bytes | None = None
    """The lease on the directory that its changes don't break."""
    is_deleting: bool = False
    """Closing it removes the file."""
    was_listed: bool = False


class Leases:
    """All leases and opens.

    ``send`` takes a notification to a session of the client; it returns False if there is no way.
    ``later`` calls something after some seconds.
    """

    def __init__(
        self,
        send: Callable[[int, LeaseBreakNotification], bool],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._send = send
        self._later = later
        self.leases: dict[bytes, ServerLease] = {}
        self.opens: list[ServerOpen] = []
        self.on_closed: Callable[[ServerOpen], None] = lambda _open: None

    def of(self, node: Node) -> list[ServerLease]:
        """Return the leases on a file."""
        return [lease for lease in self.leases.values() if lease.node is node]

    def grant(self, open_: ServerOpen, key: bytes, wanted: LeaseState) -> ServerLease | None:
        """Give an open a lease; None if the key is another file's. Spec: 3.3.5.9.11."""
        lease = self.leases.get(key)
        if lease is None:
            lease = self.leases[key] = ServerLease(key, open_.node)
        elif lease.node is not open_.node:
            return None
        others = [o for o in self.opens if o.node is open_.node and o.lease is not lease]
        if any(other.lease is None or other.lease.state for other in others):
            wanted &= ~_WRITE
        if wanted and not wanted & _READ:
            wanted = NOTHING
        lease.opens.append(open_)
        open_.lease = lease
        if lease.breaking_to is None and (lease.state | wanted) != lease.state:
            lease.state |= wanted
            lease.epoch = (lease.epoch + 1) % 0x10000
        return lease

    def close(self, open_: ServerOpen) -> None:
        """Forget an open, and its lease with the last one."""
        self.opens.remove(open_)
        lease = open_.lease
        if lease is not None:
            lease.opens.remove(open_)
            if not lease.opens:
                del self.leases[lease.key]
                self._settle(lease, NOTHING)
        self.on_closed(open_)

    # ------------------------------------------------------------- taking back

    def hinders(self, node: Node, keep: LeaseState, but: bytes | None) -> list[ServerLease]:
        """Break what others may not have beyond ``keep``; return those that must be waited for."""
        waiting: list[ServerLease] = []
        for lease in self.of(node):
            if lease.key == but:
                continue
            goes_on = lease.breaking_to is not None
            if goes_on or (lease.state & ~keep and self._break(lease, lease.state & keep)):
                waiting.append(lease)
        return waiting

    def _break(self, lease: ServerLease, to: LeaseState) -> bool:
        """Take a lease down; return whether its client has to agree first."""
        must_acknowledge = bool(lease.state & (_WRITE | _HANDLE))
        lease.epoch = (lease.epoch + 1) % 0x10000
        flags = LeaseBreakFlags.ACK_REQUIRED if must_acknowledge else 0
        news = LeaseBreakNotification(lease.key, lease.state, to, lease.epoch, flags)
        sessions = {o.session_id for o in lease.opens if o.session_id is not None}
        if not any(self._send(session_id, news) for session_id in sorted(sessions)):
            for open_ in [o for o in lease.opens if o.session_id is None]:
                self.close(open_)  # Nobody is there to ask (3.3.4.7).
            lease.state = to
            return False
        if not must_acknowledge:
            lease.state = to
            return False
        lease.breaking_to = to
        self._later(BREAK_S, lambda: self._overdue(lease, lease.epoch))
        return True

    def give_up_breaks(self) -> None:
        """A session is gone: nobody will acknowledge what nobody has any more."""
        for lease in list(self.leases.values()):
            if lease.breaking_to is not None and all(o.session_id is None for o in lease.opens):
                for open_ in list(lease.opens):
                    self.close(open_)

    def _overdue(self, lease: ServerLease, epoch: int) -> None:
        if lease.breaking_to is not None and lease.epoch == epoch:
            self._settle(lease, NOTHING)

    def acknowledge(self, key: bytes, state: LeaseState) -> bool:
        """Take a client's word for it; False if nobody has asked. Spec: 3.3.5.22.2."""
        lease = self.leases.get(key)
        if lease is None or lease.breaking_to is None or state & ~lease.breaking_to:
            return False
        self._settle(lease, lease_state(int(state)))
        return True

    def _settle(self, lease: ServerLease, state: LeaseState) -> None:
        lease.state, lease.breaking_to = state, None
        waiting, lease.on_settled = lease.on_settled, []
        for go_on in waiting:
            go_on()
