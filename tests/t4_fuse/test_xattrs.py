"""Extended attributes: user.* on the server, everything else answered here."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.t4_fuse.conftest import MountShare, Place, only_posix


def test_attributes_are_set_listed_and_removed(place: Place) -> None:
    file = place.path / "file"
    file.touch()
    assert os.listxattr(file) == []
    os.setxattr(file, "user.one", b"1")
    os.setxattr(file, "user.two", b"22\0\xff")
    assert sorted(os.listxattr(file)) == ["user.one", "user.two"]
    assert os.getxattr(file, "user.two") == b"22\0\xff"
    os.setxattr(file, "user.one", b"changed")
    assert os.getxattr(file, "user.one") == b"changed"
    os.removexattr(file, "user.one")
    assert os.listxattr(file) == ["user.two"]
    assert os.getxattr(place.served / "file", "user.two") == b"22\0\xff"


def test_directories_have_them_too(place: Place) -> None:
    os.setxattr(place.path, "user.mark", b"x")
    assert os.getxattr(place.path, "user.mark") == b"x"
    assert os.listxattr(place.path) == ["user.mark"]


def test_create_and_replace(place: Place) -> None:
    file = place.path / "file"
    file.touch()
    with pytest.raises(OSError, match="No data") as refused:
        os.setxattr(file, "user.mark", b"x", os.XATTR_REPLACE)
    assert refused.value.errno == errno.ENODATA
    os.setxattr(file, "user.mark", b"x", os.XATTR_CREATE)
    with pytest.raises(FileExistsError):
        os.setxattr(file, "user.mark", b"y", os.XATTR_CREATE)
    os.setxattr(file, "user.mark", b"z", os.XATTR_REPLACE)
    assert os.getxattr(file, "user.mark") == b"z"


@only_posix
def test_a_removed_file_that_is_open_has_them(place: Place) -> None:
    file = place.path / "file"
    with file.open("wb") as opened:
        os.setxattr(file, "user.mark", b"x")
        file.unlink()
        number = opened.fileno()
        assert os.getxattr(number, "user.mark") == b"x"
        os.setxattr(number, "user.other", b"y")
        os.removexattr(number, "user.mark")
        assert os.listxattr(number) == ["user.other"]
        assert os.getxattr(number, "user.other") == b"y"


def test_what_is_not_there(place: Place) -> None:
    file = place.path / "file"
    file.touch()
    for use in (
        lambda: os.getxattr(file, "user.none"),
        lambda: os.removexattr(file, "user.none"),
    ):
        with pytest.raises(OSError, match="No data") as refused:
            use()
        assert refused.value.errno == errno.ENODATA


def test_other_namespaces_are_not_supported(place: Place) -> None:
    file = place.path / "file"
    file.touch()
    for use in (
        lambda: os.setxattr(file, "trusted.mark", b"x"),
        lambda: os.setxattr(file, "security.mark", b"x"),
        lambda: os.getxattr(file, "system.posix_acl_access"),
        lambda: os.getxattr(file, "security.capability"),
        lambda: os.getxattr(file, "trusted.overlay"),
        lambda: os.removexattr(file, "security.capability"),
    ):
        with pytest.raises(OSError, match="not supported"):
            use()


def test_what_a_server_can_not_hold(place: Place) -> None:
    file = place.path / "file"
    file.touch()
    with pytest.raises(OSError, match="not supported"):
        os.setxattr(file, "user.empty", b"")
    with pytest.raises(OSError) as refused:  # noqa: PT011 - the file system below decides
        os.setxattr(file, "user.large", b"x" * 60_000)
    assert refused.value.errno in {errno.ENOSPC, errno.E2BIG}
    with pytest.raises(PermissionError):
        os.setxattr(file, "user.DOSATTRIB", b"x")
    assert os.listxattr(file) == []


def test_larger_values(place: Place) -> None:
    file = place.path / "file"
    file.touch()
    os.setxattr(file, "user.large", b"x" * 3000)
    assert os.getxattr(file, "user.large") == b"x" * 3000


def test_a_mount_without_them(mount_share: MountShare, served_folder: Path) -> None:
    path = mount_share(user_xattr=False).path / served_folder.name
    file = path / "file"
    file.write_bytes(b"written without asking for capabilities")
    for use in (
        lambda: os.setxattr(file, "user.mark", b"x"),
        lambda: os.getxattr(file, "user.x"),
        lambda: os.listxattr(file),
    ):
        with pytest.raises(OSError, match="not supported"):
            use()
