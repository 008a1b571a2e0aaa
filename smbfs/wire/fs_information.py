"""What a server tells about the file system of a share.

Spec: [MS-FSCC] 2.5; SMB3 POSIX Extensions.
"""

from __future__ import annotations

import struct
from enum import IntFlag
from typing import NamedTuple

from smbfs.errors import WireError
from smbfs.wire.layout import decode_text, slice_data, unpack_at

_FULL_SIZE = struct.Struct("<QQQII")
_UNIT_SIZE_MAX = 0xFFFF_FFFF
_ATTRIBUTE = struct.Struct("<III")
_VOLUME = struct.Struct("<QIIBx")
_POSIX = struct.Struct("<IIQQQQQQ")
_OBJECT_ID = struct.Struct("<16s48s")

_SAMBA = b"aBmS"
"""How Samba begins the extended information: its ``SAMBA_EXTENDED_INFO_MAGIC``."""


class FileSystemAttributes(IntFlag):
    """Spec: [MS-FSCC] 2.5.1 (FILE_...)."""

    CASE_SENSITIVE_SEARCH = 0x0000_0001
    CASE_PRESERVED_NAMES = 0x0000_0002
    UNICODE_ON_DISK = 0x0000_0004
    PERSISTENT_ACLS = 0x0000_0008
    FILE_COMPRESSION = 0x0000_0010
    VOLUME_QUOTAS = 0x0000_0020
    SUPPORTS_SPARSE_FILES = 0x0000_0040
    SUPPORTS_REPARSE_POINTS = 0x0000_0080
    SUPPORTS_REMOTE_STORAGE = 0x0000_0100
    RETURNS_CLEANUP_RESULT_INFO = 0x0000_0200
    SUPPORTS_POSIX_UNLINK_RENAME = 0x0000_0400
    VOLUME_IS_COMPRESSED = 0x0000_8000
    SUPPORTS_OBJECT_IDS = 0x0001_0000
    SUPPORTS_ENCRYPTION = 0x0002_0000
    NAMED_STREAMS = 0x0004_0000
    READ_ONLY_VOLUME = 0x0008_0000
    SEQUENTIAL_WRITE_ONCE = 0x0010_0000
    SUPPORTS_TRANSACTIONS = 0x0020_0000
    SUPPORTS_HARD_LINKS = 0x0040_0000
    SUPPORTS_EXTENDED_ATTRIBUTES = 0x0080_0000
    SUPPORTS_OPEN_BY_FILE_ID = 0x0100_0000
    SUPPORTS_USN_JOURNAL = 0x0200_0000
    SUPPORT_INTEGRITY_STREAMS = 0x0400_0000
    SUPPORTS_BLOCK_REFCOUNTING = 0x0800_0000
    SUPPORTS_SPARSE_VDL = 0x1000_0000


class FsFullSizeInformation(NamedTuple):
    """Space in allocation units of ``sectors_per_unit * bytes_per_sector`` bytes.

    Spec: [MS-FSCC] 2.5.4.
    """

    total_units: int
    caller_available_units: int
    actual_available_units: int
    sectors_per_unit: int
    bytes_per_sector: int

    @property
    def unit_size(self) -> int:
        """Bytes of an allocation unit."""
        return self.sectors_per_unit * self.bytes_per_sector


class FsAttributeInformation(NamedTuple):
    """What the file system can do, how long a name may be (characters), what it is called.

    ``attributes`` are FileSystemAttributes as a plain int: an enumeration would keep every
    combination of its bits that a server ever sends.

    Spec: [MS-FSCC] 2.5.1.
    """

    attributes: int
    maximum_component_length: int
    name: str


class FsVolumeInformation(NamedTuple):
    """The volume's serial number, label and creation time (FILETIME).

    Spec: [MS-FSCC] 2.5.9.
    """

    creation_time: int
    serial_number: int
    label: str


class FsObjectIdInformation(NamedTuple):
    """The volume's object id (16 bytes), and 48 bytes of the server's own.

    Spec: [MS-FSCC] 2.5.6.
    """

    object_id: bytes
    extended_info: bytes

    @property
    def is_of_samba(self) -> bool:
        """Whether these are what Samba tells of itself."""
        return self.extended_info.startswith(_SAMBA)


class PosixFsInformation(NamedTuple):
    """Space in blocks of ``block_size`` bytes, and files; all ones means not known.

    Spec: SMB3 POSIX Extensions (FileFsPosixInformation, class 100).
    """

    optimal_transfer_size: int
    block_size: int
    total_blocks: int
    available_blocks: int
    user_available_blocks: int
    total_files: int
    free_files: int
    fs_identifier: int


def decode_fs_full_size_information(data: memoryview) -> FsFullSizeInformation:
    """Read FileFsFullSizeInformation: 32 bytes.

    Raises: WireError if short, or if a unit has more bytes than 32 bits can say.
    Spec: [MS-FSCC] 2.5.4.
    """
    told = FsFullSizeInformation(*unpack_at(_FULL_SIZE, data, 0, "FileFsFullSizeInformation"))
    if told.unit_size > _UNIT_SIZE_MAX:
        raise WireError(f"an allocation unit of {told.unit_size} bytes")
    return told


def decode_fs_attribute_information(data: memoryview) -> FsAttributeInformation:
    """Read FileFsAttributeInformation: 12 bytes and the name. Raises: WireError if short.

    Spec: [MS-FSCC] 2.5.1.
    """
    what = "FileFsAttributeInformation"
    attributes, maximum, length = unpack_at(_ATTRIBUTE, data, 0, what)
    name = decode_text(slice_data(data, _ATTRIBUTE.size, length, what), what)
    return FsAttributeInformation(attributes, maximum, name)


def decode_fs_volume_information(data: memoryview) -> FsVolumeInformation:
    """Read FileFsVolumeInformation: 18 bytes and the label. Raises: WireError if short.

    Spec: [MS-FSCC] 2.5.9.
    """
    what = "FileFsVolumeInformation"
    creation_time, serial_number, length, _ = unpack_at(_VOLUME, data, 0, what)
    label = decode_text(slice_data(data, _VOLUME.size, length, what), what)
    return FsVolumeInformation(creation_time, serial_number, label)


def decode_fs_object_id_information(data: memoryview) -> FsObjectIdInformation:
    """Read FileFsObjectIdInformation: 64 bytes. Raises: WireError if short.

    Spec: [MS-FSCC] 2.5.6.
    """
    return FsObjectIdInformation(*unpack_at(_OBJECT_ID, data, 0, "FileFsObjectIdInformation"))


def decode_posix_fs_information(data: memoryview) -> PosixFsInformation:
    """Read FileFsPosixInformation: 56 bytes. Raises: WireError if short.

    Spec: SMB3 POSIX Extensions.
    """
    return PosixFsInformation(*unpack_at(_POSIX, data, 0, "FileFsPosixInformation"))
