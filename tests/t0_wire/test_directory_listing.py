"""Directory entries, also from a server that means harm."""

from __future__ import annotations

import struct
import time
import tracemalloc
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol import file_info

from smbfs.errors import WireError
from smbfs.wire.fscc import DirectoryEntry, FileStat, iterate_directory
from smbfs.wire.info import FileInfoClass
from smbfs.wire.security import Sid
from smbfs.wire.vocabulary import fill, pack
from tests.t0_wire.payloads import encode_directory
from tests.t0_wire.values import QUICK, U32, U64, names, sids


@dataclass(frozen=True, slots=True)
class Listing:
    """One information class and the size of what is in front of a name of an entry."""

    info_class: FileInfoClass
    fixed_size: int
    has_file_id: bool = True


LISTINGS = (
    Listing(FileInfoClass.BOTH_DIRECTORY, 94, has_file_id=False),
    Listing(FileInfoClass.ID_BOTH_DIRECTORY, 104),
    Listing(FileInfoClass.ID_FULL_DIRECTORY, 80),
    # 88 fixed bytes, two SIDs of 16, the name's length.
    Listing(FileInfoClass.POSIX, 88 + 16 + 16 + 4),
)
every_listing = pytest.mark.parametrize("listing", LISTINGS, ids=lambda one: one.info_class.name)

OWNER, GROUP = Sid.unix_user_sid(1000), Sid.unix_group_sid(1000)


def stats(listing: Listing) -> st.SearchStrategy[FileStat]:
    """What an entry of this class can tell."""
    is_posix = listing.info_class is FileInfoClass.POSIX
    types = st.sampled_from([0o100000, 0o120000, 0o020000, 0o060000, 0o010000, 0o140000])
    modes = st.tuples(types, st.integers(0, 0o7777)).map(lambda pair: pair[0] | pair[1])
    # Without POSIX the tag has a place only where the attribute says so.
    files = st.sampled_from([(0x20, 0), (0x420, 0xA000000C), (0x10, 0)])
    attributes_and_tag = st.tuples(st.just(0x20), U32) if is_posix else files
    return st.builds(
        FileStat._make,
        st.tuples(
            U64 if listing.has_file_id else st.just(0),
            st.tuples(U64, U64, U64, U64, U64, U64),
            attributes_and_tag,
            U32 if is_posix else st.just(1),
            modes if is_posix else st.none(),
            sids if is_posix else st.none(),
            sids if is_posix else st.none(),
        ).map(lambda parts: (parts[0], *parts[1], parts[2][0], parts[3], parts[2][1], *parts[4:])),
    )


def entry_lists(listing: Listing) -> st.SearchStrategy[list[DirectoryEntry]]:
    def entries(stat: FileStat) -> st.SearchStrategy[DirectoryEntry]:
        has_ea_size = listing.info_class is not FileInfoClass.POSIX and not stat.attributes & 0x400
        return st.builds(DirectoryEntry, names, st.just(stat), U32 if has_ea_size else st.none())

    return st.lists(stats(listing).flatmap(entries), min_size=1, max_size=4)


def plain_entry(listing: Listing, name: str, number: int = 7) -> DirectoryEntry:
    posix = listing.info_class is FileInfoClass.POSIX
    times = (1, 2, 3, 4)
    file_id = number if listing.has_file_id else 0
    unix = (0o100644, OWNER, GROUP) if posix else (None, None, None)
    stat = FileStat(file_id, 10, 4096, *times, 0x20, 1, 0, *unix)
    return DirectoryEntry(name, stat, None if posix else 77)


def read(data: bytes, listing: Listing) -> list[DirectoryEntry]:
    return list(iterate_directory(memoryview(data), listing.info_class))


@every_listing
def test_round_trip(listing: Listing) -> None:
    @QUICK
    @given(entry_lists(listing))
    def check(entries: list[DirectoryEntry]) -> None:
        assert read(encode_directory(entries, listing.info_class), listing) == entries

    check()


@every_listing
def test_truncation_at_every_length(listing: Listing) -> None:
    """Nothing of an entry can be missing; nothing at all is an empty listing."""
    entries = [plain_entry(listing, name) for name in (".", "..", "häuser", "x")]
    data = encode_directory(entries, listing.info_class)
    assert read(b"", listing) == []
    for length in range(1, len(data)):
        with pytest.raises(WireError):
            read(data[:length], listing)


@every_listing
@pytest.mark.parametrize("step", [1, 4, 8, 64, 79, 2**31, 2**32 - 8, 2**32 - 1])
def test_next_entry_that_does_not_move_on_or_leaves(listing: Listing, step: int) -> None:
    """Too short steps would read an entry twice, too long ones leave; none goes backwards."""
    entries = [plain_entry(listing, name) for name in ("one", "two", "three")]
    data = bytearray(encode_directory(entries, listing.info_class))
    struct.pack_into("<I", data, 0, step)
    with pytest.raises(WireError):
        next(iterate_directory(memoryview(data), listing.info_class))


@every_listing
def test_next_entry_into_the_name_is_refused(listing: Listing) -> None:
    """Entries may not overlap: memory would not be bounded by the bytes received."""
    data = bytearray(encode_directory([plain_entry(listing, "n" * 300)], listing.info_class))
    struct.pack_into("<I", data, 0, listing.fixed_size)
    with pytest.raises(WireError):
        read(bytes(data), listing)


@every_listing
def test_next_entry_zero_ends(listing: Listing) -> None:
    """A zero ends the listing, whatever follows; it can't make a loop."""
    entries = [plain_entry(listing, name) for name in ("one", "two")]
    data = bytearray(encode_directory(entries, listing.info_class))
    struct.pack_into("<I", data, 0, 0)
    assert read(bytes(data), listing) == entries[:1]


@every_listing
@pytest.mark.parametrize("length", [1, 3, 5])
def test_name_of_odd_length(listing: Listing, length: int) -> None:
    entry = encode_directory([plain_entry(listing, "abc")], listing.info_class)
    data = entry.replace(struct.pack("<I", 6), struct.pack("<I", length), 1)
    assert data != entry
    with pytest.raises(WireError):
        read(data, listing)


@every_listing
@pytest.mark.parametrize("length", [8, 1000, 2**31, 2**32 - 2])
def test_name_longer_than_its_entry(listing: Listing, length: int) -> None:
    entry = encode_directory([plain_entry(listing, "abc")], listing.info_class)
    with pytest.raises(WireError):
        read(entry.replace(struct.pack("<I", 6), struct.pack("<I", length), 1), listing)


@every_listing
def test_good_entries_come_before_the_error(listing: Listing) -> None:
    entries = [plain_entry(listing, name) for name in ("one", "two")]
    data = encode_directory(entries, listing.info_class)[:-1]
    iterator = iterate_directory(memoryview(data), listing.info_class)
    assert next(iterator) == entries[0]
    with pytest.raises(WireError):
        next(iterator)


@every_listing
def test_damage_and_noise(listing: Listing) -> None:
    @QUICK
    @given(entry_lists(listing), st.data())
    def check(entries: list[DirectoryEntry], data: st.DataObject) -> None:
        encoded = bytearray(encode_directory(entries, listing.info_class))
        positions = st.integers(0, len(encoded) - 1)
        damage = st.lists(st.tuples(positions, st.integers(0, 255)), min_size=1, max_size=6)
        for position, byte in data.draw(damage):
            encoded[position] = byte
        refuse_or_stay_small(bytes(encoded), listing)
        refuse_or_stay_small(data.draw(st.binary(max_size=400)), listing)

    check()


def refuse_or_stay_small(data: bytes, listing: Listing) -> None:
    try:
        entries = read(data, listing)
    except WireError:
        return
    assert sum(2 * len(entry.name) for entry in entries) <= 2 * len(data)


def test_another_class_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="12"):
        iterate_directory(memoryview(b""), FileInfoClass.NAMES)


@pytest.mark.parametrize(
    ("structure_type", "listing"),
    [
        (file_info.FileBothDirectoryInformation, LISTINGS[0]),
        (file_info.FileIdBothDirectoryInformation, LISTINGS[1]),
        (file_info.FileIdFullDirectoryInformation, LISTINGS[2]),
    ],
)
def test_as_smbprotocol_packs_it(
    structure_type: type[file_info.FileBothDirectoryInformation], listing: Listing
) -> None:
    numbers: dict[str, object] = {"file_id": 0x1234_5678_9ABC_DEF0} if listing.has_file_id else {}
    structure = fill(
        structure_type(),
        creation_time=1,
        last_access_time=2,
        last_write_time=3,
        change_time=133_457_831_234_567_891,
        end_of_file=5,
        allocation_size=6,
        file_attributes=0x20,
        ea_size=77,
        file_name="smörgås.txt".encode("utf-16-le"),
        **numbers,
    )
    file_id = 0x1234_5678_9ABC_DEF0 if listing.has_file_id else 0
    times = (1, 2, 3, 133_457_831_234_567_891)
    stat = FileStat(file_id, 5, 6, *times, 0x20, 1, 0, None, None, None)
    assert read(pack(structure), listing) == [DirectoryEntry("smörgås.txt", stat, 77)]


def test_posix_entry_as_samba_sends_it() -> None:
    """Laid out by hand after Samba's smb3posix.idl: a socket, whose SIDs are not Unix ones."""
    owner = Sid.parse("S-1-5-21-1-2-3-1001")
    data = bytes.fromhex(
        "00000000 00000000"
        "0100000000000000 0200000000000000 0300000000000000 0400000000000000"
        "0500000000000000 0010000000000000"
        "00040000 efcdab8967452301 21feca00 00000000"
        "01000000 14000080 ed610000"
        "0105000000000005 15000000 01000000 02000000 03000000 e9030000"
        "0101000000000000 00000000"
        "06000000 73006f006300"
    )
    (entry,) = iterate_directory(memoryview(data), FileInfoClass.POSIX)
    assert entry.name == "soc"
    assert entry.stat == FileStat(
        *(0x0123456789ABCDEF, 5, 4096, 1, 2, 3, 4, 0x400, 1, 0x80000014),
        *(0o140755, owner, Sid(0, (0,))),
    )


@pytest.mark.parametrize("listing", LISTINGS[1::2], ids=lambda one: one.info_class.name)
def test_time_grows_with_the_entries_and_no_faster(listing: Listing) -> None:
    """Ten times the entries take about ten times the time; 40 leaves room for a busy machine."""

    def seconds(count: int) -> float:
        entries = [plain_entry(listing, f"file-{number:06d}", number) for number in range(count)]
        data = memoryview(encode_directory(entries, listing.info_class))
        started = time.process_time()
        assert sum(1 for _ in iterate_directory(data, listing.info_class)) == count
        return time.process_time() - started

    small = min(seconds(2_000) for _ in range(3))
    assert seconds(20_000) < 40 * small


def test_sids_are_shared() -> None:
    """Entries of one owner hold one Sid, not a hundred thousand equal ones."""
    listing = LISTINGS[3]
    entries = [plain_entry(listing, f"{number}", number) for number in range(1000)]
    data = memoryview(encode_directory(entries, listing.info_class))
    found = list(iterate_directory(data, listing.info_class))
    assert len({id(entry.stat.owner) for entry in found}) == 1
    tracemalloc.start()
    for _ in iterate_directory(data, listing.info_class):
        pass
    current, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert current < 20_000
