"""The gateway's certificates: read, checked, chosen by name, read again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from smbfs.errors import ConfigError
from smbfs.transport.certificate_path import MALFORMED_CERTIFICATE
from smbfs.transport.quic_tls import ServerCertificate


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a certificate and its key are, both PEM."""

    certificate: Path
    """The certificate itself, then those that lead to a CA."""
    key: Path


class Certificates:
    """What the gateway shows its clients. The first one is for who asks for none of them."""

    def __init__(self, files: Sequence[CertificateFiles]) -> None:
        """Read them all. Raises: ConfigError."""
        self._files = tuple(files)
        self._loaded = _load_all(self._files)

    def __len__(self) -> int:
        return len(self._loaded)

    def choose(self, server_name: str | None) -> ServerCertificate:
        """Return the certificate for the name that a client asks for."""
        name = (server_name or "").lower()
        for certificate, names in self._loaded:
            if any(_matches(pattern, name) for pattern in names):
                return certificate
        return self._loaded[0][0]

    def reload(self) -> None:
        """Read them again, for clients to come. Raises: ConfigError, and keeps what it has."""
        self._loaded = _load_all(self._files)


_Loaded = tuple[ServerCertificate, tuple[str, ...]]


def _load_all(files: Iterable[CertificateFiles]) -> list[_Loaded]:
    return [_load(each) for each in files]


def _load(files: CertificateFiles) -> _Loaded:
    try:
        chain = x509.load_pem_x509_certificates(_read(files.certificate, "certificate"))
        names = _dns_names(chain[0])
        public = chain[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (UnsupportedAlgorithm, *MALFORMED_CERTIFICATE) as error:
        raise ConfigError(
            f"{files.certificate} can't be used as a certificate",
            f"{error}.",
            "it has to begin with the server's certificate as PEM (-----BEGIN CERTIFICATE-----).",
        ) from error
    key = _load_key(files.key)
    ours = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if ours != public:
        raise ConfigError(
            f"{files.key} is not the key of {files.certificate}",
            "the certificate's public key is another one.",
            "give --cert and --key in pairs, in the same order.",
        )
    return ServerCertificate(chain[0], tuple(chain[1:]), key), names


def _load_key(path: Path) -> PrivateKeyTypes:
    try:
        key = load_pem_private_key(_read(path, "key"), password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{path} can't be used as a key",
            f"{error}.",
            "it has to be a private key as PEM, without a password.",
        ) from error
    curve = key.curve if isinstance(key, ec.EllipticCurvePrivateKey) else None
    if isinstance(curve, ec.SECP256R1 | ec.SECP384R1) or isinstance(
        key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
    ):
        return key
    raise ConfigError(
        f"{path} can't be used as a key",
        "TLS with this kind of key is not supported.",
        "use a certificate with an ECDSA key on P-256 or P-384, or an RSA or Ed25519 key.",
    )


def _read(path: Path, kind: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the {kind} {path} can't be read",
            f"{error.strerror}.",
            "check the path, and that this user may read the file.",
        ) from error


def _dns_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in extension.value.get_values_for_type(x509.DNSName))


def _matches(pattern: str, name: str) -> bool:
    """Whether a certificate's name is, or covers, ``name``. Spec: RFC 9525 section 6.3."""
    if pattern.startswith("*."):
        first, _, rest = name.partition(".")
        return bool(first) and rest == pattern[2:]
    return pattern == name
