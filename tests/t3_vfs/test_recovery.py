"""What a server that has forgotten our files may have lost, and who is told."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from smbfs.errors import HandleLost, WritesLost
from tests.t3_vfs.laptop import Laptop, laptop

RECORD = b"four"


async def forget(one: Laptop) -> None:
    """Restart the server, which keeps nothing that is open."""
    one.network.server.restart(keeps_handles=False)
    for link in one.network.links:
        link.die()
    await trio.sleep(10)


async def test_a_close_tells_of_bytes_that_were_taken_and_never_made_stable(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with laptop() as one:
        files = one.filesystem.files
        handle = await one.create(b"file")
        await files.write(handle, 4, RECORD)
        await files.flush(handle)
        await files.write(handle, 20, RECORD)
        await files.flush(handle)
        await forget(one)
        with pytest.raises(WritesLost, match="20 bytes at 4"):
            await files.flush(handle)
        assert [(name, offset, length) for name, offset, length, _ in one.lost] == [("file", 4, 20)]
        with pytest.raises(HandleLost):
            await files.write(handle, 0, RECORD)
        await files.release(handle)


async def test_what_is_stable_is_not_lost(autojump_clock: trio.testing.MockClock) -> None:
    async with laptop() as one:
        files = one.filesystem.files
        handle = await one.create(b"file")
        await files.write(handle, 0, RECORD)
        await files.synchronise(handle)
        await forget(one)
        await files.write(handle, 4, RECORD)
        await files.synchronise(handle)
        await files.release(handle)
        assert one.contents("file") == RECORD * 2
        assert one.lost == []


async def test_what_was_opened_anew_is_durable_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with laptop() as one:
        files = one.filesystem.files
        handle = await one.create(b"file")
        assert one.filesystem.state.handles.durable == 1
        await forget(one)
        await files.write(handle, 0, RECORD)
        await files.flush(handle)
        assert one.filesystem.state.handles.durable == 1
        one.network.server.restart(keeps_handles=True)
        for link in one.network.links:
            link.die()
        await files.write(handle, 4, RECORD)
        await files.synchronise(handle)
        await files.release(handle)
        assert one.contents("file") == RECORD * 2
