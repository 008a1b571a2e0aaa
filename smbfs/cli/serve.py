"""The life of a mount's daemon: connection, file system and kernel mount, nested.

This is where everything is built and put together; nothing else knows all of the rooms.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from smbfs.audit.events import (
    AuditSink,
    CertificateExpires,
    Connected,
    ConnectedByQuic,
    CredentialUsed,
    Disconnected,
    InsecureGuestUsed,
    Migrated,
    Reconnected,
    TicketEnds,
    WentOffline,
    WritesLost,
)
from smbfs.auth.spnego import make_authenticator
from smbfs.cli.control import Report, bind_control_socket, serve_control
from smbfs.cli.errors import certificate_warning, first_leaf
from smbfs.cli.failure_events import failure_event
from smbfs.cli.guard import Guard
from smbfs.cli.mount_table import find_mount
from smbfs.cli.policy_events import protection_lowered
from smbfs.cli.prepare import MountPlan
from smbfs.cli.privileges import Capability, give_up_privileges
from smbfs.cli.status_report import (
    FileSystemCounts,
    MountFacts,
    build_status,
    describe_protection,
)
from smbfs.client.connect import open_share
from smbfs.client.share_status import connection_status
from smbfs.client.status import ConnectionStatus
from smbfs.client.tree_connect import TreeConnect
from smbfs.engine.availability import State
from smbfs.errors import SecurityViolation, SmbfsError
from smbfs.fuse.mount import serve
from smbfs.fuse.mounter import Mounter
from smbfs.transport.server_memory import ServerMemory
from smbfs.vfs.disk_cache import open_disk_cache
from smbfs.vfs.filesystem import FileSystem, open_filesystem

if TYPE_CHECKING:
    from smbfs.auth.kerberos_cache import Ticket
    from smbfs.auth.ticket_watch import TicketWatch

_ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

OnReady = Callable[[tuple[str, ...]], None]
"""Called once the mount answers, with what its user is to be warned of."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonPlace:
    """Where a daemon is found."""

    control: Path
    """Its control socket."""

    log: Path | None
    """Its log; None when it writes to the terminal."""


def serve_mount(plan: MountPlan, place: DaemonPlace, audit: AuditSink, on_ready: OnReady) -> None:
    """Mount, and serve until unmounted or told to end; leave nothing behind.

    Raises: whatever kept it from being mounted, or ended it; groups are unwrapped.
    """
    try:
        # The guard comes last: it waits for the end of whoever has inherited its pipe.
        with (
            plan.credentials.attended(),
            Mounter(plan.mountpoint, plan.options, str(plan.unc)) as mounter,
            Guard(plan.mountpoint) as guard,
        ):
            # What takes privileges, these do. Nothing of the network was read yet.
            give_up_privileges(keep={Capability.DAC_READ_SEARCH})
            trio.run(_Session(plan, place, audit, mounter, guard, on_ready).run)
    except BaseExceptionGroup as group:
        error = first_leaf(group)
        _log.debug("raised together: %r", group, exc_info=group)
        raise error from error.__cause__


@dataclass(slots=True)
class _Session:
    plan: MountPlan
    place: DaemonPlace
    audit: AuditSink
    mounter: Mounter
    guard: Guard
    on_ready: OnReady
    answered: bool = False
    ticket_watch: TicketWatch | None = None

    async def run(self) -> None:
        """Serve the mount; a signal or the control socket ends it in good order."""
        with trio.open_signal_receiver(*_ENDING_SIGNALS) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
                await self._serve(nursery.cancel_scope.cancel)
                nursery.cancel_scope.cancel()

    async def _serve(self, stop: Callable[[], None]) -> None:
        unc, options, credentials = self.plan.unc, self.plan.options, self.plan.credentials
        for lowered in self.plan.lowered:
            self.audit.write(protection_lowered(str(unc), lowered))
        self.audit.write(CredentialUsed(str(unc), credentials.qualified_name, credentials.source))
        async with (
            open_share(
                unc,
                options,
                credentials,
                make_authenticator,
                self._memory,
                renew=self.plan.renew,
            ) as tree,
            open_disk_cache(
                options.cache_dir, _identity(tree), limit=options.disk_cache_size
            ) as disk,
            open_filesystem(tree, options, unc.path, disk=disk) as filesystem,
        ):
            try:
                await self._serve_kernel(tree, filesystem, stop)
            finally:
                tree.line.on_state = lambda _state: None  # What ends from now on ends in order.
                tree.line.on_ended = lambda _failure: None
                if tree.line.ready is not None:
                    self.audit.write(Disconnected(str(unc), "unmounted"))

    @property
    def _memory(self) -> ServerMemory:
        # Beside the sockets: private, and gone after a reboot, since there are keys in it.
        return ServerMemory(self.place.control.parent / "servers")

    async def _serve_kernel(
        self, tree: TreeConnect, filesystem: FileSystem, stop: Callable[[], None]
    ) -> None:
        # Not earlier: whoever asks a daemon that still dials would have to wait for it.
        with bind_control_socket(self.place.control) as listener:
            async with trio.open_nursery() as nursery:
                report = self._reporter(tree, filesystem)
                nursery.start_soon(serve_control, listener, report, stop)
                self._tell_of(tree, filesystem)
                self.ticket_watch = self._watch_tickets()
                if self.ticket_watch is not None:
                    nursery.start_soon(self.ticket_watch.run)
                await serve(
                    filesystem,
                    self.mounter,
                    unmount=self.guard.dismiss,
                    on_ready=lambda: self._ready(tree),
                )
                nursery.cancel_scope.cancel()

    def _reporter(self, tree: TreeConnect, filesystem: FileSystem) -> Report:
        facts = MountFacts(
            mountpoint=self.plan.mountpoint,
            unc=str(self.plan.unc),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            cache_limit=self.plan.options.cache_size,
            log=str(self.place.log or ""),
        )
        return lambda: build_status(
            facts,
            connection_status(tree),
            _count(filesystem),
            self.ticket_watch.latest if self.ticket_watch is not None else None,
        )

    def _watch_tickets(self) -> TicketWatch | None:
        if self.plan.credentials.tickets is None:
            return None
        # Loaded here: it takes libkrb5.
        from smbfs.auth.ticket_watch import TicketWatch

        unc = str(self.plan.unc)

        def ends(ticket: Ticket, reason: str) -> None:
            self.audit.write(TicketEnds(unc, ticket.principal, ticket.ends, reason))
            _log.warning("the Kerberos ticket ends at %s: %s", ticket.ends, reason)

        return TicketWatch(self.plan.credentials.tickets, ends)

    def _ready(self, tree: TreeConnect) -> None:
        status = connection_status(tree)
        mounted = find_mount(self.plan.mountpoint)
        if mounted is not None:
            self.guard.watch(mounted.device)
        unc = str(self.plan.unc)
        kind = Connected if status.tunnel is None else ConnectedByQuic
        protection = describe_protection(status)
        self.audit.write(kind(unc, status.user, status.transport, status.dialect, protection))
        if status.auth == "guest":
            self.audit.write(InsecureGuestUsed(unc))
        self.answered = True
        self.on_ready(tuple(self._warnings(status)))

    def _warnings(self, status: ConnectionStatus) -> Iterator[str]:
        unc = str(self.plan.unc)
        if status.tunnel is not None and status.tunnel.certificate.ends_soon(datetime.now(UTC)):
            not_after = f"{status.tunnel.certificate.not_after:%Y-%m-%d}"
            self.audit.write(CertificateExpires(unc, not_after))
            yield certificate_warning(unc, not_after)

    def _tell_of(self, tree: TreeConnect, filesystem: FileSystem) -> None:
        """Have the audit told when the connection moves, is lost or comes back."""
        unc, line, audit = str(self.plan.unc), tree.line, self.audit
        user = self.plan.credentials.qualified_name

        def ended(failure: SmbfsError) -> None:
            if isinstance(failure, SecurityViolation):
                audit.write(failure_event(failure, unc, user))

        def state_is(state: State) -> None:
            _log.info("%s: %s", unc, state.value)
            if state is State.RECONNECTING:
                audit.write(Disconnected(unc, str(line.failure)))
            elif state is State.OFFLINE:
                audit.write(WentOffline(unc, str(line.failure)))
            elif state is State.CONNECTED:
                status = connection_status(tree)
                audit.write(Reconnected(unc, status.transport, status.address))

        def writes_lost(path: str, offset: int, length: int, reason: str) -> None:
            audit.write(WritesLost(unc, path, offset, length, reason))

        line.on_refused = lambda refusal: audit.write(failure_event(refusal, unc, user))
        line.on_moved = lambda before, now: audit.write(Migrated(unc, before, now))
        line.on_ended, line.on_state = ended, state_is
        filesystem.state.on_writes_lost = writes_lost


def _identity(tree: TreeConnect) -> str:
    """Return what tells the share, and who sees it, from every other."""
    status = connection_status(tree)
    parts = (status.server_guid, status.server_name, str(status.port), tree.share_name, status.user)
    return "\n".join(parts)


def _count(filesystem: FileSystem) -> FileSystemCounts:
    """Pick what ``status`` shows out of the file system's state."""
    state = filesystem.state
    directories = state.directories.leased
    return FileSystemCounts(
        open_handles=len(state.handles),
        cached_handles=len(state.kept),
        durable_handles=state.handles.durable,
        persistent_handles=state.handles.persistent,
        file_leases=len(state.share.tree.leases) - directories,
        directory_leases=directories,
        cache_bytes=state.blocks.size,
        cache_hits=state.blocks.hits,
        cache_misses=state.blocks.misses,
        disk_bytes=state.disk.size if state.disk is not None else 0,
    )


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for number in signals:
        _log.info("ending: %s", signal.Signals(number).name)
        scope.cancel()
