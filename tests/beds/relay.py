"""What every TCP proxy of the tests begins with: a connection to the server for each client."""

from __future__ import annotations

import socket
from collections.abc import Callable


def accept_links(
    listener: socket.socket,
    server: tuple[str, int],
    join: Callable[[socket.socket, socket.socket], None],
) -> None:
    """Call ``join`` with each client and its link to the server, until ``listener`` closes."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        link = client, socket.create_connection(server)
        for end in link:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        join(*link)
