"""One client's bytes, from QUIC to TCP and back, unchanged.

No side reads more than the other takes: TCP is not read while the client has much to
acknowledge, and the client's window opens as TCP takes what came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import trio

from smbfs.errors import TransportError
from smbfs.transport.quic_server_stream import ServerStream

_CHUNK: Final = 256 * 1024
_CONNECT_TIMEOUT_S: Final = 10.0


class CloseCode(IntEnum):
    """What a client finds in CONNECTION_CLOSE. Ours: no specification has any for SMB."""

    ENDED = 0
    SERVER_UNREACHABLE = 1
    SERVER_LOST = 2


@dataclass(slots=True)
class Relayed:
    """How far a relay has come."""

    to_server: int = 0
    to_client: int = 0
    reason: str = ""
    """Why it has ended."""


async def relay(client: ServerStream, host: str, port: int, done: Relayed) -> None:
    """Connect ``client`` with TCP ``port`` of ``host`` until one of them ends it.

    Whatever happens the client's connection is closed in the end, and told why; ``done`` says so,
    too, also when this is cancelled.
    """
    code = CloseCode.ENDED
    done.reason = "the gateway is shutting down"
    try:
        server = await _connect(host, port)
        async with server:
            await _copy_both(client, server, done)
    except _Ended as end:
        code, done.reason = end.code, end.reason
    finally:
        client.close(code, done.reason)


class _Ended(Exception):
    def __init__(self, reason: str, code: CloseCode = CloseCode.ENDED) -> None:
        self.reason = reason
        self.code = code


async def _connect(host: str, port: int) -> trio.SocketStream:
    try:
        with trio.fail_after(_CONNECT_TIMEOUT_S):
            return await trio.open_tcp_stream(host, port)
    except trio.TooSlowError:
        reason = f"no answer within {_CONNECT_TIMEOUT_S:g} s"
    except OSError as error:
        reason = error.strerror or str(error)
    raise _Ended(f"the SMB server can't be reached: {reason}", CloseCode.SERVER_UNREACHABLE)


async def _copy_both(client: ServerStream, server: trio.SocketStream, done: Relayed) -> None:
    """Copy until one side has ended. Raises: _Ended."""
    ends: list[_Ended] = []

    async def run(copy: _Copy) -> None:
        try:
            await copy(client, server, done)
        except _Ended as end:
            ends.append(end)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, _to_server)
        nursery.start_soon(run, _to_client)
    raise ends[0]


_Copy = Callable[[ServerStream, trio.SocketStream, Relayed], Awaitable[None]]


async def _to_server(client: ServerStream, server: trio.SocketStream, done: Relayed) -> None:
    try:
        while data := await client.receive():
            await server.send_all(data)
            done.to_server += len(data)
        await server.send_eof()
        raise _Ended(await client.wait_ended())
    except TransportError as error:
        raise _Ended(str(error)) from error
    except trio.BrokenResourceError as error:
        raise _server_lost(error) from error


async def _to_client(client: ServerStream, server: trio.SocketStream, done: Relayed) -> None:
    try:
        while data := await server.receive_some(_CHUNK):
            client.send(bytes(data))
            done.to_client += len(data)
            await client.drain()
        # SMB knows no half-closed connection, so the client has nothing to say any more.
        await client.finish()
    except TransportError as error:
        raise _Ended(str(error)) from error
    except trio.BrokenResourceError as error:
        raise _server_lost(error) from error
    raise _Ended("the SMB server has closed the connection")


def _server_lost(error: trio.BrokenResourceError) -> _Ended:
    why = getattr(error.__cause__, "strerror", None) or str(error)
    return _Ended(f"the connection to the SMB server is lost: {why}", CloseCode.SERVER_LOST)
