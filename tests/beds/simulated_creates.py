"""CREATE, as a simulated server executes it: files, leases, durable handles and replays.

Spec: [MS-SMB2] 3.3.5.9, 3.3.5.9.10 and 3.3.5.9.12 (durable handles), 3.3.5.9.11 (leases).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from smbfs.wire.create import (
    AccessMask,
    CreateAction,
    CreateDisposition,
    CreateOptions,
    CreateRequest,
    CreateResponse,
    FileAttributes,
    OplockLevel,
)
from smbfs.wire.create_contexts import (
    CreateContext,
    DurableHandleReconnectV2,
    DurableHandleRequestV2,
    DurableHandleResponseV2,
    LeaseRequestV2,
    LeaseResponseV2,
    LeaseState,
    QueryOnDiskIdRequest,
    QueryOnDiskIdResponse,
)
from smbfs.wire.header import Header, HeaderFlags
from smbfs.wire.lease import LeaseFlags
from smbfs.wire.message import Message
from smbfs.wire.ntstatus import NtStatus
from tests.beds.simulated_files import Node
from tests.beds.simulated_leases import NOTHING, ServerLease, ServerOpen

if TYPE_CHECKING:
    from tests.beds.simulated_server import SimulatedServer
    from tests.beds.simulated_sessions import ServerSession

DURABLE_MS = 60_000
_DURABLE_IDS = 1 << 40
"""Persistent ids of durable opens are from here on, each used once."""

_READ_HANDLE = LeaseState.READ_CACHING | LeaseState.HANDLE_CACHING
_DATA_ACCESS = AccessMask.READ_DATA | AccessMask.WRITE_DATA | AccessMask.APPEND_DATA
_OVERWRITES = frozenset(
    {
        CreateDisposition.SUPERSEDE,
        CreateDisposition.OVERWRITE,
        CreateDisposition.OVERWRITE_IF,
    }
)
_OK = NtStatus.STATUS_SUCCESS
Reply = tuple[int, Message | None]


class MustWait(Exception):
    """A lease is in the way until its holder has let go of it."""

    def __init__(self, lease: ServerLease) -> None:
        super().__init__()
        self.lease = lease


@dataclass
class Related:
    """What the next request of a compound is about."""

    open: ServerOpen | None = None
    status: int = _OK


class Creates:
    """The CREATEs of a server's clients."""

    def __init__(self, server: SimulatedServer) -> None:
        self._server = server
        self._last_durable = _DURABLE_IDS
        self._guids: dict[UUID, ServerOpen] = {}

    def create(
        self, session: ServerSession, header: Header, body: memoryview, related: Related
    ) -> Reply:
        request = CreateRequest.decode(body)
        lease = next((c for c in request.contexts if isinstance(c, LeaseRequestV2)), None)
        for context in request.contexts:
            if isinstance(context, DurableHandleReconnectV2):
                return self._reconnect(session, request, context, lease, related)
        durable = next((c for c in request.contexts if isinstance(c, DurableHandleRequestV2)), None)
        known = self._guids.get(durable.create_guid) if durable is not None else None
        if known is not None and not header.flags & HeaderFlags.REPLAY_OPERATION:
            if header.status == session.sequence:  # Else it was under way for long.
                self._server.violations.append("a CreateGuid was used twice")
            return NtStatus.STATUS_DUPLICATE_OBJECTID, None
        if known is not None and known.session_id == session.session_id and known in self._opens:
            known.channel_sequence = header.status
            related.open = known
            return _OK, self._created(known, request, CreateAction.OPENED)
        return self._open(session, header, request, (lease, durable), related)

    @property
    def _opens(self) -> list[ServerOpen]:
        return self._server.leases.opens

    def _open(
        self,
        session: ServerSession,
        header: Header,
        request: CreateRequest,
        wishes: tuple[LeaseRequestV2 | None, DurableHandleRequestV2 | None],
        related: Related,
    ) -> Reply:
        """Open or make a file. ``wishes``: for a lease, and for a durable handle."""
        lease, durable = wishes
        status, node, action = self._find_or_make(request, lease)
        if node is None:
            return status, None
        open_ = ServerOpen(session.new_id(), node, session.session_id)
        open_.channel_sequence = header.status
        open_.parent_key = lease.parent_lease_key if lease is not None else None
        open_.is_deleting = bool(request.create_options & CreateOptions.DELETE_ON_CLOSE)
        settings = self._server.settings
        may_lease = (
            settings.leases
            if node is not self._server.files.root
            else (settings.leases and settings.directory_leases)
        )
        self._server.leases.opens.append(open_)
        if lease is not None and may_lease:
            wanted = LeaseState(lease.lease_state)
            if node is self._server.files.root:
                wanted &= _READ_HANDLE
            if self._server.leases.grant(open_, lease.lease_key, wanted) is None:
                self._server.leases.opens.remove(open_)
                return NtStatus.STATUS_INVALID_PARAMETER, None
        granted = open_.lease.state if open_.lease is not None else NOTHING
        if durable is not None and settings.durable and granted & LeaseState.HANDLE_CACHING:
            self._last_durable += 1
            open_.file_id = open_.file_id._replace(persistent=self._last_durable)
            open_.create_guid = durable.create_guid
            self._guids[durable.create_guid] = open_
        session.opens[open_.file_id.volatile] = open_
        related.open = open_
        return _OK, self._created(open_, request, action)

    def _grant(self, open_: ServerOpen, asked: LeaseRequestV2) -> bool:
        """Give an open a lease if there are such; False if its key is another file's."""
        settings, wanted = self._server.settings, LeaseState(asked.lease_state)
        is_directory = open_.node is self._server.files.root
        if not settings.leases or (is_directory and not settings.directory_leases):
            return True
        if is_directory:
            wanted &= _READ_HANDLE
        return self._server.leases.grant(open_, asked.lease_key, wanted) is not None

    def _find_or_make(
        self, request: CreateRequest, lease: LeaseRequestV2 | None
    ) -> tuple[int, Node | None, CreateAction]:
        """Do what the disposition says, once no lease is in the way."""
        server, disposition = self._server, request.create_disposition
        node = server.files.root if not request.name else server.files.names.get(request.name)
        opened = CreateAction.OPENED
        if node is None:
            if disposition in (CreateDisposition.OPEN, CreateDisposition.OVERWRITE):
                return NtStatus.STATUS_OBJECT_NAME_NOT_FOUND, None, opened
            self.directory_changes(lease.parent_lease_key if lease is not None else None)
            return _OK, server.files.make(request.name), CreateAction.CREATED
        if node.is_going:
            return NtStatus.STATUS_DELETE_PENDING, None, opened
        if disposition == CreateDisposition.CREATE:
            return NtStatus.STATUS_OBJECT_NAME_COLLISION, None, opened
        is_directory = bool(node.attributes & FileAttributes.DIRECTORY)
        if is_directory and request.create_options & CreateOptions.NON_DIRECTORY_FILE:
            return NtStatus.STATUS_FILE_IS_A_DIRECTORY, None, opened
        if not is_directory and request.create_options & CreateOptions.DIRECTORY_FILE:
            return NtStatus.STATUS_NOT_A_DIRECTORY, None, opened
        key = lease.lease_key if lease is not None else None
        if disposition in _OVERWRITES:
            self._wait_for(node, NOTHING, key)
            server.files.cut(node, 0)
            return _OK, node, CreateAction.OVERWRITTEN
        if request.desired_access & _DATA_ACCESS:
            self._wait_for(node, _READ_HANDLE, key)
        return _OK, node, opened

    def _wait_for(self, node: Node, keep: LeaseState, key: bytes | None) -> None:
        waiting = self._server.leases.hinders(node, keep, key)
        if waiting:
            raise MustWait(waiting[0])

    def directory_changes(self, parent_key: bytes | None) -> None:
        """Names have changed: whoever holds the directory's lease, and did not do it, hears."""
        self._server.leases.hinders(self._server.files.root, NOTHING, parent_key)

    def _reconnect(
        self,
        session: ServerSession,
        request: CreateRequest,
        context: DurableHandleReconnectV2,
        lease: LeaseRequestV2 | None,
        related: Related,
    ) -> Reply:
        """Take a durable open over. Spec: [MS-SMB2] 3.3.5.9.12."""
        known = self._guids.get(context.create_guid)
        if (
            known is None
            or known not in self._server.leases.opens
            or known.session_id is not None
            or known.file_id.persistent != context.file_id.persistent
            or known.lease is None
            or lease is None
            or lease.lease_key != known.lease.key
        ):
            return NtStatus.STATUS_OBJECT_NAME_NOT_FOUND, None
        if known.node.name != request.name:
            return NtStatus.STATUS_INVALID_PARAMETER, None
        known.file_id = session.new_id(known.file_id.persistent)
        known.session_id = session.session_id
        session.opens[known.file_id.volatile] = known
        related.open = known
        return _OK, self._created(known, request, CreateAction.OPENED)

    @staticmethod
    def _created(open_: ServerOpen, request: CreateRequest, action: CreateAction) -> CreateResponse:
        node, lease = open_.node, open_.lease
        contexts: list[CreateContext] = []
        for context in request.contexts:
            if isinstance(context, QueryOnDiskIdRequest):
                contexts.append(QueryOnDiskIdResponse(node.number, 1))
            elif isinstance(context, LeaseRequestV2) and lease is not None:
                flags = LeaseFlags.BREAK_IN_PROGRESS if lease.breaking_to is not None else 0
                contexts.append(
                    LeaseResponseV2(lease.key, lease.state, None, lease.epoch, int(flags))
                )
            elif isinstance(context, DurableHandleRequestV2) and open_.create_guid is not None:
                contexts.append(DurableHandleResponseV2(DURABLE_MS))
        size = len(node.data)
        return CreateResponse(
            oplock_level=OplockLevel.LEASE if lease is not None else OplockLevel.NONE,
            flags=0,
            create_action=action,
            creation_time=node.created,
            last_access_time=node.changed,
            last_write_time=node.changed,
            change_time=node.changed,
            allocation_size=size,
            end_of_file=size,
            file_attributes=node.attributes,
            file_id=open_.file_id,
            contexts=tuple(contexts),
        )
