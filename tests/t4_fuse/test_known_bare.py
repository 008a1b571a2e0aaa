"""Files that were asked for their extended attributes in a row: one listing answers for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.t4_fuse.conftest import KINDS, MountShare, wait_until

COUNT = 30

Asked = Callable[[float], Path]


@pytest.fixture(params=KINDS)
def asked(request: pytest.FixtureRequest, mount_share: MountShare, served_folder: Path) -> Asked:
    """Mount a folder where every third file has an attribute, and ask each of them for it."""
    for index in range(COUNT):
        file = served_folder / f"file {index}"
        file.touch()
        file.chmod(0o666)
        if not index % 3:
            os.setxattr(file, "user.mark", b"x")
    (served_folder / "folder").mkdir()
    (served_folder / "folder").chmod(0o777)
    (served_folder / "symlink").symlink_to("file 0")

    def ask(actimeo_s: float) -> Path:
        mount = mount_share(posix=request.param == "posix", actimeo_s=actimeo_s)
        folder = mount.path / served_folder.name
        assert len(list(folder.iterdir())) == COUNT + 2
        for _ in range(2):
            assert [os.listxattr(folder / f"file {index}") for index in range(COUNT)] == [
                [] if index % 3 else ["user.mark"] for index in range(COUNT)
            ]
        return folder

    return ask


def test_with_and_without_side_by_side(asked: Asked) -> None:
    folder = asked(60)
    assert os.getxattr(folder / "file 3", "user.mark") == b"x"
    with pytest.raises(OSError, match="No data"):
        os.getxattr(folder / "file 4", "user.mark")
    assert os.listxattr(folder / "folder") == []
    assert os.listxattr(folder / "symlink") == ["user.mark"]
    (folder / "file 3").rename(folder / "file 4")
    assert os.getxattr(folder / "file 4", "user.mark") == b"x"


def test_what_we_set_is_seen_at_once(asked: Asked) -> None:
    folder = asked(60)
    for name in ("file 4", "folder"):
        os.setxattr(folder / name, "user.mark", b"ours")
        assert os.listxattr(folder / name) == ["user.mark"]
        assert os.getxattr(folder / name, "user.mark") == b"ours"
        os.removexattr(folder / name, "user.mark")
        assert os.listxattr(folder / name) == []
    (folder / "new").touch()
    os.setxattr(folder / "new", "user.mark", b"ours")
    assert os.listxattr(folder / "new") == ["user.mark"]


def test_a_change_asks_what_is_there_now(asked: Asked, served_folder: Path) -> None:
    folder = asked(60)
    os.setxattr(served_folder / "file 4", "user.mark", b"theirs")
    with pytest.raises(FileExistsError):
        os.setxattr(folder / "file 4", "user.mark", b"ours", os.XATTR_CREATE)
    os.setxattr(folder / "file 4", "user.mark", b"ours", os.XATTR_REPLACE)
    assert os.getxattr(served_folder / "file 4", "user.mark") == b"ours"
    os.setxattr(served_folder / "file 5", "user.mark", b"theirs")
    os.removexattr(folder / "file 5", "user.mark")
    assert os.listxattr(served_folder / "file 5") == []


def test_what_others_set_is_seen_a_moment_later(asked: Asked, served_folder: Path) -> None:
    folder = asked(1)
    os.setxattr(served_folder / "file 4", "user.mark", b"theirs")
    wait_until(lambda: os.listxattr(folder / "file 4") == ["user.mark"])
    assert os.getxattr(folder / "file 4", "user.mark") == b"theirs"
