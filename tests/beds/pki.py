"""Certificates for tests, good and bad ones, each made when first asked for."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.beds.guardian import BedError

_DAY = dt.timedelta(days=1)
_SERVER = ExtendedKeyUsageOID.SERVER_AUTH
_CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
_OUR_NAMES = ("bed.test", "localhost")

_RSA_SHA256 = bytes.fromhex("06092a864886f70d01010b")
_RSA_SHA1 = bytes.fromhex("06092a864886f70d010105")
"""Object identifiers of signature algorithms as DER. Spec: RFC 8017 appendix A.2.4."""

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Leaf:
    """A certificate and its key, both PEM."""

    cert: Path
    key: Path
    sha256: str
    """Of the certificate as DER, in hexadecimal."""


@dataclass(frozen=True)
class _Kind:
    """How a leaf differs from a good one."""

    names: tuple[str, ...] = _OUR_NAMES
    usage: x509.ObjectIdentifier = _SERVER
    begins: dt.timedelta = -_DAY
    ends: dt.timedelta = 30 * _DAY
    issuer: str = "ca"
    """ca, old, foreign or self."""
    is_sha1: bool = False
    """Signed as nobody should any more; its issuer has to be ``old``."""
    make_key: Callable[[], Key] = lambda: ec.generate_private_key(ec.SECP256R1())


KINDS = {
    "server": _Kind(),
    "lasting": _Kind(ends=50 * _DAY),
    "wrong_name": _Kind(names=("other.test",)),
    "expired": _Kind(begins=-30 * _DAY, ends=-_DAY),
    "not_yet_valid": _Kind(begins=_DAY),
    "client_eku": _Kind(usage=_CLIENT),
    "foreign": _Kind(issuer="foreign"),
    "self_signed": _Kind(issuer="self"),
    "sha1_signed": _Kind(issuer="old", is_sha1=True),
    "rsa_1024": _Kind(make_key=lambda: rsa.generate_private_key(65537, 1024)),  # noqa: S505
    "client": _Kind(names=("client.test",), usage=_CLIENT),
    "other_client": _Kind(names=("other-client.test",), usage=_CLIENT),
}
"""``server`` ends so soon that people are warned of it, ``lasting`` does not. ``client_eku`` has a
server's names but says that it is for clients."""


class CannotBeMade(BedError):
    """The library refuses to make so bad a certificate (short keys)."""


class Pki:
    """A CA of a test's own, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._issuers: dict[str, tuple[x509.Certificate, Key]] = {}
        self._leaves: dict[str, Leaf] = {}

    @property
    def ca(self) -> Path:
        """The certificates of the CAs that are to be trusted."""
        path = self._folder / "ca.pem"
        if not path.exists():
            issuers = (self._issuer(name)[0] for name in ("ca", "old"))
            path.write_bytes(b"".join(issuer.public_bytes(Encoding.PEM) for issuer in issuers))
        return path

    def leaf(self, kind: str) -> Leaf:
        """Return the leaf of a kind; see ``KINDS``.

        Raises: CannotBeMade, for ``rsa_1024`` where the library has given it up.
        """
        if kind not in self._leaves:
            self._leaves[kind] = self._write(kind, KINDS[kind])
        return self._leaves[kind]

    def renew(self, kind: str) -> Leaf:
        """Make a leaf anew, with a new key, in the place of the one there is."""
        del self._leaves[kind]
        return self.leaf(kind)

    def _write(self, name: str, kind: _Kind) -> Leaf:
        try:
            key = kind.make_key()
            certificate = self._sign(kind, key)
        except (UnsupportedAlgorithm, ValueError) as error:
            raise CannotBeMade(f"{name}: {error}") from error
        cert_path, key_path = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert_path.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_path.unlink(missing_ok=True)
        with os.fdopen(os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(
                key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            )
        der = certificate.public_bytes(Encoding.DER)
        return Leaf(cert_path, key_path, hashlib.sha256(der).hexdigest())

    def _sign(self, kind: _Kind, key: Key) -> x509.Certificate:
        subject = _name(kind.names[0])
        if kind.issuer == "self":
            issuer, issuer_key = subject, key
        else:
            ca, issuer_key = self._issuer(kind.issuer)
            issuer = ca.subject
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in kind.names]
        if kind.names is _OUR_NAMES:
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        builder = _builder(subject, issuer, key, kind.begins, kind.ends)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([kind.usage]), critical=False)
        builder = builder.add_extension(_key_usage(is_ca=False), critical=True)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(authority, critical=False)
        certificate = builder.sign(issuer_key, hashes.SHA256())
        if kind.is_sha1:
            assert isinstance(issuer_key, rsa.RSAPrivateKey)
            return _sign_with_sha1(certificate, issuer_key)
        return certificate

    def _issuer(self, name: str) -> tuple[x509.Certificate, Key]:
        if name not in self._issuers:
            key: Key = ec.generate_private_key(ec.SECP256R1())
            if name == "old":
                key = rsa.generate_private_key(65537, 2048)
            subject = _name(f"smbfs tests, {name}")
            builder = _builder(subject, subject, key, -60 * _DAY, 60 * _DAY)
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
            builder = builder.add_extension(_key_usage(is_ca=True), critical=True)
            identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            builder = builder.add_extension(identifier, critical=False)
            self._issuers[name] = builder.sign(key, hashes.SHA256()), key
        return self._issuers[name]


def _sign_with_sha1(certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> x509.Certificate:
    """Sign once more, since the library signs no certificate so; the lengths stay the same."""
    signed = certificate.tbs_certificate_bytes.replace(_RSA_SHA256, _RSA_SHA1)
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - on purpose
    der = certificate.public_bytes(Encoding.DER).replace(_RSA_SHA256, _RSA_SHA1)
    return x509.load_der_x509_certificate(der.replace(certificate.signature, signature))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    begins: dt.timedelta,
    ends: dt.timedelta,
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
