"""A QUIC server: one UDP socket, many clients, told apart by connection id.

``async with listen(…) as listener`` serves; ``await listener.accept()`` gives each client whose
handshake is complete. Clients keep their connection when their address changes.

Spec: RFC 9000 sections 5.2 (routing), 6 (versions), 8.1 (address validation), 9 (migration).
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import trio
from aioquic.buffer import Buffer
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicHeader,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.retry import QuicRetryTokenHandler

from smbfs.errors import TransportError
from smbfs.transport.congestion import congestion_control
from smbfs.transport.quic_connection import ALPN, CONNECTION_WINDOW, FIRST_WINDOW
from smbfs.transport.quic_driver import Driver, Observer
from smbfs.transport.quic_server_stream import ServerStream
from smbfs.transport.quic_tls import ServerConnection, TlsPolicy
from smbfs.transport.udp import Address, Datagram, UdpSocket

_VERSIONS: Final = [int(QuicProtocolVersion.VERSION_1)]
_ID_SIZE: Final = 8
_LONG_HEADER: Final = 0x80
_BATCHES_PER_TURN: Final = 16
"""Batches of datagrams taken before anybody else may do something."""

_HANDSHAKES_UNASKED: Final = 32
"""Handshakes under way, or failed just now, from which on a new client must show that its address
is its own."""

_FAREWELL_S: Final = 1.0
_REFUSAL_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What clients may use."""

    connections: int = 256
    idle_timeout_s: float = 60.0


class Listener:
    """A server that is listening; made by :func:`listen`."""

    def __init__(
        self, udp: UdpSocket, policy: TlsPolicy, limits: Limits, observer: Observer
    ) -> None:
        self.observer = observer
        self._udp = udp
        self._policy = policy
        self._limits = limits
        self._routes: dict[bytes, Driver] = {}
        self._drivers: dict[Driver, None] = {}
        self._congestion_control = congestion_control()
        self._retry = QuicRetryTokenHandler()
        self._backlog: list[Datagram] = []
        self._backlog_came = trio.Event()
        self._refusal_told_at = -math.inf
        self._accepted_in, self._accepted_out = trio.open_memory_channel[ServerStream](math.inf)
        self._nursery: trio.Nursery | None = None

    @property
    def address(self) -> Address:
        """Where we listen."""
        return self._udp.address

    async def accept(self) -> ServerStream:
        """Wait for the next client that was let in."""
        return await self._accepted_out.receive()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._write)
            await self._read()

    async def close(self, reason: str) -> None:
        """Tell every client that this is the end, and close."""
        for driver in list(self._drivers):
            driver.close(0, reason)
        with trio.move_on_after(_FAREWELL_S):
            await self._flush()
        self._udp.close()

    # --- what drivers want of us -------------------------------------------------------------

    @property
    def is_blocked(self) -> bool:
        """Whether the network takes nothing more at the moment."""
        return bool(self._backlog)

    def transmit(self, datagrams: Sequence[Datagram]) -> None:
        """Send datagrams, now or as soon as the network takes them."""
        sent = 0 if self._backlog else self._udp.send(datagrams)
        if sent < len(datagrams):
            self._backlog.extend(datagrams[sent:])
            self._backlog_came.set()

    def route(self, connection_id: bytes, driver: Driver) -> None:
        """Datagrams for ``connection_id`` are for ``driver`` from now on."""
        self._routes[connection_id] = driver

    def unroute(self, connection_id: bytes) -> None:
        """Datagrams for ``connection_id`` are for nobody any more."""
        self._routes.pop(connection_id, None)

    def established(self, driver: Driver) -> None:
        """Let a client in."""
        self._accepted_in.send_nowait(ServerStream(driver))

    def over(self, driver: Driver) -> None:
        """Forget a client."""
        self._drivers.pop(driver, None)
        for connection_id in [key for key, value in self._routes.items() if value is driver]:
            del self._routes[connection_id]

    # --- the socket --------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            await self._udp.wait_readable()
            now = trio.current_time()
            touched: dict[Driver, None] = {}
            for _ in range(_BATCHES_PER_TURN):
                batch = self._udp.receive()
                if not batch:
                    break
                for data, address in batch:
                    driver = self._driver_of(data, address)
                    if driver is not None:
                        driver.receive_datagram(data, address, now)
                        touched[driver] = None
            for driver in touched:
                driver.pump()

    async def _write(self) -> None:
        while True:
            await self._backlog_came.wait()
            await self._flush()
            self._backlog_came = trio.Event()
            for driver in list(self._drivers):
                driver.pump()

    async def _flush(self) -> None:
        while self._backlog:
            await self._udp.wait_writable()
            del self._backlog[: self._udp.send(self._backlog)]

    # --- whose datagram it is ----------------------------------------------------------------

    def _driver_of(self, data: bytes, address: Address) -> Driver | None:
        """The client that sent a datagram: known, new, or none that can be served."""
        if data and not data[0] & _LONG_HEADER:
            return self._routes.get(data[1 : 1 + _ID_SIZE])
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=_ID_SIZE)
        except ValueError:
            return None
        known = self._routes.get(header.destination_cid)
        # Shorter ones begin nothing, and an answer to them might be larger than they are.
        if known is not None or len(data) < SMALLEST_MAX_DATAGRAM_SIZE:
            return known
        if header.packet_type == QuicPacketType.VERSION_NEGOTIATION:
            return None
        if header.version not in _VERSIONS:
            self.transmit([(_version_negotiation(header), address)])
            return None
        if header.packet_type != QuicPacketType.INITIAL:
            return None
        return self._newcomer(header, address)

    def _newcomer(self, header: QuicHeader, address: Address) -> Driver | None:
        open_drivers = [driver for driver in self._drivers if not driver.has_ended]
        if len(open_drivers) >= self._limits.connections:
            self._refuse(header, address)
            return None
        original_id, retry_id = header.destination_cid, None
        if header.token:
            # A token that is not ours, or is no longer valid, says nothing: RFC 9000 section 8.1.3.
            with contextlib.suppress(ValueError):
                original_id = self._retry.validate_token(
                    address=address,
                    destination_cid=header.destination_cid,
                    token=header.token,
                    now=trio.current_time(),
                )
                retry_id = header.destination_cid
        # Those that have failed, too: else whoever fails at once, from any address, costs most.
        strangers = sum(not driver.is_established for driver in self._drivers)
        if retry_id is None and strangers >= _HANDSHAKES_UNASKED:
            self.transmit([(_retry(self._retry, header, address), address)])
            return None
        return self._begin(header.destination_cid, original_id, retry_id, address)

    def _begin(
        self, first_id: bytes, original_id: bytes, retry_id: bytes | None, address: Address
    ) -> Driver:
        quic = ServerConnection(
            self._policy,
            self._configuration(),
            original_destination_connection_id=original_id,
            retry_source_connection_id=retry_id,
        )
        driver = Driver(quic, self, address)
        self._drivers[driver] = None
        self.route(first_id, driver)
        self.route(quic.host_cid, driver)
        assert self._nursery is not None
        self._nursery.start_soon(driver.run)
        return driver

    def _configuration(self) -> QuicConfiguration:
        default = self._policy.choose(None)
        return QuicConfiguration(
            is_client=False,
            alpn_protocols=[ALPN],
            certificate=default.certificate,
            private_key=default.key,
            congestion_control_algorithm=self._congestion_control,
            connection_id_length=_ID_SIZE,
            idle_timeout=self._limits.idle_timeout_s,
            max_data=CONNECTION_WINDOW,
            max_stream_data=FIRST_WINDOW,
            supported_versions=_VERSIONS,
        )

    def _refuse(self, header: QuicHeader, address: Address) -> None:
        reason = f"there are {self._limits.connections} connections already"
        self.transmit([(_refusal(header, reason), address)])
        now = trio.current_time()
        if now >= self._refusal_told_at + _REFUSAL_EVERY_S:
            self._refusal_told_at = now
            self.observer.refused(address, None, reason)


@contextlib.asynccontextmanager
async def listen(
    address: tuple[str, int],
    policy: TlsPolicy,
    limits: Limits,
    observer: Observer,
    *,
    farewell: str = "the server is shutting down",
) -> AsyncIterator[Listener]:
    """Serve on ``address``, an IP address or "" for all, and a port or 0 for any.

    On the way out every client is told ``farewell``.
    Raises: TransportError when the address can't be used; its cause is the OSError.
    """
    try:
        udp = UdpSocket(_bind(*address))
    except OSError as error:
        raise TransportError(
            f"UDP {format_address(address)} can't be used: {error.strerror}"
        ) from error
    listener = Listener(udp, policy, limits, observer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.run)
        try:
            yield listener
        finally:
            with trio.CancelScope(shield=True):
                await listener.close(farewell)
            nursery.cancel_scope.cancel()


def format_address(address: Address) -> str:
    """Write an address as people do."""
    ip = ipaddress.ip_address(address[0] or "::")
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None:
            return f"[{ip}]:{address[1]}"
        ip = ip.ipv4_mapped
    return f"{ip}:{address[1]}"


def _bind(host: str, port: int) -> socket.socket:
    """Bind a socket; one for all addresses takes both kinds where the machine has both."""
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return _bound(family, host, port)
    if socket.has_dualstack_ipv6():
        return _bound(socket.AF_INET6, "::", port)
    return _bound(socket.AF_INET, "0.0.0.0", port)  # noqa: S104 - asked for


def _bound(family: int, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _retry(tokens: QuicRetryTokenHandler, header: QuicHeader, address: Address) -> bytes:
    source_id = os.urandom(_ID_SIZE)
    assert header.version is not None
    return encode_quic_retry(
        version=header.version,
        source_cid=source_id,
        destination_cid=header.source_cid,
        original_destination_cid=header.destination_cid,
        retry_token=tokens.create_token(
            address=address,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=source_id,
            now=trio.current_time(),
        ),
    )


def _version_negotiation(header: QuicHeader) -> bytes:
    return encode_quic_version_negotiation(
        source_cid=header.destination_cid,
        destination_cid=header.source_cid,
        supported_versions=_VERSIONS,
    )


def _refusal(header: QuicHeader, reason: str) -> bytes:
    """Make an Initial packet that refuses a connection, of which nothing is kept."""
    assert header.version is not None
    crypto = CryptoPair()
    crypto.setup_initial(cid=header.destination_cid, is_client=False, version=header.version)
    builder = QuicPacketBuilder(
        host_cid=header.destination_cid,
        is_client=False,
        max_datagram_size=SMALLEST_MAX_DATAGRAM_SIZE,
        peer_cid=header.source_cid,
        version=header.version,
    )
    builder.start_packet(QuicPacketType.INITIAL, crypto)
    text = reason.encode()
    frame = builder.start_frame(QuicFrameType.TRANSPORT_CLOSE, capacity=25 + len(text))
    frame.push_uint_var(QuicErrorCode.CONNECTION_REFUSED)
    frame.push_uint_var(QuicFrameType.PADDING)
    frame.push_uint_var(len(text))
    frame.push_bytes(text)
    datagrams, _ = builder.flush()
    return bytes(datagrams[0])
