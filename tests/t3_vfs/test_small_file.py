"""A small file that is open in memory alone: what was known of it gets no younger by reading."""

from __future__ import annotations

from typing import cast

import trio
import trio.testing

from smbfs.client.open import Open
from smbfs.client.tree_connect import TreeConnect
from smbfs.vfs.block_cache import Block, BlockCache
from smbfs.vfs.lease_policy import Version
from smbfs.vfs.read_ahead import FileReader
from smbfs.vfs.small_file import SmallFile
from tests.t3_vfs.late_server import LateOpen, LateServer

CONTENTS = b"small"
VERSION = Version(len(CONTENTS), 1, 0)


class FileContent:
    """Stands in for an inode."""

    number = 1
    content_changes = 0
    version: Version | None = VERSION


async def test_reading_from_memory_does_not_renew_what_is_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Or who opens it every few seconds would never learn what others write."""
    cache, inode, server = BlockCache(1 << 20), FileContent(), LateServer(bytearray(b"other"))
    arrived_s = trio.current_time()
    cache.put(inode.number, 0, Block(memoryview(CONTENTS), arrived_s), VERSION)
    await trio.sleep(9)

    async def reopen() -> Open:
        return LateOpen(server)

    file = SmallFile(
        cast(TreeConnect, server.tree),
        memoryview(CONTENTS),
        size=len(CONTENTS),
        is_remembered=True,
        inode=inode,
        content_changes=0,
        asked_s=trio.current_time(),
        believe_s=1.0,
        reopen=reopen,
    )
    async with trio.open_nursery() as nursery:
        reader = FileReader(file, cache, inode, size=len(CONTENTS), nursery=nursery, believe_s=1.0)
        assert bytes(await reader.read(0, 4096)) == CONTENTS
        block = cache.whole(inode.number, VERSION)
        assert block is not None
        assert block.arrived_s == arrived_s
        await trio.sleep(1.5)  # Nobody vouches for it by now.
        assert bytes(await reader.read(0, 4096)) == b"other"
        await file.close()
    assert server.handles == 0
