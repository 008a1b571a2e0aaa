"""A man in the middle who cuts a connection, and alters how it is made again.

What follows a lost connection may not be protected by less than the first one was.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from smbfs.auth.spnego import make_authenticator
from smbfs.client.connect import open_share
from smbfs.client.tree_connect import TreeConnect
from smbfs.config.model import MountOptions
from smbfs.errors import SmbfsError
from smbfs.wire.header import HEADER_SIZE, Command, Header, HeaderFlags
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.read_write import ReadResponse
from smbfs.wire.session_setup import SessionFlags
from tests.beds.middle import Attack, Frame, Middle, in_the_middle, passing, places_of
from tests.beds.samba import SambaServer
from tests.t6_peers.altered import (
    AT_ONCE,
    CONTENTS,
    SOURCE,
    destination,
    opening,
    prepare,
    properties_of,
)

PATIENCE_S = 2.0
OPTIONS = MountOptions(timeout_s=PATIENCE_S)
FORGED = b"forged" * 100


@asynccontextmanager
async def kept_share(
    middle: Middle, samba: SambaServer, options: MountOptions = OPTIONS, share: str = "share"
) -> AsyncIterator[TreeConnect]:
    """A share that comes back by itself, as a mount has it."""
    prepare(samba)
    unc, credentials = destination(samba, middle, share)
    async with open_share(unc, options, credentials, make_authenticator) as tree:
        yield tree


def with_field(frame: Frame, name: str, value: bytes) -> list[bytes]:
    """Return the frame with another value in a field."""
    places = places_of(frame.data, is_answer=frame.is_answer)
    [place] = [each for each in places if each.name == name]
    return [place.replaced(frame.data, value)]


def as_guest(frame: Frame) -> list[bytes]:
    """The last answer of a sign-on says that we are a guest; then every READ is forged."""
    if frame.is_a(Command.SESSION_SETUP) and not Header.decode(frame.data).status:
        return with_field(frame, "session flags", SessionFlags.IS_GUEST.to_bytes(2, "little"))
    if frame.is_a(Command.READ):
        header = Header.decode(frame.data)._replace(
            status=0, flags=HeaderFlags.SERVER_TO_REDIR, signature=bytes(16)
        )
        return [header.encode() + ReadResponse(memoryview(FORGED)).encode()]
    return [frame.data]


def answer_to(command: Command, name: str, value: bytes, turn: int | None = None) -> Attack:
    """Alter a field of an answer."""

    def alter(frame: Frame) -> list[bytes]:
        if not frame.is_a(command, turn=turn):
            return [frame.data]
        return with_field(frame, name, value)

    return alter


def cut_short(frame: Frame) -> list[bytes]:
    """Answers of a sign-on without their signature, and the flag of it."""
    if not frame.is_a(Command.SESSION_SETUP):
        return [frame.data]
    header = Header.decode(frame.data)
    bare = header._replace(flags=header.flags & ~HeaderFlags.SIGNED, signature=bytes(16))
    return [bare.encode() + frame.data[HEADER_SIZE:]]


SMALL = (0x210).to_bytes(2, "little")
ATTACKS: dict[str, Attack] = {
    "a guest": as_guest,
    "nobody": answer_to(Command.SESSION_SETUP, "session flags", b"\2\0"),
    "no signatures": cut_short,
    "another server": answer_to(Command.NEGOTIATE, "server guid", bytes(range(16))),
    "an older dialect": answer_to(Command.NEGOTIATE, "dialect", SMALL),
    "another cipher": answer_to(Command.NEGOTIATE, "encryption data", b"\1\0"),
    "no cipher": answer_to(Command.NEGOTIATE, "encryption data", b"\0\0"),
    "another signing algorithm": answer_to(Command.NEGOTIATE, "signing data", b"\0\0"),
    "no POSIX extensions": answer_to(Command.NEGOTIATE, "posix type", b"\x77\0"),
    "no signing required": answer_to(Command.NEGOTIATE, "security mode", b"\1\0"),
    "no capabilities": answer_to(Command.NEGOTIATE, "capabilities", bytes(4)),
    "another session": answer_to(Command.SESSION_SETUP, "session id", b"\7" * 8),
}
"""What is done to every connection after the first."""


SIGNING_ON = {
    *(Command.NEGOTIATE, Command.SESSION_SETUP, Command.TREE_CONNECT),
    *(Command.CANCEL, Command.ECHO),  # when the mount ends meanwhile, or it takes long
}


async def check_attack(samba: SambaServer, attack: str, share: str, *, holds: bool) -> None:
    """Cut the connection, attack the next ones, and see that nobody was asked for anything."""
    later_frames: list[Frame] = []

    def watch(frame: Frame) -> list[bytes]:
        if not frame.link.number:
            return [frame.data]
        later_frames.append(frame)
        return ATTACKS[attack](frame)

    async with (
        in_the_middle(samba, watch) as middle,
        kept_share(middle, samba, share=share) as tree,
    ):
        before = properties_of(tree)
        file = await tree.create(opening(SOURCE))
        await middle.cut(hold_server=holds)
        try:
            read = await file.read(0, len(CONTENTS))
            raise AssertionError(attack, share, holds, bytes(read))
        except SmbfsError:
            pass
        assert properties_of(tree) == before, attack
    asked = {frame.command for frame in later_frames if not frame.is_answer}
    assert Command.NEGOTIATE in asked
    # Nothing is asked of who has not proved who he is.
    assert asked <= SIGNING_ON, attack


@pytest.mark.parametrize("holds", [True, False], ids=["joins", "anew"])
async def test_what_comes_after_is_not_weaker(samba: SambaServer, *, holds: bool) -> None:
    """Both ways back: as a channel of the session that the server still has, and with a new one."""
    limit = trio.CapacityLimiter(AT_ONCE)

    async def check(attack: str, share: str) -> None:
        async with limit:
            await check_attack(samba, attack, share, holds=holds)

    async with trio.open_nursery() as nursery:
        for share in ("share", "sealed"):
            for attack in ATTACKS:
                nursery.start_soon(check, attack, share)


@pytest.mark.parametrize("share", ["share", "sealed"])
@pytest.mark.parametrize("holds", [True, False], ids=["joins", "anew"])
async def test_without_an_attack_it_comes_back_as_it_was(
    samba: SambaServer, share: str, *, holds: bool
) -> None:
    async with in_the_middle(samba) as middle, kept_share(middle, samba, share=share) as tree:
        before = properties_of(tree)
        file = await tree.create(opening(SOURCE))
        await middle.cut(hold_server=holds)
        with trio.fail_after(10):
            if holds and share != "sealed":  # There it is the session that it was.
                assert await file.read(0, len(CONTENTS)) == CONTENTS
            again = await tree.create(opening(SOURCE))
            assert await again.read(0, len(CONTENTS)) == CONTENTS
        assert properties_of(tree) == before
        assert len(middle.links) == 2


async def test_who_keeps_tampering_is_met_ever_more_seldom(samba: SambaServer) -> None:
    """Sign-on passes, and every answer after it is altered, while somebody asks without end."""

    def spoil(frame: Frame) -> list[bytes]:
        return [frame.data[:-1] + b"\x5a"] if frame.is_a(Command.CREATE) else [frame.data]

    async with in_the_middle(samba) as middle, kept_share(middle, samba) as tree:

        async def ask() -> None:
            while True:
                with suppress(SmbfsError):
                    await tree.create(opening(SOURCE))

        async with trio.open_nursery() as nursery:
            middle.attack = spoil
            nursery.start_soon(ask)
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
        assert 1 < len(middle.links) < 20  # Without pauses there were 50 a second.
        middle.attack = passing
        with trio.fail_after(25):
            while tree.line.ready is None:
                await tree.line.wait_for_change()
            file = await tree.create(opening(SOURCE))
            assert await file.read(0, len(CONTENTS)) == CONTENTS


async def test_who_spoils_one_sign_on_does_not_end_the_mount(samba: SambaServer) -> None:
    """A token that is none says nothing about our password: we go on trying."""

    def spoil(frame: Frame) -> list[bytes]:
        is_challenge = (
            frame.is_a(Command.SESSION_SETUP)
            and Header.decode(frame.data).status == NtStatus.STATUS_MORE_PROCESSING_REQUIRED
        )
        if is_challenge:
            return [frame.data[:72] + bytes(len(frame.data) - 72)]
        return [frame.data]

    async with in_the_middle(samba) as middle, kept_share(middle, samba) as tree:
        middle.attack = spoil
        await middle.cut()
        with trio.fail_after(10):
            await middle.connected(4)
        middle.attack = passing
        with trio.fail_after(10):
            file = await tree.create(opening(SOURCE))
            assert await file.read(0, len(CONTENTS)) == CONTENTS


@pytest.mark.parametrize("share", ["share", "sealed"])
async def test_what_was_said_on_one_connection_is_not_taken_on_the_next(
    samba: SambaServer, share: str
) -> None:
    """The answer to the same message id of the first connection, where another file is read.

    Every channel of a session seals with the same keys, and counts its messages from the start.
    """
    folder = samba.share_path(share)
    (folder / "first").write_bytes(b"1" * 5000)
    (folder / "second").write_bytes(b"2" * 5000)
    old: list[bytes] = []
    read_at: list[int] = []
    replayed: list[bytes] = []

    def replay(frame: Frame) -> list[bytes]:
        if not frame.is_answer:
            return [frame.data]
        if not frame.link.number:
            old.append(frame.data)
            return [frame.data]
        number = sum(each.is_answer for each in frame.link.seen) - 1
        if frame.link.number == 1 and number == read_at[0]:
            replayed.append(old[number])
            return [old[number]]
        return [frame.data]

    options = MountOptions(timeout_s=PATIENCE_S, posix=False)
    async with (
        in_the_middle(samba, replay) as middle,
        kept_share(middle, samba, options, share) as tree,
    ):
        first = await tree.create(opening("first"))
        await tree.create(opening("second"))
        await first.read(0, 5000)
        read_at.append(len(old) - 1)
        await middle.cut(hold_server=True)
        for _ in range(8):
            with suppress(SmbfsError):
                second = await tree.create(opening("second"))
                assert await second.read(0, 5000) == b"2" * 5000
        assert replayed
