"""One hierarchy for everything that can go wrong, and who is at fault.

Each class says how it differs from its neighbour. The cause is always chained
(``raise … from error``). NTSTATUS codes travel inside :class:`ServerStatusError`
untouched until ``smbfs.fuse.errno_map`` turns them into an errno, or the command
line turns them into a sentence; nothing in between flattens them.
"""

from __future__ import annotations


class SmbfsError(Exception):
    """Root of every error that this package raises on purpose."""


class WireError(SmbfsError):
    """Bytes are not a well-formed message. Says what was read and where it broke off."""

    def __init__(self, what: str, offset: int = 0) -> None:
        super().__init__(f"malformed {what} at byte {offset}")
        self.what = what
        self.offset = offset


class LocalProtocolError(SmbfsError):
    """Our own bug: a call that the connection's state does not allow."""


class RemoteProtocolError(SmbfsError):
    """The peer broke a MUST of the specification. The connection is dead for good."""


class Smb1Answer(RemoteProtocolError):
    """The peer answered in SMB1: it knows nothing newer, or nothing newer is switched on."""


class SecurityViolation(RemoteProtocolError):
    """A signature, encryption or negotiation check failed: somebody may be tampering."""


class DecryptionFailed(SecurityViolation):
    """A sealed frame can't be opened."""


class NotEncrypted(SecurityViolation):
    """A message in clear, where everything has to be sealed."""


class NegotiateAltered(SecurityViolation):
    """The signed repetition of NEGOTIATE is another one than the first."""


class ServerStatusError(SmbfsError):
    """The server answered "no". The connection is healthy.

    ``status`` is the NTSTATUS as received (an ``NtStatus`` where it is known),
    ``command`` the request it answers, ``context`` what it was about.
    """

    def __init__(self, status: int, command: str, context: str = "") -> None:
        name = getattr(status, "name", f"0x{status:08X}")
        super().__init__(f"{command}: {name}" + (f" ({context})" if context else ""))
        self.status = status
        self.command = command
        self.context = context


class TransportError(SmbfsError):
    """The network failed. ``request_sent`` says whether the request may have been executed."""

    def __init__(self, message: str, *, request_sent: bool = False) -> None:
        super().__init__(message)
        self.request_sent = request_sent


class NoTransport(TransportError):
    """The server can be reached neither by TCP nor by QUIC; says what each attempt ended with."""

    def __init__(self, tcp: str, quic: str) -> None:
        super().__init__(f"TCP: {tcp}; QUIC: {quic}")
        self.tcp = tcp
        self.quic = quic


class ServerAway(TransportError):
    """The server has been away for longer than requests may wait; says why."""


class DeadlineExceeded(SmbfsError):
    """The peer is silent: we waited ``waited_s`` seconds for ``what``."""

    def __init__(self, what: str, waited_s: float) -> None:
        super().__init__(f"no answer to {what} within {waited_s:g} s")
        self.what = what
        self.waited_s = waited_s


class HandleLost(SmbfsError):
    """An open file did not survive: the server has forgotten it, or it is another file by now."""


class WritesLost(SmbfsError):
    """Bytes that a program has written will never reach the server; the cause says why."""


class InvalidName(SmbfsError):
    """A file name that the server can't hold, or that must not reach the kernel."""


class UserError(SmbfsError):
    """An error for people: what failed, why, what to do. Shown without a traceback.

    ``what`` is one line. ``why`` and ``do`` may have several lines. ``rule`` is the field of
    MountOptions that demanded what is not to be had, so that who shows the error can say where
    that is written.
    """

    def __init__(self, what: str, why: str = "", do: str = "", *, rule: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.do = do
        self.rule = rule


class ConfigError(UserError):
    """An option, a config file or a policy is wrong."""


class AuthenticationError(UserError):
    """Sign-on failed or was refused; the reason may be the server's or our own policy."""


class NegotiationRefused(UserError):
    """The server can't do what we require: dialect, signing, encryption."""


class DialectRefused(NegotiationRefused):
    """The server speaks no dialect that is new enough."""


class SigningNotOffered(NegotiationRefused):
    """The server can't sign."""


class EncryptionNotOffered(NegotiationRefused):
    """The server can't encrypt."""


class CertificateRefused(UserError):
    """A certificate is not good enough: the server's for us, or ours for the server."""


class ClientCertificateRefused(CertificateRefused):
    """The server wants a certificate of ours, or another one."""
