"""What the end of a QUIC connection means.

Codes from 0x100 on are TLS alerts. Spec: RFC 9000 20.1, RFC 9001 4.8, RFC 8446 6.
"""

from __future__ import annotations

from typing import Final

from smbfs.errors import CertificateRefused, NegotiationRefused, SmbfsError, TransportError

_ALERTS: Final = 0x100
BAD_CERTIFICATE: Final = _ALERTS + 42
_CERTIFICATE_ALERTS: Final = frozenset({42, 43, 44, 45, 46, 48, 49})
_CERTIFICATE_REQUIRED: Final = 116
NO_APPLICATION_PROTOCOL: Final = _ALERTS + 120


def ended(code: int, reason: str, *, is_open: bool) -> SmbfsError:
    """Return what to tell of a connection that ended with a code and a reason.

    ``is_open``: the handshake was complete. Servers refuse our certificate only after that.
    """
    alert = code - _ALERTS if _ALERTS <= code < 2 * _ALERTS else None
    said = f" and says: {reason}" if reason else ""
    if alert == _CERTIFICATE_REQUIRED:
        return CertificateRefused(
            "the server wants a certificate of ours over QUIC.",
            f"none was given (TLS alert {alert}{said}; Windows audits this as event 30831).",
            "ask its administrator for a client certificate, and give it with quic_cert= and "
            "quic_key=.",
        )
    if alert in _CERTIFICATE_ALERTS:
        return CertificateRefused(
            "the server refuses our certificate.",
            f"it answers with TLS alert {alert}{said} (Windows audits this as event 30831).",
            "see that quic_cert= is the certificate that its administrator has allowed, and that "
            "it has not expired.",
        )
    if code == NO_APPLICATION_PROTOCOL:
        return NegotiationRefused(
            "what listens there does not offer SMB over QUIC.",
            f"it knows no application protocol «smb» (TLS alert {alert}{said}); a web server may "
            "use the same port.",
            "switch SMB over QUIC on at the server, or give its port: quic_port=.",
        )
    what = "the server ended the connection" if is_open else "the QUIC handshake failed"
    return TransportError(f"{what} (code 0x{code:x}{said})")
