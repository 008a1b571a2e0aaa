"""News of this machine's network: addresses, links and routes that come and go.

The kernel tells over netlink. What has changed is not read: who is told looks for itself.
Spec: rtnetlink(7).
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

import trio

_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE."""

_NEWS_MAX: Final = 65536

QUIET_S: Final = 0.1
"""Seconds without news after which a change is taken to be complete: an address comes in steps."""

LATEST_S: Final = 1.0
"""Seconds after which it is told in any case: on some machines routes come and go all the time."""


async def network_changes() -> AsyncGenerator[None, None]:
    """Yield whenever something has changed, once for changes that come together.

    Ends at once where the kernel has no netlink for us (some sandboxes).
    """
    try:
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except OSError:
        return
    with netlink:
        netlink.setblocking(False)
        try:
            netlink.bind((0, _GROUPS))
        except OSError:
            return
        while True:
            await trio.lowlevel.wait_readable(netlink)
            _take(netlink)
            latest_s = trio.current_time() + LATEST_S
            with trio.move_on_after(QUIET_S) as quiet:
                while True:
                    await trio.lowlevel.wait_readable(netlink)
                    _take(netlink)
                    quiet.deadline = min(trio.current_time() + QUIET_S, latest_s)
            yield


def _take(netlink: socket.socket) -> None:
    """Take a piece of news, whatever it is. More than the kernel could keep is news, too."""
    with suppress(OSError):
        netlink.recv(_NEWS_MAX)
