"""Oplocks on a live connection: asked for where there are no leases, and given back in time."""

from __future__ import annotations

from dataclasses import replace

import trio
import trio.testing

from smbfs.client.tree_connect import OPLOCKS_REFUSED_MAX, TreeConnect
from smbfs.engine.leases import Lease
from smbfs.wire.create import CreateRequest, CreateResponse, OplockLevel
from smbfs.wire.header import Command, Header
from smbfs.wire.lease import LeaseState
from smbfs.wire.negotiate import Capabilities
from smbfs.wire.oplock_break import (
    OplockBreakAcknowledgment,
    OplockBreakNotification,
    OplockBreakResponse,
)
from tests.beds.scripted_server import FILE_ID, Reply, ScriptedServer
from tests.t1_engine.test_leases import unsolicited
from tests.t2_client.test_connection import Bed, signed_on
from tests.t2_client.test_open import connected_tree
from tests.t2_client.test_orphans import withheld

KEY = b"k" * 16
FILE = CreateRequest("file", desired_access=1)


class Granting(ScriptedServer):
    """Knows oplocks, and notes for what it was asked and to what we agree."""

    def __init__(self, level: OplockLevel) -> None:
        super().__init__(capabilities=Capabilities.LARGE_MTU)
        self.asked: list[int] = []
        self.agreed: list[int] = []

        def create(header: Header, body: memoryview) -> Reply:
            self.asked.append(CreateRequest.decode(body).oplock_level)
            status, response = self._create(header, body)
            assert isinstance(response, CreateResponse)
            return status, replace(response, oplock_level=level)

        def acknowledge(_header: Header, body: memoryview) -> Reply:
            agreed = OplockBreakAcknowledgment.decode(body).oplock_level
            self.agreed.append(agreed)
            return 0, OplockBreakResponse(FILE_ID, agreed)

        self.handlers[Command.CREATE] = create
        self.handlers[Command.OPLOCK_BREAK] = acknowledge


async def break_to(bed: Bed, level: int) -> None:
    bed.end.send([unsolicited(OplockBreakNotification(FILE_ID, level))])
    await trio.testing.wait_all_tasks_blocked()


async def test_where_there_are_no_leases_oplocks_are_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Granting(OplockLevel.BATCH)
    async with signed_on(server=server) as bed:
        tree = connected_tree(bed)
        file = await tree.create(FILE, lease_key=KEY)
        assert server.asked == [OplockLevel.BATCH]
        assert file.is_vouched_for
        assert len(tree.leases) == 1
        await file.close()
        assert len(tree.leases) == 0
        plain = await tree.create(FILE)
        assert server.asked[1:] == [OplockLevel.NONE]
        assert not plain.is_vouched_for


async def test_a_break_is_agreed_to_after_it_was_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Granting(OplockLevel.BATCH)
    async with signed_on(server=server) as bed:
        tree = connected_tree(bed)
        file = await tree.create(FILE, lease_key=KEY)
        told: list[tuple[LeaseState, bool, int]] = []

        def note(lease: Lease, must_acknowledge: bool) -> bool:
            told.append((lease.state, must_acknowledge, len(server.agreed)))
            return False

        tree.on_break = note
        await break_to(bed, OplockLevel.LEVEL_II)
        assert told == [(LeaseState.READ_CACHING, True, 0)]
        assert server.agreed == [OplockLevel.LEVEL_II]
        await break_to(bed, OplockLevel.NONE)
        assert told[1:] == [(LeaseState.NONE, False, 1)]
        assert server.agreed == [OplockLevel.LEVEL_II]  # Nobody waits for that one.
        assert not file.is_vouched_for


async def test_who_closes_the_file_need_not_agree(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Granting(OplockLevel.BATCH)
    async with signed_on(server=server) as bed:
        tree = connected_tree(bed)
        file = await tree.create(FILE, lease_key=KEY)

        def close(_lease: Lease, _must_acknowledge: bool) -> bool:
            file.close_unwaited()
            return False

        tree.on_break = close
        await break_to(bed, OplockLevel.NONE)
        assert bed.commands()[-1] == Command.CLOSE
        assert server.agreed == []


async def test_the_oplock_of_an_open_that_nobody_waits_for_is_not_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on(server=Granting(OplockLevel.BATCH)) as bed:
        tree = connected_tree(bed)
        answers = withheld(bed)
        with trio.move_on_after(1):
            await tree.create(FILE, lease_key=KEY)
        bed.server.mangle = lambda frames: frames
        bed.end.send([answers[0]])
        await trio.testing.wait_all_tasks_blocked()
        assert bed.commands()[-1] == Command.CLOSE
        assert len(tree.leases) == 0


async def test_a_share_that_grants_none_is_not_asked_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on(server=Granting(OplockLevel.NONE)) as bed:
        tree = connected_tree(bed)
        await open_often(tree, OPLOCKS_REFUSED_MAX - 1)
        assert tree.grants_caching
        await open_often(tree, 1)
        assert not tree.grants_caching


async def test_a_share_that_grants_some_is_asked_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on(server=Granting(OplockLevel.LEVEL_II)) as bed:
        tree = connected_tree(bed)
        await open_often(tree, OPLOCKS_REFUSED_MAX + 1)
        assert tree.grants_caching


async def open_often(tree: TreeConnect, times: int) -> None:
    for _ in range(times):
        file = await tree.create(FILE, lease_key=KEY)
        await file.close()
