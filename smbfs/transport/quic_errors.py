"""What the end of a QUIC connection means.

Codes from 0x100 on are TLS alerts. Spec: RFC 9000 20.1, RFC 9001 4.8, RFC 8446 6.
"""

from __future__ import annotations

from typing import Final

from aioquic.quic.events import ConnectionTerminated

from smbfs.errors import ClientCertificateRefused, NegotiationRefused, SmbfsError, TransportError

_ALERTS: Final = 0x100
BAD_CERTIFICATE: Final = _ALERTS + 42
_CERTIFICATE_ALERTS: Final = frozenset({42, 43, 44, 45, 46, 48, 49})
_CERTIFICATE_REQUIRED: Final = 116
_NO_APPLICATION_PROTOCOL: Final = 120


def ended(end: ConnectionTerminated, *, is_told: bool, is_open: bool) -> SmbfsError:
    """Return what to tell of a connection that has ended.

    ``is_told``: the server has said so; else it was our side that found it to be over.
    ``is_open``: the handshake was complete. Servers refuse our certificate only after that.
    """
    code, reason = end.error_code, end.reason_phrase
    what = "the connection" if is_open else "the QUIC handshake"
    if not is_told:
        return TransportError(f"{what} failed ({reason or f'code 0x{code:x}'})")
    said = f" and says: {reason}" if reason else ""
    # Programs have codes of their own; they come in a frame without a type.
    is_alert = end.frame_type is not None and _ALERTS <= code < 2 * _ALERTS
    alert = code - _ALERTS if is_alert else None
    if alert == _CERTIFICATE_REQUIRED:
        return ClientCertificateRefused(
            "the server wants a certificate of ours over QUIC.",
            f"none was given (TLS alert {alert}{said}; Windows audits this as event 30831).",
            "ask its administrator for a client certificate, and give it with quic_cert= and "
            "quic_key=.",
        )
    if alert in _CERTIFICATE_ALERTS:
        return ClientCertificateRefused(
            "the server refuses our certificate.",
            f"it answers with TLS alert {alert}{said} (Windows audits this as event 30831).",
            "see that quic_cert= is the certificate that its administrator has allowed, and that "
            "it has not expired.",
        )
    if alert == _NO_APPLICATION_PROTOCOL:
        return no_such_protocol(f" (TLS alert {alert}{said})")
    return TransportError(f"the server has ended {what} (code 0x{code:x}{said})")


def no_such_protocol(details: str) -> NegotiationRefused:
    """Return what to tell where QUIC is spoken, but not for SMB."""
    return NegotiationRefused(
        "what listens there does not offer SMB over QUIC.",
        f'it knows no application protocol "smb"{details}; a web server may use the same port.',
        "switch SMB over QUIC on at the server, or give its port: quic_port=.",
    )
