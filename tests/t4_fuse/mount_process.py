"""Mount a share in a process of its own, without the command line: what a test of the mount needs.

Run as ``python -m tests.t4_fuse.mount_process UNC MOUNTPOINT OPTIONS`` with the password in
``$PASSWORD`` and MountOptions as JSON; it prints ``ready`` and serves until it is told to end.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from pathlib import Path

import trio

from smbfs.auth.credentials import Credentials
from smbfs.auth.spnego import make_authenticator
from smbfs.client.connect import open_share
from smbfs.config.model import MountOptions
from smbfs.config.unc import parse_unc
from smbfs.fuse.mount import serve
from smbfs.vfs.filesystem import open_filesystem


async def mount(unc_text: str, mountpoint: str, options: MountOptions) -> None:
    unc = parse_unc(unc_text)
    credentials = Credentials(os.environ["USERNAME"], password=os.environ["PASSWORD"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_on_signal, nursery.cancel_scope)
        async with (
            open_share(unc, options, credentials, make_authenticator) as tree,
            open_filesystem(tree, options, unc.path) as filesystem,
        ):
            await serve(
                filesystem,
                mountpoint,
                options,
                source=str(unc),
                on_ready=_say_ready,
            )
        nursery.cancel_scope.cancel()


def _say_ready() -> None:
    os.write(1, b"ready\n")


async def _end_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


def main() -> None:
    unc, mountpoint, options = sys.argv[1:]
    level = logging.DEBUG if Path(mountpoint).with_name("debug").exists() else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr)
    trio.run(mount, unc, mountpoint, MountOptions(**json.loads(options)))


if __name__ == "__main__":
    main()
