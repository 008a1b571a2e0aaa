"""One client of a QUIC server: the stream of bytes that it and we exchange."""

from __future__ import annotations

from typing import Final

import trio

from smbfs.errors import TransportError
from smbfs.transport.quic_driver import Driver
from smbfs.transport.udp import Address

_RECEIVE_MAX: Final = 256 * 1024


class ServerStream:
    """A client's connection and its one stream. One task receives, one sends."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def address(self) -> Address:
        """Where the client speaks from; it may change."""
        return self._driver.address

    @property
    def server_name(self) -> str | None:
        """The name that the client has asked for (SNI)."""
        return self._driver.quic.server_name

    @property
    def client_sha256(self) -> str | None:
        """Fingerprint of the client's certificate, if one was demanded."""
        return self._driver.quic.client_sha256

    async def receive(self) -> bytes:
        """Return what has come, at least a byte; nothing when the client has ended its stream.

        Raises: TransportError when the connection has ended otherwise.
        """
        driver = self._driver
        await trio.lowlevel.checkpoint()
        while not driver.incoming and not driver.incoming_eof:
            self._check_open()
            await driver.readers.park()
        pieces: list[bytes] = []
        size = 0
        while driver.incoming and size < _RECEIVE_MAX:
            pieces.append(driver.incoming.popleft())
            size += len(pieces[-1])
        if driver.quic.consume(size):
            driver.pump()
        return b"".join(pieces)

    def send(self, data: bytes) -> None:
        """Send ``data``; what the client does not take waits, so `drain` before more.

        Raises: TransportError when the connection has ended.
        """
        self._check_open()
        self._driver.unwritten.append(data)
        self._driver.pump()

    async def drain(self) -> None:
        """Wait until there is room for more. Raises: TransportError."""
        await trio.lowlevel.checkpoint()
        while not self._driver.takes_more:
            self._check_open()
            await self._driver.writers.park()

    async def finish(self) -> None:
        """End our side of the stream and wait until the client has all of it.

        Raises: TransportError when the connection ends before.
        """
        self._check_open()
        self._driver.outgoing_eof = True
        self._driver.pump()
        await trio.lowlevel.checkpoint()
        while self._driver.unacknowledged > 0:
            self._check_open()
            await self._driver.writers.park()

    async def wait_ended(self) -> str:
        """Wait until the connection is over, and return why."""
        await trio.lowlevel.checkpoint()
        while not self._driver.has_ended:
            await self._driver.readers.park()
        return self._driver.end_reason

    def close(self, code: int, reason: str) -> None:
        """Close the connection, and tell the client why; what it has not got is lost."""
        self._driver.close(code, reason)

    def _check_open(self) -> None:
        if self._driver.has_ended:
            raise TransportError(self._driver.end_reason)
