"""Reading one open file without remembering anything: for mounts with ``cache=none``."""

from __future__ import annotations

from smbfs.vfs.read_ahead import ReadableFile
from smbfs.wire.message import Buffer


class DirectReader:
    """Reads of one handle, each of them the server's answer to this very question."""

    def __init__(self, file: ReadableFile) -> None:
        self._file = file

    def close(self) -> None:
        """Do nothing: there is nothing under way that nobody waits for."""

    async def read(self, offset: int, length: int) -> Buffer:
        """Return up to ``length`` bytes from ``offset``; less only where the file ends.

        Raises: ServerStatusError, TransportError.
        """
        limit = self._file.tree.max_read_size
        parts: list[memoryview] = []
        while length:
            data = await self._file.read(offset, min(length, limit))
            if not data:
                break
            parts.append(data)
            offset += len(data)
            length -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)
