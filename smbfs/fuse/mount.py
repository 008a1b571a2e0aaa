"""Mounting: from a file system to a mount that answers, and back to an empty directory."""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from smbfs.fuse.invalidate import Invalidator
from smbfs.fuse.mounter import Mounter
from smbfs.fuse.operations import handlers, undo
from smbfs.fuse.session import Session
from smbfs.vfs.filesystem import FileSystem

READ_AHEAD_KB: Final = 1024
"""What the kernel reads ahead of a sequential reader; its own choice is 128 KiB."""

_log = logging.getLogger(__name__)


async def serve(
    filesystem: FileSystem,
    mounter: Mounter,
    *,
    unmount: Callable[[], None],
    on_ready: Callable[[], None],
) -> None:
    """Mount, call ``on_ready`` when the mount answers, and serve it until it is unmounted.

    However this ends, ``unmount`` is called then: nobody else does it (see ``mounter``).
    Raises: RuntimeError if the kernel or fusermount3 refuses the mount.
    """
    device = mounter.mount()
    try:
        async with trio.open_nursery() as nursery:
            invalidator = Invalidator(device, filesystem.state.questions)
            filesystem.state.kernel = invalidator
            nursery.start_soon(invalidator.run)
            nursery.start_soon(_announce, mounter.mountpoint, on_ready)
            nursery.start_soon(_watch_unmount, device, filesystem)
            await Session(device, handlers(filesystem), undo(filesystem)).serve()
            nursery.cancel_scope.cancel()
    finally:
        _let_go(device)
        unmount()


def _let_go(device: int) -> None:
    """Close the device: the kernel answers nobody any more.

    A thread may just be about to write a notice, so the number must not become something else's.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, device, inheritable=False)
    os.close(nowhere)


async def _watch_unmount(device: int, filesystem: FileSystem) -> None:
    """Tell the file system when the kernel has let go of the mount.

    The session waits for the requests that are under way then, and they may wait for the server.
    """
    with select.epoll() as events:
        events.register(device, 0)  # Nothing but the error that there is no mount any more.
        await trio.lowlevel.wait_readable(events)
    filesystem.unmounted()


async def _announce(mountpoint: str, on_ready: Callable[[], None]) -> None:
    """Wait until the kernel gets an answer through the mount, then say so."""
    facts = await trio.to_thread.run_sync(os.stat, mountpoint, abandon_on_cancel=True)
    _raise_read_ahead(facts.st_dev)
    on_ready()


def _raise_read_ahead(device: int) -> None:
    """Have the kernel read ahead in larger steps, if we may say so."""
    bdi = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    try:
        if int(bdi.read_text()) < READ_AHEAD_KB:
            bdi.write_text(str(READ_AHEAD_KB))
    except (OSError, ValueError) as error:
        _log.info("read-ahead stays as the kernel chose it: %s", error)
