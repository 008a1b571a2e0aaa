"""UDP in batches: many datagrams by one system call, where the kernel can do that.

A QUIC sender has dozens of datagrams of one size for one peer. With ``UDP_SEGMENT`` the kernel
takes them as one buffer and cuts it (GSO); with ``UDP_GRO`` it hands out what arrived in a row as
one, too.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from typing import Any

import trio

from smbfs.transport.path_mtu import BASE

Address = tuple[Any, ...]
"""As the socket module has them: (host, port) or (host, port, flow, scope)."""

Datagram = tuple[bytes, Address]

BUFFER_SIZE = 4 * 1024 * 1024
"""Bytes that the kernel shall hold each way, if it lets us: what arrives while we are busy."""

_IPV4_MTU = 14
_IPV6_MTU = 24
_IPV4_HEADERS = 20 + 8
_IPV6_HEADERS = 40 + 8
_PAYLOAD_MAX = 0xFFFF - _IPV4_HEADERS
"""Bytes that the largest IP packet has for us."""

_IPV4_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_MTU_DISCOVER_PROBE = 3

_UDP_SEGMENT = 103
_UDP_GRO = 104
_SEGMENTS_MAX = 64
_BATCH_MAX = 65_000
"""Bytes of one batch: it has to fit into one IP packet."""

_CONTROL_SIZE = socket.CMSG_SPACE(4)


class UdpSocket:
    """A UDP socket, connected or not, that never blocks."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over ``sock``; it is closed by us."""
        self._socket = sock
        sock.setblocking(False)
        for name in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, name, BUFFER_SIZE)
        self._cuts = _try_option(sock, _UDP_SEGMENT, 0)
        _try_option(sock, _UDP_GRO, 1)
        _forbid_fragments(sock)
        self._is_connected = _is_connected(sock)

    @property
    def address(self) -> Address:
        """Our own address."""
        address: Address = self._socket.getsockname()
        return address

    def send(self, datagrams: Sequence[Datagram]) -> int:
        """Hand datagrams to the network; return how many it took (fewer: see `wait_writable`).

        Those that it has no way for are lost, as they might be later on it: QUIC sends again.
        Raises: ConnectionRefusedError when the peer's host says that nobody listens.
        """
        sent = 0
        while sent < len(datagrams):
            batch = _batch(datagrams, sent, cuts=self._cuts)
            try:
                self._send_batch(batch)
            except BlockingIOError:
                break
            except ConnectionRefusedError:
                raise
            except OSError:
                self._send_once_more(batch)
            sent += len(batch)
        return sent

    def _send_once_more(self, batch: Sequence[Datagram]) -> None:
        """Send what was refused: perhaps for what has become of an earlier one, which is told once.

        A router's word that a probe was too large, for example, comes so. Spec: udp(7).
        """
        try:
            self._send_batch(batch)
        except OSError:
            if len(batch) > 1 and self._send_singly(batch):
                self._cuts = False  # So it was a device that can't cut after all.

    def _send_singly(self, batch: Sequence[Datagram]) -> bool:
        """Send what did not go as one; return whether the network has taken all of it."""
        try:
            for datagram in batch:
                self._send_batch([datagram])
        except OSError:
            return False  # Too large for its way, perhaps: it is lost, as on the way.
        return True

    def _send_batch(self, batch: Sequence[Datagram]) -> None:
        control = []
        if len(batch) > 1:
            size = len(batch[0][0]).to_bytes(2, sys.byteorder)
            control.append((socket.IPPROTO_UDP, _UDP_SEGMENT, size))
        pieces = [data for data, _ in batch]
        if self._is_connected:
            self._socket.sendmsg(pieces, control)
        else:
            self._socket.sendmsg(pieces, control, 0, batch[0][1])

    def receive(self) -> list[Datagram]:
        """Return what has arrived in a row from one peer; nothing if nothing has.

        Raises: OSError, as the network tells (connected sockets: ConnectionRefusedError).
        """
        try:
            data, control, _, address = self._socket.recvmsg(0xFFFF, _CONTROL_SIZE)
        except BlockingIOError:
            return []
        for level, kind, value in control:
            if level == socket.IPPROTO_UDP and kind == _UDP_GRO:
                size = int.from_bytes(value, sys.byteorder)
                return [(data[at : at + size], address) for at in range(0, len(data), size)]
        return [(data, address)]

    async def wait_readable(self) -> None:
        """Return when something may have arrived."""
        await trio.lowlevel.wait_readable(self._socket)

    async def wait_writable(self) -> None:
        """Return when the network may take more."""
        await trio.lowlevel.wait_writable(self._socket)

    def close(self) -> None:
        """Close it; whoever waits for it is told."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


def largest_datagram(peer: Address) -> int:
    """Return how many bytes a datagram to ``peer`` may have on the link that it leaves us by."""
    try:
        sock = connected_socket(peer)
    except OSError:  # There is no way to it for now; what we send goes nowhere.
        return BASE
    with sock:
        if sock.family == socket.AF_INET6:
            return min(
                sock.getsockopt(socket.IPPROTO_IPV6, _IPV6_MTU) - _IPV6_HEADERS, _PAYLOAD_MAX
            )
        return min(sock.getsockopt(socket.IPPROTO_IP, _IPV4_MTU) - _IPV4_HEADERS, _PAYLOAD_MAX)


def connected_socket(peer: Address) -> socket.socket:
    """Return a UDP socket that talks to one address alone, from ours that is best for that.

    Raises: OSError when there is no way to it.
    """
    family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.connect(peer)  # So that the network can tell us that nobody listens there.
    except BaseException:
        sock.close()
        raise
    return sock


def _batch(datagrams: Sequence[Datagram], start: int, *, cuts: bool) -> Sequence[Datagram]:
    """Return a run of datagrams for one peer, of one size but the last, which may be smaller."""
    first, address = datagrams[start]
    size = total = len(first)
    end = start + 1
    while cuts and end < len(datagrams) and end - start < _SEGMENTS_MAX:
        data, peer = datagrams[end]
        total += len(data)
        if peer != address or len(data) > size or total > _BATCH_MAX:
            break
        end += 1
        if len(data) < size:
            break
    return datagrams[start:end]


def _forbid_fragments(sock: socket.socket) -> None:
    """Have datagrams that are too large for the path lost, so that QUIC learns of it.

    Spec: RFC 9000 section 14; what routers say of the path's width is anybody's word, and ignored.
    """
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _MTU_DISCOVER_PROBE)
    # A socket for both kinds of addresses has both options.
    sock.setsockopt(socket.IPPROTO_IP, _IPV4_MTU_DISCOVER, _MTU_DISCOVER_PROBE)


def _try_option(sock: socket.socket, option: int, value: int) -> bool:
    try:
        sock.setsockopt(socket.IPPROTO_UDP, option, value)
    except OSError:
        return False
    return True


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
