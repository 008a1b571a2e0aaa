"""The data of SET_INFO requests.

Spec: [MS-FSCC] 2.4.
"""

from __future__ import annotations

import struct
from enum import IntFlag

from smbfs.errors import WireError
from smbfs.wire.layout import encode_text

_BASIC = struct.Struct("<qqqqII")
_RENAME = struct.Struct("<B7xQI")
_RENAME_EX = struct.Struct("<I4xQI")
_NUMBER = struct.Struct("<q")
_FLAGS = struct.Struct("<I")

# Windows refuses less with STATUS_INFO_LENGTH_MISMATCH, and so names of one character.
_RENAME_SIZE_MIN = 24

TIME_UNCHANGED = 0
"""In encode_basic_information: leave this time as it is."""
TIME_STOP_UPDATES = -1
"""In encode_basic_information: the server shall no longer change this time on this open."""
TIME_RESUME_UPDATES = -2
"""In encode_basic_information: undo TIME_STOP_UPDATES."""


class RenameFlags(IntFlag):
    """Spec: [MS-FSCC] 2.4.43 (FILE_RENAME_...)."""

    REPLACE_IF_EXISTS = 0x0000_0001
    POSIX_SEMANTICS = 0x0000_0002
    SUPPRESS_PIN_STATE_INHERITANCE = 0x0000_0004
    NO_INCREASE_AVAILABLE_SPACE = 0x0000_0010
    NO_DECREASE_AVAILABLE_SPACE = 0x0000_0020
    IGNORE_READONLY_ATTRIBUTE = 0x0000_0040


class DispositionFlags(IntFlag):
    """Spec: [MS-FSCC] 2.4.12 (FILE_DISPOSITION_...)."""

    DO_NOT_DELETE = 0x0000_0000
    DELETE = 0x0000_0001
    POSIX_SEMANTICS = 0x0000_0002
    FORCE_IMAGE_SECTION_CHECK = 0x0000_0004
    ON_CLOSE = 0x0000_0008
    IGNORE_READONLY_ATTRIBUTE = 0x0000_0010


def encode_basic_information(
    *,
    creation_time: int = TIME_UNCHANGED,
    access_time: int = TIME_UNCHANGED,
    write_time: int = TIME_UNCHANGED,
    change_time: int = TIME_UNCHANGED,
    attributes: int = 0,
) -> bytes:
    """Return FileBasicInformation: FILETIMEs or a TIME_... constant; attributes 0 = unchanged.

    Shape: 40 bytes.  Spec: [MS-FSCC] 2.4.7.
    """
    return _BASIC.pack(creation_time, access_time, write_time, change_time, attributes, 0)


def encode_rename_information(new_name: str, *, replace: bool) -> bytes:
    r"""Return FileRenameInformation (class 10): the new name from the share's root, with ``\``.

    Shape: 20 bytes and the name, at least 24.  Spec: [MS-FSCC] 2.4.42.2.
    """
    return _with_name(_RENAME.pack(replace, 0, _name_length(new_name)), new_name)


def encode_rename_information_ex(new_name: str, flags: RenameFlags) -> bytes:
    r"""Return FileRenameInformationEx (class 65): rename with the semantics in ``flags``.

    Shape: 20 bytes and the name, at least 24.  Spec: [MS-FSCC] 2.4.43.
    """
    return _with_name(_RENAME_EX.pack(flags, 0, _name_length(new_name)), new_name)


def encode_link_information(new_name: str, *, replace: bool) -> bytes:
    r"""Return FileLinkInformation (class 11): another name for the file, with ``\``.

    Shape: 20 bytes and the name, at least 24.  Spec: [MS-FSCC] 2.4.27.2.
    """
    return _with_name(_RENAME.pack(replace, 0, _name_length(new_name)), new_name)


def encode_disposition(delete: bool) -> bytes:
    """Return FileDispositionInformation (class 13): delete when the last open is closed.

    Shape: 1 byte.  Spec: [MS-FSCC] 2.4.11.
    """
    return b"\x01" if delete else b"\x00"


def encode_disposition_ex(flags: DispositionFlags) -> bytes:
    """Return FileDispositionInformationEx (class 64).

    Shape: 4 bytes.  Spec: [MS-FSCC] 2.4.12.
    """
    return _FLAGS.pack(flags)


def encode_end_of_file(size: int) -> bytes:
    """Return FileEndOfFileInformation (class 20): cut or extend to ``size`` bytes.

    Shape: 8 bytes.  Spec: [MS-FSCC] 2.4.14.
    """
    return _NUMBER.pack(size)


def encode_allocation(size: int) -> bytes:
    """Return FileAllocationInformation (class 19): reserve ``size`` bytes.

    Shape: 8 bytes.  Spec: [MS-FSCC] 2.4.4.
    """
    return _NUMBER.pack(size)


def _name_length(name: str) -> int:
    length = len(encode_text(name))
    if length > 0xFFFF:
        raise WireError("new name (too long)", _RENAME.size)
    return length


def _with_name(fixed: bytes, name: str) -> bytes:
    return (fixed + encode_text(name)).ljust(_RENAME_SIZE_MIN, b"\0")
