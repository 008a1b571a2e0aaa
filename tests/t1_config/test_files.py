"""Config files: typed, every mistake named with its line, users only stricter than policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs.config.files import ConfigFile, Rules, parse_config, read_config_file, user_config_path
from smbfs.config.model import MountOptions
from smbfs.config.options import GivenOption, split_options
from smbfs.config.policy import PolicyRefused, configure
from smbfs.errors import ConfigError

USER = Path("/home/alice/.config/smbfs/config.toml")
POLICY = Path("/etc/smbfs/policy.toml")

EVERYTHING = """
require_signing = true
allow_insecure_guest = false
require_encryption = false
minimum_dialect = "3.0"
allowed_transports = ["tcp", "quic"]

[kdc_proxy]
"EXAMPLE.ORG" = "https://proxy.example.org/KdcProxy"

[server."NAS.example.org"]
seal = true
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
    assert file.rules == Rules(
        require_signing=True,
        allow_insecure_guest=False,
        require_encryption=False,
        minimum_dialect="3.0",
        allowed_transports=("tcp", "quic"),
    )
    assert file.kdc_proxies == {"EXAMPLE.ORG": "https://proxy.example.org/KdcProxy"}
    assert [(each.name, each.value) for each in file.servers["nas.example.org"]] == [
        ("seal", True),
        ("cache_size", "256M"),
        ("port", "4450"),
        ("actimeo", "0.500000"),
        ("noexec", True),
    ]
    assert file.servers["nas.example.org"][2].origin == f"{USER}, line 14"


@pytest.mark.parametrize(
    ("text", "line", "guess"),
    [
        ("require_singing = true", 1, "require_signing"),
        ("\n\nminimal_dialect = '3.0'", 3, "minimum_dialect"),
        ("[servers.nas]\nseal = true", 1, "server"),
        ("[server.nas]\nseal = true\nsael = true", 3, "seal"),
        ("[server.a]\nseal = true\n[server.b]\ncashe_size = 1", 4, "cache_size"),
    ],
)
def test_unknown_key_names_file_line_and_nearest(text: str, line: int, guess: str) -> None:
    error = mistake(text)
    assert f"{USER}, line {line}" in error.what
    assert error.do == f"did you mean {guess}?"


@pytest.mark.parametrize(
    "text",
    [
        "require_signing = 'yes'",
        "require_signing = 1",
        "minimum_dialect = '1.0'",
        "minimum_dialect = 3.0",
        "allowed_transports = 'tcp'",
        "allowed_transports = []",
        "allowed_transports = ['udp']",
        "allowed_transports = [['tcp']]",
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


def test_where_the_users_file_is() -> None:
    assert user_config_path({"HOME": "/home/alice"}) == USER
    assert user_config_path({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}) == Path("/x/smbfs/config.toml")
    assert user_config_path({"HOME": "/h", "XDG_CONFIG_HOME": "relative"}) == Path(
        "/h/.config/smbfs/config.toml"
    )


def merged(given: str, *, user: str = "", policy: str = "", server: str = "nas") -> MountOptions:
    return configure(
        server,
        split_options(given),
        user=parse_config(user, USER),
        policy=parse_config(policy, POLICY),
    ).options


def test_the_command_line_is_stronger_than_files() -> None:
    user = "require_encryption = true\n[server.nas]\nactimeo = 5\nport = 4450"
    policy = "[server.NAS]\nactimeo = 9\nrsize = '64K'"
    options = merged("actimeo=1", user=user, policy=policy)
    assert (options.seal, options.actimeo_s, options.port) == (True, 1.0, 4450)
    assert options.rsize == 65536
    assert merged("", user=user, policy=policy).actimeo_s == 5.0
    assert merged("", user=user, server="other").port is None


def test_policy_makes_stricter_what_nobody_asked_for() -> None:
    policy = 'require_encryption = true\nminimum_dialect = "3.0"\nallowed_transports = ["tcp"]'
    options = merged("", policy=policy)
    assert (options.seal, options.vers, options.transport) == (True, ("3.0", "3.1.1"), "tcp")
    assert merged("vers=3.1.1", policy=policy).vers == ("3.1.1", "3.1.1")
    assert merged("", policy='allowed_transports = ["quic"]').transport == "quic"
    assert merged("", policy='allowed_transports = ["tcp", "quic"]').transport == "auto"


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ("signing=if-offered", "require_signing = true"),
        ("guest", "allow_insecure_guest = false"),
        ("allow_insecure_guest", "allow_insecure_guest = false"),
        ("guest", "require_encryption = true"),
        ("vers=2.1", 'minimum_dialect = "3.0"'),
        ("transport=tcp", 'allowed_transports = ["quic"]'),
        ("vers=3.0", 'allowed_transports = ["quic"]'),
    ],
)
def test_policy_refuses_what_is_laxer(given: str, policy: str) -> None:
    with pytest.raises(PolicyRefused) as caught:
        merged(given, policy=policy)
    assert str(POLICY) in caught.value.why


def test_users_may_be_laxer_than_the_default_but_not_than_policy() -> None:
    user = "require_signing = false"
    assert merged("", user=user).signing == "if-offered"
    with pytest.raises(PolicyRefused):
        merged("", user=user, policy="require_signing = true")


@given(st.text(alphabet='abc_=\n[]"tr.1', max_size=60))
def test_any_text_is_a_file_or_a_config_error(text: str) -> None:
    try:
        file = parse_config(text, USER)
    except ConfigError:
        return
    assert isinstance(file, ConfigFile)


def test_given_option_keeps_where_it_stood() -> None:
    file = parse_config("[server.nas]\nport = 'x'", USER)
    with pytest.raises(ConfigError, match="line 2"):
        configure("nas", [GivenOption("ro", None, "-o")], user=file, policy=ConfigFile(POLICY))
