"""Two streams joined in memory: for tests of whatever lives above a transport."""

from __future__ import annotations

import math
from collections.abc import Sequence

import trio

from smbfs.errors import RemoteProtocolError, TransportError
from smbfs.transport.base import MAX_FRAME_SIZE, Buffer, Flow, OnMoved, TransportName


class MemoryStream:
    """One end of a :func:`memory_stream_pair`."""

    transport: TransportName = "tcp"  # It stands in for that.

    def __init__(
        self,
        outgoing: trio.MemorySendChannel[bytes],
        incoming: trio.MemoryReceiveChannel[bytes],
    ) -> None:
        self.max_message_size = MAX_FRAME_SIZE
        self._outgoing = outgoing
        self._incoming = incoming

    @property
    def tunnel(self) -> None:
        """See :class:`MessageStream`."""
        return

    @property
    def peer(self) -> tuple[str, int]:
        """See :class:`~smbfs.transport.base.MessageStream`."""
        return ("memory", 0)

    @property
    def flow(self) -> Flow:
        """See :class:`~smbfs.transport.base.MessageStream`: frames are whole or not there."""
        return Flow(0, 0, 0)

    @property
    def unflushed(self) -> bool:
        """See :class:`~smbfs.transport.base.MessageStream`."""
        return False

    def send(self, buffers: Sequence[Buffer]) -> None:
        """See :class:`~smbfs.transport.base.MessageStream`."""
        frame = b"".join(buffers)
        if len(frame) > MAX_FRAME_SIZE:
            raise ValueError(f"a frame of {len(frame)} bytes can't be framed")
        try:
            self._outgoing.send_nowait(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise TransportError("the other end is closed") from error

    async def flush(self) -> None:
        """See :class:`~smbfs.transport.base.MessageStream`."""
        await trio.lowlevel.checkpoint()

    async def receive_message(self) -> bytearray:
        """See :class:`~smbfs.transport.base.MessageStream`."""
        try:
            frame = await self._incoming.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError) as error:
            raise TransportError("the server closed the connection") from error
        if len(frame) > self.max_message_size:
            raise RemoteProtocolError(
                f"the server announced a frame of {len(frame)} bytes; "
                f"{self.max_message_size} allowed"
            )
        return bytearray(frame)

    async def follow_network(self, on_moved: OnMoved) -> None:
        """See :class:`~smbfs.transport.base.MessageStream`: there is no network."""
        del on_moved
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """See :class:`~smbfs.transport.base.MessageStream`."""
        self._outgoing.close()
        self._incoming.close()
        await trio.lowlevel.checkpoint()


def memory_stream_pair() -> tuple[MemoryStream, MemoryStream]:
    """Return two ends: what one sends, the other receives."""
    there_send, there_receive = trio.open_memory_channel[bytes](math.inf)
    back_send, back_receive = trio.open_memory_channel[bytes](math.inf)
    return MemoryStream(there_send, back_receive), MemoryStream(back_send, there_receive)
