"""Whole messages and single bits, on connections that were signed on: signed and sealed.

Whatever is altered, dropped, repeated, put elsewhere, stripped of its signature or taken from
somebody else's connection: who uses the share gets the truth, or an error.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smbfs.config.model import MountOptions
from smbfs.wire.header import HEADER_SIZE, SIGNATURE_OFFSET, Command, Header, HeaderFlags
from smbfs.wire.session_setup import LogoffRequest
from smbfs.wire.transform import TRANSFORM_HEADER_SIZE
from tests.beds.middle import Attack, Frame, passing
from tests.beds.samba import SambaServer
from tests.t6_peers.altered import PATIENCE_S, Outcome, all_outcomes, outcome_of, prepare

MESSAGE_ID = slice(24, 32)
OPTIONS = MountOptions(timeout_s=PATIENCE_S, posix=False)
OLDER = MountOptions(timeout_s=PATIENCE_S, posix=False, maximum_dialect="3.0.2")
OLDEST = MountOptions(timeout_s=PATIENCE_S, posix=False, maximum_dialect="2.1")


async def recorded(
    samba: SambaServer, options: MountOptions, share: str
) -> tuple[list[Frame], Outcome]:
    """Return all frames of a conversation that nobody disturbs, and what came of it."""
    prepare(samba)
    seen: list[Frame] = []

    def watch(frame: Frame) -> list[bytes]:
        seen.append(frame)
        return passing(frame)

    truth = await outcome_of(samba, options, watch, share)
    assert truth.error is None
    return seen, truth


def counted(frames: list[Frame], *, answer: bool) -> list[Frame]:
    """Return the frames of one direction that are there however long everything takes."""
    return [each for each in frames if each.is_answer == answer and not each.is_by_chance]


def frames_before(frame: Frame) -> list[bytes]:
    """Frames of its direction that came before it."""
    seen = frame.link.seen
    before = seen[: seen.index(frame)]
    return [each.data for each in counted(before, answer=frame.is_answer)]


def at(number: int, change: Callable[[Frame], list[bytes]], *, answer: bool) -> Attack:
    """Return the attack that changes one frame of one direction."""

    def attack(frame: Frame) -> list[bytes]:
        is_kind = frame.is_answer == answer and not frame.is_by_chance
        is_it = is_kind and len(frames_before(frame)) == number
        return change(frame) if is_it else [frame.data]

    return attack


# --- whole messages ---------------------------------------------------------------------------


def stripped(frame: Frame) -> list[bytes]:
    """Without its signature, and the flag that says that there is one."""
    if frame.is_sealed:
        return [frame.data[52:]]  # What was sealed, as if it were not.
    header = Header.decode(frame.data)
    header = header._replace(flags=header.flags & ~HeaderFlags.SIGNED, signature=bytes(16))
    return [header.encode() + frame.data[HEADER_SIZE:]]


def with_id_of(old: bytes, frame: Frame) -> bytes:
    if frame.is_sealed or len(old) < HEADER_SIZE:
        return old
    return old[: MESSAGE_ID.start] + frame.data[MESSAGE_ID] + old[MESSAGE_ID.stop :]


WHOLE: dict[str, Callable[[Frame], list[bytes]]] = {
    "dropped": lambda _frame: [],
    "repeated": lambda frame: [frame.data] * 2,
    "the first one instead": lambda frame: frames_before(frame)[:1],
    "the last one instead": lambda frame: frames_before(frame)[-1:],
    "the last one before it": lambda frame: [*frames_before(frame)[-1:], frame.data],
    "the last one behind it": lambda frame: [frame.data, *frames_before(frame)[-1:]],
    "all so far before it": lambda frame: [*frames_before(frame), frame.data],
    "the last one under its id": lambda frame: [
        with_id_of(each, frame) for each in frames_before(frame)[-1:]
    ],
    "an equal one under its id": lambda frame: [
        with_id_of(each.data, frame)
        for each in frame.link.seen
        if each.is_a(frame.command, answer=frame.is_answer) and each is not frame
    ][-1:],
    "stripped": stripped,
    "stripped, status altered": lambda frame: [
        each[:8] + b"\x22\0\0\xc0" + each[12:] for each in stripped(frame)
    ],
    "one byte short": lambda frame: [frame.data[:-1]],
    "one byte long": lambda frame: [frame.data + b"\0"],
}


WITHHOLDING = ("dropped", "the first one", "the last one", "all so far", "an equal one")


@pytest.mark.parametrize(
    ("options", "share"),
    [
        (OPTIONS, "share"),
        pytest.param(OPTIONS, "sealed", marks=pytest.mark.long),
        pytest.param(OLDER, "share", marks=pytest.mark.long),
        pytest.param(OLDER, "sealed", marks=pytest.mark.long),
    ],
)
async def test_messages_are_what_they_were_or_nothing(
    samba: SambaServer, options: MountOptions, share: str
) -> None:
    seen, truth = await recorded(samba, options, share)
    attacks = {
        f"{what} {'answer' if answer else 'request'} {number}": at(number, change, answer=answer)
        for answer in (True, False)
        for number in range(len(counted(seen, answer=answer)))
        for what, change in WHOLE.items()
    }
    assert len(attacks) > 250
    outcomes = await all_outcomes(samba, options, list(attacks.values()), share)
    for what, outcome in zip(attacks, outcomes, strict=True):
        # Who withholds an answer of which the server has said that it takes longer is waited for.
        may_wait = what.startswith(WITHHOLDING)
        assert outcome.is_a_part_of(truth, may_wait=may_wait), what
    failed = {what for what, outcome in zip(attacks, outcomes, strict=True) if outcome.error}
    assert len(failed) > len(attacks) // 3


@pytest.mark.parametrize("share", ["share", "sealed"])
async def test_somebody_elses_messages_are_not_taken(samba: SambaServer, share: str) -> None:
    """Valid ones, of another connection of the same user, at the same place with the same ids."""
    seen, truth = await recorded(samba, OPTIONS, share)
    attacks: dict[str, Attack] = {}
    for answer in (True, False):
        # The last one is LOGOFF: nobody minds what becomes of that.
        for number, theirs in enumerate(counted(seen, answer=answer)[:-1]):
            if theirs.is_a(Command.SESSION_SETUP, answer=False, turn=0):
                continue  # It is the same in every sign-on.
            what = f"{'answer' if answer else 'request'} {number} {theirs.command}"
            attacks[what] = at(number, lambda _frame, data=theirs.data: [data], answer=answer)  # type: ignore[misc]
    outcomes = await all_outcomes(samba, OPTIONS, list(attacks.values()), share)
    for what, outcome in zip(attacks, outcomes, strict=True):
        assert outcome.error is not None, what
        assert outcome.is_a_part_of(truth), what


# --- bits -------------------------------------------------------------------------------------


SEALED_GOODBYE = TRANSFORM_HEADER_SIZE + HEADER_SIZE + len(LogoffRequest().encode())
"""Bytes of a sealed LOGOFF, and of its answer; nothing else here is so short."""


def flipped(position: int, hit: list[Frame]) -> Callable[[Frame], list[bytes]]:
    """Return what flips a bit of the byte at a position, and notes of which frame in ``hit``."""

    def flip(frame: Frame) -> list[bytes]:
        hit.append(frame)
        data = bytearray(frame.data)
        data[position % len(data)] ^= 1 << (position % 8)
        return [bytes(data)]

    return flip


def positions(size: int, step: int) -> list[int]:
    """Every field of the header, and bytes all over the body."""
    return [*range(0, min(size, 140), step), *range(140, size, max(step, size // 8)), size - 1]


def may_go_unnoticed(frame: Frame, position: int) -> bool:
    """Whether nobody has to hear of an altered byte, since everything is right all the same.

    What fails of a compound behind its CREATE is asked again by itself. And nobody minds how
    LOGOFF ends: it is altered in place of another frame if the server has said meanwhile that
    something takes longer, which can't be told from an answer where it is sealed.
    """
    if frame.is_sealed:
        return len(frame.data) == SEALED_GOODBYE
    if frame.command == Command.LOGOFF:
        return True
    is_behind = 0 < Header.decode(frame.data).next_command <= position
    return not frame.is_answer and is_behind


async def flip_bits(
    samba: SambaServer, options: MountOptions, share: str, step: int
) -> tuple[int, set[Command | None]]:
    """Alter one byte of a frame after sign-on; return how often, and of what commands."""
    seen, truth = await recorded(samba, options, share)
    attacks: dict[str, Attack] = {}
    commands: set[Command | None] = set()
    hits: dict[str, tuple[int, list[Frame]]] = {}
    for answer in (True, False):
        for number, frame in enumerate(counted(seen, answer=answer)[:-1]):
            if frame.command in (Command.NEGOTIATE, Command.SESSION_SETUP):
                continue
            commands.add(frame.command)
            for position in positions(len(frame.data), step):
                name = f"{'answer' if answer else 'request'} {number} {frame.command} {position}"
                hits[name] = position, []
                attacks[name] = at(number, flipped(*hits[name]), answer=answer)
    outcomes = await all_outcomes(samba, options, list(attacks.values()), share)
    for what, outcome in zip(attacks, outcomes, strict=True):
        assert outcome.is_a_part_of(truth), what
        position, hit = hits[what]
        is_right = all(may_go_unnoticed(frame, position) for frame in hit)
        assert outcome.error is not None or is_right, what
    return len(attacks), commands


@pytest.mark.parametrize("share", ["share", "sealed"])
async def test_a_flipped_bit_is_noticed(samba: SambaServer, share: str) -> None:
    count, commands = await flip_bits(samba, OPTIONS, share, step=9)
    assert count > 200
    if share == "share":
        wanted = {Command.CREATE, Command.READ, Command.WRITE, Command.TREE_CONNECT, Command.CLOSE}
        assert wanted <= commands


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "share"),
    [
        *((OPTIONS, "share"), (OPTIONS, "sealed")),
        *((OLDER, "share"), (OLDER, "sealed"), (OLDEST, "share")),
    ],
)
async def test_many_flipped_bits_are_noticed(
    samba: SambaServer, options: MountOptions, share: str
) -> None:
    count, _ = await flip_bits(samba, options, share, step=1)
    assert count > 1500


def test_the_signature_is_where_we_strip_it() -> None:
    assert SIGNATURE_OFFSET + 16 == HEADER_SIZE
