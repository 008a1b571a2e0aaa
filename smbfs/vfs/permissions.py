"""Whose a file is, what its owner lets others do, and the times that Samba makes depend on that.

By path, with POSIX extensions but for the times. Every function may raise ServerStatusError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from stat import S_IMODE, S_IWUSR

import trio

from smbfs.client.open import Open
from smbfs.errors import ServerStatusError, SmbfsError
from smbfs.vfs.changes import mode_request, set_attributes
from smbfs.vfs.share import STAT_ACCESS, LeaseKeys, Share
from smbfs.wire.create import AccessMask, FileId
from smbfs.wire.fscc import FileStat
from smbfs.wire.info import InfoType, SecurityInformation, SetInfoRequest
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.security import SecurityDescriptor, Sid


async def set_mode(
    share: Share, path: str, mode: int, *, keys: LeaseKeys | None = None
) -> FileStat:
    """Set permission bits (POSIX extensions only) and return what the file is now."""
    return await _set_security(share, path, AccessMask.WRITE_DAC, mode_request(mode), keys)


async def set_owner(
    share: Share, path: str, uid: int | None, gid: int | None, *, keys: LeaseKeys | None = None
) -> FileStat:
    """Set owner and group where given; return what the file is now."""
    parts = SecurityInformation(0)
    if uid is not None:
        parts |= SecurityInformation.OWNER
    if gid is not None:
        parts |= SecurityInformation.GROUP
    descriptor = SecurityDescriptor(
        Sid.unix_user_sid(uid) if uid is not None else None,
        Sid.unix_group_sid(gid) if gid is not None else None,
    )
    data = descriptor.encode()
    change = SetInfoRequest(FileId.RELATED, InfoType.SECURITY, 0, data, parts)
    return await _set_security(share, path, AccessMask.WRITE_OWNER, change, keys)


async def set_times(
    share: Share, path: str, access_time: int, write_time: int, *, keys: LeaseKeys | None = None
) -> FileStat:
    """Set times (FILETIMEs, 0 for what stays), also of what its owner has made read-only.

    Samba lets nobody set the times of that, who owns it included. But an owner may always change
    the mode, and change it back.
    """
    try:
        return await set_attributes(
            share, path, access_time=access_time, write_time=write_time, keys=keys
        )
    except ServerStatusError as error:
        if error.status != NtStatus.STATUS_ACCESS_DENIED or not share.posix:
            raise
        refusal = error
    file = await share.create(
        share.create_request(path, AccessMask.WRITE_DAC | STAT_ACCESS, keys=keys)
    )
    try:
        mode = (await share.stat_open(file)).mode
        if mode is None or mode & S_IWUSR:
            raise refusal
        async with _writable(share, path, file, S_IMODE(mode)):
            await set_attributes(
                share, path, access_time=access_time, write_time=write_time, keys=keys
            )
        return await share.stat_open(file)
    finally:
        file.close_unwaited()


@asynccontextmanager
async def _writable(share: Share, path: str, file: Open, mode: int) -> AsyncIterator[None]:
    """Let its owner write to a file for the length of the block, whatever happens in that."""
    try:
        await share.tree.request(mode_request(mode | S_IWUSR, file.file_id), of=file)
        yield
    finally:
        with trio.CancelScope(shield=True):
            try:
                await share.tree.request(mode_request(mode, file.file_id), of=file)
            except SmbfsError:  # The handle may be lost: then it is by the path, or not at all.
                await set_mode(share, path, mode)


async def _set_security(
    share: Share, path: str, access: AccessMask, change: SetInfoRequest, keys: LeaseKeys | None
) -> FileStat:
    create = share.create_request(path, access | STAT_ACCESS, keys=keys)
    _, told = await share.compound(create, change, share.stat_query())
    return share.decode_stat(told)
