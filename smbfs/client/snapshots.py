"""Asking which past states of a share the server has kept. Spec: [MS-SMB2] 3.2.4.20.5."""

from __future__ import annotations

from typing import Final

from smbfs.client.open import Open
from smbfs.client.tree_connect import TreeConnect
from smbfs.errors import ServerStatusError
from smbfs.wire.create import (
    AccessMask,
    CreateDisposition,
    CreateOptions,
    CreateRequest,
    ShareAccess,
)
from smbfs.wire.ioctl import FsctlCode, IoctlRequest, IoctlResponse, decode_snapshots
from smbfs.wire.ntstatus import NtStatus

_ANSWER_SIZE: Final = 64 * 1024
"""Bytes that some thousand names take."""

_HAS_NONE: Final = frozenset(
    {
        NtStatus.STATUS_INVALID_DEVICE_REQUEST,
        NtStatus.STATUS_NOT_IMPLEMENTED,
        NtStatus.STATUS_NOT_SUPPORTED,
    }
)
"""How servers answer where nothing makes snapshots."""


async def list_snapshots(tree: TreeConnect, path: str) -> tuple[str, ...]:
    """Return the names of the snapshots that have a folder of a share, as ``snapshot=`` takes them.

    ``path``: as the server spells it, "" for the whole share.
    Raises: ServerStatusError, TransportError.
    """
    folder = await tree.create(
        CreateRequest(
            name=path,
            desired_access=AccessMask.READ_DATA | AccessMask.READ_ATTRIBUTES,
            share_access=ShareAccess.READ | ShareAccess.WRITE | ShareAccess.DELETE,
            create_disposition=CreateDisposition.OPEN,
            create_options=CreateOptions.DIRECTORY_FILE,
        )
    )
    try:
        names, size = await _list(folder, _ANSWER_SIZE)
        if not names and size > _ANSWER_SIZE:
            names, _ = await _list(folder, min(size, tree.max_transact_size))
    except ServerStatusError as error:
        if error.status not in _HAS_NONE:
            raise
        return ()
    finally:
        folder.close_unwaited()
    return names


async def _list(folder: Open, room: int) -> tuple[tuple[str, ...], int]:
    request = IoctlRequest(
        FsctlCode.SRV_ENUMERATE_SNAPSHOTS, folder.file_id, max_output_response=room
    )
    response = await folder.tree.request(request, of=folder)
    return decode_snapshots(IoctlResponse.decode(response.body).data)
