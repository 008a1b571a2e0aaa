"""``smbfs config``: what is in force and who says so, and changing it within the policy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from smbfs.audit.events import Event
from smbfs.cli import config_change
from smbfs.cli.main import main
from smbfs.config import files

POLICY = """\
# Ours.
require_encryption = true
ciphers = ["aes-256-gcm", "aes-128-gcm"]
block_ntlm = true
block_ntlm_exceptions = ["old-nas"]

[kdc_proxy]
"CORP.EXAMPLE" = "<https proxy.example:443:kdcproxy />"

[server.kiosk]
require_encryption = false

[server.vault]
require_signing = true
"""


class Config:
    """``smbfs config`` with files of its own; what it prints, says in the audit and returns."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.user = folder / "smbfs" / "config.toml"
        self.policy = folder / "etc" / "policy.toml"
        self.events: list[Event] = []
        self._capsys = capsys

    def run(self, *arguments: str, code: int = 0) -> str:
        assert main(["config", *arguments]) == code, self._capsys.readouterr()
        out, err = self._capsys.readouterr()
        assert bool(err) == bool(code)
        return str(out or err)

    def __call__(self, arguments: str, code: int = 0) -> str:
        return self.run(*arguments.split(), code=code)


@pytest.fixture
def config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Config:
    made = Config(tmp_path, capsys)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(files, "POLICY_PATH", made.policy)
    monkeypatch.setattr(files, "POLICY_OWNER", tmp_path.stat().st_uid)
    monkeypatch.setattr(config_change, "record_once", made.events.append)
    return made


@pytest.fixture
def ruled(config: Config) -> Config:
    """With a policy."""
    config.policy.parent.mkdir()
    config.policy.write_text(POLICY)
    return config


def test_without_files_everything_is_the_default(config: Config) -> None:
    lines = config("list").splitlines()
    assert [line.partition(" ")[0] for line in lines] == list(files.TOP_KEYS)
    assert all(line.endswith("  # default") for line in lines)


def test_list_says_which_line_decides(ruled: Config) -> None:
    ruled.user.parent.mkdir()
    ruled.user.write_text("""
require_encryption = false
minimum_dialect = "3.0"
ciphers = ["aes-256-gcm"]
block_ntlm_exceptions = ["mine"]
[kdc_proxy]
"CORP.EXAMPLE" = "https://mine"
"HOME.EXAMPLE" = "https://mine"
[server.vault]
signing = "if-offered"
cache_size = "1G"
""")
    user, policy = ruled.user, ruled.policy
    refused = "mounts are refused"
    more = f"{policy}, line 14, asks for more: {refused}"
    listed = ruled("list").splitlines()
    for line in (
        "require_signing = true  # default",
        f"require_encryption = true  # {policy}, line 2; {user}, line 2, asks for less: {refused}",
        f'minimum_dialect = "3.0"  # {user}, line 3',
        f'ciphers = ["aes-256-gcm"]  # {user}, line 4',
        f"block_ntlm = true  # {policy}, line 4",
        f'block_ntlm_exceptions = ["old-nas"]  # {policy}, line 5',
        f'block_ntlm_exceptions = ["mine"]  # {user}, line 5; asks for less than the policy: '
        + refused,
        f'kdc_proxy.CORP.EXAMPLE = "https://proxy.example:443/kdcproxy"  # {policy}, line 8',
        f'kdc_proxy.CORP.EXAMPLE = "https://mine"  # {user}, line 7; overridden by {policy}',
        f'kdc_proxy.HOME.EXAMPLE = "https://mine"  # {user}, line 8',
        f"server.kiosk.require_encryption = false  # {policy}, line 11",
        f'server.vault.signing = "if-offered"  # {user}, line 10; {more}',
        f'server.vault.cache_size = "1G"  # {user}, line 11',
    ):
        assert line in listed, listed


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("require_encryption", "true"),
        ("ciphers", '["aes-256-gcm", "aes-128-gcm"]'),
        ("minimum_dialect", '"2.1"'),
        ("block_ntlm_exceptions", '["old-nas"]'),
        ("kdc_proxy.corp.example", "https://proxy.example:443/kdcproxy"),
        ("server.kiosk.require_encryption", "false"),
        ("server.kiosk.require_signing", "true"),
        ("server.elsewhere.block_ntlm", "true"),
        ("server.old-nas.block_ntlm", "false"),
    ],
)
def test_get(ruled: Config, key: str, value: str) -> None:
    assert ruled(f"get {key}") == f"{value}\n"


def test_get_of_what_is_not_set(ruled: Config) -> None:
    for key in ("server.kiosk.port", "kdc_proxy.NOWHERE"):
        assert "is not set" in ruled(f"get {key}", code=1)
    assert "did you mean require_signing?" in ruled("get require_singing", code=1)
    assert "there is no server.nas" in ruled("get server.nas", code=1)


def test_set_makes_a_private_file_and_keeps_comments(config: Config) -> None:
    said = config("set require_encryption on")
    assert said == f"require_encryption = true  # {config.user}, line 1\n"
    assert config.user.stat().st_mode & 0o777 == 0o600
    config.user.write_text("# mine\nrequire_encryption = true  # why\n")
    config("set ciphers aes-256-gcm,aes-128-gcm")
    config("set server.nas.example.org.seal true")
    config("set server.NAS.example.org.port 4450")
    config("set server.nas.example.org.file_mode 0640")
    config("set kdc_proxy.EXAMPLE.ORG https://proxy.example.org/KdcProxy")
    config.run("set", "kdc_proxy.example.org", "<https a.example:443:kdcproxy />")
    config.run("set", "block_ntlm_exceptions", "a, b.c")
    assert (
        config.user.read_text()
        == """\
# mine
require_encryption = true  # why
ciphers = ["aes-256-gcm", "aes-128-gcm"]
block_ntlm_exceptions = ["a", "b.c"]

[server."nas.example.org"]
seal = true
port = 4450
file_mode = "0640"

[kdc_proxy]
"EXAMPLE.ORG" = "<https a.example:443:kdcproxy />"
"""
    )
    assert config("unset ciphers") == f"ciphers is not set in {config.user}\n"
    assert config("get ciphers").count("aes") == 4
    assert config.events == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("require_signing maybe", "require_signing can't be set to maybe"),
        ("minimum_dialect 1.0", 'it is one of "2.0.2"'),
        ("ciphers des", "one or more of"),
        ("maximum_dialect 2.0.2", "no dialect is both as new and as old"),
        ("require_singing true", "did you mean require_signing?"),
        ("server.nas.sael true", "did you mean seal?"),
        ("server.nas.port x", "not a whole number"),
        ("server.nas.password hunter2", "password is refused"),
        ("kdc_proxy.A.B http://x", "https"),
        ("kdc_proxy.A=B https://x", "a realm is written"),
    ],
)
def test_what_is_wrong_is_not_written(config: Config, arguments: str, said: str) -> None:
    config("set minimum_dialect 2.1")
    before = config.user.read_text()
    message = config(f"set {arguments}", code=1)
    assert said in message
    assert "hunter2" not in message
    assert config.user.read_text() == before


@pytest.mark.parametrize(
    ("arguments", "shown", "line", "rule"),
    [
        ("require_encryption off", "require_encryption = false", 2, "require_encryption = true"),
        ("ciphers aes-128-ccm", 'ciphers = ["aes-128-ccm"]', 3, "ciphers = "),
        ("block_ntlm false", "block_ntlm = false", 4, "block_ntlm = true"),
        ("block_ntlm_exceptions old-nas,nas", "block_ntlm_exceptions = ", 4, "block_ntlm = true"),
        ("server.nas.seal false", "seal = false", 2, "require_encryption = true"),
        ("server.vault.signing if-offered", 'signing = "if-offered"', 14, "require_signing = true"),
    ],
)
def test_what_is_laxer_than_the_policy_is_not_written(
    ruled: Config, arguments: str, shown: str, line: int, rule: str
) -> None:
    message = ruled(f"set {arguments}", code=1)
    assert message.startswith(f"smbfs: {shown}")
    assert "refused by the administrator's policy" in message.splitlines()[0]
    assert f"Why: {ruled.policy}, line {line}, says {rule}" in message
    assert not ruled.user.exists()
    (event,) = ruled.events
    assert event.event == "policy-override-refused"
    assert f"{ruled.user}: {shown}" in event.message
    assert f"{ruled.policy}, line {line}" in event.message


def test_set_says_where_the_policy_decides_otherwise(ruled: Config) -> None:
    ruled("set server.kiosk.seal false")  # which the policy allows for this server
    said = ruled("set require_signing false")
    assert (
        f"but mounts of vault are refused: require_signing = true ({ruled.policy}, line 14)" in said
    )
    said = ruled("set kdc_proxy.CORP.EXAMPLE https://mine")
    assert f"but {ruled.policy} overrides it" in said
    assert "overrides" not in ruled("set kdc_proxy.OTHER.EXAMPLE https://mine")


@pytest.mark.parametrize(
    ("arguments", "event", "windows"),
    [
        ("require_signing false", "protection-lowered", None),
        ("server.nas.signing if-offered", "protection-lowered", None),
        ("minimum_dialect 2.0.2", "protection-lowered", None),
        ("allow_insecure_guest true", "insecure-guest-allowed", 31018),
    ],
)
def test_less_protection_than_usual_is_told_to_the_audit(
    config: Config, arguments: str, event: str, windows: int | None
) -> None:
    config(f"set {arguments}")
    (told,) = config.events
    assert (told.event, told.windows_event) == (event, windows)
    assert f"{config.user}, line " in told.message
    assert f"by smbfs config set {arguments.split(maxsplit=1)[0]}" in told.message
    config(f"set {arguments}")  # No news.
    assert len(config.events) == 1


def test_the_administrator_writes_the_policy(config: Config) -> None:
    config("set --system require_signing false")
    assert config.policy.read_text() == "require_signing = false\n"
    assert config.policy.stat().st_mode & 0o777 == 0o644
    assert config("get require_signing") == "false\n"
    assert not config.user.exists()
    (event,) = config.events
    assert f"{config.policy}, line 1" in event.message
    config("unset --system require_signing")
    assert config("get require_signing") == "true\n"


def test_nobody_else_does(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "POLICY_OWNER", files.POLICY_OWNER + 1)
    assert "run this as root" in config("set --system require_signing false", code=1)
    assert not config.policy.exists()


def test_a_policy_that_others_can_write_stops_everything(ruled: Config) -> None:
    ruled.policy.chmod(0o666)
    for arguments in ("list", "get block_ntlm", "set block_ntlm true"):
        assert f"chmod go-w {ruled.policy}" in ruled(arguments, code=1)


def test_a_file_that_is_wrong_is_not_written_to(config: Config) -> None:
    config.user.parent.mkdir()
    config.user.write_text("\nrequire_singing = true\n")
    for arguments in ("list", "set require_signing true"):
        message = config(arguments, code=1)
        assert f"{config.user}, line 2: there is no require_singing" in message


def test_only_changing_a_file_loads_what_can() -> None:
    code = (
        "import sys, smbfs.cli.mount, smbfs.cli.serve, smbfs.cli.config, smbfs.cli.config_change\n"
        "sys.exit('tomlkit' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
