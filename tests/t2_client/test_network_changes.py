"""News of the network come in heaps, and are told once; but they are told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import aclosing
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from smbfs.transport.network_changes import LATEST_S, QUIET_S, network_changes


class Netlink(socket.socket):
    """Our end of the kernel's news; the test has the other one."""

    def bind(self, address: object) -> None:
        """Join the groups of those who are told."""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    netlink = Netlink(fileno=ours.detach())
    module = SimpleNamespace(socket=lambda *_: netlink, AF_NETLINK=0, SOCK_RAW=0, NETLINK_ROUTE=0)
    monkeypatch.setattr("smbfs.transport.network_changes.socket", module)
    with theirs:
        yield theirs


@pytest.mark.parametrize(
    ("count", "pause_s", "least", "most"),
    [
        pytest.param(5, QUIET_S / 2, 1, 1, id="steps of one change"),
        pytest.param(5, QUIET_S * 2, 5, 5, id="several changes"),
        pytest.param(200, QUIET_S / 2, 5, 10, id="changes without an end"),
    ],
)
async def test_changes_are_told(
    kernel: socket.socket,
    autojump_clock: trio.testing.MockClock,
    count: int,
    pause_s: float,
    least: int,
    most: int,
) -> None:
    told = 0
    with trio.move_on_after(count * pause_s + LATEST_S):
        async with trio.open_nursery() as nursery:

            async def change() -> None:
                for _ in range(count):
                    kernel.send(b"!")
                    await trio.sleep(pause_s)

            nursery.start_soon(change)
            async with aclosing(network_changes()) as changes:
                async for _ in changes:
                    told += 1
    assert least <= told <= most
