"""Tasks that serve a block of code until its very end, its cleaning up included.

Cancelling a block also cancels the tasks of every nursery in it, at once. A connection must live
longer than that: what was written is still to be sent, and LOGOFF wants an answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def background_tasks() -> AsyncIterator[trio.Nursery]:
    """Yield a nursery whose tasks are cancelled when the block is left, and not before.

    An error of the block is raised as it is, not in a group.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as outer:
        with trio.CancelScope(shield=True):  # Cancelled now, it would never be ours to end.
            nursery, scope = await outer.start(_hold)
        try:
            yield nursery
        except Exception as error:  # noqa: BLE001 - raised again outside of the nursery
            failure = error
        finally:
            scope.cancel()
    if failure is not None:
        raise failure


async def _hold(
    task_status: trio.TaskStatus[tuple[trio.Nursery, trio.CancelScope]],
) -> None:
    with trio.CancelScope(shield=True) as scope:
        async with trio.open_nursery() as nursery:
            task_status.started((nursery, scope))
            await trio.sleep_forever()
