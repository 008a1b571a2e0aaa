"""Every field of NEGOTIATE, SESSION_SETUP and TREE_CONNECT, altered on its way, in both directions.

The client's own code, without FUSE, so that there is time for hundreds of attacks: it gets an
error, or just the connection that it gets without an attack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from smbfs.config.model import MountOptions
from smbfs.wire.header import Command
from tests.beds.middle import Attack, Frame, passing, places_of
from tests.beds.samba import SambaServer
from tests.t6_peers.altered import PATIENCE_S, Outcome, all_outcomes, outcome_of, prepare

NEWEST = {"3.1.1": "3.1.1", "3.0.2": "3.0.2", "3.0": "3.0", "2.1": "2.1"}
SEALED = "sealed"

Alteration = Callable[[bytes], bytes]

ALTERATIONS: dict[str, Alteration] = {
    "lowest bit": lambda value: bytes([value[0] ^ 1]) + value[1:],
    "highest bit": lambda value: value[:-1] + bytes([value[-1] ^ 0x80]),
    "zero": lambda value: bytes(len(value)),
    "ones": lambda value: b"\xff" * len(value),
}

BEFORE_KEYS = {
    *("credit charge", "status", "credits", "header flags", "process id", "tree id"),
    *("session id", "signature"),
}
"""Header fields of messages that nobody can sign yet. They cost credits at most: who grants what
the server has not granted makes it hang up on us."""

_OFFERS = {"reserved", "context offset", "context count", "reserved 2", "dialects"}
_TOKEN = {"buffer length", "buffer 0", "buffer 1", "buffer 2", "buffer 3"}
"""The server's first token: a hint, which is not used (``auth/spnego``)."""
_LIMITS = {"max transact size", "max read size", "max write size"}
"""How much one request may carry; VALIDATE_NEGOTIATE_INFO does not repeat it (2.2.32.6)."""

UNPROTECTED: dict[tuple[Command, bool, int], set[str]] = {
    # What is not repeated in VALIDATE_NEGOTIATE_INFO; a dialect that the server does not choose.
    (Command.NEGOTIATE, False, 0): BEFORE_KEYS | _OFFERS | {"dialect 0", "dialect 1"},
    (Command.NEGOTIATE, True, 0): (
        BEFORE_KEYS
        | {"context count", "context offset", "system time", "server start time"}
        | _TOKEN
        | _LIMITS
    ),
    # Before SMB 3.1.1 nobody repeats what SESSION_SETUP said: that we require signing (we do not
    # take anything unsigned), no capabilities, a session of ours to end (it ends without us, too).
    (Command.SESSION_SETUP, False, 0): (
        BEFORE_KEYS | {"flags", "security mode", "capabilities", "channel", "previous session"}
    ),
    # Only the last answer's session flags count, and that is signed.
    (Command.SESSION_SETUP, True, 0): BEFORE_KEYS | {"session flags"},
}
"""What the specification leaves without protection before SMB 3.1.1, which has none such: there
the keys are made of every byte."""
UNPROTECTED[Command.SESSION_SETUP, False, 1] = UNPROTECTED[Command.SESSION_SETUP, False, 0]

NOT_VALIDATED = {"client guid", "server guid", "capabilities", "security mode"}
"""In NEGOTIATE, what nobody repeats where no dialect from 3.0 on is offered (3.2.5.5)."""


@dataclass(frozen=True)
class Case:
    """One field of one message, and what is done to it."""

    command: Command
    is_answer: bool
    turn: int
    field: str
    alteration: str

    @property
    def message(self) -> tuple[Command, bool, int]:
        return self.command, self.is_answer, self.turn

    def attack(self, done: list[Case]) -> Attack:
        """Return the attack, which notes in ``done`` that something was altered."""

        def alter(frame: Frame) -> list[bytes]:
            if not frame.is_a(self.command, answer=self.is_answer, turn=self.turn):
                return [frame.data]
            altered = frame.data
            for place in places_of(frame.data, is_answer=self.is_answer):
                if place.name == self.field:
                    change = ALTERATIONS[self.alteration]
                    altered = place.replaced(frame.data, change(place.of(frame.data)))
            if altered != frame.data:
                done.append(self)
            return [altered]

        return alter


def options(newest: str, **more: object) -> MountOptions:
    return MountOptions(timeout_s=PATIENCE_S, maximum_dialect=newest, **more)  # type: ignore[arg-type]


async def cases_of(
    samba: SambaServer, newest: str, share: str, alterations: Iterable[str]
) -> tuple[list[Case], Outcome]:
    """Return what can be altered in a sign-on, and what comes of one that is left alone."""
    seen: list[Frame] = []

    def watch(frame: Frame) -> list[bytes]:
        seen.append(frame)
        return passing(frame)

    truth = await outcome_of(samba, options(newest), watch, share)
    wanted = (Command.NEGOTIATE, Command.SESSION_SETUP, Command.TREE_CONNECT)
    return [
        Case(frame.command, frame.is_answer, frame.turn, place.name, alteration)
        for frame in seen
        if frame.command in wanted
        for place in places_of(frame.data, is_answer=frame.is_answer)
        for alteration in alterations
    ], truth


def may_pass(case: Case, newest: str) -> bool:
    """Whether the specification has nobody notice."""
    if newest == "3.1.1":
        return False
    allowed = UNPROTECTED.get(case.message, set())
    if newest == "2.1" and case.command is Command.NEGOTIATE:
        allowed = allowed | NOT_VALIDATED
    return case.field in allowed


async def alter_everything(
    samba: SambaServer, newest: str, share: str, alterations: Iterable[str]
) -> tuple[int, int]:
    """Make every alteration; return how many there were, and how many nobody noticed."""
    prepare(samba)
    cases, truth = await cases_of(samba, newest, share, alterations)
    assert truth.error is None
    assert truth.properties is not None
    assert truth.properties.signing_required
    done: list[Case] = []
    attacks = [case.attack(done) for case in cases]
    outcomes = await all_outcomes(samba, options(newest), attacks, share)
    altered = set(done)
    accepted = 0
    for case, outcome in zip(cases, outcomes, strict=True):
        if case in altered:
            assert outcome.is_a_part_of(truth), case
            assert outcome.error is None or str(outcome.error), case
            accepted += outcome.error is None
            assert outcome.error is not None or may_pass(case, newest), case
    return len(altered), accepted


@pytest.mark.parametrize(
    ("newest", "share", "least"),
    [("3.1.1", "share", 200), ("3.0.2", SEALED, 140), ("2.1", "share", 140)],
)
async def test_an_altered_field_is_noticed_or_changes_nothing(
    samba: SambaServer, newest: str, share: str, least: int
) -> None:
    altered, accepted = await alter_everything(samba, newest, share, ["lowest bit"])
    assert altered >= least
    assert accepted == 0 or newest != "3.1.1"


@pytest.mark.long
@pytest.mark.parametrize("newest", NEWEST)
@pytest.mark.parametrize("share", ["share", SEALED])
async def test_however_a_field_is_altered(samba: SambaServer, newest: str, share: str) -> None:
    if (newest, share) == ("2.1", SEALED):
        share = "share"  # It can't seal; what else it would be is refused.
    altered, _ = await alter_everything(samba, newest, share, ALTERATIONS)
    assert altered >= 550


# --- values that are legal, and weaker --------------------------------------------------------


def number(value: int, size: int = 2) -> bytes:
    return value.to_bytes(size, "little")


WEAKER: dict[str, tuple[str, bool, str, bytes]] = {
    # name: oldest of those that it is for, answer?, field, value
    "3.0.2 is offered no more": ("3.1.1", False, "dialect 3", number(0x302)),
    "only 2.1 is offered": ("3.1.1", False, "dialects", number(0x210) * 4),
    "only 3.0 is offered": ("3.1.1", False, "dialects", number(0x300) * 4),
    "the server chose 3.0.2": ("3.1.1", True, "dialect", number(0x302)),
    "the server chose 3.0": ("3.1.1", True, "dialect", number(0x300)),
    "the server chose 2.1": ("3.1.1", True, "dialect", number(0x210)),
    "the server chose 2.0.2": ("3.1.1", True, "dialect", number(0x202)),
    "another cipher is offered": ("3.1.1", False, "encryption data", number(1) * 4),
    "the server chose another cipher": ("3.1.1", True, "encryption data", number(1)),
    "the server chose a wider cipher": ("3.1.1", True, "encryption data", number(4)),
    "the server has no cipher": ("3.1.1", True, "encryption data", number(0)),
    "the server's cipher is another context": ("3.1.1", True, "encryption type", number(0x77)),
    "CMAC alone is offered": ("3.1.1", False, "signing data", number(1) * 3),
    "the server chose CMAC": ("3.1.1", True, "signing data", number(1)),
    "the server chose HMAC": ("3.1.1", True, "signing data", number(0)),
    "the server's algorithm is another context": ("3.1.1", True, "signing type", number(0x77)),
    "no POSIX is offered": ("3.1.1", False, "posix type", number(0x77)),
    "the server has no POSIX": ("3.1.1", True, "posix type", number(0x77)),
    "another name of the server": ("3.1.1", False, "netname type", number(0x77)),
    "signing is not required of the server": ("3.0.2", False, "security mode", number(1)),
    "the server requires no signing": ("3.0.2", True, "security mode", number(1)),
    "3.0.2: only 2.1 is offered": ("3.0.2", False, "dialects", number(0x210) * 3),
    "3.0.2: only 3.0 is offered": ("3.0.2", False, "dialects", number(0x300) * 3),
    "3.0.2: the server chose 3.0": ("3.0.2", True, "dialect", number(0x300)),
    "3.0.2: the server chose 2.1": ("3.0.2", True, "dialect", number(0x210)),
    "3.0.2: we can't seal": ("3.0.2", False, "capabilities", number(0, 4)),
    "3.0.2: the server can't seal": ("3.0.2", True, "capabilities", number(0x07, 4)),
}


@pytest.mark.parametrize("signing", ["required", "if-offered"])
async def test_nobody_bargains_it_down(samba: SambaServer, signing: str) -> None:
    """Where signing is only ``if-offered``, too: the server has it, so it is used."""
    prepare(samba)
    for newest in ("3.1.1", "3.0.2"):
        chosen = {name: what for name, what in WEAKER.items() if what[0] == newest}
        terms = options(newest, signing=signing)
        truth = await outcome_of(samba, terms, passing)
        assert truth.properties is not None
        assert truth.properties.signing_required

        done: set[str] = set()

        def attack(name: str, done: set[str] = done) -> Attack:
            _, is_answer, field, value = WEAKER[name]

            def weaken(frame: Frame) -> list[bytes]:
                if not frame.is_a(Command.NEGOTIATE, answer=is_answer):
                    return [frame.data]
                [place] = [
                    each
                    for each in places_of(frame.data, is_answer=is_answer)
                    if each.name == field
                ]
                altered = place.replaced(frame.data, value)
                if altered != frame.data:
                    done.add(name)
                return [altered]

            return weaken

        outcomes = await all_outcomes(samba, terms, [attack(name) for name in chosen])
        for name, outcome in zip(chosen, outcomes, strict=True):
            assert (outcome.error is not None) == (name in done), name
            assert (outcome.properties is None) == (name in done), name
        said_already = {"signing is not required of the server"} if signing != "required" else set()
        assert set(chosen) - done <= said_already
