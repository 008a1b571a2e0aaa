"""What a server tells about one file, in one shape whatever it was asked for."""

from __future__ import annotations

import struct
from typing import NamedTuple

from smbfs.wire.layout import Buffer, unpack_at
from smbfs.wire.posix_extensions import decode_posix_mode
from smbfs.wire.security import Sid

# FileBasicInformation, FileStandardInformation, FileInternalInformation, EaSize, AccessFlags,
# CurrentByteOffset, Mode, AlignmentRequirement; the name that follows is not looked at.
_ALL = struct.Struct("<QQQQIIQQIBBHQIIQII")
_NETWORK_OPEN = struct.Struct("<QQQQQQII")
_POSIX = struct.Struct("<QQQQQQIQIIIII")

_DIRECTORY = 0x10


class FileStat(NamedTuple):
    """The attributes of one file. What the source does not tell has the value given here."""

    file_id: int
    """The file's number on its volume; 0: not told (some servers also send all ones)."""
    size: int
    """EndOfFile in bytes."""
    allocation_size: int
    """Bytes on disk."""
    creation_time: int
    """FILETIME; 0: not told."""
    access_time: int
    """FILETIME; 0: not told."""
    write_time: int
    """FILETIME of the last change of the content."""
    change_time: int
    """FILETIME of the last change of anything."""
    attributes: int
    """FileAttributes as a plain int."""
    link_count: int
    """Hard links; 1: one, or not told."""
    reparse_tag: int
    """The tag of a reparse point; 0: none, or not told (REPARSE_POINT says which)."""
    mode: int | None
    """``st_mode``, type and permission bits; None without the POSIX extensions."""
    owner: Sid | None
    """The owner; None without the POSIX extensions."""
    group: Sid | None
    """The group; None without the POSIX extensions."""


def decode_file_all_information(data: Buffer) -> FileStat:
    """Read FileAllInformation, the name at its end apart (it may have been cut off).

    Shape: 96 bytes are needed.  Raises: WireError if short.
    Spec: [MS-FSCC] 2.4.2.
    """
    (
        creation_time,
        access_time,
        write_time,
        change_time,
        attributes,
        _reserved,
        allocation_size,
        size,
        link_count,
        _delete_pending,
        _directory,
        _reserved_2,
        file_id,
        *_,
    ) = unpack_at(_ALL, data, 0, "FileAllInformation")
    return FileStat(
        file_id,
        size,
        allocation_size,
        creation_time,
        access_time,
        write_time,
        change_time,
        attributes,
        link_count,
        0,
        None,
        None,
        None,
    )


def decode_network_open_information(data: Buffer) -> FileStat:
    """Read FileNetworkOpenInformation, which has no file id and no link count.

    Shape: 56 bytes.  Raises: WireError if short.
    Spec: [MS-FSCC] 2.4.34.
    """
    creation_time, access_time, write_time, change_time, allocation_size, size, attributes, _ = (
        unpack_at(_NETWORK_OPEN, data, 0, "FileNetworkOpenInformation")
    )
    return FileStat(
        0,
        size,
        allocation_size,
        creation_time,
        access_time,
        write_time,
        change_time,
        attributes,
        1,
        0,
        None,
        None,
        None,
    )


def decode_posix_information(data: Buffer) -> FileStat:
    """Read FilePosixInformation as QUERY_INFO returns it.

    Shape: 80 bytes, the owner's SID, the group's SID.
    Raises: WireError if short.
    Spec: SMB3 POSIX Extensions (FilePosixInformation, class 100).
    """
    (
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
    ) = unpack_at(_POSIX, data, 0, "FilePosixInformation")
    owner = Sid.decode(data, _POSIX.size)
    group = Sid.decode(data, _POSIX.size + owner.size)
    return FileStat(
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
    )
