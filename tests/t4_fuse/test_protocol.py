"""The kernel's words, held against its own header by a C compiler."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from enum import IntEnum, IntFlag
from pathlib import Path

import pytest

from smbfs.fuse import answers, protocol, requests
from smbfs.fuse.protocol import InitFlag, Opcode, OpenFlag, SetAttrField

_PROGRAM = """
#include <linux/fuse.h>
#include <stddef.h>
#include <stdio.h>
int main(void) {{
{lines}
    return 0;
}}
"""


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What the header says: of every expression below, its value."""
    folder = tmp_path_factory.mktemp("c")
    print_one = '    printf("%lld\\n", (long long)({}));'
    lines = "\n".join(print_one.format(expression) for expression in EXPECTED)
    (folder / "program.c").write_text(_PROGRAM.format(lines=lines))
    subprocess.run(["cc", "-o", "program", "program.c"], cwd=folder, check=True)
    said = subprocess.run([folder / "program"], capture_output=True, text=True, check=True)
    return dict(zip(EXPECTED, map(int, said.stdout.split()), strict=True))


def _members(prefix: str, members: type[IntEnum] | type[IntFlag]) -> dict[str, int]:
    return {f"{prefix}{member.name}": int(member) for member in members}


def _size(layout: struct.Struct) -> int:
    return layout.size


EXPECTED: dict[str, int] = {
    **_members("FUSE_", Opcode),
    **_members("FUSE_", InitFlag),
    **_members("FOPEN_", OpenFlag),
    **_members("FATTR_", SetAttrField),
    "FUSE_OPEN_KILL_SUIDGID": protocol.OPEN_KILL_SUIDGID,
    "FUSE_WRITE_KILL_SUIDGID": protocol.WRITE_KILL_SUIDGID,
    "FUSE_KERNEL_VERSION": protocol.VERSION[0],
    "sizeof(struct fuse_in_header)": requests.REQUEST_HEADER_SIZE,
    "offsetof(struct fuse_in_header, nodeid)": 16,
    "sizeof(struct fuse_copy_file_range_in)": _size(requests._COPY_IN),
    "sizeof(struct fuse_fallocate_in)": _size(requests._FALLOCATE_IN),
    "sizeof(struct fuse_lseek_in)": _size(requests._LSEEK_IN),
    "sizeof(struct fuse_lseek_out)": _size(answers._LSEEK_OUT),
    "sizeof(struct fuse_interrupt_in)": _size(requests._INTERRUPT_IN),
    "sizeof(struct fuse_forget_in)": _size(requests._FORGET_IN),
    "sizeof(struct fuse_batch_forget_in)": _size(requests._FORGET_COUNT),
    "sizeof(struct fuse_forget_one)": _size(requests._FORGET_ONE),
    "sizeof(struct fuse_setattr_in)": _size(requests._SETATTR_IN),
    "sizeof(struct fuse_mknod_in)": _size(requests._NODE_MODE_IN),
    "sizeof(struct fuse_mkdir_in)": _size(requests._MODE_IN),
    "sizeof(struct fuse_rename_in)": _size(requests._RENAME_IN),
    "sizeof(struct fuse_link_in)": _size(requests._RENAME_IN),
    "sizeof(struct fuse_rename2_in)": _size(requests._RENAME2_IN),
    "sizeof(struct fuse_open_in)": _size(requests._OPEN_IN),
    "sizeof(struct fuse_create_in)": _size(requests._CREATE_IN),
    "sizeof(struct fuse_write_in)": _size(requests._WRITE_IN),
    "offsetof(struct fuse_read_in, read_flags)": _size(requests._READ_IN),
    "FUSE_COMPAT_SETXATTR_IN_SIZE": _size(requests._SETXATTR_IN),
    "sizeof(struct fuse_getxattr_in)": _size(requests._GETXATTR_IN),
    "sizeof(struct fuse_access_in)": _size(requests._ACCESS_IN),
    "sizeof(struct fuse_out_header)": _size(answers._ANSWER),
    "sizeof(struct fuse_init_out)": _size(answers._INIT_OUT),
    "sizeof(struct fuse_attr)": _size(answers._ATTRIBUTES),
    "sizeof(struct fuse_entry_out)": _size(answers._ENTRY_OUT) + _size(answers._ATTRIBUTES),
    "sizeof(struct fuse_attr_out)": _size(answers._ATTR_OUT) + _size(answers._ATTRIBUTES),
    "sizeof(struct fuse_open_out)": _size(answers._OPEN_OUT),
    "sizeof(struct fuse_write_out)": _size(answers._WRITE_OUT),
    "sizeof(struct fuse_kstatfs)": _size(answers._STATFS_OUT),
    "sizeof(struct fuse_getxattr_out)": _size(answers._GETXATTR_OUT),
    "FUSE_NAME_OFFSET": _size(answers._DIRENT),
    "sizeof(struct fuse_notify_inval_inode_out)": _size(answers._INVAL_INODE),
    "sizeof(struct fuse_notify_inval_entry_out)": _size(answers._INVAL_ENTRY),
    "FUSE_NOTIFY_INVAL_INODE": answers._Notice.INVAL_INODE,
    "FUSE_NOTIFY_INVAL_ENTRY": answers._Notice.INVAL_ENTRY,
}


def test_numbers_and_sizes(in_c: dict[str, int]) -> None:
    assert in_c == EXPECTED


# ---------------------------------------------------------------- where each field is

FILLED = """
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>
int main(void) {{
    struct {kind} it;
    memset(&it, 0, sizeof it);
{fields}
    return write(1, &it, sizeof it) != sizeof it;
}}
"""


def in_c_filled(folder: Path, kind: str, **fields: int) -> bytes:
    """Return what C makes of a structure with these fields."""
    lines = "\n".join(
        f"    it.{name.replace('__', '.')} = {value};" for name, value in fields.items()
    )
    (folder / "filled.c").write_text(FILLED.format(kind=kind, fields=lines))
    subprocess.run(["cc", "-o", "filled", "filled.c"], cwd=folder, check=True)
    return subprocess.run([folder / "filled"], capture_output=True, check=True).stdout


def test_requests(tmp_path: Path) -> None:
    def filled(kind: str, **fields: int) -> bytes:
        return in_c_filled(tmp_path, kind, **fields)

    head = filled("fuse_in_header", len=99, opcode=3, unique=7, nodeid=5, uid=1, gid=2, pid=3)
    assert requests.decode_request(memoryview(head)) == (99, 3, 7, 5, 3)
    init = filled("fuse_init_in", major=7, minor=45, max_readahead=9, flags=0x1020)
    assert requests.decode_init(init) == (7, 45, 9, 0x1020)
    assert requests.decode_name(b"name\0") == b"name"
    assert requests.decode_two_names(b"one\0two\0") == (b"one", b"two")
    assert requests.decode_forget(filled("fuse_forget_in", nlookup=4)) == 4
    one = filled("fuse_forget_one", nodeid=8, nlookup=2)
    two = filled("fuse_forget_one", nodeid=9, nlookup=3)
    batch = filled("fuse_batch_forget_in", count=2)
    assert requests.decode_batch_forget(batch + one + two) == [(8, 2), (9, 3)]
    mknod = filled("fuse_mknod_in", mode=0o644, rdev=77, umask=1) + b"n\0"
    assert requests.decode_mknod(mknod) == (0o644, 77, b"n")
    assert requests.decode_mkdir(filled("fuse_mkdir_in", mode=5, umask=1) + b"n\0") == (5, b"n")
    assert requests.decode_rename(filled("fuse_rename_in", newdir=6) + b"a\0b\0") == (6, b"a", b"b")
    rename2 = filled("fuse_rename2_in", newdir=6, flags=2) + b"a\0b\0"
    assert requests.decode_rename2(rename2) == (6, 2, b"a", b"b")
    assert requests.decode_link(filled("fuse_link_in", oldnodeid=6) + b"n\0") == (6, b"n")
    assert requests.decode_interrupt(filled("fuse_interrupt_in", unique=6)) == 6
    for sheds in (0, 1):
        opened = filled("fuse_open_in", flags=0o1001, open_flags=sheds)
        assert requests.decode_open(opened) == (0o1001, bool(sheds), 0, b"")
        created = filled("fuse_create_in", flags=1, mode=0o640, umask=7, open_flags=sheds)
        assert requests.decode_create(created + b"n\0") == (1, bool(sheds), 0o640, b"n")
        flags = os.O_APPEND if sheds else os.O_WRONLY
        written = filled(
            "fuse_write_in", fh=3, offset=1 << 40, size=4, write_flags=sheds << 2, flags=flags
        )
        handle, offset, data, is_shed, appends = requests.decode_write(written + b"data")
        assert (handle, offset, bytes(data)) == (3, 1 << 40, b"data")
        assert (is_shed, appends) == (bool(sheds), bool(sheds))
    assert requests.decode_read(filled("fuse_read_in", fh=3, offset=1 << 40, size=9)) == (
        *(3, 1 << 40),
        9,
    )
    assert requests.decode_handle(filled("fuse_release_in", fh=3, flags=9)) == 3
    assert requests.decode_handle(filled("fuse_flush_in", fh=4)) == 4
    assert requests.decode_handle(filled("fuse_fsync_in", fh=5, fsync_flags=1)) == 5
    assert requests.decode_getxattr(filled("fuse_getxattr_in", size=9) + b"n\0") == (9, b"n")
    set_it = filled("fuse_setxattr_in", size=3, flags=1)[:8]
    assert requests.decode_setxattr(set_it + b"n\0v\0v") == (1, b"n", b"v\0v")


def test_setattr(tmp_path: Path) -> None:
    body = in_c_filled(
        tmp_path,
        "fuse_setattr_in",
        valid=0x8FF,
        fh=3,
        size=1 << 40,
        lock_owner=99,
        atime=-2,
        atimensec=5,
        mtime=1 << 33,
        mtimensec=6,
        ctime=8,
        ctimensec=7,
        mode=0o100644,
        uid=10,
        gid=11,
    )
    asked = requests.decode_setattr(body)
    assert asked.fields & SetAttrField.KILL_SUIDGID
    assert asked[1:] == (
        *(3, 1 << 40, -2_000_000_000 + 5, (1 << 33) * 1_000_000_000 + 6),
        *(0o100644, 10, 11),
    )


def test_answers(tmp_path: Path) -> None:
    attr = {
        "ino": 5,
        "size": 1 << 40,
        "blocks": 8,
        "mode": 0o100644,
        "nlink": 2,
        "uid": 10,
        "gid": 11,
        "rdev": os.makedev(8, 3),
        "blksize": 4096,
        "atime": -1,
        "atimensec": 999_999_999,
        "mtime": 6,
        "mtimensec": 7,
        "ctime": 8,
        "ctimensec": 9,
    }
    ours = answers.encode_attr(
        answers.Attr(
            *(5, 1 << 40, 8, -1, 6_000_000_007, 8_000_000_009, 0o100644, 2, 10, 11),
            *(os.makedev(8, 3), 4096),
        )
    )
    assert ours == in_c_filled(tmp_path, "fuse_attr", **attr)
    inside = {f"attr__{name}": value for name, value in attr.items()}
    timeouts = {"attr_valid": 1, "attr_valid_nsec": 500_000_000}
    assert answers.encode_attr_answer(ours, attr_s=1.5) == in_c_filled(
        tmp_path, "fuse_attr_out", **timeouts, **inside
    )
    entry = {"nodeid": 5, "entry_valid": 30, "entry_valid_nsec": 250_000_000, **timeouts, **inside}
    entry_out = in_c_filled(tmp_path, "fuse_entry_out", **entry)
    assert answers.encode_entry(5, ours, entry_s=30.25, attr_s=1.5) == entry_out
    opened = in_c_filled(tmp_path, "fuse_open_out", fh=3, open_flags=9)
    assert answers.encode_open(3, 9) == opened
    assert answers.encode_written(7) == in_c_filled(tmp_path, "fuse_write_out", size=7)
    assert answers.encode_xattr_size(7) == in_c_filled(tmp_path, "fuse_getxattr_out", size=7)
    statfs = {"blocks": 1, "bfree": 2, "bavail": 3, "files": 4, "ffree": 5, "bsize": 6}
    assert answers.encode_statfs(answers.StatFs(1, 2, 3, 4, 5, 6, 255)) == in_c_filled(
        tmp_path, "fuse_kstatfs", **statfs, namelen=255, frsize=6
    )
    dirent = in_c_filled(tmp_path, "fuse_dirent", ino=5, off=17, namelen=3, type=8)
    listed = answers.encode_listed(b"abc", 17, entry_out, 5, 0o100644)
    assert listed == entry_out + dirent + b"abc" + bytes(5)
    assert answers.encode_answer_header(7, 4, 0) + b"body" == (
        in_c_filled(tmp_path, "fuse_out_header", len=20, unique=7) + b"body"
    )
    failed = in_c_filled(tmp_path, "fuse_out_header", len=16, error=-2, unique=7)
    assert answers.encode_answer_header(7, 0, 2) == failed


@pytest.mark.parametrize("attributes_only", [False, True])
def test_notices(tmp_path: Path, attributes_only: bool) -> None:
    head = in_c_filled(tmp_path, "fuse_out_header", len=40, error=2)
    offset = -1 if attributes_only else 0
    body = in_c_filled(tmp_path, "fuse_notify_inval_inode_out", ino=5, off=offset)
    assert answers.encode_inode_changed(5, attributes_only=attributes_only) == head + body
    head = in_c_filled(tmp_path, "fuse_out_header", len=36, error=3)
    body = in_c_filled(tmp_path, "fuse_notify_inval_entry_out", parent=5, namelen=3)
    assert answers.encode_entry_changed(5, b"abc") == head + body + b"abc\0"


@pytest.mark.parametrize("size", range(1, 18))
def test_entries_of_a_listing_are_aligned(size: int) -> None:
    entry = answers.encode_entry(1, answers.NO_ATTR, entry_s=0, attr_s=0)
    listed = answers.encode_listed(b"n" * size, 1, entry, 1, 0o100644)
    assert len(listed) % 8 == 0
    assert re.fullmatch(rb"n+\0{0,7}", listed[len(entry) + 24 :])


def test_what_an_answer_gives_out() -> None:
    def entry(node: int) -> bytes:
        return answers.encode_entry(node, answers.NO_ATTR, entry_s=0, attr_s=0)

    def listed(name: bytes, node: int) -> bytes:
        return answers.encode_listed(name, 1, entry(node), node, 0o100644)

    names = (b".", b"..", b"a" * 8, b"b")
    listing = b"".join(listed(name, node) for node, name in enumerate(names))
    for opcode, answer, nodes, handle in (
        (Opcode.LOOKUP, entry(5), [5], None),
        (Opcode.LOOKUP, entry(0), [], None),
        (Opcode.MKDIR, entry(5), [5], None),
        (Opcode.CREATE, entry(5) + answers.encode_open(7, 1), [5], 7),
        (Opcode.OPEN, answers.encode_open(7, 1), [], 7),
        (Opcode.OPENDIR, answers.encode_open(7, 1), [], 7),
        (Opcode.READDIRPLUS, listing, [2, 3], None),
        (Opcode.READDIRPLUS, b"", [], None),
        (Opcode.READ, entry(5), [], None),
        (Opcode.GETATTR, answers.encode_attr_answer(answers.NO_ATTR, attr_s=1), [], None),
    ):
        assert list(answers.entries_in(opcode, answer)) == nodes
        assert answers.handle_in(opcode, answer) == handle
