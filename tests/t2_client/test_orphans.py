"""What cancelled callers leave behind on the server, and who clears it away."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from smbfs.client.status import ERROR_NAMES_MAX, OTHER_ERRORS, Counters
from smbfs.wire.close_flush import CloseRequest
from smbfs.wire.create import CreateRequest, FileId
from smbfs.wire.error_response import ErrorResponse
from smbfs.wire.header import HEADER_SIZE, Command, Header
from smbfs.wire.message import Message
from smbfs.wire.ntstatus import NtStatus
from tests.beds.scripted_server import FILE_ID, file_contents
from tests.t2_client.test_connection import Bed, signed_on

CREATE = CreateRequest("file", desired_access=1)


def withheld(bed: Bed) -> list[bytes]:
    """Deliver no answer from now on, but put it into the list that is returned."""
    answers: list[bytes] = []

    def withhold(frames: list[bytes]) -> list[bytes]:
        answers.extend(frames)
        return []

    bed.server.mangle = withhold
    return answers


async def abandon(bed: Bed, *messages: Message) -> bytes:
    """Cancel an exchange that was sent; return its answer, which is yet to be delivered."""
    answers = withheld(bed)
    with trio.move_on_after(1):
        await bed.connection.perform(bed.exchange(*messages))
    await trio.testing.wait_all_tasks_blocked()
    bed.server.mangle = lambda frames: frames
    return answers[0]


async def spend_credits(bed: Bed, *, left: int) -> None:
    """Have the server grant nothing until we hold no more than ``left``."""
    bed.server.grant = lambda _header: 0
    while bed.connection.engine.flow.credits > left:
        await bed.read(0, 100)


def chained(bed: Bed, *messages: bytes) -> bytes:
    """Return one frame of several answers."""
    frame = b""
    for message in messages[:-1]:
        padded = message + bytes(-len(message) % 8)
        header = Header.decode(padded)._replace(next_command=len(padded))
        frame += bed.server.signed(header.encode() + padded[HEADER_SIZE:])
    return frame + messages[-1]


async def test_what_an_abandoned_create_opened_is_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on() as bed:
        bed.end.send([await abandon(bed, CREATE)])
        await trio.testing.wait_all_tasks_blocked()
        assert bed.commands()[-1] == Command.CLOSE


async def test_a_malformed_answer_to_an_abandoned_create_takes_no_other_answer_along(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on() as bed:
        bed.server.handlers[Command.CREATE] = lambda _h, _b: (0, ErrorResponse())
        orphan = await abandon(bed, CREATE)

        bed.server.mangle = lambda frames: [chained(bed, orphan, *frames)]
        with trio.fail_after(1):
            assert await bed.read(0, 100) == file_contents(0, 100)
        assert bed.connection.is_alive


async def test_answers_are_delivered_though_an_orphan_ended_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """No credit is left for the first CLOSE, and nothing may be submitted for the second."""
    async with signed_on() as bed:
        await spend_credits(bed, left=3)
        orphans = [await abandon(bed, CREATE) for _ in range(2)]
        bed.server.mangle = lambda frames: [chained(bed, *orphans, *frames)]
        with trio.fail_after(1):
            assert await bed.read(0, 100) == file_contents(0, 100)
            assert "too few credits" in str(await bed.connection.wait_ended())


@pytest.mark.parametrize(
    ("status", "closes"), [(NtStatus.STATUS_SUCCESS, 1), (NtStatus.STATUS_INVALID_PARAMETER, 2)]
)
async def test_an_abandoned_compound_whose_close_failed_is_closed(
    status: NtStatus, closes: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with signed_on() as bed:
        if status != NtStatus.STATUS_SUCCESS:
            bed.server.handlers[Command.CLOSE] = lambda _h, _b: (status, ErrorResponse())
        bed.end.send([await abandon(bed, CREATE, CloseRequest(FileId.RELATED))])
        await trio.testing.wait_all_tasks_blocked()
        assert bed.commands().count(Command.CLOSE) == closes


async def test_a_cancelled_close_is_sent_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on() as bed:
        await spend_credits(bed, left=1)
        bed.server.grant = lambda header: header.credits
        answers = withheld(bed)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bed.read, 0, 100)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(1):
                await bed.connection.perform(bed.exchange(CloseRequest(FILE_ID)))
            assert Command.CLOSE not in bed.commands()
            bed.server.mangle = lambda frames: frames
            bed.end.send([answers[0]])
        await trio.testing.wait_all_tasks_blocked()
        assert bed.commands()[-1] == Command.CLOSE


def test_the_server_does_not_choose_how_many_errors_are_counted() -> None:
    counters = Counters()
    for code in range(1000):
        counters.count_error(f"0x{code:08X}")
        counters.count_error("0x00000000")
    assert len(counters.errors) == ERROR_NAMES_MAX
    assert counters.errors["0x00000000"] == 1001
    assert counters.errors[OTHER_ERRORS] == 1000 - (ERROR_NAMES_MAX - 1)
    assert counters.errors.total() == 2000
