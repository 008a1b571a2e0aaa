"""Mount a share in a process of its own, without the command line: what a test of the mount needs.

Run as ``python -m tests.t4_fuse.mount_process UNC MOUNTPOINT OPTIONS`` with ``$USERNAME`` and
``$PASSWORD``, and MountOptions as JSON. It exits with 0 when the mount answers and leaves a child
that serves it until it is unmounted or told to end; or with 1 and a traceback.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys

import trio

from smbfs.auth.credentials import Credentials
from smbfs.auth.spnego import make_authenticator
from smbfs.client.connect import open_share
from smbfs.config.model import MountOptions
from smbfs.config.unc import Unc, parse_unc
from smbfs.fuse.mount import serve
from smbfs.fuse.mounter import Mounter
from smbfs.vfs.filesystem import open_filesystem

READY = b"ready"


async def mount(unc: Unc, mounter: Mounter, options: MountOptions, ready: int) -> None:
    credentials = Credentials(os.environ["USERNAME"], password=os.environ["PASSWORD"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_on_signal, nursery.cancel_scope)
        async with (
            open_share(unc, options, credentials, make_authenticator) as tree,
            open_filesystem(tree, options, unc.path) as filesystem,
        ):
            await serve(
                filesystem,
                mounter,
                unmount=lambda: _unmount(mounter.mountpoint),
                on_ready=lambda: _say_ready(ready),
            )
        nursery.cancel_scope.cancel()


def _unmount(mountpoint: str) -> None:
    """Take it out of the tree, if that was not why we end."""
    subprocess.run(
        ["fusermount3", "-u", "-z", "-q", "--", mountpoint], stderr=subprocess.DEVNULL, check=False
    )


def _say_ready(ready: int) -> None:
    os.write(ready, READY)


async def _end_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


def main() -> int:
    unc = parse_unc(sys.argv[1])
    options = MountOptions(**json.loads(sys.argv[3]))
    receive, send = os.pipe()
    if os.fork():
        os.close(send)
        return 0 if os.read(receive, len(READY)) == READY else 1
    os.close(receive)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    with Mounter(sys.argv[2], options, str(unc)) as mounter:
        trio.run(mount, unc, mounter, options, send)
    return 0


if __name__ == "__main__":
    sys.exit(main())
