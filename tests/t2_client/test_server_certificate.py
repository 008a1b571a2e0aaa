"""Which certificates are believed, and what is said of the others."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from smbfs.errors import CertificateRefused, ConfigError
from smbfs.transport import server_certificate
from smbfs.transport.quic_settings import Trust
from smbfs.transport.server_certificate import check_server_certificate, system_authorities
from smbfs.transport.tunnel import ServerCertificate
from tests.beds.pki import Pki

NAME = "bed.test"

SIGNED_WITH_SHA1 = b"""
-----BEGIN CERTIFICATE-----
MIIBpjCCAU2gAwIBAgIUEtUy3q1AP/VP6Cybk80vOurF4WkwCQYHKoZIzj0EATAY
MRYwFAYDVQQDDA1vbGQgYXV0aG9yaXR5MCAXDTI2MTEyMjE3MzUwNFoYDzIxMjYx
MDI5MTczNTA0WjATMREwDwYDVQQDDAhiZWQudGVzdDBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABL1Gs1+WlMYI5vbM6xgDlFRHU10JUPr0Acgds8djQ7O/5Q3BfDhF
60xi0yBG3b1/xIzlgtpUvcyx8jXSaWoLTQGjeTB3MAsGA1UdDwQEAwIHgDATBgNV
HSUEDDAKBggrBgEFBQcDATATBgNVHREEDDAKgghiZWQudGVzdDAdBgNVHQ4EFgQU
7kf2ZOv72w/Y3XEouUzYQXHciOswHwYDVR0jBBgwFoAUUkQQpaFwG4MsV059aXtE
fX2nTekwCQYHKoZIzj0EAQNIADBFAiAeaj3ucL1s6IyEacdYsEOlg05gQfhENX03
Ez4I/b0bAwIhAOOcI8R66R16sZgR5ATi2SuEZsBvITUyQ+LQaxWXn75a
-----END CERTIFICATE-----
"""
"""Good until the 22nd century but for its signature; libraries make no such thing any more."""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def chain(pki: Pki, kind: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pki.leaf(kind).cert.read_bytes())


def check(
    pki: Pki, kind: str, name: str = NAME, *, trust: Trust | None = None
) -> ServerCertificate:
    trust = trust or Trust(authorities=pki.ca)
    return check_server_certificate(chain(pki, kind), name, trust, datetime.now(UTC))


@pytest.mark.parametrize("name", [NAME, NAME.upper(), "localhost", "127.0.0.1"])
def test_a_good_one_is_believed_and_described(pki: Pki, name: str) -> None:
    shown = check(pki, "server", name)
    assert shown.sha256 == pki.leaf("server").sha256
    assert {NAME, "localhost", "127.0.0.1"} <= set(shown.names)
    assert shown.not_after > datetime.now(UTC)


@pytest.mark.parametrize(
    ("kind", "what", "why"),
    [
        ("wrong_name", "another name", "other.test"),
        ("expired", "has expired", "good until"),
        ("not_yet_valid", "not valid yet", "good from"),
        ("client_eku", "something else", "1.3.6.1.5.5.7.3.1"),
        ("foreign", "nobody whom we trust", "ca.pem"),
        ("self_signed", "nobody whom we trust", "signs itself"),
        ("rsa_1024", "forged", "1024"),
    ],
)
def test_each_fault_is_refused_with_its_own_words(pki: Pki, kind: str, what: str, why: str) -> None:
    with pytest.raises(CertificateRefused) as caught:
        check(pki, kind)
    assert what in caught.value.what
    assert why in caught.value.why
    assert caught.value.do


def test_a_signature_that_can_be_forged_is_refused() -> None:
    forged = x509.load_pem_x509_certificates(SIGNED_WITH_SHA1)
    with pytest.raises(CertificateRefused, match="forged") as caught:
        check_server_certificate(forged, NAME, Trust(), datetime.now(UTC))
    assert "SHA1" in caught.value.why


def test_the_name_that_was_asked_for_counts(pki: Pki) -> None:
    for name in ("other.test", "bed.test.example", "127.0.0.2"):
        with pytest.raises(CertificateRefused, match="another name"):
            check(pki, "server", name)


def test_a_pin_stands_for_authority_and_name(pki: Pki) -> None:
    pin = Trust(pin=pki.leaf("self_signed").sha256)
    assert check(pki, "self_signed", "any.name", trust=pin).sha256 == pin.pin


def test_a_pin_believes_nothing_else(pki: Pki) -> None:
    """Not even what an authority vouches for: both thumbprints are shown."""
    pin = pki.leaf("self_signed").sha256
    with pytest.raises(CertificateRefused, match="pinned") as caught:
        check(pki, "server", trust=Trust(authorities=pki.ca, pin=pin))
    assert pin in caught.value.why
    assert pki.leaf("server").sha256 in caught.value.why


def test_a_pinned_certificate_ends_like_any_other(pki: Pki) -> None:
    with pytest.raises(CertificateRefused, match="expired"):
        check(pki, "expired", trust=Trust(pin=pki.leaf("expired").sha256))


def test_without_a_file_the_systems_authorities_count(pki: Pki) -> None:
    assert system_authorities() is not None
    with pytest.raises(CertificateRefused, match="nobody whom we trust") as caught:
        check(pki, "server", trust=Trust())
    assert "system" in caught.value.why


def test_the_end_is_seen_coming() -> None:
    now = datetime.now(UTC)
    for days, is_soon in ((29, True), (31, False)):
        shown = ServerCertificate("", (), "", now + timedelta(days=days))
        assert shown.ends_soon(now) is is_soon


def test_an_unreadable_file_of_authorities_is_said(pki: Pki, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path in (empty, tmp_path / "missing.pem", Path(os.devnull)):
        with pytest.raises(ConfigError, match="quic_ca="):
            check(pki, "server", trust=Trust(authorities=path))


def test_a_system_without_authorities_trusts_nobody(
    pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_certificate, "system_authorities", lambda: None)
    with pytest.raises(CertificateRefused, match="nobody whom we trust"):
        check(pki, "server", trust=Trust())
