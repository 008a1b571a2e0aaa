"""A wire between two network namespaces that is slow, loses, and may become narrow.

A process of its own reads Ethernet frames from one TAP device and writes them to the other, later
or never. (This machine's kernel may have no netem.) Run as ``python -m tests.beds.slow_link``; a
datagram to the control socket changes what it does: JSON with fields of :class:`Wire`.
"""

from __future__ import annotations

import argparse
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.beds.guardian import BedError, Guardian

_TUNSETIFF = 0x4004_54CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_ETHERNET_HEADER = 14
_FRAME_MAX = 65_536
_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Wire:
    """What the wire does to each frame, in either direction."""

    delay_s: float = 0.0
    loss: float = 0.0
    """Probability that a frame is lost."""
    widest: int = _FRAME_MAX
    """Bytes of the longest IP packet that gets through; nobody is told of longer ones."""


class SlowLink:
    """A running wire."""

    def __init__(self, control: Path, wire: Wire) -> None:
        self._control = control
        self.wire = wire

    def becomes(self, wire: Wire) -> None:
        """Change what it does, from the next frame on."""
        self.wire = wire
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(json.dumps(asdict(wire)).encode(), str(self._control))


@contextmanager
def slow_link(
    folder: Path, ends: tuple[tuple[str, str], tuple[str, str]], wire: Wire
) -> Iterator[SlowLink]:
    """Join two devices that this makes: ``ends`` says their names and namespaces.

    Raises: BedError when it does not start.
    """
    control = folder / "link.socket"
    arguments = [f"{device}:{namespace}" for device, namespace in ends]
    guardian = Guardian.start(
        [sys.executable, "-m", __name__, str(control), *arguments], folder / "link.log"
    )
    try:
        _wait_for(control, guardian)
        link = SlowLink(control, wire)
        link.becomes(wire)
        yield link
    finally:
        guardian.stop()


def _wait_for(control: Path, guardian: Guardian) -> None:
    deadline = time.monotonic() + 20
    while not control.exists():
        if time.monotonic() > deadline:
            raise BedError(f"the link does not start: {guardian.log()}")
        time.sleep(0.01)  # Nobody tells when a file appears.


# --- the process -----------------------------------------------------------------------------


def _make_device(name: str, namespace: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    request = struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI)
    fcntl.ioctl(descriptor, _TUNSETIFF, request)
    for command in (
        ["ip", "link", "set", name, "netns", namespace],
        ["ip", "-n", namespace, "link", "set", name, "txqueuelen", "10000", "up"],
    ):
        subprocess.run(command, check=True, timeout=30)
    return descriptor


class _Relay:
    """Frames on their way, by when they arrive."""

    def __init__(self, descriptors: tuple[int, int], control: socket.socket) -> None:
        self._other = dict(zip(descriptors, reversed(descriptors), strict=True))
        self._control = control
        self._wire = Wire()
        self._chance = random.Random(4)
        self._on_their_way: list[tuple[float, int, int, bytes]] = []
        self._count = 0

    def run(self) -> None:
        sources: list[Any] = [self._control, *self._other]
        while True:
            due_s = self._on_their_way[0][0] if self._on_their_way else None
            wait_s = None if due_s is None else max(0.0, due_s - time.monotonic())
            for source in select.select(sources, [], [], wait_s)[0]:
                if source is self._control:
                    self._wire = replace(self._wire, **json.loads(self._control.recv(4096)))
                else:
                    self._take(source)
            self._deliver()

    def _take(self, source: int) -> None:
        now = time.monotonic()
        while True:
            try:
                frame = os.read(source, _FRAME_MAX)
            except BlockingIOError:
                return
            is_lost = self._chance.random() < self._wire.loss
            if is_lost or len(frame) - _ETHERNET_HEADER > self._wire.widest:
                continue
            self._count += 1  # So that frames that are due together keep their order.
            entry = (now + self._wire.delay_s, self._count, self._other[source], frame)
            heapq.heappush(self._on_their_way, entry)

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._on_their_way and self._on_their_way[0][0] <= now:
            _, _, target, frame = heapq.heappop(self._on_their_way)
            with suppress(BlockingIOError):  # As a switch does that is full.
                os.write(target, frame)


def main() -> None:
    """Relay until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("control", type=Path)
    parser.add_argument("ends", nargs=2)
    arguments = parser.parse_args()
    first, second = (_make_device(*end.split(":")) for end in arguments.ends)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as control:
        control.bind(str(arguments.control))
        _Relay((first, second), control).run()


if __name__ == "__main__":
    main()
