"""The payloads of QUERY_INFO, SET_INFO and QUERY_DIRECTORY, gathered from their modules.

Spec: [MS-FSCC] 2.4, 2.5; SMB3 POSIX Extensions.
"""

from __future__ import annotations

from smbfs.wire.directory_listing import DirectoryEntry, iterate_directory
from smbfs.wire.extended_attributes import (
    ExtendedAttribute,
    decode_full_ea_list,
    encode_full_ea_list,
    encode_get_ea_list,
)
from smbfs.wire.file_stat import (
    FileStat,
    decode_file_all_information,
    decode_network_open_information,
    decode_posix_information,
)
from smbfs.wire.fs_information import (
    FileSystemAttributes,
    FsAttributeInformation,
    FsFullSizeInformation,
    FsObjectIdInformation,
    FsVolumeInformation,
    PosixFsInformation,
    decode_fs_attribute_information,
    decode_fs_full_size_information,
    decode_fs_object_id_information,
    decode_fs_volume_information,
    decode_posix_fs_information,
)
from smbfs.wire.posix_extensions import decode_posix_mode, encode_posix_mode
from smbfs.wire.set_information import (
    TIME_RESUME_UPDATES,
    TIME_STOP_UPDATES,
    TIME_UNCHANGED,
    DispositionFlags,
    RenameFlags,
    encode_allocation,
    encode_basic_information,
    encode_disposition,
    encode_disposition_ex,
    encode_end_of_file,
    encode_link_information,
    encode_rename_information,
    encode_rename_information_ex,
)
from smbfs.wire.stream_information import StreamInformation, decode_stream_information

__all__ = [
    "TIME_RESUME_UPDATES",
    "TIME_STOP_UPDATES",
    "TIME_UNCHANGED",
    "DirectoryEntry",
    "DispositionFlags",
    "ExtendedAttribute",
    "FileStat",
    "FileSystemAttributes",
    "FsAttributeInformation",
    "FsFullSizeInformation",
    "FsObjectIdInformation",
    "FsVolumeInformation",
    "PosixFsInformation",
    "RenameFlags",
    "StreamInformation",
    "decode_file_all_information",
    "decode_fs_attribute_information",
    "decode_fs_full_size_information",
    "decode_fs_object_id_information",
    "decode_fs_volume_information",
    "decode_full_ea_list",
    "decode_network_open_information",
    "decode_posix_fs_information",
    "decode_posix_information",
    "decode_posix_mode",
    "decode_stream_information",
    "encode_allocation",
    "encode_basic_information",
    "encode_disposition",
    "encode_disposition_ex",
    "encode_end_of_file",
    "encode_full_ea_list",
    "encode_get_ea_list",
    "encode_link_information",
    "encode_posix_mode",
    "encode_rename_information",
    "encode_rename_information_ex",
    "iterate_directory",
]
