"""What changes a share by path: make, remove, rename, link, and set what a file has.

Each is one compound. Where servers know several ways, the one with POSIX semantics is tried
first, and a server that turns out not to know it is not asked again. Every function may raise
ServerStatusError.
"""

from __future__ import annotations

from stat import S_IMODE, S_IRUSR, S_IWUSR
from typing import Final

from smbfs.client.answers import answer
from smbfs.client.open import Open
from smbfs.errors import ServerStatusError
from smbfs.vfs.share import NOT_SUPPORTED, STAT_ACCESS, LeaseKeys, Share
from smbfs.wire.create import (
    AccessMask,
    CreateDisposition,
    CreateOptions,
    CreateRequest,
    FileAttributes,
    FileId,
)
from smbfs.wire.fscc import (
    DispositionFlags,
    ExtendedAttribute,
    FileStat,
    RenameFlags,
    decode_full_ea_list,
    encode_basic_information,
    encode_disposition,
    encode_disposition_ex,
    encode_end_of_file,
    encode_full_ea_list,
    encode_link_information,
    encode_rename_information,
    encode_rename_information_ex,
)
from smbfs.wire.info import (
    FileInfoClass,
    InfoType,
    QueryInfoRequest,
    QueryInfoResponse,
    SecurityInformation,
    SetInfoRequest,
)
from smbfs.wire.ioctl import FsctlCode, IoctlRequest
from smbfs.wire.mode_descriptor import encode_mode_descriptor
from smbfs.wire.ntstatus import NtStatus

_DELETE_ACCESS: Final = AccessMask.DELETE | STAT_ACCESS
_EA_SIZE_MAX: Final = 1 << 18
_REPARSE: Final = CreateOptions.OPEN_REPARSE_POINT
_REPARSE_ACCESS: Final = AccessMask.WRITE_DATA | AccessMask.WRITE_ATTRIBUTES

_REMOVING: Final = CreateOptions.DELETE_ON_CLOSE | CreateOptions.NON_DIRECTORY_FILE | _REPARSE
_DELETE: Final = encode_disposition(True)
_DELETE_EX: Final = encode_disposition_ex(
    DispositionFlags.DELETE
    | DispositionFlags.POSIX_SEMANTICS
    | DispositionFlags.IGNORE_READONLY_ATTRIBUTE
)
_RENAME_EX: Final = RenameFlags.POSIX_SEMANTICS | RenameFlags.IGNORE_READONLY_ATTRIBUTE


def set_file_info(
    info_class: FileInfoClass, data: bytes, file_id: FileId = FileId.RELATED
) -> SetInfoRequest:
    """Return the SET_INFO of a class of a file's information."""
    return SetInfoRequest(file_id, InfoType.FILE, info_class, data)


async def make_directory(
    share: Share, path: str, mode: int, *, keys: LeaseKeys | None = None
) -> FileStat:
    """Make a directory and return what it is."""
    create = share.create_request(
        path,
        STAT_ACCESS,
        disposition=CreateDisposition.CREATE,
        options=CreateOptions.DIRECTORY_FILE,
        attributes=FileAttributes.DIRECTORY,
        mode=mode,
        keys=keys,
    )
    (told,) = await share.compound(create, share.stat_query())
    return share.decode_stat(told)


async def remove(
    share: Share,
    path: str,
    *,
    kind: CreateOptions | None = None,
    keys: LeaseKeys | None = None,
) -> None:
    """Remove a name; what has the file open goes on as far as the server lets it.

    ``kind`` is DIRECTORY_FILE or NON_DIRECTORY_FILE, or None for either.
    """
    if await remove_like_posix(share, path, kind=kind, keys=keys):
        return
    try:
        if share.posix and kind == CreateOptions.NON_DIRECTORY_FILE:
            # Shorter. Samba says at once what it can't delete; Windows would not say it at all.
            create = share.create_request(path, _DELETE_ACCESS, options=_REMOVING, keys=keys)
            await share.compound(create)
            return
        options = _REPARSE | (kind or CreateOptions(0))
        create = share.create_request(path, _DELETE_ACCESS, options=options, keys=keys)
        await share.compound(create, set_file_info(FileInfoClass.DISPOSITION, _DELETE))
    except ServerStatusError as error:
        if error.status != NtStatus.STATUS_CANNOT_DELETE:
            raise
        # The read-only attribute, which POSIX does not ask when a name is removed.
        await _remove_read_only(share, path, kind=kind, keys=keys)


async def _remove_read_only(
    share: Share, path: str, *, kind: CreateOptions | None, keys: LeaseKeys | None
) -> None:
    create = share.create_request(
        path,
        _DELETE_ACCESS | AccessMask.WRITE_ATTRIBUTES,
        options=_REPARSE | (kind or CreateOptions(0)),
        keys=keys,
    )
    delete = set_file_info(FileInfoClass.DISPOSITION, _DELETE)
    await share.compound(create, _set_dos_attributes(FileAttributes.NORMAL), delete)


async def remove_like_posix(
    share: Share,
    path: str,
    *,
    kind: CreateOptions | None = None,
    keys: LeaseKeys | None = None,
) -> bool:
    """Remove a name at once although the file is open; False if the server doesn't know how."""
    if not share.limits.disposition_ex:
        return False
    options = _REPARSE | (kind or CreateOptions(0))
    create = share.create_request(path, _DELETE_ACCESS, options=options, keys=keys)
    try:
        await share.compound(create, set_file_info(FileInfoClass.DISPOSITION_EX, _DELETE_EX))
    except ServerStatusError as error:
        if error.status not in NOT_SUPPORTED or error.command == "CREATE":
            raise
        share.limits.disposition_ex = False
        return False
    return True


async def rename(
    share: Share, old: str, new: str, *, replace: bool, keys: LeaseKeys | None = None
) -> FileStat | None:
    """Give a file or directory another path, over what is there if ``replace``.

    Return what it is now, if the server tells. ``keys``: of the lease on the directory that it
    leaves.
    """
    create = share.create_request(old, _DELETE_ACCESS, keys=keys)
    if share.limits.rename_ex:
        flags = _RENAME_EX | (RenameFlags.REPLACE_IF_EXISTS if replace else RenameFlags(0))
        data = encode_rename_information_ex(new, flags)
        try:
            return await _rename(share, create, set_file_info(FileInfoClass.RENAME_EX, data))
        except ServerStatusError as error:
            if error.status not in NOT_SUPPORTED or error.command == "CREATE":
                raise
            share.limits.rename_ex = False
    data = encode_rename_information(new, replace=replace)
    return await _rename(share, create, set_file_info(FileInfoClass.RENAME, data))


async def _rename(share: Share, create: CreateRequest, request: SetInfoRequest) -> FileStat | None:
    try:
        _, told = await share.compound(create, request, share.stat_query())
    except ServerStatusError as error:
        if error.command != "QUERY_INFO":
            raise
        return None
    return share.decode_stat(told)


async def rename_and_delete(share: Share, old: str, new: str) -> None:
    """Move a file out of the way; it vanishes when the last open of it is closed."""
    create = share.create_request(old, _DELETE_ACCESS | AccessMask.WRITE_ATTRIBUTES)
    await share.compound(
        create,
        set_file_info(FileInfoClass.RENAME, encode_rename_information(new, replace=False)),
        _set_dos_attributes(FileAttributes.HIDDEN),  # And no longer read-only.
        set_file_info(FileInfoClass.DISPOSITION, _DELETE),
    )


async def open_to_delete(share: Share, path: str, *, keys: LeaseKeys | None = None) -> Open:
    """Open a file so that closing this open removes it."""
    request = share.create_request(path, _DELETE_ACCESS, options=_REMOVING, keys=keys)
    return await share.create(request)


async def rename_open(file: Open, new: str) -> None:
    """Give an open file another path, where nothing may be."""
    data = encode_rename_information(new, replace=False)
    await file.set_info(InfoType.FILE, FileInfoClass.RENAME, data)


async def link(share: Share, existing: str, new: str, *, keys: LeaseKeys | None = None) -> FileStat:
    """Give a file a further name and return what it is now."""
    # Windows asks for more itself; Samba does not, and has no more of a file that is read-only.
    access = STAT_ACCESS if share.posix else AccessMask.WRITE_ATTRIBUTES | STAT_ACCESS
    create = share.create_request(existing, access, keys=keys)
    data = encode_link_information(new, replace=False)
    _, told = await share.compound(
        create, set_file_info(FileInfoClass.LINK, data), share.stat_query()
    )
    return share.decode_stat(told)


async def make_special(
    share: Share,
    path: str,
    candidates: tuple[bytes, ...],
    mode: int,
    *,
    keys: LeaseKeys | None = None,
) -> FileStat:
    """Make a file that is a reparse point, the first of ``candidates`` that the server takes.

    Only who may write to it may make it one, so it gets a mode without that afterwards. Samba shows
    nobody what a file stands for who may not read it, so its owner may in any case.
    Raises: ServerStatusError of the last one, if it takes none.
    """
    is_closed = share.posix and not mode & S_IWUSR
    create = share.create_request(
        path,
        _REPARSE_ACCESS | STAT_ACCESS | (AccessMask.WRITE_DAC if is_closed else 0),
        disposition=CreateDisposition.CREATE,
        options=_REPARSE | CreateOptions.NON_DIRECTORY_FILE,
        attributes=FileAttributes.ARCHIVE,
        mode=mode | S_IRUSR | S_IWUSR,
        keys=keys,
    )
    closing = (mode_request(S_IMODE(mode) | S_IRUSR),) if is_closed else ()
    failure: ServerStatusError | None = None
    for reparse in candidates:
        request = IoctlRequest(FsctlCode.SET_REPARSE_POINT, FileId.RELATED, reparse, 0)
        try:
            *_, told = await share.compound(create, request, *closing, share.stat_query())
        except ServerStatusError as error:
            if error.command == "CREATE":
                raise
            await remove(share, path, keys=keys)  # An empty file, which nobody asked for.
            failure = error
        else:
            return share.decode_stat(told)
    assert failure is not None, "no candidates"
    raise failure


async def set_reparse_point(share: Share, path: str, reparse: bytes) -> None:
    """Make an existing file a reparse point."""
    request = IoctlRequest(FsctlCode.SET_REPARSE_POINT, FileId.RELATED, reparse, 0)
    await share.compound(share.create_request(path, _REPARSE_ACCESS), request)


async def change_open(share: Share, file: Open, change: SetInfoRequest) -> FileStat:
    """Change an open file and return what it is then, in one round trip.

    It must be a change that no lease of another client has wait: servers may refuse to go on with
    a compound then.
    """
    changed = await share.tree.perform(change, share.stat_query(), of=file)
    answer(changed)
    told = changed.response(1)
    is_told = told.header.status == NtStatus.STATUS_SUCCESS
    if not is_told or (share.posix and not file.is_posix):  # Perhaps only since.
        return await share.stat_open(file)
    return share.decode_stat(told.body)


def mode_request(mode: int, file_id: FileId = FileId.RELATED) -> SetInfoRequest:
    """Return the request that sets permission bits (POSIX extensions only)."""
    descriptor = encode_mode_descriptor(mode)
    return SetInfoRequest(file_id, InfoType.SECURITY, 0, descriptor, SecurityInformation.DACL)


def end_of_file_request(file_id: FileId, size: int) -> SetInfoRequest:
    """Return the request that cuts or extends an open file."""
    return set_file_info(FileInfoClass.END_OF_FILE, encode_end_of_file(size), file_id)


async def set_size(
    share: Share, path: str, size: int, *, keys: LeaseKeys | None = None
) -> FileStat:
    """Cut or extend a file and return what it is now."""
    create = share.create_request(
        path,
        AccessMask.WRITE_DATA | STAT_ACCESS,
        options=CreateOptions.NON_DIRECTORY_FILE,
        keys=keys,
    )
    request = end_of_file_request(FileId.RELATED, size)
    _, told = await share.compound(create, request, share.stat_query())
    return share.decode_stat(told)


async def set_attributes(
    share: Share,
    path: str,
    *,
    access_time: int = 0,
    write_time: int = 0,
    attributes: int = 0,
    keys: LeaseKeys | None = None,
) -> FileStat:
    """Set times (FILETIMEs) and DOS attributes, 0 for what stays; return what the file is now."""
    data = encode_basic_information(
        access_time=access_time, write_time=write_time, attributes=attributes
    )
    create = share.create_request(path, AccessMask.WRITE_ATTRIBUTES | STAT_ACCESS, keys=keys)
    _, told = await share.compound(
        create, set_file_info(FileInfoClass.BASIC, data), share.stat_query()
    )
    return share.decode_stat(told)


def _set_dos_attributes(attributes: FileAttributes) -> SetInfoRequest:
    return set_file_info(FileInfoClass.BASIC, encode_basic_information(attributes=attributes))


async def read_extended_attributes(
    share: Share, path: str, *, keys: LeaseKeys | None = None
) -> tuple[ExtendedAttribute, ...]:
    """Return all extended attributes of a file."""
    size = min(_EA_SIZE_MAX, share.tree.max_transact_size)
    query = QueryInfoRequest(FileId.RELATED, InfoType.FILE, FileInfoClass.FULL_EA, size)
    create = share.create_request(path, AccessMask.READ_EA | STAT_ACCESS, keys=keys)
    (told,) = await share.compound(create, query)
    return decode_full_ea_list(QueryInfoResponse.decode(told).data)


async def set_extended_attribute(
    share: Share, path: str, attribute: ExtendedAttribute, *, keys: LeaseKeys | None = None
) -> None:
    """Set an extended attribute; an empty value removes it."""
    create = share.create_request(path, AccessMask.WRITE_EA | STAT_ACCESS, keys=keys)
    await share.compound(
        create, set_file_info(FileInfoClass.FULL_EA, encode_full_ea_list([attribute]))
    )
