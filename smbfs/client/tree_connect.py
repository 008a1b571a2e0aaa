"""One share of one session: ``TreeConnect`` sends every request that belongs to it.

Spec: [MS-SMB2] 3.2.1.4 (TreeConnect), 3.2.4.3 (CREATE), 3.2.4.1.4 (compounds).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from smbfs.client.answers import SUCCESS, answer
from smbfs.client.durable import WRITES, asking_for_durability, is_durable
from smbfs.client.lifeline import Channel, Lifeline
from smbfs.client.open import READ_STATUSES, Open, listed
from smbfs.client.sender import Sender, nothing_to_do
from smbfs.client.status import Identity
from smbfs.engine.exchange import Exchange, Response
from smbfs.engine.lease_table import LeaseTable
from smbfs.engine.leases import Lease
from smbfs.engine.negotiate import SINGLE_CREDIT_SIZE, Negotiated
from smbfs.engine.oplocks import Oplock
from smbfs.errors import ServerStatusError, SmbfsError
from smbfs.wire.close_flush import CloseRequest
from smbfs.wire.create import (
    CreateRequest,
    CreateResponse,
    FileId,
    OplockLevel,
)
from smbfs.wire.create_contexts import LeaseResponseV2, LeaseState
from smbfs.wire.message import Message
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.query_directory import QueryDirectoryRequest
from smbfs.wire.read_write import ReadRequest
from smbfs.wire.tree_connect import ShareCapabilities, ShareFlags, ShareType, TreeConnectResponse

TRANSFER_SIZE = 1024 * 1024
"""Bytes that one READ or WRITE carries unless ``rsize``/``wsize`` say otherwise."""

TRANSACT_SIZE = 1024 * 1024
"""Bytes of a directory listing or an ioctl answer that one request asks for."""

READ_LEASE = LeaseState.READ_CACHING | LeaseState.HANDLE_CACHING
"""What readers ask for: nobody has to wait for them."""

WRITE_LEASE = READ_LEASE | LeaseState.WRITE_CACHING
"""What writers ask for: whoever opens the file has to wait until our data is there."""

_CLOSE_RELATED = CloseRequest(FileId.RELATED)

OPLOCKS_REFUSED_MAX = 16
"""Opens without an oplock after which it is plain that a share grants none."""


class CompoundResult(NamedTuple):
    """What CREATE and the requests behind it in the same frame were answered."""

    created: memoryview
    """Body of the answer to CREATE, which few want to read."""
    responses: tuple[memoryview, ...]
    """Bodies of the answers to the requests between CREATE and CLOSE."""

    @property
    def create(self) -> CreateResponse:
        """What was opened. Raises: WireError."""
        return CreateResponse.decode(self.created)


class ConnectedTree(NamedTuple):
    """What the server answered to TREE_CONNECT."""

    tree_id: int
    response: TreeConnectResponse

    def wants_sealing(self, negotiated: Negotiated) -> bool:
        """Whether the share wants everything sealed, and the transport does not do it."""
        is_wanted = bool(self.response.share_flags & ShareFlags.ENCRYPT_DATA)
        return is_wanted and not negotiated.trusts_transport


class TreeConnect:
    """A connected share; it stays the same when the connection below it becomes another one."""

    def __init__(self, line: Lifeline, share_name: str) -> None:
        """Before it can be used, :meth:`attach` it to what a server has given."""
        self.line = line
        self.share_name = share_name
        self.sender = Sender(line)
        line.on_doubted = lambda lease: self.broken(lease, must_acknowledge=True)
        self.grants_leases = False
        """Whether the server knows leases of the kind that we ask for."""
        self.share_type = ShareType.DISK
        self.maximal_access = 0
        self.is_continuous = False
        """Whether the share is continuously available: open files may survive their server."""
        self.channel: Channel
        """The first channel of the session; it may have ended."""
        self.posix = False
        """SMB 3.1.1 POSIX extensions work on this share; set once a CREATE has proved it."""
        self.identity = Identity("", "", "")
        self.on_break: Callable[[Lease, bool], bool] = lambda _lease, _must_acknowledge: False
        """Called when a lease was broken, and whether to acknowledge that. It must not raise.

        It returns whether it takes care of :meth:`acknowledge`, once our data is there.
        """
        self.on_restored: Callable[[Channel], Awaitable[None]] = nothing_to_do
        """Called when there is a new session, before anybody else may use it: brings open files
        back (:meth:`reclaim`). It may raise TransportError, and is called again then."""
        self.leases: LeaseTable = line.leases
        """The leases of this client."""
        self._oplocks_refused = 0
        """Opens that asked for one in vain, in a row."""
        self.rsize = TRANSFER_SIZE
        self.wsize = TRANSFER_SIZE

    def attach(self, channel: Channel, tree: ConnectedTree) -> None:
        """Belong to this session, and this tree of it, from now on."""
        self.channel = channel
        self.grants_leases = self.negotiated.grants_leases
        self.sender.tree_id = tree.tree_id
        self.sender.encrypt_data = tree.wants_sealing(self.negotiated)
        self.sender.counts_channels = self.negotiated.counts_channels
        self.share_type = tree.response.share_type
        self.maximal_access = tree.response.maximal_access
        self.is_continuous = bool(
            tree.response.capabilities & ShareCapabilities.CONTINUOUS_AVAILABILITY
        )

    @property
    def max_read_size(self) -> int:
        """Bytes that one READ may ask for now."""
        return _limit(self, self.rsize, self.negotiated.max_read_size)

    @property
    def max_write_size(self) -> int:
        """Bytes that one WRITE may carry now."""
        return _limit(self, self.wsize, self.negotiated.max_write_size)

    @property
    def max_transact_size(self) -> int:
        """Bytes that the answer to a listing, query or ioctl may have."""
        return _limit(self, TRANSACT_SIZE, self.negotiated.max_transact_size)

    @property
    def negotiated(self) -> Negotiated:
        """What was agreed upon with the server."""
        negotiated = self.channel.connection.engine.negotiated
        assert negotiated is not None
        return negotiated

    async def create(
        self,
        request: CreateRequest,
        *,
        lease_key: bytes | None = None,
        lease_wanted: LeaseState = READ_LEASE,
        parent_lease_key: bytes | None = None,
    ) -> Open:
        """Open or create a file, leased if there is a key (or with an oplock, if that is all).

        Who writes also asks the server to keep it open for us when the connection is lost.
        ``parent_lease_key``: the lease on its directory, which this shall not break.
        Raises: ServerStatusError, TransportError.
        """
        if lease_key is not None:
            request = asking_for_durability(self, request)
        file, _ = await self._create(
            request,
            lease_key=lease_key,
            lease_wanted=lease_wanted,
            parent_lease_key=parent_lease_key,
        )
        return file

    async def reclaim(
        self,
        file: Open,
        request: CreateRequest,
        channel: Channel,
        *,
        is_same: Callable[[CreateResponse], bool] = lambda _created: True,
    ) -> bool:
        """Have a new session take over an open: a durable one, or a file that is opened anew.

        ``request`` is the CREATE for that; it gets the open's lease, or an oplock.
        Return whether it has; if what was opened ``is_same`` says not to be, it is closed again.
        Raises: ServerStatusError, TransportError.
        """
        lease = file.lease
        if isinstance(lease, Oplock):
            file.leave_lease()
            request = replace(request, oplock_level=OplockLevel.BATCH)
        elif lease is not None:
            context = lease.request(WRITE_LEASE if file.access & WRITES else READ_LEASE)
            contexts = (*request.contexts, context)
            request = replace(request, oplock_level=OplockLevel.LEASE, contexts=contexts)
            lease.is_known = True  # A break may come right behind the answer.
        exchange = self.sender.exchange(channel, (request,))
        await channel.connection.perform(exchange)
        created = CreateResponse.decode(answer(exchange, context=request.name).body)
        if isinstance(lease, Oplock):
            file.lease = self.leases.oplock_of(created.file_id)
        elif lease is not None:
            lease.granted(created.context(LeaseResponseV2))
        if is_same(created):
            file.revive(created, self.line.epoch)
            file.durable = is_durable(request, created) or file.durable
            return True
        if lease is not None:
            lease.doubted()  # It goes with what is closed now, if it is not another open's.
        await channel.connection.perform(
            self.sender.exchange(channel, (CloseRequest(created.file_id),))
        )
        return False

    async def create_and_read(
        self, request: CreateRequest, length: int, query: Message, *, lease_key: bytes
    ) -> tuple[Open, memoryview, memoryview]:
        """Open a file under a lease, ask what it is and read its beginning, in one round trip.

        ``length`` bytes, at most what one credit pays for. Return the open, what was read, and
        the body of the answer to ``query`` (of ``FileId.RELATED``).
        Raises: ServerStatusError, TransportError.
        """
        read = ReadRequest(FileId.RELATED, 0, length)
        file, exchange = await self._create(request, query, read, lease_key=lease_key)
        try:
            told = answer(exchange, 1).body
            data = file.data_of(answer(exchange, 2, accept=READ_STATUSES), length)
        except SmbfsError:
            file.close_unwaited()
            raise
        return file, data, told

    async def create_and_query(
        self, request: CreateRequest, query: Message, *, lease_key: bytes | None = None
    ) -> tuple[Open, memoryview | None]:
        """Open a file and ask something of it (``FileId.RELATED``), in one round trip.

        Return the open, and the body of the answer if that went well.
        Raises: ServerStatusError of CREATE, TransportError.
        """
        file, exchange = await self._create(request, query, lease_key=lease_key)
        response = exchange.response(1)
        is_told = response.header.status == NtStatus.STATUS_SUCCESS
        return file, response.body if is_told else None

    async def create_and_list(
        self,
        request: CreateRequest,
        info_class: int,
        *,
        length: int,
        lease_key: bytes | None = None,
    ) -> tuple[Open, list[memoryview], bool]:
        """Open a directory and begin its listing, in one round trip.

        Return the open, up to two pieces of the listing of at most ``length`` bytes, and whether
        that is all of it. What goes wrong with the listing is left to who goes on with it.
        Raises: ServerStatusError of CREATE.
        """
        query = QueryDirectoryRequest(FileId.RELATED, info_class, "*", output_buffer_length=length)
        file, exchange = await self._create(request, query, query, lease_key=lease_key)
        try:
            return file, *listed(exchange, 1)
        except SmbfsError:
            file.close_unwaited()
            raise

    async def _create(
        self,
        request: CreateRequest,
        *related: Message,
        lease_key: bytes | None,
        lease_wanted: LeaseState = READ_LEASE,
        parent_lease_key: bytes | None = None,
    ) -> tuple[Open, Exchange]:
        lease = None
        if lease_key is not None and self.grants_leases:
            lease = self.leases.opening(lease_key)
            wanted = lease.request(lease_wanted, parent_lease_key=parent_lease_key)
            contexts = (*request.contexts, wanted)
            request = replace(request, oplock_level=OplockLevel.LEASE, contexts=contexts)
        elif lease_key is not None:
            request = replace(request, oplock_level=OplockLevel.BATCH)
        try:
            exchange = await self.perform(request, *related)
            created = CreateResponse.decode(answer(exchange, context=request.name).body)
        except BaseException:
            if lease is not None:
                self.leases.closed(lease)
            raise
        if lease is not None and exchange.epoch == self.line.epoch:
            lease.granted(created.context(LeaseResponseV2))
        elif lease_key is not None and lease is None:
            lease = self.leases.oplock_of(created.file_id)
            self._oplocks_refused = self._oplocks_refused + 1 if lease is None else 0
        file = Open(self, created, access=request.desired_access, lease=lease)
        file.durable = is_durable(request, created)
        file.epoch = exchange.epoch  # A new session may have begun since the answer came.
        return file, exchange

    async def compound(self, create: CreateRequest, *related: Message) -> CompoundResult:
        """CREATE, ``related`` (with ``FileId.RELATED``) and CLOSE in one round trip.

        Raises: ServerStatusError of the first part that failed. What CREATE opened is closed
        in any case.
        """
        exchange = await self.sender.perform((create, *related, _CLOSE_RELATED))
        created = answer(exchange, context=create.name).body
        if exchange.response(-1).header.status != NtStatus.STATUS_SUCCESS:
            # Some servers fail the CLOSE behind a part that failed: don't leak the handle.
            with suppress(ServerStatusError):
                await Open(self, CreateResponse.decode(created)).close()
        bodies = [
            answer(exchange, index, context=create.name).body
            for index in range(1, len(exchange.requests))
        ]
        return CompoundResult(created, tuple(bodies[:-1]))

    async def request(
        self,
        message: Message,
        *,
        of: Open | None = None,
        accept: Container[int] = SUCCESS,
        context: str = "",
    ) -> Response:
        """Send one request of this tree and return its answer.

        ``of``: the open that it is about, if there is one.
        Raises: ServerStatusError when its status is not in ``accept``; as :meth:`perform`.
        """
        return answer(await self.perform(message, of=of), accept=accept, context=context)

    def send(self, message: Message) -> None:
        """Send a request whose answer changes nothing here; what goes wrong is only counted."""
        self.sender.send(message)

    async def perform(
        self, *messages: Message, of: Open | None = None, patient: bool = False
    ) -> Exchange:
        """Send requests as one frame and return it answered: see :meth:`Sender.perform`."""
        return await self.sender.perform(messages, of=of, patient=patient)

    # ------------------------------------------------------------- leases

    @property
    def grants_caching(self) -> bool:
        """Whether it is worth to ask for leases, or for oplocks."""
        return self.grants_leases or self._oplocks_refused < OPLOCKS_REFUSED_MAX

    def broken(self, lease: Lease, must_acknowledge: bool) -> None:
        """Let go of what was taken back, then say so; closing the last open says it, too."""
        is_taken_care_of = self.on_break(lease, must_acknowledge)
        if must_acknowledge and not is_taken_care_of:
            self.acknowledge(lease)

    def acknowledge(self, lease: Lease) -> None:
        """Tell the server that we hold no more of a lease than it has left us."""
        if lease.must_be_acknowledged:
            self.send(lease.acknowledgment())


def may_have_channels(tree: TreeConnect) -> bool:
    """Whether other connections may join the session without harm.

    Not where it is sealed: all channels seal with the same keys, and count their messages from
    the start, so what was said on one could be played back on another. Spec: [MS-SMB2] 3.1.4.3.
    """
    return not (tree.channel.session.encrypt_data or tree.sender.encrypt_data)


def _limit(tree: TreeConnect, wanted: int, server: int) -> int:
    if not tree.negotiated.supports_multi_credit:
        return min(wanted, server, SINGLE_CREDIT_SIZE)
    return min(wanted, server, tree.channel.connection.engine.flow.payload_limit)
