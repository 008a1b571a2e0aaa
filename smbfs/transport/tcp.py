"""Direct TCP: a 4-byte length before each frame.

Frames are received into a buffer of exactly their length. A small staging buffer takes the
length prefix and, with it, whatever small frames or first bytes came along, so that a small
answer costs one system call and a large one copies at most ``_STAGING_SIZE`` bytes.

Spec: [MS-SMB2] 2.1.
"""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
from collections import deque
from collections.abc import Sequence
from itertools import islice

import trio

from smbfs.errors import TransportError
from smbfs.transport.base import (
    LENGTH_PREFIX_SIZE,
    MAX_FRAME_SIZE,
    Buffer,
    Flow,
    OnMoved,
    TransportName,
)
from smbfs.transport.frame_assembler import check_length

_STAGING_SIZE = 8192
_TCP_INFO_RTT = 68
"""Where ``tcpi_rtt`` (32 bits, microseconds) is in ``struct tcp_info``."""
_TCP_INFO_BYTES = 120
"""Where ``tcpi_bytes_acked`` and ``tcpi_bytes_received`` (64 bits each) are."""
_DROP_UNSENT = (1).to_bytes(4, sys.byteorder) + bytes(4)
"""``struct linger``: closing ends the connection at once. Spec: socket(7)."""
_JOINED_SIZE_MAX = 4096
"""Bytes of a frame up to which joining its pieces costs less than handing them over one by one."""
_PIECES_PER_CALL = 64
"""Buffers handed to one sendmsg; the kernel takes up to 1024."""


class TcpStream:
    """A :class:`~smbfs.transport.base.MessageStream` over a connected TCP socket."""

    transport: TransportName = "tcp"

    def __init__(self, sock: socket.socket) -> None:
        """Take over ``sock``, connected; it becomes non-blocking and is closed by us.

        Raises: OSError when it is not connected any more; the caller still has to close it.
        """
        self.max_message_size = MAX_FRAME_SIZE
        self._socket = sock
        self._peer: tuple[str, int] = sock.getpeername()[:2]
        self._staging = memoryview(bytearray(_STAGING_SIZE))
        self._staged = self._staging[:0]
        self._backlog: deque[memoryview] = deque()
        self._is_drained = False
        """Whether the socket had nothing left when it was read last."""
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def tunnel(self) -> None:
        """See :class:`MessageStream`."""
        return

    @property
    def peer(self) -> tuple[str, int]:
        """See :class:`MessageStream`."""
        return self._peer

    @property
    def round_trip_s(self) -> float:
        """Seconds to the server and back, as the kernel has smoothed them. Spec: tcp(7)."""
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RTT + 4)
        return int.from_bytes(info[_TCP_INFO_RTT:], sys.byteorder) / 1_000_000

    @property
    def flow(self) -> Flow:
        """See :class:`MessageStream`. Spec: tcp(7)."""
        size = _TCP_INFO_BYTES + 16
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
        taken = int.from_bytes(info[_TCP_INFO_BYTES : _TCP_INFO_BYTES + 8], sys.byteorder)
        received = int.from_bytes(info[_TCP_INFO_BYTES + 8 : size], sys.byteorder)
        sent = taken + self._unacknowledged + sum(map(len, self._backlog))
        return Flow(received, sent, taken)

    @property
    def unflushed(self) -> bool:
        """See :class:`MessageStream`."""
        return bool(self._backlog)

    def send(self, buffers: Sequence[Buffer]) -> None:
        """See :class:`MessageStream`."""
        length = sum(map(len, buffers))
        if length > MAX_FRAME_SIZE:
            raise ValueError(f"a frame of {length} bytes can't be framed")
        pieces = [length.to_bytes(LENGTH_PREFIX_SIZE, "big"), *buffers]
        was_idle = not self._backlog
        if length <= _JOINED_SIZE_MAX:
            self._backlog.append(memoryview(b"".join(pieces)))
        else:
            self._backlog.extend(memoryview(piece) for piece in pieces)
        if was_idle:
            self._send_some()

    async def flush(self) -> None:
        """See :class:`MessageStream`."""
        while self._backlog:
            await trio.lowlevel.wait_writable(self._socket)
            self._send_some()

    def _send_some(self) -> None:
        while self._backlog:
            pieces = list(islice(self._backlog, _PIECES_PER_CALL))
            try:
                sent = self._socket.sendmsg(pieces)
            except BlockingIOError:
                return
            except OSError as error:
                raise TransportError(f"sending failed: {error.strerror}") from error
            while sent and sent >= len(self._backlog[0]):
                sent -= len(self._backlog.popleft())
            if sent:
                self._backlog[0] = self._backlog[0][sent:]

    async def receive_message(self) -> bytearray:
        """See :class:`MessageStream`."""
        if self._staged or not self._is_drained:
            await trio.lowlevel.checkpoint()
        while len(self._staged) < LENGTH_PREFIX_SIZE:
            await self._stage_more()
        length = int.from_bytes(self._staged[:LENGTH_PREFIX_SIZE], "big")
        check_length(length, self.max_message_size)
        frame = bytearray(length)
        got = min(length, len(self._staged) - LENGTH_PREFIX_SIZE)
        end = LENGTH_PREFIX_SIZE + got
        frame[:got] = self._staged[LENGTH_PREFIX_SIZE:end]
        self._staged = self._staged[end:]
        if got < length:
            with memoryview(frame) as view:
                while got < length:
                    got += await self._receive_into(view[got:])
        return frame

    async def _stage_more(self) -> None:
        """Read into the staging buffer, behind the few bytes that may be left in it."""
        left = len(self._staged)
        if left:
            self._staging[:left] = bytes(self._staged)
        if self._is_drained:  # Answers are waited for far more often than they are there already.
            await trio.lowlevel.wait_readable(self._socket)
        received = await self._receive_into(self._staging[left:])
        self._staged = self._staging[: left + received]

    async def _receive_into(self, view: memoryview) -> int:
        while True:
            try:
                received = self._socket.recv_into(view)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)
                continue
            except OSError as error:
                raise TransportError(f"receiving failed: {error.strerror}") from error
            if received == 0:
                raise TransportError("the server closed the connection")
            self._is_drained = received < len(view)
            return received

    async def follow_network(self, on_moved: OnMoved) -> None:
        """See :class:`MessageStream`: a TCP connection lives and dies with its addresses."""
        del on_moved
        await trio.lowlevel.checkpoint()

    @property
    def _unacknowledged(self) -> int:
        """Bytes that the kernel has, and the peer has not acknowledged. Spec: tcp(7)."""
        return int.from_bytes(fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    async def aclose(self) -> None:
        """See :class:`MessageStream`."""
        if self._socket.fileno() >= 0:
            if self._unacknowledged:
                # Or the kernel would go on sending for minutes what nobody wants any more: a
                # request may be executed then that was repeated long ago by another connection.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_UNSENT)
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()
