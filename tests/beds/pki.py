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
from cryptography.hazmat.primitives.asymmetric import ec, rsa
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
    """ca, foreign or self."""
    digest: type[hashes.HashAlgorithm] = hashes.SHA256
    make_key: Callable[[], Key] = lambda: ec.generate_private_key(ec.SECP256R1())


KINDS = {
    "server": _Kind(),
    "wrong_name": _Kind(names=("other.test",)),
    "expired": _Kind(begins=-30 * _DAY, ends=-_DAY),
    "not_yet_valid": _Kind(begins=_DAY),
    "client_eku": _Kind(usage=_CLIENT),
    "foreign": _Kind(issuer="foreign"),
    "self_signed": _Kind(issuer="self"),
    "sha1_signed": _Kind(digest=hashes.SHA1),  # noqa: S303
    "rsa_1024": _Kind(make_key=lambda: rsa.generate_private_key(65537, 1024)),  # noqa: S505
    "client": _Kind(names=("client.test",), usage=_CLIENT),
    "other_client": _Kind(names=("other-client.test",), usage=_CLIENT),
}
"""``client_eku`` has a server's names but says that it is for clients."""


class CannotBeMade(BedError):
    """The library refuses to make so bad a certificate (SHA-1 signatures, short keys)."""


class Pki:
    """A CA of a test's own, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._issuers: dict[str, tuple[x509.Certificate, Key]] = {}
        self._leaves: dict[str, Leaf] = {}

    @property
    def ca(self) -> Path:
        """The CA's certificate."""
        path = self._folder / "ca.pem"
        if not path.exists():
            certificate, _ = self._issuer("ca")
            path.write_bytes(certificate.public_bytes(Encoding.PEM))
        return path

    def leaf(self, kind: str) -> Leaf:
        """Return the leaf of a kind; see ``KINDS``.

        Raises: CannotBeMade, for ``sha1_signed`` and ``rsa_1024`` where the library has given
        them up.
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
        return builder.sign(issuer_key, kind.digest())  # type: ignore[arg-type]  # SHA-1, too

    def _issuer(self, name: str) -> tuple[x509.Certificate, Key]:
        if name not in self._issuers:
            key = ec.generate_private_key(ec.SECP256R1())
            subject = _name(f"smbfs tests, {name}")
            builder = _builder(subject, subject, key, -60 * _DAY, 60 * _DAY)
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
            builder = builder.add_extension(_key_usage(is_ca=True), critical=True)
            identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            builder = builder.add_extension(identifier, critical=False)
            self._issuers[name] = builder.sign(key, hashes.SHA256()), key
        return self._issuers[name]


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
