"""The folder of the cache on disk is private, or it is refused with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smbfs.cli.cache_folder import prepare_cache_folder
from smbfs.cli.errors import CommandError


def test_it_is_made_for_its_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    prepare_cache_folder(folder, "/mnt/share")
    assert folder.stat().st_mode & 0o777 == 0o700
    prepare_cache_folder(folder, "/mnt/share")


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_others_must_not_get_in(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(CommandError) as refused:
        prepare_cache_folder(folder, "/mnt/share")
    assert f"mode 0{mode:o}" in refused.value.why
    assert f"chmod 700 {folder}" in refused.value.do


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_it_must_be_ours(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, -1)
    with pytest.raises(CommandError) as refused:
        prepare_cache_folder(folder, "/mnt/share")
    assert "owner 12345" in refused.value.why


def test_it_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CommandError, match="can't hold the cache"):
            prepare_cache_folder(folder, "/mnt/share")


def test_the_share_must_not_hide_it(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "below"):
        with pytest.raises(CommandError) as refused:
            prepare_cache_folder(folder, str(tmp_path))
        assert "hidden" in refused.value.why
        assert not (tmp_path / "below").exists()
