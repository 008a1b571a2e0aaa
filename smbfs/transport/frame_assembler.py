"""From a stream of bytes that comes in pieces to whole frames."""

from __future__ import annotations

from collections import deque

from smbfs.errors import RemoteProtocolError
from smbfs.transport.base import LENGTH_PREFIX_SIZE, MAX_FRAME_SIZE


def check_length(length: int, allowed: int) -> None:
    """Refuse a frame by what its prefix states. Raises: RemoteProtocolError."""
    if length > MAX_FRAME_SIZE:
        raise RemoteProtocolError("the server does not speak SMB: no length prefix")
    if not length:
        raise RemoteProtocolError("the server sent a frame without anything in it")
    if length > allowed:
        raise RemoteProtocolError(
            f"the server announced a frame of {length} bytes; {allowed} allowed"
        )


class FrameAssembler:
    """Puts frames together, each in a buffer of exactly its length."""

    def __init__(self) -> None:
        self.max_message_size = MAX_FRAME_SIZE
        """Frames that state more bytes than this are refused before memory is taken."""
        self.frames: deque[bytearray] = deque()
        """Whole frames that nobody has taken yet."""
        self._prefix = bytearray()
        self._frame: bytearray | None = None
        self._filled = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises: RemoteProtocolError, and is of no use after that."""
        view, at = memoryview(data), 0
        while at < len(view):
            if self._frame is None:
                at = self._take_prefix(view, at)
            else:
                at = self._fill(self._frame, view, at)

    def _take_prefix(self, view: memoryview, at: int) -> int:
        end = at + LENGTH_PREFIX_SIZE - len(self._prefix)
        self._prefix += view[at:end]
        if len(self._prefix) == LENGTH_PREFIX_SIZE:
            length = int.from_bytes(self._prefix, "big")
            check_length(length, self.max_message_size)
            self._prefix.clear()
            self._frame, self._filled = bytearray(length), 0
        return min(end, len(view))

    def _fill(self, frame: bytearray, view: memoryview, at: int) -> int:
        piece = view[at : at + len(frame) - self._filled]
        frame[self._filled : self._filled + len(piece)] = piece
        self._filled += len(piece)
        if self._filled == len(frame):
            self.frames.append(frame)
            self._frame = None
        return at + len(piece)
