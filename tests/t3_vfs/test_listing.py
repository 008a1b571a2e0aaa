"""Listings of the server that break off: nothing is left out, and no handle is left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
import trio.testing

from smbfs.client.open import Open
from smbfs.errors import ServerAway, ServerStatusError, SmbfsError, TransportError
from smbfs.vfs import listing as listing_module
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import DirectoryStream
from smbfs.vfs.listing import Listing
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.removal import Removal
from smbfs.vfs.server_directories import ServerDirectory
from smbfs.vfs.share import Share
from smbfs.wire.create import FileAttributes
from smbfs.wire.fscc import DirectoryEntry
from smbfs.wire.ntstatus import NtStatus
from tests.t3_vfs.file_stats import told
from tests.t3_vfs.late_server import DELAY_S, Bed, LateOpen, bed_for

PIECES = [["a", "link-1", "b"], ["c", "link-2", "d"], ["e"]]
"""What the server lists, piece by piece. It is asked what is behind each link."""

ALL = [name.encode() for piece in PIECES for name in piece]


def entry(name: str) -> DirectoryEntry:
    stat = told(size=1, file_id=1 + ALL.index(name.encode()))
    if name.startswith("link"):
        stat = stat._replace(attributes=int(FileAttributes.REPARSE_POINT))
    return DirectoryEntry(name, stat)


class Directory:
    """A directory of the server, whose answers fail as often as a test says."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.places: dict[Open, int] = {}
        """How far it was listed by each handle."""
        self.failing: dict[str, list[SmbfsError | None]] = {}
        """What is said instead of the next answers, if anything, by what they are about."""

    def fail(self, question: str) -> None:
        errors = self.failing.get(question)
        if errors and (error := errors.pop(0)) is not None:
            raise error

    async def open(self, _share: Share, _path: str) -> ServerDirectory:
        opened = LateOpen(self.bed.server)
        self.places[opened] = 1  # It comes with the beginning of its listing.
        await trio.sleep(DELAY_S)
        first = [entry(name) for name in PIECES[0]]
        return ServerDirectory(opened, first, is_all=False, told=None)

    async def list_piece(
        self, _share: Share, directory: Open, *, restart: bool
    ) -> list[DirectoryEntry] | None:
        await trio.sleep(DELAY_S)
        self.fail("piece")
        place = 0 if restart else self.places[directory]
        self.places[directory] = place + 1
        return [entry(name) for name in PIECES[place]] if place < len(PIECES) else None

    async def describe(self, path: str) -> Description:
        await trio.sleep(DELAY_S)
        self.fail(path)
        return Description(entry(path)[1])


@asynccontextmanager
async def listed(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Directory, Listing]]:
    """A listing of such a directory."""
    async with bed_for(b"") as bed:
        directory, state = Directory(bed), bed.state
        monkeypatch.setattr(listing_module, "open_directory", directory.open)
        monkeypatch.setattr(listing_module, "list_piece", directory.list_piece)
        monkeypatch.setattr(state.describer, "describe", directory.describe)
        opened = await directory.open(state.share, "")
        removal = Removal(cast(Share, bed.server))
        yield (
            directory,
            Listing(state, removal, state.inodes.root, opened, asked_s=0.0, reading=None),
        )


async def names_in(stream: DirectoryStream, start: int = 0) -> list[bytes]:
    names: list[bytes] = []
    while (listed := await stream.entry(start + len(names))) is not None:
        names.append(listed.name)
    return names


@pytest.mark.parametrize(("link", "before"), [("link-1", 0), ("link-2", 3)])
async def test_a_listing_that_could_not_be_told_whole_is_told_when_it_is_asked_for_again(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    link: str,
    before: int,
) -> None:
    """The piece was read, but one of its entries needed an answer that did not come."""
    async with listed(monkeypatch) as (directory, listing):
        stream = DirectoryStream(listing)
        directory.failing[link] = [ServerAway("it has been away for too long")]
        names = [(await shown_at(stream, position)) for position in range(before)]
        with pytest.raises(ServerAway):
            await stream.entry(before)
        assert names + await names_in(stream, before) == ALL
        listing.close()
        assert directory.bed.server.handles == 0


async def shown_at(stream: DirectoryStream, position: int) -> bytes:
    found = await stream.entry(position)
    assert found is not None
    return found.name


async def test_what_the_server_refuses_to_tell_of_an_entry_is_shown_as_it_was_listed(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listed(monkeypatch) as (directory, listing):
        denied = ServerStatusError(NtStatus.STATUS_ACCESS_DENIED, "CREATE")
        directory.failing["link-1"] = [denied]
        assert await names_in(DirectoryStream(listing)) == ALL


AWAY = ServerAway("it has been away for too long")
REFUSED = ServerStatusError(NtStatus.STATUS_NO_MEMORY, "QUERY_DIRECTORY")


@pytest.mark.parametrize(
    ("before", "failing"),
    [
        (0, {"link-1": [AWAY], "piece": [AWAY, AWAY]}),
        (0, {"link-1": [AWAY], "piece": [REFUSED]}),
        (3, {"link-2": [AWAY], "piece": [None, AWAY, AWAY]}),
        (3, {"link-2": [AWAY], "piece": [None, REFUSED]}),
    ],
)
async def test_a_listing_that_fails_again_leaves_nothing_out(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    before: int,
    failing: dict[str, list[SmbfsError | None]],
) -> None:
    """First an entry can't be told, and then the listing does not begin anew."""
    async with listed(monkeypatch) as (directory, listing):
        stream = DirectoryStream(listing)
        names = [await shown_at(stream, position) for position in range(before)]
        directory.failing = {question: list(errors) for question, errors in failing.items()}
        for _ in range(2):
            with pytest.raises((ServerAway, ServerStatusError)):
                await stream.entry(before)
        assert names + await names_in(stream, before) == ALL


@pytest.mark.parametrize("pieces", [0, 2])
async def test_a_listing_that_begins_anew_leaves_no_handle(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    """After a lost connection nobody knows how far it was told; the handle may have survived."""
    async with listed(monkeypatch) as (directory, listing):
        stream = DirectoryStream(listing)
        names = [await shown_at(stream, position) for position in range(3 * pieces)]
        directory.failing["piece"] = [TransportError("the connection is lost")]
        assert names + await names_in(stream, len(names)) == ALL
        assert len(directory.places) == 2
        assert directory.bed.server.handles == 1
        listing.close()
        assert directory.bed.server.handles == 0


async def test_a_listing_that_is_closed_while_it_begins_anew_leaves_no_handle(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listed(monkeypatch) as (directory, listing), trio.open_nursery() as nursery:
        directory.failing["piece"] = [TransportError("the connection is lost")]

        async def go_on() -> None:
            await listing.next_piece(restart=True)
            with pytest.raises(Refused) as caught:
                await listing.next_piece(restart=False)
            assert caught.value.reason == Refusal.BAD_HANDLE

        nursery.start_soon(go_on)
        await trio.sleep(DELAY_S * 5 / 2)
        assert len(directory.places) == 2
        listing.close()
        await trio.sleep(1)
        assert directory.bed.server.handles == 0
