"""A machine that sleeps without its server: no program keeps it awake, and nothing is lost."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from smbfs.client.reconnect import LAST_ANSWERS_S
from smbfs.errors import ServerAway
from tests.beds.simulated_leases import NOTHING
from tests.t3_vfs.laptop import laptop

RECORD = b"four"


@pytest.mark.parametrize("forgets", [False, True], ids=["same session", "restarted server"])
async def test_what_was_written_waits_for_the_morning(
    autojump_clock: trio.testing.MockClock, forgets: bool
) -> None:
    async with laptop() as one, trio.open_nursery() as nursery:
        files = one.filesystem.files
        handle = await one.create(b"file")
        await files.write(handle, 0, RECORD)
        one.leave()
        ended: list[float] = []

        async def synchronise() -> None:
            with pytest.raises(ServerAway, match="sleep"):
                await files.synchronise(handle)
            ended.append(trio.current_time())

        nursery.start_soon(synchronise)
        await trio.testing.wait_all_tasks_blocked()
        began_s = trio.current_time()
        await one.prepare()
        await trio.testing.wait_all_tasks_blocked()
        assert ended
        assert ended[0] <= began_s + LAST_ANSWERS_S
        nursery.start_soon(synchronise)  # Nobody else keeps it awake, either.
        await trio.testing.wait_all_tasks_blocked()
        assert ended[1] == trio.current_time()
        assert one.contents("file") == b""

        if forgets:
            one.network.server.restart(keeps_handles=False)
        one.network.heal()
        one.awake()
        await files.synchronise(handle)
        assert one.contents("file") == RECORD
        await files.write(handle, 4, RECORD)
        await files.flush(handle)
        await files.release(handle)
        assert one.contents("file") == RECORD * 2
        assert one.lost == []


async def test_what_is_closed_meanwhile_is_closed_when_it_is_written(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with laptop() as one, trio.open_nursery() as nursery:
        files = one.filesystem.files
        handle = await one.create(b"file")
        await files.write(handle, 0, RECORD)
        one.leave()
        await one.prepare()
        with pytest.raises(ServerAway, match="sleep"):
            await files.flush(handle)
        nursery.start_soon(files.release, handle)
        await trio.sleep(1)
        one.network.heal()
        one.awake()
        await trio.sleep(10)
        assert one.contents("file") == RECORD
        assert len(one.filesystem.state.handles) == 0
        assert one.lost == []


async def test_what_somebody_else_waits_for_is_written_in_the_morning(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The server asks for our bytes just before the machine sleeps, and does not get them."""
    async with laptop() as one:
        files = one.filesystem.files
        handle = await one.create(b"file")
        await files.write(handle, 0, RECORD)
        assert one.contents("file") == b""
        for link in one.network.links:
            link.silence(0)  # Its last words arrive yet.
        server = one.network.server
        assert server.leases.hinders(server.files.names["file"], NOTHING, None)
        await trio.sleep(0.5)
        one.leave()
        await one.prepare()
        await trio.sleep(60)
        assert one.contents("file") == b""
        one.network.heal()
        one.awake()
        await trio.sleep(10)
        assert one.contents("file") == RECORD
        await files.write(handle, 4, RECORD)
        await files.flush(handle)
        await files.release(handle)
        assert one.contents("file") == RECORD * 2
        assert one.lost == []
