"""Background tasks live until the block that they serve has cleaned up."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from smbfs.client.background import background_tasks


async def test_tasks_still_serve_a_cancelled_block_that_cleans_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    served: list[str] = []

    async def serve(requests: trio.MemoryReceiveChannel[str]) -> None:
        async for request in requests:
            await trio.sleep(1)
            served.append(request)

    send, receive = trio.open_memory_channel[str](0)
    with trio.move_on_after(5) as scope:
        async with background_tasks() as background:
            background.start_soon(serve, receive)
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await send.send("flush")
                    await trio.sleep(2)
    assert scope.cancelled_caught
    assert served == ["flush"]


async def test_an_error_of_the_block_is_not_wrapped() -> None:
    with pytest.raises(ValueError, match="as it is"):
        async with background_tasks():
            raise ValueError("as it is")


async def test_an_error_of_a_task_ends_the_block() -> None:
    async def fail() -> None:
        raise ValueError("from the background")

    with pytest.RaisesGroup(ValueError, flatten_subgroups=True):
        async with background_tasks() as background:
            background.start_soon(fail)
            await trio.sleep_forever()


async def test_a_block_that_was_cancelled_before_it_began_ends() -> None:
    """Ctrl-C while the daemon begins to dial."""
    with trio.CancelScope() as scope:
        scope.cancel()
        async with background_tasks():
            await trio.sleep_forever()
    assert scope.cancelled_caught
