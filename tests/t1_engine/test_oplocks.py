"""Oplocks: what each level lets us cache, and who has to be told when it is taken back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smbfs.engine.events import Broken, Ignored
from smbfs.engine.lease_table import LeaseTable
from smbfs.engine.oplocks import Oplock
from smbfs.wire.create import CreateRequest, CreateResponse, OplockLevel
from smbfs.wire.file_id import FileId
from smbfs.wire.header import Command, Header
from smbfs.wire.lease import LeaseState
from smbfs.wire.oplock_break import OplockBreakAcknowledgment, OplockBreakNotification
from tests.beds.scripted_server import FILE_ID, Reply, ScriptedServer
from tests.t1_engine.conversation import Conversation, connect
from tests.t1_engine.test_leases import unsolicited

FILE = FileId(1, 2)
R = LeaseState.READ_CACHING
RW = R | LeaseState.WRITE_CACHING
RWH = RW | LeaseState.HANDLE_CACHING
ASKING = CreateRequest("file", desired_access=1, oplock_level=OplockLevel.BATCH)


@pytest.mark.parametrize(
    ("level", "state"),
    [
        (OplockLevel.LEVEL_II, R),
        (OplockLevel.EXCLUSIVE, RW),
        (OplockLevel.BATCH, RWH),
    ],
)
def test_a_level_allows_what_a_lease_would(level: OplockLevel, state: LeaseState) -> None:
    table = LeaseTable()
    table.oplock_granted(FILE, level)
    oplock = table.oplock_of(FILE)
    assert oplock is not None
    assert oplock.state == state
    table.check_invariants()


@pytest.mark.parametrize("level", [OplockLevel.NONE, OplockLevel.LEASE, 77])
def test_what_is_no_oplock_allows_nothing(level: int) -> None:
    table = LeaseTable()
    table.oplock_granted(FILE, level)
    assert table.oplock_of(FILE) is None


@pytest.mark.parametrize("level", [OplockLevel.EXCLUSIVE, OplockLevel.BATCH])
def test_who_could_write_is_waited_for_once(level: OplockLevel) -> None:
    oplock = Oplock(FILE, level)
    assert oplock.broken_to(OplockLevel.LEVEL_II)
    assert oplock.state == R
    assert oplock.acknowledgment() == OplockBreakAcknowledgment(FILE, OplockLevel.LEVEL_II)
    assert not oplock.broken_to(OplockLevel.NONE)
    assert oplock.state == LeaseState.NONE


def test_a_break_to_nothing_is_agreed_to() -> None:
    oplock = Oplock(FILE, OplockLevel.BATCH)
    assert oplock.broken_to(OplockLevel.NONE)
    assert oplock.acknowledgment() == OplockBreakAcknowledgment(FILE, OplockLevel.NONE)


@pytest.mark.parametrize("level", [OplockLevel.BATCH, OplockLevel.EXCLUSIVE])
def test_a_break_gives_nothing(level: OplockLevel) -> None:
    oplock = Oplock(FILE, OplockLevel.LEVEL_II)
    oplock.broken_to(level)
    assert oplock.state == R


def test_readers_are_not_waited_for() -> None:
    assert not Oplock(FILE, OplockLevel.LEVEL_II).broken_to(OplockLevel.NONE)


def test_a_file_id_that_is_used_again_has_an_oplock_of_its_own() -> None:
    """The answers to CLOSE and to the next CREATE may both be here before we look at either."""
    table = LeaseTable()
    table.oplock_granted(FILE, OplockLevel.BATCH)
    before = table.oplock_of(FILE)
    assert before is not None
    table.oplock_granted(FILE, OplockLevel.LEVEL_II)
    table.closed(before)
    after = table.oplock_of(FILE)
    assert after is not None
    assert (before.state, after.state) == (LeaseState.NONE, R)


def granting(level: OplockLevel) -> Conversation:
    server = ScriptedServer()

    def create(header: Header, body: memoryview) -> Reply:
        status, response = server._create(header, body)
        assert isinstance(response, CreateResponse)
        return status, replace(response, oplock_level=level)

    server.handlers[Command.CREATE] = create
    return connect(server)


def test_a_break_right_behind_the_grant_finds_it() -> None:
    """Nobody has looked at the answer yet."""
    conversation = granting(OplockLevel.BATCH)
    conversation.perform(ASKING)
    oplock = conversation.engine.leases.oplock_of(FILE_ID)
    assert oplock is not None
    notification = unsolicited(OplockBreakNotification(FILE_ID, OplockLevel.LEVEL_II))
    events = list(conversation.engine.receive_message(notification))
    assert events == [Broken(oplock, must_acknowledge=True)]
    assert oplock.state == R


def test_an_oplock_that_nobody_asked_for_is_not_believed() -> None:
    conversation = granting(OplockLevel.BATCH)
    conversation.perform(replace(ASKING, oplock_level=OplockLevel.NONE))
    assert conversation.engine.leases.oplock_of(FILE_ID) is None


def test_the_break_of_an_oplock_that_ended_is_ignored() -> None:
    conversation = granting(OplockLevel.BATCH)
    conversation.perform(ASKING)
    leases = conversation.engine.leases
    oplock = leases.oplock_of(FILE_ID)
    assert oplock is not None
    leases.closed(oplock)
    notification = unsolicited(OplockBreakNotification(FILE_ID, OplockLevel.NONE))
    (event,) = conversation.engine.receive_message(notification)
    assert isinstance(event, Ignored)


def test_a_dead_connection_has_none() -> None:
    conversation = granting(OplockLevel.BATCH)
    conversation.perform(ASKING)
    oplock = conversation.engine.leases.oplock_of(FILE_ID)
    assert oplock is not None
    conversation.engine.leases.lose_all()
    assert oplock.state == LeaseState.NONE
