"""Directories as the server lists them: opening one, and its entries piece by piece.

The first pieces come in the same round trip as the open. Every function may raise
ServerStatusError.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from smbfs.client.open import Open
from smbfs.engine.negotiate import SINGLE_CREDIT_SIZE
from smbfs.errors import ServerStatusError, WireError
from smbfs.vfs.share import NOT_SUPPORTED, STAT_ACCESS, Share, stat_of_open
from smbfs.wire.create import AccessMask, CreateOptions, FileId
from smbfs.wire.fscc import (
    DirectoryEntry,
    FileStat,
    decode_fs_object_id_information,
    iterate_directory,
)
from smbfs.wire.info import (
    FileInfoClass,
    FsInfoClass,
    InfoType,
    QueryInfoRequest,
    QueryInfoResponse,
)
from smbfs.wire.ntstatus import NtStatus

_OBJECT_ID_SIZE: Final = 64
_LIST_ACCESS: Final = AccessMask.LIST_DIRECTORY | STAT_ACCESS


class ServerDirectory(NamedTuple):
    """A directory that was opened, and the beginning of its listing."""

    open: Open
    first: list[DirectoryEntry]
    """Nothing if the listing could not be begun."""
    is_all: bool
    """Whether the directory has no more entries."""
    told: FileStat | None
    """What the directory itself is, if that was asked."""


async def open_directory(
    share: Share, path: str, *, lease_key: bytes | None = None, length: int = SINGLE_CREDIT_SIZE
) -> ServerDirectory:
    """Open a directory and begin to list it, in one round trip.

    ``length``: bytes of each of the first two pieces, at most what one credit pays for; 0 for none.
    """
    options = CreateOptions.DIRECTORY_FILE
    request = share.create_request(path, _LIST_ACCESS, options=options, with_file_id=True)
    if not length:
        opened, body = await share.tree.create_and_query(
            request, share.stat_query(), lease_key=lease_key
        )
        with _closing_on_error(opened):
            told = share.decode_stat(body) if body is not None else None
        return ServerDirectory(opened, [], is_all=False, told=told)
    info_class = _info_class(share)
    opened, pieces, is_all = await share.tree.create_and_list(
        request, info_class, length=length, lease_key=lease_key
    )
    with _closing_on_error(opened):
        entries = _entries(pieces, info_class)
    if share.posix:  # Samba's CREATE does not tell when it changed.
        told = next((entry.stat for entry in entries if entry.name == "."), None)
    else:
        told = stat_of_open(opened.created)
    return ServerDirectory(opened, entries, is_all, told)


async def list_again(
    share: Share, directory: Open, *, length: int = SINGLE_CREDIT_SIZE
) -> ServerDirectory:
    """Begin to list an open directory anew, in one round trip."""
    info_class = _info_class(share)
    pieces, is_all = await directory.list_again(info_class, length=length)
    return ServerDirectory(directory, _entries(pieces, info_class), is_all, told=None)


async def list_piece(
    share: Share, directory: Open, *, restart: bool
) -> list[DirectoryEntry] | None:
    """Return the next entries as the server sends them, or None when there are no more."""
    info_class = _info_class(share)
    try:
        data = await directory.query_directory(info_class, restart=restart)
    except ServerStatusError as error:
        if error.status == NtStatus.STATUS_NO_SUCH_FILE:
            return None  # An empty directory, where the server hides "." and "..".
        can_do_without = not share.posix and share.limits.file_ids_in_listings
        if error.status not in NOT_SUPPORTED or not can_do_without:
            raise
        share.limits.file_ids_in_listings = False
        return await list_piece(share, directory, restart=restart)
    return _entries([data], info_class) if data is not None else None


async def tells_ea_sizes(share: Share) -> bool:
    """Whether a listing tells of each file how large its extended attributes are.

    Samba says that it is Samba, and does. Others are not believed: ksmbd tells 0 of files that have
    some, and NTFS may tell what was so when the name was used last.
    Spec: [MS-FSCC] 2.4.17, 2.5.6.
    """
    if share.limits.ea_sizes_in_listings is None:
        query = QueryInfoRequest(
            FileId.RELATED, InfoType.FILESYSTEM, FsInfoClass.OBJECT_ID, _OBJECT_ID_SIZE
        )
        create = share.create_request(share.path(()), STAT_ACCESS)
        try:
            (answer,) = await share.compound(create, query)
            told = decode_fs_object_id_information(QueryInfoResponse.decode(answer).data)
            share.limits.ea_sizes_in_listings = told.is_of_samba
        except (ServerStatusError, WireError):
            share.limits.ea_sizes_in_listings = False
    return share.limits.ea_sizes_in_listings and share.limits.file_ids_in_listings


async def ids_of_bare(share: Share, path: str, *, entries_max: int) -> set[int]:
    """Return the file ids of what is in a directory and has no extended attributes.

    None of them if there are more entries than that.
    """
    info_class = FileInfoClass.ID_FULL_DIRECTORY
    options = CreateOptions.DIRECTORY_FILE
    request = share.create_request(path, _LIST_ACCESS, options=options)
    opened, pieces, is_all = await share.tree.create_and_list(
        request, info_class, length=SINGLE_CREDIT_SIZE
    )
    ids: set[int] = set()
    count = 0
    try:
        while True:
            entries = _entries(pieces, info_class)
            count += len(entries)
            if count > entries_max:
                return set()
            ids.update(entry.stat.file_id for entry in entries if entry.ea_size == 0)
            piece = None if is_all or not entries else await opened.query_directory(info_class)
            if piece is None:
                return ids
            pieces = [piece]
    finally:
        opened.close_unwaited()


@contextmanager
def _closing_on_error(opened: Open) -> Iterator[None]:
    try:
        yield
    except WireError:
        opened.close_unwaited()
        raise


def _entries(pieces: list[memoryview], info_class: FileInfoClass) -> list[DirectoryEntry]:
    return [entry for piece in pieces for entry in iterate_directory(piece, info_class)]


def _info_class(share: Share) -> FileInfoClass:
    if share.posix:
        return FileInfoClass.POSIX
    if share.limits.file_ids_in_listings:
        return FileInfoClass.ID_FULL_DIRECTORY
    return FileInfoClass.BOTH_DIRECTORY
