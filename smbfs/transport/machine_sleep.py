"""News of this machine's sleep: logind tells before, and waits a moment, and after.

Whoever waits for a file server in the kernel can't be frozen, so a machine whose server is away
would not go to sleep. Where there is no system bus, or no logind on it, nobody is told.

Spec: org.freedesktop.login1(5) (PrepareForSleep, Inhibit).
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

import trio
from jeepney import DBusAddress, MatchRule, message_bus, new_method_call
from jeepney.io.trio import DBusConnection, open_dbus_connection
from jeepney.low_level import HeaderFields, Message, MessageType

PREPARE_S: Final = 4.0
"""Seconds that preparing may take; logind waits for five."""

_BUS: Final = Path("/run/dbus/system_bus_socket")
_LOGIND: Final = DBusAddress(
    "/org/freedesktop/login1",
    bus_name="org.freedesktop.login1",
    interface="org.freedesktop.login1.Manager",
)
_SIGNAL: Final = "PrepareForSleep"

_log = logging.getLogger(__name__)


async def follow_sleep(prepare: Callable[[], Awaitable[None]], awake: Callable[[], None]) -> None:
    """Call ``prepare`` whenever the machine is about to sleep, and ``awake`` when it has.

    ``prepare`` is cancelled after ``PREPARE_S``. Returns if nobody tells; then it is ``awake``.
    """
    if "DBUS_SYSTEM_BUS_ADDRESS" not in os.environ and not _BUS.exists():
        return
    try:
        async with await open_dbus_connection("SYSTEM", enable_fds=True) as connection:
            await _follow(_Logind(connection), prepare, awake)
    # jeepney raises what sockets, its parser and the bus do, and none of it is our user's.
    except Exception as error:  # noqa: BLE001
        _log.info("nobody tells us when this machine sleeps: %r", error)
        awake()  # It may have been asleep by what we were told last.


async def _follow(
    logind: _Logind, prepare: Callable[[], Awaitable[None]], awake: Callable[[], None]
) -> None:
    await logind.subscribe()
    while True:
        with await logind.delay_sleep():
            while not await logind.is_about_to_sleep():
                awake()
            with trio.move_on_after(PREPARE_S):
                await prepare()
        while await logind.is_about_to_sleep():
            pass
        awake()


class _Logind:
    """What logind does for us, over one connection to the bus, from one task."""

    def __init__(self, connection: DBusConnection) -> None:
        self._connection = connection
        self._told: deque[bool] = deque()

    async def subscribe(self) -> None:
        """Be told from now on."""
        rule = MatchRule(
            type=MessageType.signal,
            interface=_LOGIND.interface,
            member=_SIGNAL,
            path=_LOGIND.object_path,
        )
        await self._ask(message_bus.AddMatch(rule))

    async def delay_sleep(self) -> BinaryIO:
        """Return what delays the sleep, a few seconds at most, until it is closed."""
        reasons = ("sleep", "smbfs", "files are in use", "delay")
        (held,) = await self._ask(new_method_call(_LOGIND, "Inhibit", "ssss", reasons))
        file: BinaryIO = held.to_file("rb", buffering=0)
        return file

    async def is_about_to_sleep(self) -> bool:
        """Return what the next signal says."""
        while not self._told:
            self._take(await self._connection.receive())
        return self._told.popleft()

    async def _ask(self, message: Message) -> tuple[Any, ...]:
        """Return a reply's body. Any: it may have any types. Raises: OSError if it is a refusal."""
        serial = next(self._connection.outgoing_serial)
        await self._connection.send(message, serial=serial)
        while True:
            reply = await self._connection.receive()
            if reply.header.fields.get(HeaderFields.reply_serial) == serial:
                break
            self._take(reply)
        if reply.header.message_type is MessageType.error:
            raise OSError(f"the bus refuses: {reply.body}")
        body: tuple[Any, ...] = reply.body
        return body

    def _take(self, message: Message) -> None:
        if message.header.fields.get(HeaderFields.member) == _SIGNAL:
            self._told.append(bool(message.body[0]))
