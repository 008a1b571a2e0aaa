"""What the audit says of an error that ended a connection, or kept one from being made."""

from __future__ import annotations

import socket

from smbfs import errors
from smbfs.audit import events
from smbfs.auth import guest
from smbfs.cli.errors import causes
from smbfs.wire.ntstatus import status_name


def failure_event(error: BaseException, unc: str, user: str) -> events.Event:
    """Return the event for an error; ``user`` is who signs on."""
    match error:
        case guest.GuestRefused():
            return events.GuestRefused(unc, user)
        case errors.SecurityViolation():
            return _violation(error, unc)
        case errors.CertificateRefused():
            ours = isinstance(error, errors.ClientCertificateRefused)
            kind = events.ClientCertificateRefused if ours else events.CertificateRefused
            return kind(unc, _words(error))
        case errors.NegotiationRefused():
            return _negotiation(error, unc)
        case errors.AuthenticationError():
            return events.LogonFailed(unc, user, _words(error))
        case errors.ServerStatusError():
            return _status(error, unc, user)
        case errors.SmbfsError() if not isinstance(error, errors.UserError):
            unknown = any(isinstance(cause, socket.gaierror) for cause in causes(error))
            named = events.ServerNameUnknown if unknown else events.ConnectionFailed
            return named(unc, str(error))
    return events.MountFailed(unc, str(error))


def _violation(error: errors.SecurityViolation, unc: str) -> events.Event:
    match error:
        case errors.DecryptionFailed():
            return events.DecryptionFailed(unc, str(error))
        case errors.NotEncrypted():
            return events.NotEncrypted(unc, str(error))
        case errors.NegotiateAltered():
            return events.NegotiationAltered(unc, str(error))
    return events.SignatureFailed(unc, str(error))


def _negotiation(error: errors.NegotiationRefused, unc: str) -> events.Event:
    match error:
        case errors.SigningNotOffered():
            return events.SigningNotOffered(unc)
        case errors.EncryptionNotOffered():
            return events.EncryptionNotOffered(unc)
        case errors.DialectRefused():
            is_smb1 = any(isinstance(cause, errors.Smb1Answer) for cause in causes(error))
            return (events.Smb1Refused if is_smb1 else events.DialectRefused)(unc, error.what)
    return events.ConnectionFailed(unc, error.what)


def _status(error: errors.ServerStatusError, unc: str, user: str) -> events.Event:
    status = f"{status_name(error.status)}, 0x{error.status:08X}"
    match error.command:
        case "SESSION_SETUP":
            return events.LogonFailed(unc, user, status)
        case "TREE_CONNECT":
            return events.ShareRefused(unc, user, status)
    return events.ConnectionFailed(unc, f"{error.command}: {status}")


def _words(error: errors.UserError) -> str:
    return " ".join(f"{error.what} {error.why}".split())
