"""Whether a certificate's key and signature can be forged."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

RSA_BITS_MIN: Final = 2048
EC_BITS_MIN: Final = 256

_STRONG_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def key_of(certificate: x509.Certificate) -> tuple[str, int | None]:
    """Return the kind of a certificate's key, and its bits where they differ within the kind.

    Raises: ValueError, UnsupportedAlgorithm if it can't be read.
    """
    match certificate.public_key():
        case rsa.RSAPublicKey(key_size=bits):
            return "RSA", bits
        case ec.EllipticCurvePublicKey(curve=curve):
            return "ECDSA", curve.key_size
        case ed25519.Ed25519PublicKey():
            return "Ed25519", None
        case ed448.Ed448PublicKey():
            return "Ed448", None
        case _:
            return "unknown", None


def signature_of(certificate: x509.Certificate) -> str:
    """Return the hash that was signed, or the key's kind where that says it all.

    Raises: UnsupportedAlgorithm if nobody knows it.
    """
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None:
        name: str = certificate.signature_algorithm_oid._name  # noqa: SLF001 - it has no other
        return name
    return algorithm.name.upper()


def weakness_of(certificate: x509.Certificate, *, is_anchor: bool) -> str:
    """Return how a certificate can be forged, in words; nothing if it can't.

    ``is_anchor``: it is trusted for itself, so that nobody relies on its own signature.
    Raises: as :func:`key_of` and :func:`signature_of`.
    """
    kind, bits = key_of(certificate)
    least = {"RSA": RSA_BITS_MIN, "ECDSA": EC_BITS_MIN}.get(kind)
    if least is not None and bits is not None and bits < least:
        return f"an {kind} key of {bits} bits"
    if kind == "unknown":
        return "a key of a kind that is not used any more"
    if is_anchor:
        return ""
    algorithm = certificate.signature_hash_algorithm
    if algorithm is not None and not isinstance(algorithm, _STRONG_HASHES):
        return f"a {algorithm.name.upper()} signature"
    return ""
