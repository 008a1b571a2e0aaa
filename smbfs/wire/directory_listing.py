"""The entries in a QUERY_DIRECTORY response, fast and within bounds.

A listing is a chain of entries, each with the distance to the next one. The distance comes
from the server, so every loop checks that it moves on by at least an entry's fixed part and
stays inside the data: the number of steps and all names together are bounded by the bytes
received. The loops are written out because a hundred thousand entries go through them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from smbfs.errors import WireError
from smbfs.wire.file_stat import FileStat
from smbfs.wire.info import FileInfoClass
from smbfs.wire.posix_extensions import decode_posix_mode
from smbfs.wire.security import Sid

# The last value: FileId, or in the first layout a reserved byte.
_BOTH = struct.Struct("<IIQQQQQQIIIBB24x")
_ID_BOTH = struct.Struct("<IIQQQQQQIIIB27xQ")
_ID_FULL = struct.Struct("<IIQQQQQQIIIIQ")
_POSIX = struct.Struct("<IIQQQQQQIQIIIII")
_LENGTH = struct.Struct("<I")

_DIRECTORY = 0x10
_REPARSE_POINT = 0x400


class DirectoryEntry(NamedTuple):
    """One entry: its name as the server sent it ("." and ".." included), and its attributes."""

    name: str
    stat: FileStat
    ea_size: int | None = None
    """Bytes of its extended attributes; None if the server has not told."""


def iterate_directory(data: memoryview, info_class: int) -> Iterator[DirectoryEntry]:
    """Yield the entries of a QUERY_DIRECTORY response's data; no data has no entries.

    ``info_class`` is one of FileInfoClass.ID_BOTH_DIRECTORY, ID_FULL_DIRECTORY,
    BOTH_DIRECTORY (no file ids: 0) and POSIX.
    Raises: WireError, at the entry where it shows, if an entry lies outside the data,
    NextEntryOffset does not move on, or a name has an odd number of bytes. ValueError for
    another class, which is the caller's mistake.
    Spec: [MS-FSCC] 2.4.8, 2.4.17, 2.4.18; SMB3 POSIX Extensions.
    """
    if info_class == FileInfoClass.POSIX:
        return _iterate_posix(data)
    if info_class == FileInfoClass.ID_BOTH_DIRECTORY:
        return _iterate(data, _ID_BOTH, has_file_id=True)
    if info_class == FileInfoClass.ID_FULL_DIRECTORY:
        return _iterate(data, _ID_FULL, has_file_id=True)
    if info_class == FileInfoClass.BOTH_DIRECTORY:
        return _iterate(data, _BOTH, has_file_id=False)
    raise ValueError(f"directory information class {info_class}")


def _iterate(
    data: memoryview, layout: struct.Struct, *, has_file_id: bool
) -> Iterator[DirectoryEntry]:
    """Entries of the three classes whose layouts give the same thirteen values."""
    unpack, fixed_size, total = layout.unpack_from, layout.size, len(data)
    offset = 0
    while offset + fixed_size <= total:
        (
            next_offset,
            _index,
            creation_time,
            access_time,
            write_time,
            change_time,
            size,
            allocation_size,
            attributes,
            name_length,
            ea_size,
            _short_name_length,
            file_id,
        ) = unpack(data, offset)
        start = offset + fixed_size
        end = start + name_length
        name = _name(data, start, end, offset + next_offset if next_offset else total)
        yield DirectoryEntry(
            name,
            FileStat(
                file_id if has_file_id else 0,
                size,
                allocation_size,
                creation_time,
                access_time,
                write_time,
                change_time,
                attributes,
                1,
                # "If FILE_ATTRIBUTE_REPARSE_POINT is set [...], this field MUST contain a
                # reparse tag" (EaSize, 2.4.17).
                ea_size if attributes & _REPARSE_POINT else 0,
                None,
                None,
                None,
            ),
            ea_size if not attributes & _REPARSE_POINT else None,
        )
        if not next_offset:
            return
        offset += next_offset
    _check_end(offset, total)


def _iterate_posix(data: memoryview) -> Iterator[DirectoryEntry]:
    """Entries of FilePosixInformation: the fixed part, two SIDs, a length and the name."""
    unpack, fixed_size, total = _POSIX.unpack_from, _POSIX.size, len(data)
    # A directory has few owners and many files: each SID is decoded once.
    sids: dict[bytes, Sid] = {}
    offset = 0
    while offset + fixed_size <= total:
        (
            next_offset,
            _ignored,
            creation_time,
            access_time,
            write_time,
            change_time,
            size,
            allocation_size,
            attributes,
            file_id,
            _device_id,
            _zero,
            link_count,
            reparse_tag,
            wire_mode,
        ) = unpack(data, offset)
        limit = offset + next_offset if next_offset else total
        owner, position = _sid(data, offset + fixed_size, sids)
        group, position = _sid(data, position, sids)
        if position + 4 > total:
            raise WireError("directory entry", position)
        (name_length,) = _LENGTH.unpack_from(data, position)
        start = position + 4
        name = _name(data, start, start + name_length, limit)
        yield DirectoryEntry(
            name,
            FileStat(
                file_id,
                size,
                allocation_size,
                creation_time,
                access_time,
                write_time,
                change_time,
                attributes,
                link_count,
                reparse_tag,
                decode_posix_mode(wire_mode, is_directory=bool(attributes & _DIRECTORY)),
                owner,
                group,
            ),
        )
        if not next_offset:
            return
        offset += next_offset
    _check_end(offset, total)


def _name(data: memoryview, start: int, end: int, limit: int) -> str:
    """Decode the name between two bytes; ``limit`` is where its entry ends.

    The name being inside its entry also shows that NextEntryOffset moves on by at least the
    fixed part.
    """
    if end > limit or limit > len(data):
        raise WireError("directory entry", start)
    try:
        return str(data[start:end], "utf-16-le", "surrogatepass")
    except UnicodeDecodeError as error:
        raise WireError("name of a directory entry", start) from error


def _sid(data: memoryview, start: int, sids: dict[bytes, Sid]) -> tuple[Sid, int]:
    """Return the SID at ``start`` and the byte after it."""
    if start + 8 > len(data):
        raise WireError("directory entry", start)
    end = start + 8 + 4 * data[start + 1]
    raw = bytes(data[start:end])
    sid = sids.get(raw)
    if sid is None:
        sid = sids[raw] = Sid.decode(raw)
    return sid, end


def _check_end(offset: int, total: int) -> None:
    """No room for another entry: fine only if nothing was there in the first place."""
    if total:
        raise WireError("directory entry", offset)
