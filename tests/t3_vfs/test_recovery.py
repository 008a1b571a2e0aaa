"""What a server that has forgotten our files may have lost, and who is told."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from smbfs.errors import HandleLost, WritesLost
from smbfs.vfs.recovery import COMES_BACK_WITHIN_S
from smbfs.wire.create import CreateRequest
from smbfs.wire.header import HEADER_SIZE, Command
from tests.beds.framing import elements_of
from tests.beds.simulated_sessions import Peer
from tests.t3_vfs.laptop import Laptop, laptop

RECORD = b"four"


async def forget(one: Laptop, *, pause_s: float = 10.0) -> None:
    """Restart the server, which keeps nothing that is open."""
    one.network.server.restart(keeps_handles=False)
    for link in one.network.links:
        link.die()
    await trio.sleep(pause_s)


def never_answer_creates(one: Laptop, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Have the server take the CREATEs of files whose name begins so, and say nothing."""
    receive = one.network.server.receive

    def swallow(peer: Peer, frame: bytes) -> None:
        header, element = next(elements_of(frame))
        is_create = header.command == Command.CREATE
        if is_create and CreateRequest.decode(element[HEADER_SIZE:]).name.startswith(name):
            return
        receive(peer, frame)

    monkeypatch.setattr(one.network.server, "receive", swallow)


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


@pytest.mark.parametrize("count", [1, 2])
async def test_a_file_that_is_not_brought_back_in_time_is_lost_and_keeps_nobody_waiting(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Its CREATE is never answered: a disk that hangs, or whoever holds it does not let go."""
    async with laptop() as one:
        files = one.filesystem.files
        stuck = [await one.create(b"stuck%d" % number) for number in range(count)]
        good = await one.create(b"good")
        for handle in (*stuck, good):
            await files.write(handle, 0, RECORD)
            await files.synchronise(handle)
        never_answer_creates(one, monkeypatch, "stuck")
        began_s = trio.current_time()
        await forget(one, pause_s=0.0)
        with trio.fail_after(COMES_BACK_WITHIN_S + 5.0):
            await files.write(good, 4, RECORD)
            await files.synchronise(good)
        assert trio.current_time() - began_s >= COMES_BACK_WITHIN_S
        assert one.contents("good") == RECORD * 2
        for handle in stuck:
            with pytest.raises(HandleLost):
                await files.write(handle, 4, RECORD)
        for handle in (*stuck, good):
            await files.release(handle)


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
