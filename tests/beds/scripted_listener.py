"""A scripted server on a real port, for commands that dial it like any other."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from tests.beds.samba_folder import HOST
from tests.beds.scripted_server import ScriptedServer

_LENGTH_PREFIX = 4


@contextlib.contextmanager
def listen(make_server: Callable[[], ScriptedServer]) -> Iterator[int]:
    """Serve each connection with a server of its own, by turns; gives the port."""
    with socket.create_server((HOST, 0)) as listener:
        serving = threading.Thread(target=_serve, args=(listener, make_server), daemon=True)
        serving.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        serving.join(timeout=10)


def _serve(listener: socket.socket, make_server: Callable[[], ScriptedServer]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # shut down: the end
        with connection, contextlib.suppress(OSError):
            _answer(connection, make_server())


def _answer(connection: socket.socket, server: ScriptedServer) -> None:
    with connection.makefile("rb") as frames:
        while prefix := frames.read(_LENGTH_PREFIX):
            for answer in server.receive(frames.read(int.from_bytes(prefix, "big"))):
                connection.sendall(len(answer).to_bytes(_LENGTH_PREFIX, "big") + answer)
