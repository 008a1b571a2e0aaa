"""Listings: each name once, any way of going back, linear time, and little to remember."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import DirectoryStream, Listed
from smbfs.wire.fscc import FileStat

NOBODY = Description(FileStat(0, 0, 0, 0, 0, 0, 0, 0, 1, 0, None, None, None))


class ScriptedListing:
    """A server that sends its entries in pieces, and may change between the pieces."""

    def __init__(self, *pieces: list[str]) -> None:
        self.pieces = list(pieces)
        self.position = 0
        self.asked = 0
        self.restarts = 0

    async def next_piece(self, *, restart: bool) -> list[Listed] | None:
        self.asked += 1
        if restart:
            self.position = 0
            self.restarts += 1
        if self.position >= len(self.pieces):
            return None
        self.position += 1
        return [Listed(name.encode(), NOBODY) for name in self.pieces[self.position - 1]]


async def read_all(stream: DirectoryStream, start: int = 0) -> list[str]:
    names: list[str] = []
    while (listed := await stream.entry(start + len(names))) is not None:
        names.append(listed.name.decode())
    return names


async def test_entries_come_in_the_servers_order() -> None:
    stream = DirectoryStream(ScriptedListing(["b", "a"], ["c"]))
    assert await read_all(stream) == ["b", "a", "c"]
    assert await stream.entry(3) is None


async def test_an_empty_directory_ends_at_once() -> None:
    listing = ScriptedListing()
    assert await read_all(DirectoryStream(listing)) == []
    assert listing.asked == 1


async def test_a_name_that_comes_twice_is_shown_once() -> None:
    stream = DirectoryStream(ScriptedListing(["a", "b"], ["b", "c", "a"], ["d"]))
    assert await read_all(stream) == ["a", "b", "c", "d"]


async def test_a_piece_of_known_names_does_not_end_the_listing() -> None:
    stream = DirectoryStream(ScriptedListing(["a"], ["a"], ["b"]))
    assert await read_all(stream) == ["a", "b"]


async def test_what_the_kernel_had_no_room_for_is_read_again_without_asking() -> None:
    listing = ScriptedListing(["a", "b", "c"])
    stream = DirectoryStream(listing)
    await read_all(stream)
    asked = listing.asked
    stream.passed(1)
    assert await read_all(stream, 1) == ["b", "c"]
    assert listing.asked == asked


async def test_rewinding_begins_a_new_listing() -> None:
    listing = ScriptedListing(["a"], ["b"])
    stream = DirectoryStream(listing)
    await read_all(stream)
    listing.pieces[1] = ["z"]
    stream.rewind()
    assert await read_all(stream) == ["a", "z"]
    assert listing.restarts == 2


async def test_rewinding_before_reading_costs_nothing() -> None:
    listing = ScriptedListing(["a"])
    stream = DirectoryStream(listing)
    stream.rewind()
    assert listing.asked == 0
    assert await read_all(stream) == ["a"]
    assert listing.restarts == 1


async def test_going_back_far_shows_what_was_behind_that_position() -> None:
    listing = ScriptedListing(["a", "b"], ["c", "d"], ["e"])
    stream = DirectoryStream(listing)
    await read_all(stream)
    stream.passed(5)
    assert await read_all(stream, 1) == ["b", "c", "d", "e"]


async def test_going_back_while_the_directory_changes() -> None:
    listing = ScriptedListing(["a", "b"], ["c", "d"])
    stream = DirectoryStream(listing)
    await read_all(stream)
    stream.passed(4)
    listing.pieces = [["new", "c"], ["b", "d"]]  # "a" is gone, others have moved.
    assert await read_all(stream, 2) == ["new", "c", "d"]


async def test_passed_entries_are_not_kept() -> None:
    stream = DirectoryStream(ScriptedListing(["a", "b", "c"]))
    await read_all(stream)
    stream.passed(3)
    assert stream._entries == []


NAMES = st.lists(st.text("abcdef", min_size=1, max_size=3), max_size=30)
PIECES = st.lists(NAMES, max_size=5)


@given(pieces=PIECES, moves=st.lists(st.integers(0, 40), max_size=8))
async def test_any_reader_sees_each_name_once_and_all_that_stay(
    pieces: list[list[str]], moves: list[int]
) -> None:
    stream = DirectoryStream(ScriptedListing(*pieces))
    expected = list(dict.fromkeys(name for piece in pieces for name in piece))
    assert await read_all(stream) == expected
    stream.passed(len(expected))
    for move in moves:
        position = min(move, len(expected))
        stream.passed(position)
        assert await read_all(stream, position) == expected[position:]
