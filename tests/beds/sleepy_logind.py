"""A system bus of its own with a logind that says when the machine sleeps, as tests want it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio
from jeepney import DBusAddress, message_bus, new_method_return, new_signal
from jeepney.io.trio import DBusConnection, open_dbus_connection
from jeepney.low_level import MessageType

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""
MANAGER = DBusAddress("/org/freedesktop/login1", interface="org.freedesktop.login1.Manager")


@contextmanager
def private_bus(folder: Path) -> Iterator[str]:
    """Run a message bus; gives the address under which it is found."""
    path = folder / "bus"
    config = folder / "bus.conf"
    config.write_text(CONFIG.format(path=path))
    command = ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bus:
        assert bus.stdout is not None
        try:
            yield bus.stdout.readline().strip().split(",")[0]
        finally:
            bus.terminate()


class SleepyLogind:
    """What there is of logind: who inhibits sleep, and the signal."""

    def __init__(self, connection: DBusConnection) -> None:
        self._connection = connection
        self.held: list[int] = []
        """Read ends of the pipes that delay sleep; at their end nobody holds the other one."""
        self.arrived = trio.Event()

    async def serve(self) -> None:
        while True:
            message = await self._connection.receive()
            if message.header.message_type is not MessageType.method_call:
                continue
            read, write = os.pipe()
            self.held.append(read)
            # Any: a message's body may be anything.
            reply: Any = new_method_return(message, "h", (write,))
            await self._connection.send(reply)
            os.close(write)
            self.arrived.set()

    async def say(self, *, sleeps: bool) -> None:
        """Send PrepareForSleep."""
        await self._connection.send(new_signal(MANAGER, "PrepareForSleep", "b", (sleeps,)))

    async def wait_let_go(self) -> None:
        """Return when nobody delays the sleep any more."""
        self.arrived = trio.Event()
        while self.held:
            read = self.held.pop()
            await trio.lowlevel.wait_readable(read)
            assert os.read(read, 1) == b""
            os.close(read)


@asynccontextmanager
async def sleepy_logind() -> AsyncIterator[SleepyLogind]:
    """Serve on the bus of ``$DBUS_SYSTEM_BUS_ADDRESS``."""
    async with (
        await open_dbus_connection("SYSTEM", enable_fds=True) as connection,
        trio.open_nursery() as nursery,
    ):
        await connection.send(message_bus.RequestName("org.freedesktop.login1"))
        while (await connection.receive()).header.message_type is not MessageType.method_return:
            pass
        logind = SleepyLogind(connection)
        nursery.start_soon(logind.serve)
        yield logind
        nursery.cancel_scope.cancel()
