"""What a server tells of the file system."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from smbprotocol import file_info

from smbfs.errors import WireError
from smbfs.wire.fscc import (
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
from smbfs.wire.vocabulary import fill, pack
from tests.t0_wire.payload_checks import check_damage, check_round_trip, check_truncation
from tests.t0_wire.payloads import (
    encode_fs_attribute_information,
    encode_fs_full_size_information,
    encode_fs_object_id_information,
    encode_fs_volume_information,
    encode_posix_fs_information,
)
from tests.t0_wire.values import U32, U64, names

FULL_SIZE = FsFullSizeInformation(1000, 500, 600, 8, 512)
ATTRIBUTES = FsAttributeInformation(
    FileSystemAttributes.CASE_PRESERVED_NAMES | FileSystemAttributes.NAMED_STREAMS, 255, "NTFS"
)
OBJECT_ID = FsObjectIdInformation(bytes(range(16)), b"dsfC" + bytes(44))
VOLUME = FsVolumeInformation(5, 0xDEADBEEF, "data")
POSIX = PosixFsInformation(65536, 4096, 1000, 600, 500, 100, 50, 0x0102030405060708)


def test_full_size() -> None:
    factors = st.integers(0, 0xFFFF)
    data = encode_fs_full_size_information(FULL_SIZE)
    check_truncation(data, decode_fs_full_size_information)
    check_damage(data, decode_fs_full_size_information)
    check_round_trip(
        st.builds(FsFullSizeInformation, U64, U64, U64, factors, factors),
        encode_fs_full_size_information,
        decode_fs_full_size_information,
    )
    assert FULL_SIZE.unit_size == 4096


def test_a_unit_is_not_larger_than_statfs_can_say() -> None:
    for factors in ((0x10000, 0x10000), (0xFFFF_FFFF, 2), (0xFFFF_FFFF, 0xFFFF_FFFF)):
        data = encode_fs_full_size_information(FsFullSizeInformation(1, 1, 1, *factors))
        with pytest.raises(WireError, match="unit"):
            decode_fs_full_size_information(memoryview(data))
    data = encode_fs_full_size_information(FsFullSizeInformation(1, 1, 1, 0x10000, 0xFFFF))
    assert decode_fs_full_size_information(memoryview(data)).unit_size == 0xFFFF_0000


def test_full_size_as_smbprotocol_packs_it() -> None:
    structure = fill(
        file_info.FileFsFullSizeInformation(),
        total_allocation_units=1000,
        caller_available_units=500,
        actual_available_units=600,
        sectors_per_unit=8,
        bytes_per_sector=512,
    )
    assert decode_fs_full_size_information(memoryview(pack(structure))) == FULL_SIZE


def test_attributes() -> None:
    data = encode_fs_attribute_information(ATTRIBUTES)
    assert data == bytes.fromhex("02000400 ff000000 08000000 4e00 5400 4600 5300")
    check_truncation(data, decode_fs_attribute_information)
    check_damage(data, decode_fs_attribute_information)
    check_round_trip(
        st.builds(
            FsAttributeInformation,
            st.sampled_from([FileSystemAttributes(0), FileSystemAttributes(0x8000_0400)]),
            U32,
            names,
        ),
        encode_fs_attribute_information,
        decode_fs_attribute_information,
    )


def test_object_id() -> None:
    data = encode_fs_object_id_information(OBJECT_ID)
    check_truncation(data, decode_fs_object_id_information)
    check_round_trip(
        st.builds(
            FsObjectIdInformation,
            st.binary(min_size=16, max_size=16),
            st.binary(min_size=48, max_size=48),
        ),
        encode_fs_object_id_information,
        decode_fs_object_id_information,
    )
    assert not OBJECT_ID.is_of_samba
    assert OBJECT_ID._replace(extended_info=(0x536D4261).to_bytes(4, "little")).is_of_samba


def test_volume() -> None:
    data = encode_fs_volume_information(VOLUME)
    check_truncation(data, decode_fs_volume_information)
    check_damage(data, decode_fs_volume_information)
    check_round_trip(
        st.builds(FsVolumeInformation, U64, U32, names),
        encode_fs_volume_information,
        decode_fs_volume_information,
    )


def test_volume_as_smbprotocol_packs_it() -> None:
    structure = fill(
        file_info.FileFsVolumeInformation(),
        volume_creation_time=5,
        volume_serial_number=0xDEADBEEF,
        volume_label="data",
    )
    assert decode_fs_volume_information(memoryview(pack(structure))) == VOLUME


def test_posix() -> None:
    data = encode_posix_fs_information(POSIX)
    assert data == bytes.fromhex(
        "00000100 00100000 e803000000000000 5802000000000000 f401000000000000"
        "6400000000000000 3200000000000000 0807060504030201"
    )
    check_truncation(data, decode_posix_fs_information)
    check_round_trip(
        st.builds(PosixFsInformation, U32, U32, U64, U64, U64, U64, U64, U64),
        encode_posix_fs_information,
        decode_posix_fs_information,
    )
