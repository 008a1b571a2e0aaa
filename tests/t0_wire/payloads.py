"""What a server would answer: encoders for the payloads that the package only decodes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from smbfs.wire.change_notify import NotifyInformation
from smbfs.wire.fscc import (
    DirectoryEntry,
    FileStat,
    FsAttributeInformation,
    FsFullSizeInformation,
    FsObjectIdInformation,
    FsVolumeInformation,
    PosixFsInformation,
    StreamInformation,
    encode_posix_mode,
)
from smbfs.wire.info import FileInfoClass
from smbfs.wire.layout import encode_text

_REPARSE_POINT = 0x400


def chain(entries: Sequence[bytes], alignment: int = 8) -> bytes:
    """Join entries whose first four bytes are NextEntryOffset."""
    joined = bytearray()
    last = len(entries) - 1
    for index, entry in enumerate(entries):
        padded = entry + bytes(-len(entry) % alignment) if index != last else entry
        joined += struct.pack("<I", len(padded) if index != last else 0) + padded[4:]
    return bytes(joined)


def encode_directory(entries: Sequence[DirectoryEntry], info_class: int) -> bytes:
    """The data of a QUERY_DIRECTORY response."""
    encode = _DIRECTORY_ENTRIES[FileInfoClass(info_class)]
    return chain([encode(entry) for entry in entries])


def _times(stat: FileStat) -> tuple[int, int, int, int]:
    return stat.creation_time, stat.access_time, stat.write_time, stat.change_time


def _common(entry: DirectoryEntry, name: bytes) -> bytes:
    stat = entry.stat
    sizes = (stat.size, stat.allocation_size, stat.attributes, len(name))
    ea_size = stat.reparse_tag if entry.ea_size is None else entry.ea_size
    return struct.pack("<IIQQQQQQIII", 0, 5, *_times(stat), *sizes, ea_size)


def _both(entry: DirectoryEntry) -> bytes:
    name = encode_text(entry.name)
    return _common(entry, name) + b"\x10\xff" + b"S" * 24 + name


def _id_both(entry: DirectoryEntry) -> bytes:
    name = encode_text(entry.name)
    short = b"\x10\xff" + b"S" * 24 + b"\xff\xff"
    return _common(entry, name) + short + struct.pack("<Q", entry.stat.file_id) + name


def _id_full(entry: DirectoryEntry) -> bytes:
    name = encode_text(entry.name)
    return _common(entry, name) + struct.pack("<IQ", 0xFFFF_FFFF, entry.stat.file_id) + name


def _posix(entry: DirectoryEntry) -> bytes:
    name = encode_text(entry.name)
    information = encode_posix_information(entry.stat)
    return struct.pack("<II", 0, 5) + information + struct.pack("<I", len(name)) + name


_DIRECTORY_ENTRIES: dict[FileInfoClass, Callable[[DirectoryEntry], bytes]] = {
    FileInfoClass.BOTH_DIRECTORY: _both,
    FileInfoClass.ID_BOTH_DIRECTORY: _id_both,
    FileInfoClass.ID_FULL_DIRECTORY: _id_full,
    FileInfoClass.POSIX: _posix,
}


def encode_posix_information(stat: FileStat) -> bytes:
    """FilePosixInformation as QUERY_INFO answers it."""
    assert stat.mode is not None
    assert stat.owner is not None
    assert stat.group is not None
    return (
        struct.pack("<QQQQQQI", *_times(stat), stat.size, stat.allocation_size, stat.attributes)
        + struct.pack("<QII", stat.file_id, 0xDEAD, 0)
        + struct.pack("<III", stat.link_count, stat.reparse_tag, encode_posix_mode(stat.mode))
        + stat.owner.encode()
        + stat.group.encode()
    )


def encode_file_all_information(stat: FileStat, name: str) -> bytes:
    """FileAllInformation."""
    encoded_name = encode_text(name)
    return (
        struct.pack("<QQQQII", *_times(stat), stat.attributes, 0)
        + struct.pack("<QQIBBH", stat.allocation_size, stat.size, stat.link_count, 0, 1, 0)
        + struct.pack("<QIIQII", stat.file_id, 9, 0x1F01FF, 8, 7, 6)
        + struct.pack("<I", len(encoded_name))
        + encoded_name
    )


def encode_network_open_information(stat: FileStat) -> bytes:
    """FileNetworkOpenInformation."""
    sizes = (stat.allocation_size, stat.size, stat.attributes, 0)
    return struct.pack("<QQQQQQII", *_times(stat), *sizes)


def encode_stream_information(streams: Sequence[StreamInformation]) -> bytes:
    """FileStreamInformation."""
    return chain(
        [
            struct.pack("<IIQQ", 0, len(encode_text(name)), size, allocation) + encode_text(name)
            for name, size, allocation in streams
        ]
    )


def encode_notify_information(changes: Sequence[NotifyInformation]) -> bytes:
    """FILE_NOTIFY_INFORMATION."""
    return chain(
        [
            struct.pack("<III", 0, action, len(encode_text(name))) + encode_text(name)
            for action, name in changes
        ],
        alignment=4,
    )


def encode_fs_full_size_information(information: FsFullSizeInformation) -> bytes:
    """FileFsFullSizeInformation."""
    return struct.pack("<QQQII", *information)


def encode_fs_attribute_information(information: FsAttributeInformation) -> bytes:
    """FileFsAttributeInformation."""
    name = encode_text(information.name)
    maximum = information.maximum_component_length
    return struct.pack("<III", information.attributes, maximum, len(name)) + name


def encode_fs_volume_information(information: FsVolumeInformation) -> bytes:
    """FileFsVolumeInformation."""
    label = encode_text(information.label)
    numbers = (information.creation_time, information.serial_number, len(label))
    return struct.pack("<QIIBB", *numbers, 1, 0) + label


def encode_fs_object_id_information(information: FsObjectIdInformation) -> bytes:
    """FileFsObjectIdInformation."""
    return struct.pack("<16s48s", *information)


def encode_posix_fs_information(information: PosixFsInformation) -> bytes:
    """FileFsPosixInformation."""
    return struct.pack("<IIQQQQQQ", *information)
