"""From what servers tell to what stat shows."""

from __future__ import annotations

import os
from stat import S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK

import pytest

from smbfs.config.model import MountOptions
from smbfs.vfs.attributes import (
    AttributeCache,
    AttributeRules,
    Attributes,
    Believed,
    attribute_rules,
    file_type_of,
    present,
)
from smbfs.vfs.special_files import SpecialFile
from smbfs.wire.create import FileAttributes
from smbfs.wire.security import Sid
from tests.t3_vfs.file_stats import TIME_NS, told

RULES = AttributeRules(uid=1000, gid=100)


def test_a_plain_file() -> None:
    assert present(told(), RULES) == Attributes(
        mode=S_IFREG | 0o755,
        size=1234,
        link_count=1,
        uid=1000,
        gid=100,
        device=0,
        blocks=8,
        atime_ns=TIME_NS + 1000,
        mtime_ns=TIME_NS,
        ctime_ns=TIME_NS + 2000,
    )


def test_blocks_are_rounded_up() -> None:
    assert present(told(allocation_size=1), RULES).blocks == 1
    assert present(told(allocation_size=0), RULES).blocks == 0


def test_a_read_only_file_has_no_write_bits_but_a_directory_has() -> None:
    file = told(attributes=FileAttributes.READONLY)
    assert present(file, RULES).mode == S_IFREG | 0o555
    directory = told(attributes=FileAttributes.READONLY | FileAttributes.DIRECTORY)
    assert present(directory, RULES).mode == S_IFDIR | 0o755


def test_posix_extensions_tell_mode_and_owner() -> None:
    sids = {"owner": Sid.unix_user_sid(501), "group": Sid.unix_group_sid(20)}
    shown = present(told(mode=S_IFREG | 0o4640, link_count=3, **sids), RULES)
    assert (shown.mode, shown.uid, shown.gid, shown.link_count) == (S_IFREG | 0o4640, 501, 20, 3)
    # The DOS attribute has no say where there is a mode.
    read_only = told(mode=S_IFREG | 0o644, attributes=FileAttributes.READONLY, **sids)
    assert present(read_only, RULES).mode == S_IFREG | 0o644


def test_a_user_without_a_number_is_shown_as_who_mounted() -> None:
    owner = Sid.parse("S-1-5-21-1-2-3-1002")
    shown = present(told(mode=S_IFREG | 0o600, owner=owner, group=owner), RULES)
    assert (shown.uid, shown.gid) == (1000, 100)


def test_options_overrule_the_server() -> None:
    rules = attribute_rules(MountOptions(uid=5, gid=6, file_mode=0o600, dir_mode=0o700))
    sids = {"owner": Sid.unix_user_sid(501), "group": Sid.unix_group_sid(20)}
    file = present(told(mode=S_IFREG | 0o777, **sids), rules)
    assert (file.mode, file.uid, file.gid) == (S_IFREG | 0o600, 5, 6)
    directory = told(mode=S_IFDIR | 0o777, attributes=FileAttributes.DIRECTORY, **sids)
    assert present(directory, rules).mode == S_IFDIR | 0o700


def test_options_default_to_who_mounts() -> None:
    rules = attribute_rules(MountOptions())
    assert (rules.uid, rules.gid) == (os.getuid(), os.getgid())
    assert not rules.uid_forced
    assert not rules.gid_forced


@pytest.mark.parametrize("file_type", [S_IFIFO, S_IFSOCK, S_IFCHR])
def test_special_files_are_what_they_stand_for(file_type: int) -> None:
    special = SpecialFile(file_type, device=os.makedev(1, 3))
    stat = told(attributes=FileAttributes.REPARSE_POINT, size=99)
    assert file_type_of(stat, special) == file_type
    shown = present(stat, RULES, special)
    assert (shown.mode, shown.size, shown.device) == (file_type | 0o755, 0, os.makedev(1, 3))


def test_a_link_is_as_long_as_its_target_and_open_to_all() -> None:
    stat = told(attributes=FileAttributes.REPARSE_POINT, size=0)
    shown = present(stat, RULES, SpecialFile(S_IFLNK, b"some/where"))
    assert (shown.mode, shown.size) == (S_IFLNK | 0o777, 10)


def test_the_type_in_a_mode_counts_where_nothing_else_tells() -> None:
    assert file_type_of(told(mode=S_IFIFO | 0o600)) == S_IFIFO
    assert file_type_of(told(mode=0o600)) == S_IFREG
    assert file_type_of(told(mode=S_IFREG, attributes=FileAttributes.DIRECTORY)) == S_IFDIR


def test_times_that_are_not_told_are_that_of_the_content() -> None:
    shown = present(told(access_time=0, change_time=0), RULES)
    assert shown.atime_ns == shown.mtime_ns == shown.ctime_ns == TIME_NS


def test_a_removed_file_has_no_links() -> None:
    assert present(told(link_count=0), RULES).link_count == 0


SOME = Attributes(S_IFREG, 1, 1, 0, 0, 0, 0, 0, 0, 0)


def test_the_cache_believes_until_a_time() -> None:
    cache = AttributeCache()
    cache.put(1, SOME, 10.0)
    assert cache.get(1, 9.5) == Believed(SOME, 0.5)
    assert cache.get(1, 10.0) is None
    assert len(cache) == 0
    assert cache.get(2, 0.0) is None


def test_the_cache_forgets_what_changed() -> None:
    cache = AttributeCache()
    cache.put(1, SOME, 10.0)
    cache.discard(1)
    cache.discard(1)
    assert cache.get(1, 0.0) is None


def test_the_cache_is_bounded() -> None:
    cache = AttributeCache(limit=3)
    for number in range(5):
        cache.put(number, SOME, 10.0)
    cache.put(2, SOME, 10.0)
    assert len(cache) == 3
    assert cache.get(0, 0.0) is None
    assert cache.get(4, 0.0) == Believed(SOME, 10.0)
