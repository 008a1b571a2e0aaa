"""What an open file keeps of the frames that it receives."""

from __future__ import annotations

import pytest
import trio.testing

from smbfs.client.lifeline import Channel, Lifeline
from smbfs.client.tree_connect import ConnectedTree, TreeConnect
from smbfs.wire.create import AccessMask, CreateRequest
from smbfs.wire.header import Command, Header
from smbfs.wire.message import Buffer
from smbfs.wire.read_write import ReadResponse
from smbfs.wire.tree_connect import (
    ShareCapabilities,
    ShareFlags,
    ShareType,
    TreeConnectResponse,
)
from tests.beds.scripted_server import TREE_ID, Reply
from tests.t2_client.test_connection import Bed, signed_on

KIB = 1024


def connected_tree(bed: Bed) -> TreeConnect:
    response = TreeConnectResponse(
        ShareType.DISK, ShareFlags(0), ShareCapabilities(0), AccessMask(0x001F01FF)
    )
    line = Lifeline(leases=bed.connection.engine.leases, counters=bed.connection.counters)
    tree = TreeConnect(line, "share")
    bed.connection.on_break = tree.broken
    channel = Channel(bed.connection, bed.session)
    line.add(channel)
    tree.attach(channel, ConnectedTree(TREE_ID, response))
    return tree


@pytest.mark.parametrize(
    ("size", "padding", "copied"),
    [(1, 1024 * KIB, True), (1, KIB, False), (100 * KIB, 50 * KIB, False)],
)
async def test_a_short_answer_does_not_keep_its_large_frame(
    size: int, padding: int, *, copied: bool, autojump_clock: trio.testing.MockClock
) -> None:
    class Padded(ReadResponse):
        def buffers(self) -> tuple[Buffer, ...]:
            return (*ReadResponse.buffers(self), bytes(padding))

    def answer(_header: Header, _body: memoryview) -> Reply:
        return 0, Padded(memoryview(bytes(size)))

    async with signed_on() as bed:
        file = await connected_tree(bed).create(CreateRequest("file", desired_access=1))
        bed.server.handlers[Command.READ] = answer
        data = await file.read(0, 1024 * KIB)
        assert len(data) == size
        kept = data.obj
        assert isinstance(kept, bytes | bytearray)
        assert (len(kept) == size) == copied
