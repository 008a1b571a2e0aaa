"""Breaks on a live connection: let go first, then say so, and only who still has the file open."""

from __future__ import annotations

from dataclasses import replace

import trio
import trio.testing

from smbfs.client.lifeline import Channel
from smbfs.client.tree_connect import ConnectedTree, TreeConnect
from smbfs.engine.leases import Lease
from smbfs.wire.create import CreateRequest, CreateResponse
from smbfs.wire.create_contexts import LeaseResponseV2, LeaseState
from smbfs.wire.header import Command, Header
from smbfs.wire.negotiate import Capabilities
from smbfs.wire.oplock_break import (
    LeaseBreakAcknowledgment,
    LeaseBreakFlags,
    LeaseBreakNotification,
    LeaseBreakResponse,
)
from smbfs.wire.tree_connect import ShareType, TreeConnectResponse
from tests.beds.scripted_server import TREE_ID, Reply, ScriptedServer
from tests.t1_engine.test_leases import unsolicited
from tests.t2_client.test_connection import Bed, signed_on
from tests.t2_client.test_open import connected_tree
from tests.t2_client.test_orphans import chained, withheld

KEY = b"k" * 16
READ = LeaseState.READ_CACHING
READ_HANDLE = READ | LeaseState.HANDLE_CACHING
FILE = CreateRequest("file", desired_access=1)


def leasing_tree(bed: Bed, acknowledged: list[LeaseState]) -> TreeConnect:
    """Have the server grant leases, and note to what states we agree."""

    def create(header: Header, body: memoryview) -> Reply:
        status, response = bed.server._create(header, body)
        assert isinstance(response, CreateResponse)
        return status, replace(response, contexts=(LeaseResponseV2(KEY, READ_HANDLE, None, 1),))

    def acknowledge(_header: Header, body: memoryview) -> Reply:
        state = LeaseBreakAcknowledgment.decode(body).lease_state
        acknowledged.append(state)
        return 0, LeaseBreakResponse(KEY, state)

    bed.server.handlers[Command.CREATE] = create
    bed.server.handlers[Command.OPLOCK_BREAK] = acknowledge
    return connected_tree(bed)


def break_to(left: LeaseState, flags: int = LeaseBreakFlags.ACK_REQUIRED) -> bytes:
    """Return the break that leaves so much of the lease."""
    return bytes(unsolicited(LeaseBreakNotification(KEY, READ_HANDLE, left, 2, flags)))


async def break_lease(
    bed: Bed, left: LeaseState, flags: int = LeaseBreakFlags.ACK_REQUIRED
) -> None:
    bed.end.send([break_to(left, flags)])
    await trio.testing.wait_all_tasks_blocked()


async def test_a_break_is_acknowledged_after_it_was_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    acknowledged: list[LeaseState] = []
    async with signed_on() as bed:
        tree = leasing_tree(bed, acknowledged)
        file = await tree.create(FILE, lease_key=KEY)
        assert file.lease is not None
        assert file.lease.state == READ_HANDLE
        told: list[tuple[LeaseState, int]] = []

        def note(lease: Lease, _must_acknowledge: bool) -> bool:
            told.append((lease.state, len(acknowledged)))
            return False

        tree.on_break = note
        await break_lease(bed, READ)
        assert told == [(READ, 0)]
        assert acknowledged == [READ]


async def test_a_break_that_asks_for_nothing_is_not_acknowledged(
    autojump_clock: trio.testing.MockClock,
) -> None:
    acknowledged: list[LeaseState] = []
    async with signed_on() as bed:
        file = await leasing_tree(bed, acknowledged).create(FILE, lease_key=KEY)
        await break_lease(bed, READ, flags=0)
        assert file.lease is not None
        assert file.lease.state == READ
        assert acknowledged == []


async def test_who_closes_the_file_need_not_acknowledge(
    autojump_clock: trio.testing.MockClock,
) -> None:
    acknowledged: list[LeaseState] = []
    async with signed_on() as bed:
        tree = leasing_tree(bed, acknowledged)
        file = await tree.create(FILE, lease_key=KEY)

        def close(_lease: Lease, _must_acknowledge: bool) -> bool:
            file.close_unwaited()
            return False

        tree.on_break = close
        await break_lease(bed, LeaseState.NONE)
        assert bed.commands()[-1] == Command.CLOSE
        assert acknowledged == []
        assert len(tree.leases) == 0


async def test_who_has_something_to_write_first_acknowledges_when_that_is_done(
    autojump_clock: trio.testing.MockClock,
) -> None:
    acknowledged: list[LeaseState] = []
    async with signed_on() as bed:
        tree = leasing_tree(bed, acknowledged)
        file = await tree.create(FILE, lease_key=KEY)
        tree.on_break = lambda _lease, _must_acknowledge: True
        await break_lease(bed, READ)
        assert acknowledged == []
        assert file.lease is not None
        tree.acknowledge(file.lease)
        await trio.testing.wait_all_tasks_blocked()
        assert acknowledged == [READ]
        lease = file.lease
        file.close_unwaited()
        tree.acknowledge(lease)  # The CLOSE has said it.
        await trio.testing.wait_all_tasks_blocked()
        assert acknowledged == [READ]


async def test_a_break_concerns_an_open_that_is_under_way(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is acknowledged, or others wait for us; and the grant that is read later is void."""
    acknowledged: list[LeaseState] = []
    async with signed_on() as bed:
        tree = leasing_tree(bed, acknowledged)
        answers = withheld(bed)
        async with trio.open_nursery() as nursery:

            async def open_file() -> None:
                file = await tree.create(FILE, lease_key=KEY)
                assert file.lease is not None
                assert file.lease.state == LeaseState.NONE

            nursery.start_soon(open_file)
            await trio.testing.wait_all_tasks_blocked()
            await break_lease(bed, LeaseState.NONE)
            assert acknowledged == [LeaseState.NONE]
            bed.end.send([answers[0]])


async def test_an_open_that_fails_or_is_given_up_holds_no_lease(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on() as bed:
        tree = leasing_tree(bed, [])
        answers = withheld(bed)
        with trio.move_on_after(1):
            await tree.create(FILE, lease_key=KEY)
        bed.server.mangle = lambda frames: frames
        bed.end.send([answers[0]])
        await trio.testing.wait_all_tasks_blocked()
        assert bed.commands()[-1] == Command.CLOSE
        fresh = tree.leases.opening(KEY)
        assert (fresh.opens, fresh.state) == (1, LeaseState.NONE)


async def test_the_lease_of_what_was_opened_anew_and_is_another_file_vouches_for_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on() as bed:
        tree = leasing_tree(bed, [])
        first, second = [await tree.create(FILE, lease_key=KEY) for _ in range(2)]
        tree.line.next_session()
        tree.leases.lose_all()
        assert not await tree.reclaim(first, FILE, tree.channel, is_same=lambda _created: False)
        first.lose()
        assert not second.is_vouched_for  # Its lease was closed with that file.


async def test_a_break_right_behind_what_brings_a_file_back_is_acknowledged(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is read before anybody has looked at that answer, and others wait for our word."""
    acknowledged: list[LeaseState] = []
    async with signed_on() as bed:
        tree = leasing_tree(bed, acknowledged)
        file = await tree.create(FILE, lease_key=KEY)
        assert file.lease is not None
        tree.line.next_session()
        tree.leases.lose_all()

        def break_at_once(frames: list[bytes]) -> list[bytes]:
            bed.server.mangle = lambda later: later
            return [chained(bed, *frames, break_to(READ))]

        bed.server.mangle = break_at_once
        assert await tree.reclaim(file, FILE, tree.channel)
        await trio.testing.wait_all_tasks_blocked()
        assert acknowledged == [LeaseState.NONE]  # Less than what was left is agreed to as well.
        assert file.lease.state == LeaseState.NONE


async def test_who_comes_back_to_a_server_without_leases_asks_for_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    simple = ScriptedServer(capabilities=Capabilities.LARGE_MTU)
    async with signed_on() as first, signed_on(server=simple) as second:
        tree = connected_tree(first)
        shown = [tree.grants_leases]
        for bed in (second, first):
            response = TreeConnectResponse(ShareType.DISK, 0, 0, 0)
            channel = Channel(bed.connection, bed.session)
            tree.attach(channel, ConnectedTree(TREE_ID, response))
            shown.append(tree.grants_leases)
        assert shown == [True, False, True]
