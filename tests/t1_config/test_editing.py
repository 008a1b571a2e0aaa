"""Changing one key of a config file leaves every other byte of it alone."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs.config.editing import Key, Value, with_key, write_config
from smbfs.errors import ConfigError

FILE = """\
# Our rules.
require_signing = true  # always

[server."nas.example.org"]  # the old one
port = 4450
# seal = true

[kdc_proxy]
"EXAMPLE.ORG" = "https://proxy.example.org/KdcProxy"
"""

CHANGES: list[tuple[Key, Value | None, str, str]] = [
    (("require_signing",), False, "require_signing = true ", "require_signing = false "),
    (("require_signing",), None, "require_signing = true  # always\n", ""),
    (("server", "nas.example.org", "port"), 445, "port = 4450", "port = 445"),
    (("kdc_proxy", "B.C"), "https://x", '/KdcProxy"\n', '/KdcProxy"\n"B.C" = "https://x"\n'),
    (("ciphers",), ["a", "b"], "  # always\n", '  # always\nciphers = ["a", "b"]\n'),
    (("nothing",), None, "", ""),
    (("server", "other", "port"), None, "", ""),
]


@pytest.mark.parametrize(("key", "value", "old", "new"), CHANGES)
def test_nothing_else_changes(key: Key, value: Value | None, old: str, new: str) -> None:
    assert with_key(FILE, key, value) == FILE.replace(old, new, 1)


def test_new_sections_and_new_files() -> None:
    added = with_key(FILE, ("server", "a.b", "seal"), True)
    assert added.startswith(FILE[: FILE.index("[kdc_proxy]")].rstrip("\n"))
    assert tomllib.loads(added)["server"]["a.b"] == {"seal": True}
    assert "# seal = true" in added
    assert with_key("", ("server", "nas", "seal"), True) == "[server.nas]\nseal = true\n"
    assert with_key("", ("block_ntlm",), True) == "block_ntlm = true\n"


def test_what_can_not_be_written_is_refused_and_not_half_done() -> None:
    with pytest.raises(ConfigError, match="can't be written") as caught:
        with_key("server.nas.seal = true\n", ("server", "nas", "seal"), None)
    assert "editor" in caught.value.do


PIECES = st.sampled_from(
    [
        "# comment", "", "a = 1 # x", 'b.c = "x"', "[server.nas]\nseal = true", "[server]\nx = {}",
        '[server."a.b"] # s\nport = 5', "server = {nas = {seal = true}}",
        "[kdc_proxy]\nX = '''\n'''",
    ]
)  # fmt: skip
KEYS: st.SearchStrategy[Key] = st.sampled_from(
    [("a",), ("new",), ("server", "nas", "seal"), ("server", "a.b", "port"), ("kdc_proxy", "X")]
)


@given(st.lists(PIECES, max_size=5), KEYS, st.sampled_from([True, 5, "x", ["a"], None]))
def test_the_key_changes_and_comments_stay(
    pieces: list[str], key: Key, value: Value | None
) -> None:
    text = "\n".join(pieces) + "\n"
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    try:
        after = with_key(text, key, value)
    except ConfigError:
        return
    assert after.count("# comment") == text.count("# comment")
    place: object = tomllib.loads(after)
    for part in key:
        place = place.get(part) if isinstance(place, dict) else None
    assert place == value
    if value is None:
        assert len(before) >= len(tomllib.loads(after))


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "config" / "smbfs" / "config.toml"
    write_config(path, "seal = true\n")
    assert path.read_text() == "seal = true\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o644)
    write_config(path, "seal = false\n")
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["config.toml"]  # noqa: PTH208


def test_a_policy_is_to_be_read_by_everybody(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "policy.toml"
    umask = os.umask(0o077)
    try:
        write_config(path, "seal = true\n", for_all=True)
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.parent.stat().st_mode & 0o777 == 0o755


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_config(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_what_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_config(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
