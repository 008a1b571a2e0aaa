"""An open file whose server answers late and in any order, as real ones may."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace

import trio

from smbfs.client.lifeline import Lifeline
from smbfs.errors import ServerStatusError
from smbfs.wire.ntstatus import NtStatus

WRITE_SIZE_MAX = 1000
READ_SIZE_MAX = 4096


@dataclass
class ReorderingFile:
    """Stands in for ``client.open.Open``: ``read`` and ``write`` take random virtual time."""

    random: Random
    contents: bytearray = field(default_factory=bytearray)
    writes: list[tuple[int, int]] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)
    fail_at: int | None = None
    """Writes that touch this offset are refused."""
    under_way: int = 0
    most_under_way: int = 0

    def __post_init__(self) -> None:
        self.is_vouched_for = self.is_lost = False
        self.tree = SimpleNamespace(
            max_write_size=WRITE_SIZE_MAX, max_read_size=READ_SIZE_MAX, line=Lifeline()
        )

    async def write(self, offset: int, data: bytes | memoryview, *, patient: bool = False) -> int:
        assert patient, "nobody waits for a single WRITE"
        assert len(data) <= WRITE_SIZE_MAX
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await trio.sleep(self.random.random())
        self.under_way -= 1
        if self.fail_at is not None and offset <= self.fail_at < offset + len(data):
            raise ServerStatusError(NtStatus.STATUS_DISK_FULL, "WRITE")
        taken = self.random.randint(1, len(data))  # A server may take less than it was offered.
        self.writes.append((offset, taken))
        if len(self.contents) < offset:
            self.contents.extend(bytes(offset - len(self.contents)))
        self.contents[offset : offset + taken] = data[:taken]
        return taken

    async def read(self, offset: int, length: int) -> memoryview:
        assert length <= self.tree.max_read_size
        self.reads.append((offset, length))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        data = bytes(self.contents[offset : offset + length])
        await trio.sleep(self.random.random() / 10)
        self.under_way -= 1
        return memoryview(data)  # as it was when the server was asked
