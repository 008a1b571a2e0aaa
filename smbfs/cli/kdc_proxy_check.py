"""Why no ticket comes through a KDC proxy: libkrb5 says of all of it that it can't contact a KDC.

So, once that has happened, the proxy is asked in the same way again, step by step: the TLS plugin,
the network, the certificate, the proxy's answer. Spec: [MS-KKDCP] 2.2.2, 3.1.5.1; RFC 4120 5.4.1.
"""

from __future__ import annotations

import ctypes
import http.client
import secrets
import socket
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from smbfs.auth.krb5_configuration import proxy_address
from smbfs.errors import AuthenticationError

_OTHERS: Final = "kinit: Cannot contact any KDC"
_PATIENCE_S: Final = 20.0
_ANSWER_MAX: Final = 128 * 1024
_PLUGIN: Final = "krb5/plugins/tls/k5tls.so"

# X509_V_ERR_* of OpenSSL.
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_ISSUERS: Final = (2, 18, 19, 20, 21)
_WRONG_NAMES: Final = (62, 64)

_SEQUENCE, _INTEGER, _BIT_STRING, _OCTETS = 0x30, 0x02, 0x03, 0x04
_STRING, _TIME, _AS_REQ = 0x1B, 0x18, 0x6A
"""Tags of DER. Spec: X.690 8.1.2."""


class KdcProxyFailed(AuthenticationError):
    """The way through a KDC proxy does not work, and this is where it ends."""


def check_kdc_proxy(realm: str, url: str, ca: Path | None) -> None:
    """Ask the proxy something about ``realm``; the answer may be "no", but a KDC's. May take 20 s.

    ``ca`` as in :func:`~smbfs.auth.krb5_configuration.proxied_realms`.
    Raises: KdcProxyFailed, saying where the way ends; ConfigError for what is no URL of a proxy.
    """
    if not has_tls_plugin():
        raise KdcProxyFailed(
            "Kerberos can't use the KDC proxy: its TLS plugin k5tls is missing here.",
            "libkrb5 speaks HTTPS by a plugin that Debian and Ubuntu keep in a package of its own "
            f"({_OTHERS}).",
            "install the package krb5-k5tls.",
        )
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise KdcProxyFailed(
            f"{ca} holds no certificates that could be trusted.",
            f"{error.strerror or error} ({_OTHERS}).",
            "name a file with certificates of authorities (PEM) in kdc_proxy_ca=.",
        ) from error
    try:
        status, answer = _ask(realm, proxy_address(url), context)
    except ssl.SSLCertVerificationError as error:
        raise _certificate_refused(url, error) from error
    except (OSError, http.client.HTTPException, UnicodeError) as error:  # a name too long for DNS
        raise _no_answer(url, error) from error
    if status != 200 or answer[:1] != bytes([_SEQUENCE]):
        raise _refused(realm, url, status)


def has_tls_plugin() -> bool:
    """Whether libkrb5's plugin for TLS is where libkrb5 looks for it by itself."""
    try:
        library = ctypes.CDLL("libkrb5.so.3")
    except OSError:
        return True  # Another Kerberos, whose ways are its own.
    info = _DlInfo()
    found = ctypes.CDLL(None).dladdr(
        ctypes.cast(library.krb5_init_context, ctypes.c_void_p), ctypes.byref(info)
    )
    return not found or (Path(info.file.decode()).resolve().parent / _PLUGIN).exists()


class _DlInfo(ctypes.Structure):
    """dladdr(3)."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _ask(realm: str, address: str, context: ssl.SSLContext) -> tuple[int, bytes]:
    """Return the status and the body of the proxy's answer. Raises: OSError, HTTPException."""
    parts = urlsplit(address)
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port, timeout=_PATIENCE_S, context=context
    )
    try:
        connection.request(
            "POST",
            address.partition(parts.netloc)[2],
            _proxy_message(realm),
            {"Content-Type": "application/kerberos", "Cache-Control": "no-cache"},
        )
        answer = connection.getresponse()
        return answer.status, answer.read(_ANSWER_MAX)
    finally:
        connection.close()


def _certificate_refused(url: str, error: ssl.SSLCertVerificationError) -> KdcProxyFailed:
    host = urlsplit(url).hostname
    if error.verify_code == _EXPIRED:
        what, do = "has expired", "have it renewed."
    elif error.verify_code == _NOT_YET_VALID:
        what, do = "is not valid yet", "check this machine's clock, and when it begins."
    elif error.verify_code in _WRONG_NAMES:
        what = f"is not for {host}"
        do = "give the proxy by a name that its certificate has."
    elif error.verify_code in _UNKNOWN_ISSUERS:
        what = "is from an issuer that this machine does not trust"
        do = "give the issuer's certificate: kdc_proxy_ca=FILE (PEM), or add it to the system's."
    else:
        what, do = "is refused", "have it replaced."
    return KdcProxyFailed(
        f"the KDC proxy is refused: its certificate {what}.",
        f"{url}: {error.verify_message} ({_OTHERS}). Whoever stands in its "
        "place could try passwords against what is sent there.",
        do,
    )


def _no_answer(url: str, error: Exception) -> KdcProxyFailed:
    if isinstance(error, socket.gaierror):
        do = "check how its name is spelt."
    else:
        do = "check its address, and whether HTTPS gets out of this network; it has TCP port 443."
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return KdcProxyFailed(
        "the KDC proxy can't be reached.",
        f"{url}: {words or type(error).__name__} ({_OTHERS}).",
        do,
    )


def _refused(realm: str, url: str, status: int) -> KdcProxyFailed:
    if status in {401, 403, 407}:
        what, why = "the KDC proxy refuses us.", "it, or something before it, lets only some in"
        do = "ask whoever manages it which clients may use it."
    elif status == 404:
        what, why = "there is no KDC proxy at this address.", "the server has nothing there"
        do = "check the path; most proxies have /KdcProxy."
    elif status in {502, 503, 504}:
        what = f"the KDC proxy reaches no KDC of {realm}."
        why = "it knows no KDC of this realm, or none of them answers it"
        do = "check how the realm is spelt, and tell whoever manages the proxy."
    elif status >= 500:
        what, why = "the KDC proxy does not work.", "it has an error of its own"
        do = "tell whoever manages it."
    else:
        what, why = "that is no KDC proxy.", "its answer is nothing that Kerberos could use"
        do = "check the address, and whether something on the way (a captive portal) answers."
    return KdcProxyFailed(what, f"{why}: {url} answers with HTTP status {status} ({_OTHERS}).", do)


def _proxy_message(realm: str) -> bytes:
    """KDC-PROXY-MESSAGE with an AS-REQ for a user whom nobody has. Spec: [MS-KKDCP] 2.2.2."""
    request = _request(realm)
    framed = len(request).to_bytes(4, "big") + request
    return _der(_SEQUENCE, _field(0, _der(_OCTETS, framed)), _field(1, _string(realm)))


def _request(realm: str) -> bytes:
    """AS-REQ. Spec: RFC 4120 5.4.1."""
    body = _der(
        _SEQUENCE,
        _field(0, _der(_BIT_STRING, bytes(5))),
        _field(1, _name(1, "smbfs-check")),
        _field(2, _string(realm)),
        _field(3, _name(2, "krbtgt", realm)),
        _field(5, _der(_TIME, b"20370913024805Z")),
        _field(7, _integer(secrets.randbits(31))),
        _field(8, _der(_SEQUENCE, *map(_integer, (18, 17, 20, 19)))),
    )
    fields = _field(1, _integer(5)), _field(2, _integer(10)), _field(4, body)
    return _der(_AS_REQ, _der(_SEQUENCE, *fields))


def _name(kind: int, *parts: str) -> bytes:
    return _der(
        _SEQUENCE,
        _field(0, _integer(kind)),
        _field(1, _der(_SEQUENCE, *map(_string, parts))),
    )


def _string(text: str) -> bytes:
    return _der(_STRING, text.encode())


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _field(number: int, content: bytes) -> bytes:
    return _der(0xA0 | number, content)


def _der(tag: int, *parts: bytes) -> bytes:
    """Tag, length and content. Spec: X.690 8.1.3, 10.1."""
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content
