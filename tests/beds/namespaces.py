"""Two network namespaces joined by a cable: a client whose addresses come and go, and a server.

Processes get into one by ``nsenter``, so they share everything else with the tests, mounts above
all. A server of the tests listens on their own loopback: :meth:`Cable.bring` lets it be reached
from the server's end as well.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.beds.slow_link import SlowLink, Wire, slow_link

SERVER = "10.77.0.2"
_CLONE_NEWNET = 0x4000_0000
_FOLDER = Path("/run/netns")


class Cable:
    """The two namespaces."""

    def __init__(self) -> None:
        self._client, self._server = (f"smbfs-{end}-{os.getpid()}" for end in ("c", "s"))
        self._listeners: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        for name in (self._client, self._server):
            _ip("netns", "add", name)

    @property
    def ends(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Names of the two devices, and of the namespaces that they are in."""
        return ("c", self._client), ("s", self._server)

    def connect(self) -> None:
        """Switch on both ends, which have their devices now; the server's gets its address."""
        for device, name in self.ends:
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", device, "up")
        _ip("-n", self._server, "address", "add", f"{SERVER}/16", "dev", "s")

    @property
    def in_client(self) -> tuple[str, ...]:
        """The command that runs another one at the client's end."""
        return ("nsenter", f"--net={_FOLDER / self._client}")

    @property
    def in_server(self) -> tuple[str, ...]:
        """The command that runs another one at the server's end."""
        return ("nsenter", f"--net={_FOLDER / self._server}")

    def give(self, address: str) -> None:
        """Give the client an address."""
        _ip("-n", self._client, "address", "add", f"{address}/16", "dev", "c")

    def take(self, address: str) -> None:
        """Take an address away from it."""
        _ip("-n", self._client, "address", "delete", f"{address}/16", "dev", "c")

    def move_server(self, old: str, new: str) -> None:
        """Take an address away from the server's end, and give it another one."""
        _ip("-n", self._server, "address", "delete", f"{old}/16", "dev", "s")
        _ip("-n", self._server, "address", "add", f"{new}/16", "dev", "s")

    def bring(self, port: int, *, at: str = "127.0.0.1") -> None:
        """Let who is at the server's end reach a TCP port of our own loopback.

        It has the same number there, at an address of that end: ``SERVER`` for the client, too.

        Threads of ours pass the bytes on. So while a file is open for writing on a mount that gets
        its answers by them, start no program: that closes the file in the child, which waits for
        the answers, and we wait for the child.
        """
        listener = self._listener(at, port)
        self._listeners.append(listener)
        self._start(self._accept, listener, port)

    def _listener(self, host: str, port: int) -> socket.socket:
        """Make a socket that lives at the server's end: sockets stay where they were made."""
        made: list[socket.socket] = []

        def make() -> None:
            with (_FOLDER / self._server).open() as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.create_server((host, port)))

        thread = threading.Thread(target=make)  # A namespace is a thread's; this one ends with it.
        thread.start()
        thread.join()
        return made[0]

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments))
        self._threads[-1].start()

    def _accept(self, listener: socket.socket, port: int) -> None:
        while True:
            try:
                ours, _ = listener.accept()
            except OSError:
                return
            self._start(_join, ours, socket.create_connection(("127.0.0.1", port)))

    def close(self) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in self._threads:
            thread.join()
        for name in (self._client, self._server):
            _ip("netns", "delete", name)


@contextmanager
def cable() -> Iterator[Cable]:
    """Make the namespaces, and remove them at the end."""
    made = Cable()
    try:
        (client, in_client), (server, in_server) = made.ends
        _ip("link", "add", client, "netns", in_client, "type", "veth", "peer", "name", server,
            "netns", in_server)  # fmt: skip
        made.connect()
        yield made
    finally:
        made.close()


@contextmanager
def slow_cable(folder: Path, wire: Wire) -> Iterator[tuple[Cable, SlowLink]]:
    """Make them with a wire between them that is slow and loses. Its log is in ``folder``."""
    made = Cable()
    try:
        with slow_link(folder, made.ends, wire) as link:
            made.connect()
            yield made, link
    finally:
        made.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


def _join(ours: socket.socket, theirs: socket.socket) -> None:
    with ours, theirs:
        back = threading.Thread(target=_relay, args=(theirs, ours))
        back.start()
        _relay(ours, theirs)
        back.join()


def _relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 20):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
