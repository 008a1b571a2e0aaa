"""What a transport is to the rest: whole frames in, whole frames out.

Every implementation passes ``tests/t2_client/test_message_stream.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from smbfs.transport.tunnel import Tunnel

Buffer = bytes | bytearray | memoryview

OnMoved = Callable[[str, str], None]
"""Called with the address of ours that a stream came from, and the one that it now comes from."""

TransportName = Literal["tcp", "quic"]

LENGTH_PREFIX_SIZE = 4
"""One zero byte and three bytes of length, in network order. Spec: [MS-SMB2] 2.1."""

MAX_FRAME_SIZE = 0xFF_FFFF
"""Largest length that the prefix can state."""


class Flow(NamedTuple):
    """Bytes of a stream so far, of frames that are not whole yet, too."""

    received: int
    """They came from the peer."""
    sent: int
    """They were given to the stream to be sent."""
    taken: int
    """Of those sent, the peer's machine has acknowledged them. That says nothing of its server."""


class MessageStream(Protocol):
    """A connected stream of SMB2 frames.

    ``send`` never blocks and takes a frame whole, so a cancelled caller can't leave half a
    frame on the wire; what the network does not take at once waits for ``flush``, which one
    task calls. ``receive_message`` has one caller, too.
    """

    transport: TransportName
    """What it runs on."""

    @property
    def tunnel(self) -> Tunnel | None:
        """What it runs through; None if every hop on the way sees it as it is."""

    max_message_size: int
    """Frames that state more bytes than this end the stream before memory is taken."""

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the server."""

    @property
    def unflushed(self) -> bool:
        """Whether part of a sent frame still waits for ``flush``."""

    @property
    def flow(self) -> Flow:
        """What has passed so far: on a slow line there may be half a minute between two frames."""

    def send(self, buffers: Sequence[Buffer]) -> None:
        """Send one frame, given in pieces without its length prefix.

        The pieces must not change until they are flushed.
        Raises: TransportError.
        """

    async def flush(self) -> None:
        """Wait until everything sent has been handed to the network. Raises: TransportError."""

    async def receive_message(self) -> bytearray:
        """Return the next frame, in a buffer of exactly its length. Lets other tasks run.

        Raises: TransportError when the stream ended, RemoteProtocolError when the peer sent
        something that is no frame or states a forbidden length.
        """

    async def follow_network(self, on_moved: OnMoved) -> None:
        """Keep the stream when this machine's network changes, as far as it can be kept.

        Runs beside the stream; returns when there is nothing to do.
        """

    async def aclose(self) -> None:
        """Close at once. What the peer has not got by now it never gets."""
