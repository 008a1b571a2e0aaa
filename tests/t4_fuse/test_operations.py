"""Handlers, over a file system that does what the test says."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import cast

import pytest

from smbfs.errors import TransportError
from smbfs.fuse.answers import entries_in
from smbfs.fuse.operations import handlers
from smbfs.fuse.protocol import Opcode
from smbfs.vfs.attributes import Attributes
from smbfs.vfs.directories import Emit
from smbfs.vfs.filesystem import FileSystem
from smbfs.vfs.shown import Entry

ATTRIBUTES = Attributes(0o100644, 0, 1, 0, 0, 0, 0, 0, 0, 0)


class Directory:
    """Lists two entries, and fails then."""

    async def read(self, _handle: int, start: int, emit: Emit) -> None:
        for number in range(start, 2):
            assert emit(b"name", Entry(number + 5, ATTRIBUTES, 0.0, 0.0), number + 1)
        raise TransportError("the server is gone")


async def test_a_listing_that_fails_tells_what_it_has() -> None:
    """Those entries are counted as told, so the kernel has to have them."""
    nothing = SimpleNamespace(are_offered=False)
    rooms = (
        "names",
        "links",
        "renames",
        "access",
        "attributes",
        "space",
        "opening",
        "files",
        "server_copy",
        "allocation",
    )
    filesystem = SimpleNamespace(
        **dict.fromkeys(rooms, nothing), extended_attributes=nothing, directories=Directory()
    )
    read = handlers(cast(FileSystem, filesystem))[Opcode.READDIRPLUS]
    answer = await read(1, struct.pack("=QQI", 1, 0, 4096))
    assert list(entries_in(Opcode.READDIRPLUS, bytes(answer))) == [5, 6]
    with pytest.raises(TransportError):
        await read(1, struct.pack("=QQI", 1, 2, 4096))
