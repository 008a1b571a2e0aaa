"""Leases: grants and breaks in any order, and who still holds one."""

from __future__ import annotations

import itertools

import pytest

from smbfs.engine.events import Broken, Ignored
from smbfs.engine.lease_table import LeaseTable
from smbfs.engine.leases import Lease
from smbfs.errors import RemoteProtocolError
from smbfs.wire.echo_cancel import EchoResponse
from smbfs.wire.header import UNSOLICITED_MESSAGE_ID, Command, Header, HeaderFlags
from smbfs.wire.lease import LeaseFlags, LeaseResponseV2, LeaseState
from smbfs.wire.message import Message
from smbfs.wire.oplock_break import (
    LeaseBreakAcknowledgment,
    LeaseBreakFlags,
    LeaseBreakNotification,
)
from tests.beds.scripted_server import ScriptedServer
from tests.t1_engine.conversation import Conversation, connect

KEY = b"k" * 16
R, RH, RWH = (
    LeaseState.READ_CACHING,
    LeaseState.READ_CACHING | LeaseState.HANDLE_CACHING,
    LeaseState(7),
)
NONE = LeaseState.NONE


def grant(state: LeaseState, epoch: int, flags: int = 0, key: bytes = KEY) -> LeaseResponseV2:
    return LeaseResponseV2(key, state, None, epoch, flags)


def taken(before: LeaseState, after: LeaseState, epoch: int) -> LeaseBreakNotification:
    return LeaseBreakNotification(KEY, before, after, epoch, LeaseBreakFlags.ACK_REQUIRED)


def unsolicited(message: Message, command: Command = Command.OPLOCK_BREAK) -> bytearray:
    header = Header(
        credit_charge=0,
        status=0,
        command=command,
        flags=HeaderFlags.SERVER_TO_REDIR,
        message_id=UNSOLICITED_MESSAGE_ID,
    )
    return bytearray(header.encode() + message.encode())


def test_a_lease_allows_what_was_granted() -> None:
    lease = Lease(KEY)
    assert (lease.may_read, lease.may_keep_handle) == (False, False)
    lease.granted(grant(RH, 1))
    assert (lease.may_read, lease.may_keep_handle) == (True, True)
    lease.granted(None)  # A later open of the same file, without a word about it.
    assert lease.state == RH


def test_the_answer_of_another_lease_grants_nothing() -> None:
    lease = Lease(KEY)
    lease.granted(grant(RH, 1, key=b"o" * 16))
    assert lease.state == NONE


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_highest_epoch_has_the_last_word(order: tuple[int, ...]) -> None:
    """Granted, broken, granted again: in whatever order that is read."""
    lease = Lease(KEY)
    steps = (
        lambda: lease.granted(grant(RH, 1)),
        lambda: lease.broken(taken(RH, NONE, 2)),
        lambda: lease.granted(grant(R, 3)),
    )
    for step in order:
        steps[step]()
    # A break takes away even what was granted after it, if it is read later: too little is safe.
    assert lease.state == (R if order.index(1) < order.index(2) else NONE)


def test_a_grant_that_is_read_after_its_break_grants_nothing() -> None:
    lease = Lease(KEY)
    lease.broken(taken(RH, NONE, 2))
    lease.granted(grant(RH, 1))
    assert lease.state == NONE


def test_while_a_break_is_in_progress_the_old_state_is_not_granted_again() -> None:
    lease = Lease(KEY)
    lease.granted(grant(RH, 1))
    lease.broken(taken(RH, NONE, 2))
    lease.granted(grant(RH, 2, LeaseFlags.BREAK_IN_PROGRESS))
    assert lease.state == NONE


def test_epochs_wrap_around() -> None:
    lease = Lease(KEY)
    lease.granted(grant(RH, 0x7000))
    lease.granted(grant(R, 0xFFFF))  # Older by half of all epochs: ignored.
    assert lease.state == RH
    lease.granted(grant(RH, 0xE000))
    lease.granted(grant(R, 2))
    assert lease.state == R


def test_a_lease_ends_with_its_last_open() -> None:
    leases = LeaseTable()
    lease = leases.opening(KEY)
    assert leases.opening(KEY) is lease
    lease.granted(grant(RH, 1))
    assert len(leases) == 1
    leases.closed(lease)
    assert len(leases) == 1
    leases.closed(lease)
    assert lease.state == NONE
    assert len(leases) == 0
    leases.check_invariants()
    assert leases.opening(KEY) is not lease


def broken(conversation: Conversation, message: Message) -> list[object]:
    return list(conversation.engine.receive_message(unsolicited(message)))


def test_a_break_takes_effect_before_anybody_is_told() -> None:
    conversation = connect(ScriptedServer())
    lease = conversation.engine.leases.opening(KEY)
    lease.granted(grant(RWH, 1))
    assert broken(conversation, taken(RWH, R, 2)) == [Broken(lease, must_acknowledge=True)]
    assert lease.state == R
    assert lease.acknowledgment() == LeaseBreakAcknowledgment(KEY, R)
    quiet = LeaseBreakNotification(KEY, R, NONE, 3)
    assert broken(conversation, quiet) == [Broken(lease, must_acknowledge=False)]
    assert lease.state == NONE


def test_the_break_of_a_lease_that_ended_is_agreed_to_if_anybody_waits() -> None:
    conversation = connect(ScriptedServer())
    leases = conversation.engine.leases
    leases.closed(leases.opening(KEY))
    (event,) = broken(conversation, taken(RH, NONE, 2))
    assert isinstance(event, Broken)
    assert event.lease.must_be_acknowledged
    assert event.lease.acknowledgment() == LeaseBreakAcknowledgment(KEY, NONE)
    (event,) = broken(conversation, LeaseBreakNotification(KEY, R, NONE, 3))
    assert isinstance(event, Ignored)


def test_a_lease_whose_open_was_asked_for_twice_is_acknowledged_without_opens() -> None:
    leases = LeaseTable()
    lease = leases.opening(KEY)
    leases.repeated(KEY)
    leases.closed(lease)
    assert lease.must_be_acknowledged


def test_what_was_doubted_allows_nothing_and_is_still_answered_for() -> None:
    leases = LeaseTable()
    lease = leases.opening(KEY)
    lease.granted(grant(RWH, 5))
    assert leases.doubt_all() == [lease]
    assert (lease.state, lease.must_be_acknowledged) == (NONE, True)
    lease.granted(grant(RH, 6))
    assert lease.state == RH
    assert leases.lose_all() == [lease]
    assert (lease.state, lease.must_be_acknowledged) == (NONE, False)
    lease.granted(grant(R, 1))  # Another session counts anew.
    assert (lease.state, lease.must_be_acknowledged) == (R, True)


def test_nothing_else_may_come_unasked() -> None:
    conversation = connect(ScriptedServer())
    with pytest.raises(RemoteProtocolError):
        conversation.engine.receive_message(unsolicited(EchoResponse(), Command.ECHO))
