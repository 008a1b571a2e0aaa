"""One share, by path: what a file is, what a directory holds, an open file.

Round trips are what a remote file system costs, so each question is one: a compound of CREATE,
the question and CLOSE. What changes things is in ``changes``; both speak SMB's terms, NTSTATUS
included, and know nothing of inodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from smbfs.client.open import Open
from smbfs.client.tree_connect import READ_LEASE, TreeConnect
from smbfs.errors import HandleLost, RemoteProtocolError, ServerStatusError
from smbfs.vfs.lease_policy import Version
from smbfs.vfs.names import Names
from smbfs.wire.create import (
    AccessMask,
    CreateDisposition,
    CreateOptions,
    CreateRequest,
    CreateResponse,
    FileAttributes,
    FileId,
    OplockLevel,
    ShareAccess,
)
from smbfs.wire.create_contexts import (
    CreateContext,
    LeaseRequestV2,
    LeaseState,
    PosixCreateRequest,
    PosixCreateResponse,
    QueryOnDiskIdRequest,
    QueryOnDiskIdResponse,
    TimewarpToken,
)
from smbfs.wire.filetime import ns_to_filetime
from smbfs.wire.fscc import (
    FileStat,
    decode_file_all_information,
    decode_posix_information,
)
from smbfs.wire.info import FileInfoClass, InfoType, QueryInfoRequest, QueryInfoResponse
from smbfs.wire.ioctl import FsctlCode, IoctlRequest, IoctlResponse
from smbfs.wire.message import Message
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.read_write import ReadRequest, ReadResponse

STAT_ACCESS: Final = AccessMask.READ_ATTRIBUTES
"""What asking for attributes needs."""

SHARE_ALL: Final = ShareAccess.READ | ShareAccess.WRITE | ShareAccess.DELETE
"""How everything is opened here: nobody else is kept out."""
_STAT_SIZE: Final = 4096
"""Bytes that an answer to a stat may have: FileAllInformation ends with the whole path."""

_POSIX: Final = (PosixCreateRequest(0),)
_PATH_SIZE_MAX: Final = 2 * 32767
_ALL_SIZE: Final = 96
"""Bytes of FileAllInformation before its name."""

NOT_SUPPORTED: Final = frozenset(
    {
        NtStatus.STATUS_INVALID_INFO_CLASS,
        0xC000_0148,  # STATUS_INVALID_LEVEL
        NtStatus.STATUS_INVALID_PARAMETER,
        NtStatus.STATUS_NOT_IMPLEMENTED,
        NtStatus.STATUS_NOT_SUPPORTED,
        NtStatus.STATUS_INVALID_DEVICE_REQUEST,
    }
)
"""How servers say that they don't know a class of information or an FSCTL."""

STOPPED_AT_REPARSE_POINT: Final = frozenset(
    {
        NtStatus.STATUS_STOPPED_ON_SYMLINK,
        NtStatus.STATUS_IO_REPARSE_TAG_NOT_HANDLED,
        NtStatus.STATUS_REPARSE_POINT_NOT_RESOLVED,
    }
)
"""How servers say that a path leads to something that they don't follow."""


class Seen(NamedTuple):
    """What is at a path."""

    stat: FileStat
    spelling: str | None
    """The last name of the path as the server spells it, where it may differ."""


@dataclass(slots=True)
class ServerLimits:
    """What this server turned out not to know, so that it isn't asked again."""

    disposition_ex: bool = True
    rename_ex: bool = True
    file_ids_in_listings: bool = True
    ea_sizes_in_listings: bool | None = None
    """None as long as nobody has asked."""
    copies: bool = True
    silly_files_in_root: bool = True
    """Whether removed but open files may wait in the mount's root for their last close."""


class LeaseKeys(NamedTuple):
    """The leases of ours that an open shall not break."""

    own: bytes
    """The key of the lease on the file, or a new one."""
    parent: bytes | None
    """The key of the lease on its directory, if that has one."""


class Share:
    """Questions about paths of one share. Every method may raise ServerStatusError."""

    def __init__(
        self,
        tree: TreeConnect,
        *,
        names: Names,
        root: tuple[bytes, ...] = (),
        as_of: datetime | None = None,
    ) -> None:
        """``root``: the folder of the share that the mount shows, name by name.

        ``as_of``: the time of the snapshot that it shows; None: the present.
        """
        self.tree = tree
        self.always: tuple[CreateContext, ...] = ()
        """What every CREATE says besides."""
        if as_of is not None:
            filetime = ns_to_filetime(int(as_of.timestamp()) * 1_000_000_000)
            self.always = (TimewarpToken(filetime),)
        self.names = names
        self.limits = ServerLimits()
        self._root = [names.to_server(name) for name in root]

    @property
    def posix(self) -> bool:
        """Whether opens have POSIX semantics."""
        return self.tree.posix

    def path(self, names: Iterable[bytes]) -> str:
        """Return the server's path of the names that lead from the mount's root to a file.

        Raises: InvalidName.
        """
        parts = self._root + [self.names.to_server(name) for name in names]
        return self.names.separator.join(parts)

    def join(self, directory: str, name: str) -> str:
        """Return the path of a name, as the server wrote it, in a directory."""
        return f"{directory}{self.names.separator}{name}" if directory else name

    def create_request(
        self,
        path: str,
        access: int,
        *,
        disposition: CreateDisposition = CreateDisposition.OPEN,
        options: int = CreateOptions.OPEN_REPARSE_POINT,
        attributes: int = 0,
        mode: int = 0,
        with_file_id: bool = False,
        keys: LeaseKeys | None = None,
    ) -> CreateRequest:
        """Return the CREATE that opens ``path`` without hindering anyone else.

        ``mode``: permission bits of what is made, where the server knows such.
        ``keys``: for an open that changes something, if it or its directory is leased.
        """
        contexts = self.always
        if self.tree.posix:
            contexts += (PosixCreateRequest(mode),) if mode else _POSIX
        if with_file_id:
            contexts += (QueryOnDiskIdRequest(),)
        if keys is not None:
            contexts += (LeaseRequestV2(keys.own, LeaseState.NONE, keys.parent),)
        return CreateRequest(
            path,
            access,
            attributes,
            SHARE_ALL,
            disposition,
            options,
            oplock_level=OplockLevel.NONE if keys is None else OplockLevel.LEASE,
            contexts=contexts,
        )

    async def compound(self, create: CreateRequest, *related: Message) -> tuple[memoryview, ...]:
        """Send CREATE, ``related`` and CLOSE; return the bodies of the answers to ``related``."""
        try:
            result = await self.tree.compound(create, *related)
        except ServerStatusError as error:
            if not _is_of_lease(error, create):
                raise
            result = await self.tree.compound(_without_lease(create), *related)
        return result.responses

    async def create(self, create: CreateRequest) -> Open:
        """Open what :meth:`create_request` has asked for."""
        try:
            return await self.tree.create(create)
        except ServerStatusError as error:
            if not _is_of_lease(error, create):
                raise
            return await self.tree.create(_without_lease(create))

    def version_of(self, stat: FileStat) -> Version:
        """Return what changes with a file's content, by whatever told of it.

        On Samba only the POSIX information tells the time of the last change of anything; CREATE
        and CLOSE tell that of the last write in its place.
        """
        changed = stat.write_time if self.posix else stat.change_time
        # One that is not later may be an estimate of the server's, which reading changes.
        created = stat.creation_time if stat.creation_time > changed else 0
        return Version(stat.size, changed, created)

    # ------------------------------------------------------------- what a file is

    def stat_query(self, file_id: FileId = FileId.RELATED) -> QueryInfoRequest:
        """Return the question for everything that ``stat`` shows."""
        if not self.posix:
            return replace(self.all_query(), file_id=file_id)
        return QueryInfoRequest(file_id, InfoType.FILE, FileInfoClass.POSIX, _STAT_SIZE)

    def decode_stat(self, body: memoryview) -> FileStat:
        """Read the answer to :meth:`stat_query`. Raises: WireError."""
        data = QueryInfoResponse.decode(body).data
        return decode_posix_information(data) if self.posix else decode_file_all_information(data)

    async def stat(self, path: str) -> Seen:
        """Return what a file is, without following a link that the client can follow.

        A server without POSIX extensions may follow links of its own: its listings do, so this
        must, too. What it refuses to follow comes back as the link.
        """
        if self.posix:
            return Seen(await self._stat_posix(path), None)
        try:
            data = await self._query(path, self.all_query(), CreateOptions(0))
        except ServerStatusError as error:
            if error.status not in STOPPED_AT_REPARSE_POINT:
                raise
            data = await self._query(path, self.all_query())
        return Seen(decode_file_all_information(data), _last_name(data))

    def all_query(self) -> QueryInfoRequest:
        """Return the question for what every server tells, the path as it spells it included."""
        size = min(_PATH_SIZE_MAX, self.tree.max_transact_size)
        return QueryInfoRequest(FileId.RELATED, InfoType.FILE, FileInfoClass.ALL, size)

    async def _query(
        self,
        path: str,
        query: QueryInfoRequest,
        options: CreateOptions = CreateOptions.OPEN_REPARSE_POINT,
    ) -> memoryview:
        create = self.create_request(path, STAT_ACCESS, options=options)
        (answer,) = await self.compound(create, query)
        return QueryInfoResponse.decode(answer).data

    async def _stat_posix(self, path: str) -> FileStat:
        try:
            return decode_posix_information(await self._query(path, self.stat_query()))
        except ServerStatusError as error:
            if error.status != NtStatus.STATUS_REPARSE_POINT_NOT_RESOLVED:
                raise
        # Samba stores links of some dialects that its POSIX information can't describe.
        return decode_file_all_information(await self._query(path, self.all_query()))

    async def read_reparse_point(self, path: str) -> bytes:
        """Return the raw reparse point at ``path``."""
        request = IoctlRequest(FsctlCode.GET_REPARSE_POINT, FileId.RELATED)
        (answer,) = await self.compound(self.create_request(path, STAT_ACCESS), request)
        return bytes(IoctlResponse.decode(answer).data)

    async def stat_open(self, file: Open) -> FileStat:
        """Return what an open file is, whatever became of its name."""
        if self.posix and not file.is_posix:
            return await self._stat_taken_over(file)
        question = self.stat_query(file.file_id)
        data = await file.query_info(
            InfoType.FILE, question.info_class, length=question.output_buffer_length
        )
        return decode_posix_information(data) if self.posix else decode_file_all_information(data)

    async def _stat_taken_over(self, file: Open) -> FileStat:
        """Do that where the handle was taken over from a lost session, and is no POSIX one now."""
        question = self.all_query()
        data = await file.query_info(
            InfoType.FILE, question.info_class, length=question.output_buffer_length
        )
        path = path_of(data).replace("\\", self.names.separator)
        stat, known = await self._stat_posix(path), decode_file_all_information(data)
        if stat.file_id != known.file_id:
            raise HandleLost("a file has another name by now")
        return stat

    # ------------------------------------------------------------- open files

    async def open(
        self,
        path: str,
        access: int,
        *,
        disposition: CreateDisposition = CreateDisposition.OPEN,
        mode: int = 0,
        lease_key: bytes | None = None,
        lease_wanted: LeaseState = READ_LEASE,
        parent_lease_key: bytes | None = None,
    ) -> Open:
        """Open or make a file; :func:`stat_of_open` tells what it is without asking again."""
        request = self.create_request(
            path,
            access | STAT_ACCESS,
            disposition=disposition,
            options=CreateOptions.NON_DIRECTORY_FILE,
            attributes=FileAttributes.ARCHIVE,
            mode=mode,
            with_file_id=True,
        )
        try:
            return await self.tree.create(
                request,
                lease_key=lease_key,
                lease_wanted=lease_wanted,
                parent_lease_key=parent_lease_key,
            )
        except ServerStatusError as error:
            if lease_key is None or error.status != NtStatus.STATUS_INVALID_PARAMETER:
                raise
        return await self.tree.create(request)  # The key is another name's of the same file.

    async def open_and_read(
        self, path: str, length: int, *, lease_key: bytes
    ) -> tuple[Open, memoryview, FileStat]:
        """Open a file under a lease, read its first ``length`` bytes and return what it is."""
        request = self.create_request(
            path,
            AccessMask.READ_DATA | STAT_ACCESS,
            options=CreateOptions.NON_DIRECTORY_FILE,
            with_file_id=True,
        )
        file, data, told = await self.tree.create_and_read(
            request, length, self.stat_query(), lease_key=lease_key
        )
        # A view would keep the whole frame.
        return file, memoryview(bytes(data)), self.decode_stat(told)

    async def read_small(self, path: str, length: int) -> tuple[CreateResponse, memoryview]:
        """Open a file, read its first ``length`` bytes and close it, in one round trip.

        Raises: ServerStatusError, with STATUS_END_OF_FILE for an empty file.
        """
        create = self.create_request(
            path,
            AccessMask.READ_DATA | STAT_ACCESS,
            options=CreateOptions.NON_DIRECTORY_FILE,
            with_file_id=True,
        )
        result = await self.tree.compound(create, ReadRequest(FileId.RELATED, 0, length))
        contents = ReadResponse.decode(result.responses[0]).data
        if len(contents) > length:
            raise RemoteProtocolError(f"READ of {length} bytes answered with {len(contents)}")
        return result.create, memoryview(bytes(contents))  # a view would keep the whole frame


def _is_of_lease(error: ServerStatusError, create: CreateRequest) -> bool:
    """Whether the lease key is another name's of the same file: better to break a lease then."""
    is_of_create = error.command == "CREATE" and create.oplock_level == OplockLevel.LEASE
    return error.status == NtStatus.STATUS_INVALID_PARAMETER and is_of_create


def _without_lease(create: CreateRequest) -> CreateRequest:
    contexts = tuple(each for each in create.contexts if not isinstance(each, LeaseRequestV2))
    return replace(create, oplock_level=OplockLevel.NONE, contexts=contexts)


def stat_of_open(created: CreateResponse) -> FileStat:
    """Return what CREATE told of the file; without POSIX extensions it counts no links."""
    on_disk = created.context(QueryOnDiskIdResponse)
    posix = created.context(PosixCreateResponse)
    is_directory = bool(created.file_attributes & FileAttributes.DIRECTORY)
    return FileStat(
        file_id=on_disk.disk_file_id if on_disk is not None else 0,
        size=created.end_of_file,
        allocation_size=created.allocation_size,
        creation_time=created.creation_time,
        access_time=created.last_access_time,
        write_time=created.last_write_time,
        change_time=created.change_time,
        attributes=created.file_attributes,
        link_count=posix.link_count if posix is not None else 1,
        reparse_tag=posix.reparse_tag if posix is not None else 0,
        mode=posix.st_mode(is_directory=is_directory) if posix is not None else None,
        owner=posix.owner if posix is not None else None,
        group=posix.group if posix is not None else None,
    )


def path_of(data: memoryview) -> str:
    """Return the path at the end of FileAllInformation. Spec: [MS-FSCC] 2.4.2."""
    length = int.from_bytes(data[_ALL_SIZE : _ALL_SIZE + 4], "little")
    path = data[_ALL_SIZE + 4 : _ALL_SIZE + 4 + length]
    return str(path, "utf-16-le", "replace").lstrip("\\")


def _last_name(data: memoryview) -> str:
    return path_of(data).rpartition("\\")[2]
