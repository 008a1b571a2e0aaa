"""Config files: typed, every mistake named with its line, and only those of who may decide."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs.config import files
from smbfs.config.files import (
    TOP_KEYS,
    ConfigFile,
    parse_config,
    read_config_file,
    read_policy,
    read_user_config,
    user_config_path,
)
from smbfs.config.options import GivenOption
from smbfs.config.policy import configure
from smbfs.errors import ConfigError

USER = Path("/home/alice/.config/smbfs/config.toml")
POLICY = Path("/etc/smbfs/policy.toml")

EVERYTHING = """
require_signing = true
signing_algorithms = ["aes-128-gmac", "aes-128-cmac"]
allow_insecure_guest = false
require_encryption = false
require_encryption_over_quic = true
ciphers = [
    "aes-256-gcm",  # first
    "aes-128-gcm",
]
block_ntlm = true
block_ntlm_exceptions = ["Old-NAS", "192.168.1.5"]
minimum_dialect = "3.0"
maximum_dialect = "3.1.1"
allowed_transports = ["tcp", "quic"]

[kdc_proxy]
"Example.Org" = "https://proxy.example.org/KdcProxy"
".corp" = ["https://a.example", "<https b.example:443:kdcproxy />"]

[server."NAS.example.org"]
seal = true
ciphers = ["aes-128-gcm"]
cache_size = "256M"
port = 4450
actimeo = 0.5
noexec = true
"""


def mistake(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, USER)
    return caught.value


def test_every_key() -> None:
    file = parse_config(EVERYTHING, USER)
    rules = {name: (given.value, given.origin) for name, given in file.rules.items()}
    assert rules == {
        "require_signing": (True, f"{USER}, line 2"),
        "signing_algorithms": ("aes-128-gmac:aes-128-cmac", f"{USER}, line 3"),
        "allow_insecure_guest": (False, f"{USER}, line 4"),
        "require_encryption": (False, f"{USER}, line 5"),
        "require_encryption_over_quic": (True, f"{USER}, line 6"),
        "ciphers": ("aes-256-gcm:aes-128-gcm", f"{USER}, line 7"),
        "block_ntlm": (True, f"{USER}, line 11"),
        "minimum_dialect": ("3.0", f"{USER}, line 13"),
        "maximum_dialect": ("3.1.1", f"{USER}, line 14"),
        "allowed_transports": ("tcp:quic", f"{USER}, line 15"),
    }
    assert file.rules["ciphers"].written == 'ciphers = ["aes-256-gcm", "aes-128-gcm"]'
    exception = GivenOption(
        "block_ntlm",
        False,
        f"{USER}, line 12",
        'block_ntlm_exceptions = ["Old-NAS", "192.168.1.5"]',
    )
    assert file.ntlm_exceptions == {"old-nas": exception, "192.168.1.5": exception}
    assert {realm: (each.urls, each.origin) for realm, each in file.kdc_proxies.items()} == {
        "EXAMPLE.ORG": (("https://proxy.example.org/KdcProxy",), f"{USER}, line 18"),
        ".CORP": (("https://a.example", "https://b.example:443/kdcproxy"), f"{USER}, line 19"),
    }
    section = file.servers["nas.example.org"]
    assert [(each.name, each.value) for each in section] == [
        ("seal", True),
        ("ciphers", "aes-128-gcm"),
        ("cache_size", "256M"),
        ("port", "4450"),
        ("actimeo", "0.500000"),
        ("noexec", True),
    ]
    assert section[3].origin == f"{USER}, line 25"
    assert section[3].written == "port = 4450"
    assert set(TOP_KEYS) == {*file.rules, "block_ntlm_exceptions"}


@pytest.mark.parametrize(
    ("text", "line", "guess"),
    [
        ("require_singing = true", 1, "require_signing"),
        ("\n\nminimal_dialect = '3.0'", 3, "minimum_dialect"),
        ("[servers.nas]\nseal = true", 1, "server"),
        ("[server.nas]\nseal = true\nsael = true", 3, "seal"),
        ("[server.a]\nseal = true\n[server.b]\ncashe_size = 1", 4, "cache_size"),
        ("[server.a]\nseal = true\n[server.b]\nblock_ntlm_exception = 1", 4, "block_ntlm"),
        ("x.y = 1\nrequire_singing.a = true", 1, ""),
    ],
)
def test_unknown_key_names_file_line_and_nearest(text: str, line: int, guess: str) -> None:
    error = mistake(text)
    assert f"{USER}, line {line}" in error.what
    assert error.do == f"did you mean {guess}?" if guess else error.do.startswith("known are ")


@pytest.mark.parametrize(
    "text",
    [
        "[server.'nas:445']",
        "[server.'//nas']",
        "[server.'nas/share']",
        "[server.'ann@nas']",
        "[server.'']",
        "block_ntlm_exceptions = ['nas:445']",
        "[server.nas]\nquic_ca = 'ca.pem'",
        "[server.nas]\ncredentials = './nas'",
        "require_signing = 'yes'",
        "require_signing = 1",
        "minimum_dialect = '1.0'",
        "minimum_dialect = 3.0",
        "allowed_transports = 'tcp'",
        "allowed_transports = []",
        "allowed_transports = ['udp']",
        "allowed_transports = [['tcp']]",
        "allowed_transports = ['tcp', 'tcp']",
        "ciphers = ['des']",
        "ciphers = 'aes-128-gcm'",
        "signing_algorithms = []",
        "maximum_dialect = '4'",
        "maximum_dialect = {x = 1}",
        "block_ntlm = 'yes'",
        "block_ntlm_exceptions = 'nas'",
        "block_ntlm_exceptions = ['']",
        "block_ntlm_exceptions = [1]",
        "[server.nas]\nrequire_signing = 'on'",
        "[server.nas]\nseal = true\n[server.NAS]\nport = 1",
        "[kdc_proxy]\na = 'https://x'\nA = 'https://y'",
        "[kdc_proxy]\n'A B' = 'https://x'",
        "[kdc_proxy]\nA = []",
        "[kdc_proxy]\nA = ['https://x', 1]",
        "kdc_proxy = 1",
        "[kdc_proxy]\nX = 'http://insecure'",
        "[kdc_proxy]\nX = 1",
        "server = 'nas'",
        "[server]\nnas = 'x'",
        "[server.nas]\nport = [445]",
        "require_signing = tru",
        "[" * 2000,
    ],
)
def test_wrong_values_are_config_errors(text: str) -> None:
    assert str(USER) in mistake(text).what


def test_password_in_a_file_is_refused_and_not_repeated() -> None:
    file = parse_config("[server.nas]\npassword = 'hunter2'", USER)
    with pytest.raises(ConfigError) as caught:
        configure("nas", [], user=file, policy=ConfigFile(POLICY))
    assert "hunter2" not in f"{caught.value.what}{caught.value.why}{file!r}"


def test_missing_file_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "none" / "config.toml"
    assert read_config_file(path) == ConfigFile(path)


def test_unreadable_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_config_file(tmp_path)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="can't be read"):
        read_config_file(binary)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="not a regular file"):
        read_config_file(tmp_path / "pipe")


def test_where_the_users_file_is() -> None:
    assert user_config_path({"HOME": "/home/alice"}) == USER
    assert user_config_path({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}) == Path("/x/smbfs/config.toml")
    assert user_config_path({"HOME": "/h", "XDG_CONFIG_HOME": "relative"}) == Path(
        "/h/.config/smbfs/config.toml"
    )


@given(st.text(alphabet='abc_=\n[]"tr.1', max_size=60))
def test_any_text_is_a_file_or_a_config_error(text: str) -> None:
    try:
        file = parse_config(text, USER)
    except ConfigError:
        return
    assert isinstance(file, ConfigFile)


def test_given_option_keeps_where_it_stood() -> None:
    file = parse_config("[server.nas]\nport = 'x'", USER)
    with pytest.raises(ConfigError, match='line 2: port = "x" is wrong'):
        configure("nas", [GivenOption("ro", None, "-o")], user=file, policy=ConfigFile(POLICY))


def test_a_file_that_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("#" * (1 << 20) + "\n")
    with pytest.raises(ConfigError, match="too long"):
        read_config_file(path)


@pytest.fixture
def policy_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the policy is looked for: who runs this stands in for root."""
    path = tmp_path / "etc" / "policy.toml"
    path.parent.mkdir(mode=0o755)
    path.write_text("require_signing = true\n")
    path.chmod(0o644)
    monkeypatch.setattr(files, "POLICY_PATH", path)
    monkeypatch.setattr(files, "POLICY_OWNER", path.stat().st_uid)
    return path


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o622])
def test_a_policy_that_others_can_write_is_none(policy_path: Path, mode: int) -> None:
    assert read_policy().rules["require_signing"].value is True
    policy_path.chmod(mode)
    with pytest.raises(ConfigError, match=r"policy\.toml refused: other users can write") as caught:
        read_policy()
    assert caught.value.do == f"chmod go-w {policy_path}"


def test_a_policy_in_a_folder_that_others_can_write_is_none(policy_path: Path) -> None:
    policy_path.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="etc refused: other users can write"):
        read_policy()
    policy_path.parent.chmod(0o1777)  # as /tmp: nobody can exchange what is another's
    assert read_policy().rules


def test_a_policy_of_somebody_else_is_none(
    policy_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "POLICY_OWNER", policy_path.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="belongs to another user") as caught:
        read_policy()
    assert caught.value.do == f"chown {policy_path.stat().st_uid + 1} {policy_path}"


def test_a_link_counts_as_what_it_leads_to(policy_path: Path, tmp_path: Path) -> None:
    """The folder that the file is really in is the one that others must not write to."""
    real = tmp_path / "elsewhere"
    real.mkdir(mode=0o777)
    real.chmod(0o777)
    policy_path.rename(real / "real.toml")
    policy_path.symlink_to(real / "real.toml")
    with pytest.raises(ConfigError, match="elsewhere refused"):
        read_policy()
    real.chmod(0o755)
    assert read_policy().rules


def test_a_users_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    path = user_config_path(environment)
    path.parent.mkdir(mode=0o700)
    path.write_text("require_signing = false\n")
    path.chmod(0o644)
    assert read_user_config(environment).rules
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=r"config\.toml refused: other users can write"):
        read_user_config(environment)


def test_the_policy_is_roots() -> None:
    assert (Path("/etc/smbfs/policy.toml"), 0) == (files.POLICY_PATH, files.POLICY_OWNER)
