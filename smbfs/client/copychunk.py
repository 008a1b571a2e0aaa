"""Having the server copy between two of its files, so that no byte of them travels.

Spec: [MS-SMB2] 3.2.4.20.1, 3.2.4.20.2, 3.3.5.15.5, 3.3.5.15.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from smbfs.client.open import Open
from smbfs.errors import RemoteProtocolError
from smbfs.wire.ioctl import (
    FsctlCode,
    IoctlRequest,
    IoctlResponse,
    SrvCopychunk,
    SrvCopychunkCopy,
    SrvCopychunkResponse,
    decode_resume_key,
)

CHUNK_SIZE: Final = 1024 * 1024
"""Bytes of one chunk, which every server takes that copies at all (3.3.3)."""

REQUEST_SIZE: Final = 16 * CHUNK_SIZE
"""Bytes of one request, likewise."""

_KEY_ANSWER_SIZE: Final = 32
_COPY_ANSWER_SIZE: Final = 12


async def resume_key(source: Open) -> bytes:
    """Return what an open file is called in :func:`copy_chunks`, 24 bytes.

    Raises: ServerStatusError.  Spec: [MS-SMB2] 2.2.32.3.
    """
    request = IoctlRequest(
        FsctlCode.SRV_REQUEST_RESUME_KEY, source.file_id, max_output_response=_KEY_ANSWER_SIZE
    )
    response = await source.tree.request(request, of=source)
    return decode_resume_key(IoctlResponse.decode(response.body).data)


async def copy_chunks(target: Open, key: bytes, chunks: Sequence[SrvCopychunk]) -> int:
    """Copy ranges of the file that ``key`` stands for; return how many bytes that were.

    The target need not be open for reading. ``chunks``: of at most ``CHUNK_SIZE`` bytes each, and
    ``REQUEST_SIZE`` together.
    Raises: ServerStatusError; it may have copied some of them.  Spec: [MS-SMB2] 2.2.31.1.
    """
    asked = sum(chunk.length for chunk in chunks)
    request = IoctlRequest(
        FsctlCode.SRV_COPYCHUNK_WRITE,
        target.file_id,
        SrvCopychunkCopy(key, tuple(chunks)).encode(),
        max_output_response=_COPY_ANSWER_SIZE,
    )
    response = await target.tree.request(request, of=target)
    copied = SrvCopychunkResponse.decode(IoctlResponse.decode(response.body).data)
    if copied.total_bytes_written > asked:
        raise RemoteProtocolError(f"of {asked} bytes {copied.total_bytes_written} were copied")
    return copied.total_bytes_written


def chunks_of(source_offset: int, target_offset: int, length: int) -> list[SrvCopychunk]:
    """Return the chunks of one request, which are ``length`` bytes together or less."""
    length = min(length, REQUEST_SIZE)
    return [
        SrvCopychunk(source_offset + at, target_offset + at, min(CHUNK_SIZE, length - at))
        for at in range(0, length, CHUNK_SIZE)
    ]
