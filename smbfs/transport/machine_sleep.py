"""News of this machine's sleep: logind tells before, and waits a moment, and after.

Whoever waits for a file server in the kernel can't be frozen, so a machine whose server is away
would not go to sleep. Where there is no system bus, or no logind on it, nobody is told.

Spec: org.freedesktop.login1(5) (PrepareForSleep, Inhibit).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import trio
from jeepney import DBusAddress, MatchRule, message_bus, new_method_call
from jeepney.io.trio import DBusRouter, open_dbus_router
from jeepney.low_level import Message, MessageType

PREPARE_S: Final = 4.0
"""Seconds that preparing may take; logind waits for five."""

_BUS: Final = Path("/run/dbus/system_bus_socket")
_LOGIND: Final = DBusAddress(
    "/org/freedesktop/login1",
    bus_name="org.freedesktop.login1",
    interface="org.freedesktop.login1.Manager",
)
_SIGNALS_MAX: Final = 16

_log = logging.getLogger(__name__)


async def follow_sleep(prepare: Callable[[], Awaitable[None]], awake: Callable[[], None]) -> None:
    """Call ``prepare`` whenever the machine is about to sleep, and ``awake`` when it has.

    ``prepare`` is cancelled after ``PREPARE_S``. Returns if nobody tells.
    """
    if "DBUS_SYSTEM_BUS_ADDRESS" not in os.environ and not _BUS.exists():
        return
    try:
        async with open_dbus_router("SYSTEM", enable_fds=True) as router:
            await _follow(router, prepare, awake)
    # Any: jeepney raises what sockets, its parser and the bus do, and none of it is our user's.
    except Exception as error:  # noqa: BLE001
        _log.info("nobody tells us when this machine sleeps: %r", error)


async def _follow(
    router: DBusRouter, prepare: Callable[[], Awaitable[None]], awake: Callable[[], None]
) -> None:
    rule = MatchRule(
        type=MessageType.signal,
        interface=_LOGIND.interface,
        member="PrepareForSleep",
        path=_LOGIND.object_path,
    )
    await _ask(router, message_bus.AddMatch(rule))
    with router.filter(rule, bufsize=_SIGNALS_MAX) as signals:
        while True:
            (hold,) = await _ask(
                router,
                new_method_call(
                    _LOGIND, "Inhibit", "ssss", ("sleep", "smbfs", "files are in use", "delay")
                ),
            )
            with hold.to_file("rb", buffering=0):
                while not (await signals.receive()).body[0]:
                    awake()
                with trio.move_on_after(PREPARE_S):
                    await prepare()
            while (await signals.receive()).body[0]:
                pass
            awake()


async def _ask(router: DBusRouter, message: Message) -> tuple[Any, ...]:
    """Return the body of a reply. Any: a message may have any types. Raises: OSError if refused."""
    reply = await router.send_and_get_reply(message)
    if reply.header.message_type is MessageType.error:
        raise OSError(f"the bus refuses: {reply.body}")
    body: tuple[Any, ...] = reply.body
    return body
