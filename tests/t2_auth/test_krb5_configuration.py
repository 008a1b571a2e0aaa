"""The Kerberos configuration that stands before the system's, and what libkrb5's codes mean."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from smbfs.auth.krb5_configuration import configuration, proxied_realms, proxy_address
from smbfs.auth.krb5_refusals import krb5_refusal, unreachable_realm
from smbfs.cli.kerberos_realms import kdc_proxies, realm_of
from smbfs.config.model import MountOptions
from smbfs.errors import ConfigError

URL = "https://proxy.test/KdcProxy"


def test_what_is_written(tmp_path: Path) -> None:
    ca = Path('/etc/"our" ca.pem')
    text = configuration({"Corp.Test": (URL, "https://other.test:8443/kdc")}, ca)
    realms = [
        f"""\
    {realm} = {{
        kdc = {URL}
        primary_kdc = {URL}
        kdc = https://other.test:8443/kdc
        primary_kdc = https://other.test:8443/kdc
        http_anchors = FILE:/etc/"our" ca.pem
    }}*
"""
        for realm in ("CORP.TEST", "Corp.Test")
    ]
    assert text == "[realms]\n" + "".join(realms)
    assert "http_anchors" not in configuration({"CORP.TEST": (URL,)}, None)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (URL, URL),
        ("HTTPS://proxy.test", URL),
        ("https://proxy.test/", URL),
        ("https://Proxy.Test:443/kdc", "https://proxy.test:443/kdc"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443/KdcProxy"),
    ],
)
def test_addresses_as_libkrb5_takes_them(url: str, address: str) -> None:
    assert proxy_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "https://", "https://a b/", "https://a:x/", "https://a:70000/", "https://user:pw@a/",
        "https://a/#part", 'https://a/"', "https://a/\\n", "https://a/\n    kdc = b",
        "https://a/{", "https://a/}*",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="no address of a KDC proxy"):
        configuration({"CORP.TEST": (url,)}, None)


@pytest.mark.parametrize("realm", ["", "A B", "A = {", "A\n[libdefaults]", "A}", "[A]", "A*"])
def test_a_realm_that_is_none_is_refused(realm: str) -> None:
    with pytest.raises(ConfigError, match="no Kerberos realm"):
        configuration({realm: (URL,)}, None)


def test_ours_comes_first_while_it_lasts(tmp_path: Path) -> None:
    path = tmp_path / "mount.krb5.conf"
    for given, others in ((None, "/etc/krb5.conf"), ("/a:/b", "/a:/b")):
        environment = {} if given is None else {"KRB5_CONFIG": given}
        before = dict(environment)
        with proxied_realms({"CORP.TEST": (URL,)}, None, path, environment):
            assert environment == {"KRB5_CONFIG": f"{path}:{others}"}
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert path.read_text() == configuration({"CORP.TEST": (URL,)}, None)
        assert environment == before
        assert list(tmp_path.iterdir()) == []


def test_what_others_put_before_it_stays(tmp_path: Path) -> None:
    path, environment = tmp_path / "mount.krb5.conf", {"KRB5_CONFIG": "/a"}
    with proxied_realms({"CORP.TEST": (URL,)}, None, path, environment):
        environment["KRB5_CONFIG"] = f"/other:{environment['KRB5_CONFIG']}"
    assert environment == {"KRB5_CONFIG": "/other:/a"}


def test_nothing_is_left_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "mount.krb5.conf"
    with (
        pytest.raises(ConfigError),
        proxied_realms({"CORP.TEST": ("https://a b",)}, None, path, {}),
    ):
        pytest.fail("entered")
    with pytest.raises(KeyError), proxied_realms({"CORP.TEST": (URL,)}, None, path, {}):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_no_proxy_no_file(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    with proxied_realms({}, None, tmp_path / "x", environment):
        assert not environment
        assert list(tmp_path.iterdir()) == []


def test_which_proxies_are_used() -> None:
    proxies = {"A.TEST": ("https://a",), ".TEST": ("https://test",), "*": ("https://any",)}
    given = MountOptions(kdc_proxies=proxies)
    assert kdc_proxies(given, "A.TEST") == {"A.TEST": ("https://a",)}
    assert kdc_proxies(given, "b.test") == {"A.TEST": ("https://a",), "B.TEST": ("https://test",)}
    assert kdc_proxies(given, "C") == {"A.TEST": ("https://a",), "C": ("https://any",)}
    for other in (replace(given, auth="ntlm"), replace(given, guest=True), MountOptions()):
        assert kdc_proxies(other, "A.TEST") == {}


@pytest.fixture
def no_kerberos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without default realm and without tickets; the file is its krb5.conf."""
    config = tmp_path / "krb5.conf"
    config.write_text("[libdefaults]\n    dns_lookup_realm = false\n")
    monkeypatch.setenv("KRB5_CONFIG", str(config))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path / 'none'}")
    return config


def test_a_url_alone_is_for_the_default_realm(no_kerberos: Path) -> None:
    no_kerberos.write_text("[libdefaults]\n    default_realm = HOME.TEST\n")
    assert kdc_proxies(MountOptions(kdc_proxies={"*": (URL,)}), None) == {"HOME.TEST": (URL,)}


def test_a_url_alone_without_a_realm_is_of_no_use(
    no_kerberos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = MountOptions(kdc_proxies={"*": (URL,)})
    assert kdc_proxies(given, None) == {}  # Passwords will do.
    with pytest.raises(ConfigError, match="which realm"):
        kdc_proxies(replace(given, auth="kerberos"), None)


def test_libkrb5_reads_ours_before_the_systems(no_kerberos: Path, tmp_path: Path) -> None:
    """What is not about proxies is still the system's, also when ours is in front."""
    from smbfs.cli.kerberos_realms import default_realm

    no_kerberos.write_text("[libdefaults]\n    default_realm = HOME.TEST\n")
    with proxied_realms({"CORP.TEST": (URL,)}, None, tmp_path / "ours"):
        assert os.environ["KRB5_CONFIG"] == f"{tmp_path / 'ours'}:{no_kerberos}"
        assert default_realm() == "HOME.TEST"


@pytest.mark.parametrize(
    ("user", "realm"),
    [("ann@CORP.TEST", "CORP.TEST"), ("ann", None), ("ann@", None), (None, None)],
)
def test_realm_of_a_user(user: str | None, realm: str | None) -> None:
    assert realm_of(user) == realm


def test_codes_that_nobody_foresaw_keep_libkrb5s_words() -> None:
    error = krb5_refusal(-1765328324, "Generic error (see e-text)", "ann@CORP.TEST")
    assert "ann@CORP.TEST failed" in error.what
    assert "Kerberos error 60: Generic error (see e-text)" in error.why
    error = krb5_refusal(22, "Invalid argument", "ann@CORP.TEST")
    assert "Invalid argument (libkrb5's code 22)" in error.why


def test_which_realm_has_no_kdc() -> None:
    words = "Cannot contact any KDC for realm 'OTHER.TEST'"
    assert unreachable_realm(krb5_refusal(-1765328228, words, "ann@CORP.TEST")) == "OTHER.TEST"
    assert unreachable_realm(krb5_refusal(22, "Invalid argument", "ann@CORP.TEST")) is None
    assert unreachable_realm(OSError(words)) is None
