"""Ranges of an open file that have no room on the server: finding and making them.

Spec: [MS-SMB2] 3.2.4.20, [MS-FSA] 2.1.5.10.22, 2.1.5.10.36, 2.1.5.10.40.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from smbfs.client.open import Open
from smbfs.errors import ServerStatusError
from smbfs.wire.ioctl import (
    FsctlCode,
    IoctlRequest,
    IoctlResponse,
    decode_ranges,
    encode_range,
    encode_zero_data,
)
from smbfs.wire.ntstatus import NtStatus

_ANSWER_SIZE: Final = 64 * 1024
_TOO_MANY: Final = frozenset({NtStatus.STATUS_BUFFER_OVERFLOW, NtStatus.STATUS_BUFFER_TOO_SMALL})


async def make_sparse(file: Open) -> None:
    """Let zeros that are made from now on take no room. Raises: ServerStatusError."""
    request = IoctlRequest(FsctlCode.SET_SPARSE, file.file_id, max_output_response=0)
    await file.tree.request(request, of=file)


async def zero(file: Open, offset: int, end: int) -> None:
    """Make the bytes from ``offset`` to before ``end`` zeros; in a sparse file they take no room.

    The file does not grow by that.
    Raises: ServerStatusError.
    """
    data = encode_zero_data(offset, end)
    request = IoctlRequest(FsctlCode.SET_ZERO_DATA, file.file_id, data, max_output_response=0)
    await file.tree.request(request, of=file)


async def allocated_ranges(
    file: Open, offset: int, end: int
) -> tuple[Sequence[tuple[int, int]], int]:
    """Return which ranges from ``offset`` on have room, and up to where that is told.

    ``(begin, end)`` of each, in order. Servers may round them, and tell of more than was asked.
    Where there are more than fit into an answer they are told up to somewhere before ``end``.
    Raises: ServerStatusError, WireError.
    """
    while True:
        request = IoctlRequest(
            FsctlCode.QUERY_ALLOCATED_RANGES,
            file.file_id,
            encode_range(offset, end - offset),
            max_output_response=_ANSWER_SIZE,
        )
        try:
            response = await file.tree.request(request, of=file)
        except ServerStatusError as error:
            if error.status not in _TOO_MANY or end - offset == 1:
                raise
            end = (offset + end) // 2
            continue
        told = decode_ranges(IoctlResponse.decode(response.body).data)
        return sorted((begin, begin + length) for begin, length in told), end
