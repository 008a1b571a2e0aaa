"""A machine that goes to sleep: who waits for a server that is away must not keep it awake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from smbfs.transport.machine_sleep import follow_sleep
from tests.beds.sleepy_logind import private_bus, sleepy_logind

PATIENCE_S = 20.0


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with private_bus(tmp_path) as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        yield


@pytest.mark.usefixtures("bus")
async def test_sleep_is_delayed_until_we_are_ready_each_time() -> None:
    told = []
    may_sleep, slept = trio.Event(), trio.Event()

    async def prepare() -> None:
        told.append("before")
        await may_sleep.wait()

    def awake() -> None:
        told.append("after")
        slept.set()

    with trio.fail_after(PATIENCE_S):
        async with sleepy_logind() as logind, trio.open_nursery() as nursery:
            nursery.start_soon(follow_sleep, prepare, awake)
            for _ in range(2):
                await logind.arrived.wait()
                await logind.say(sleeps=True)
                with trio.move_on_after(0.2) as still_held:
                    await trio.lowlevel.wait_readable(logind.held[-1])
                assert still_held.cancelled_caught
                may_sleep.set()
                await logind.wait_let_go()
                await logind.say(sleeps=False)
                await slept.wait()
                may_sleep, slept = trio.Event(), trio.Event()
            nursery.cancel_scope.cancel()
    assert told == ["before", "after"] * 2


async def test_without_a_bus_nobody_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepare() -> None:
        raise AssertionError

    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'nothing'}")
    with trio.fail_after(PATIENCE_S):
        await follow_sleep(prepare, lambda: None)


@pytest.mark.usefixtures("bus")
async def test_without_logind_nobody_tells() -> None:
    async def prepare() -> None:
        raise AssertionError

    with trio.fail_after(PATIENCE_S):
        await follow_sleep(prepare, lambda: None)


async def test_who_loses_the_bus_while_the_machine_sleeps_is_awake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nobody would ever wait for a server again."""
    told, prepared = [], trio.Event()

    async def prepare() -> None:
        await trio.lowlevel.checkpoint()
        told.append("before")
        prepared.set()

    with trio.fail_after(PATIENCE_S), ExitStack() as bus:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.enter_context(private_bus(tmp_path)))
        async with trio.open_nursery() as nursery:
            async with sleepy_logind() as logind:
                nursery.start_soon(follow_sleep, prepare, lambda: told.append("after"))
                await logind.arrived.wait()
                await logind.say(sleeps=True)
                await prepared.wait()
            bus.close()
    assert told == ["before", "after"]
