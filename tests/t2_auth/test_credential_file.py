"""Credentials files in mount.cifs' format: read when private, refused when not, never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs.auth.credential_file import CredentialFile, parse_credential_text, read_credential_file
from smbfs.errors import ConfigError

SECRET = "hunter2 is not it"  # noqa: S105 (nobody's)


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def refusal(path: Path, *, private: bool = True) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_credential_file(path, private=private)
    error = caught.value
    assert SECRET not in f"{error.what}{error.why}{error.do}{error.__cause__!r}"
    return error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("username=alice\npassword=x\ndomain=BED\n", ("alice", "BED", "x")),
        ("user=alice\r\npass=x\r\ndom=BED\r\n", ("alice", "BED", "x")),
        ("  Username = alice \n# no\n; no\n\nworkgroup = BED\npassword=x", ("alice", "BED", "x")),
        ("username=BED\\alice\npassword=x", ("alice", "BED", "x")),
        ("username=BED/alice\npassword=x", ("alice", "BED", "x")),
        ("username=BED/alice\ndomain=OTHER\npassword=x", ("alice", "OTHER", "x")),
        ("username=alice@EXAMPLE.ORG\npassword=x", ("alice@EXAMPLE.ORG", None, "x")),
        ("username=alice\npassword= a=b,c \n", ("alice", None, " a=b,c ")),
        ("username=alice\npassword=a\x0cb\u2028c\n", ("alice", None, "a\x0cb\u2028c")),
        ("username=alice\npassword=\n", ("alice", None, "")),
        ("username=alice\n", ("alice", None, None)),
        ("\ufeffusername=alice\npassword=x\npassword2=y", ("alice", None, "x")),
        ("", (None, None, None)),
    ],
)
def test_what_files_say(tmp_path: Path, text: str, expected: tuple[str | None, ...]) -> None:
    path = tmp_path / "credentials"
    path.write_bytes(text.encode())
    path.chmod(0o600)
    file = read_credential_file(path)
    assert (file.username, file.domain, file.password) == expected


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o666, 0o601])
def test_files_that_others_can_open_are_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "credentials", f"username=alice\npassword={SECRET}\n", mode)
    error = refusal(path)
    assert f"{mode:04o}" in error.why
    assert error.do == f"chmod 600 {path}"


def test_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "credentials", f"username=alice\npassword={SECRET}\n")
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    error = refusal(path)
    assert str(path.stat().st_uid) in error.why
    assert "chown" in error.do


def test_systemds_files_may_be_group_readable(tmp_path: Path) -> None:
    path = write(tmp_path / "smbfs", "username=alice\npassword=x\n", 0o440)
    assert read_credential_file(path, private=False).username == "alice"


@pytest.mark.parametrize(
    "content",
    [
        f"{SECRET}\n".encode(),
        f"username=alice\n{SECRET}=x\n".encode(),
        f"username=alice\npassword={SECRET}\0x\n".encode(),
        f"password={SECRET}\nusername=\xe4\n".encode("latin-1"),
        f"password={SECRET}\n".encode() + b"#" * 70000,
        f"username=alice%{SECRET}\n".encode(),
        f"username = alice\npassword = {SECRET}\n".encode(),
    ],
)
def test_malformed_files_are_refused_without_being_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "credentials"
    path.write_bytes(content)
    path.chmod(0o600)
    assert str(path) in refusal(path).what


def test_things_that_are_no_files_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none").why
    assert "directory" in refusal(tmp_path).why.lower()
    assert "not a regular file" in refusal(Path("/dev/null")).why
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "not a regular file" in refusal(tmp_path / "pipe").why
    assert refusal(Path("/nul\0l")).do


def test_secrets_stay_out_of_repr() -> None:
    assert SECRET not in repr(CredentialFile("alice", None, SECRET))


@given(st.text(max_size=80))
def test_any_text_is_credentials_or_a_config_error(text: str) -> None:
    try:
        file = parse_credential_text(text, "file")
    except ConfigError:
        return
    assert isinstance(file, CredentialFile)
