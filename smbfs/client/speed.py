"""How fast a share is by one connection: written, read, and asked."""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable, Iterable
from statistics import median
from typing import Final, NamedTuple

import trio

from smbfs.client.open import Open
from smbfs.client.tree_connect import TreeConnect
from smbfs.wire.close_flush import FlushRequest
from smbfs.wire.create import AccessMask, CreateDisposition, CreateOptions, CreateRequest
from smbfs.wire.info import FileInfoClass, InfoType

LASTS_S: Final = 2.0
"""Seconds that writing and reading take, each, if the server is not fast."""

SIZE_MAX: Final = 512 * 1024 * 1024
"""Bytes that are written at most."""

AT_ONCE: Final = 8
"""Requests under way at a time, as a mount's read-ahead has them."""

QUESTIONS: Final = 64
"""Round trips that are timed."""


class Speed(NamedTuple):
    """What a connection carries."""

    written_per_s: float
    """Bytes, until the server says that they are on stable storage."""
    read_per_s: float
    """Bytes. The server has just written them, and has them in memory."""
    round_trip_s: float
    """Seconds: half of the questions are answered sooner."""


async def measure(tree: TreeConnect, folder: str) -> Speed:
    """Write a file, read it back and ask about it; it goes when this ends.

    ``folder``: as the server spells it, "" for the share's root.
    Raises: ServerStatusError, TransportError.
    """
    name = f".smbfs-bench-{secrets.token_hex(4)}"
    file = await tree.create(
        CreateRequest(
            name=f"{folder}\\{name}" if folder else name,
            desired_access=AccessMask.READ_DATA | AccessMask.WRITE_DATA | AccessMask.DELETE,
            create_disposition=CreateDisposition.CREATE,
            create_options=CreateOptions.DELETE_ON_CLOSE | CreateOptions.NON_DIRECTORY_FILE,
        )
    )
    try:
        size, took_s = await _write(file)
        written_per_s = size / took_s
        took_s = await _read(file, size)
        return Speed(written_per_s, size / took_s, await _ask(file))
    finally:
        with trio.CancelScope(shield=True):
            await file.close()


async def _write(file: Open) -> tuple[int, float]:
    data = os.urandom(file.tree.max_write_size)  # Nobody can make it smaller.
    began_s = trio.current_time()
    end = 0

    def offsets() -> Iterable[int]:
        nonlocal end
        while end < SIZE_MAX and trio.current_time() < began_s + LASTS_S:
            end += len(data)
            yield end - len(data)

    await _at_once(offsets(), lambda offset: file.write(offset, data))
    await file.tree.request(FlushRequest(file.file_id), of=file)
    return end, trio.current_time() - began_s


async def _read(file: Open, size: int) -> float:
    began_s = trio.current_time()
    length = file.tree.max_read_size
    await _at_once(range(0, size, length), lambda offset: file.read(offset, length))
    return trio.current_time() - began_s


async def _ask(file: Open) -> float:
    times = []
    for _ in range(QUESTIONS):
        asked_s = trio.current_time()
        await file.query_info(InfoType.FILE, FileInfoClass.STANDARD)
        times.append(trio.current_time() - asked_s)
    return median(times)


async def _at_once(offsets: Iterable[int], do: Callable[[int], Awaitable[object]]) -> None:
    waiting = iter(offsets)

    async def go_on() -> None:
        for offset in waiting:
            await do(offset)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(go_on)
