"""How messages are protected: signed or sealed on their way out, checked on their way in.

Both directions of one rule stand side by side here, so that nobody asks for less than we send.

Spec: [MS-SMB2] 3.2.4.1.1 (signing), 3.2.4.1.8 (sealing), 3.2.5.1.1 and 3.2.5.1.3 (checking).
"""

from __future__ import annotations

from smbfs.engine.exchange import Exchange
from smbfs.engine.session import Session
from smbfs.engine.signing import SIGNATURE_SIZE, Signer
from smbfs.errors import NotEncrypted, SecurityViolation
from smbfs.wire.header import SIGNATURE_OFFSET, Command, Header, HeaderFlags
from smbfs.wire.message import Buffer
from smbfs.wire.ntstatus import NtStatus

NO_SIGNATURE = bytes(SIGNATURE_SIZE)

_SIGNATURE_FIELD = slice(SIGNATURE_OFFSET, SIGNATURE_OFFSET + SIGNATURE_SIZE)


def is_sealed(exchange: Exchange) -> bool:
    """Whether an exchange and its answers travel sealed: its session or its tree wants it."""
    session = exchange.session
    return (
        session is not None
        and session.signer is not None  # SESSION_SETUP travels in clear.
        and session.sealer is not None
        and (session.encrypt_data or exchange.encrypt)
    )


def signer_of(exchange: Exchange) -> Signer | None:
    """Return what signs an exchange's messages, if the session can and sealing does not do it."""
    session = exchange.session
    if session is None or is_sealed(exchange):
        return None
    return session.signer or session.binding_signer


def signed_message(
    signer: Signer | None, header: Header, body: tuple[Buffer, ...]
) -> tuple[Buffer, ...]:
    """Return the pieces of one message; with a ``signer`` its header must say SIGNED."""
    if signer is None:
        return (header.encode(), *body)
    signed = bytearray(header.encode())
    is_cancel = header.command == Command.CANCEL
    signature = signer.sign((signed, *body), header.message_id, is_cancel=is_cancel)
    signed[_SIGNATURE_FIELD] = signature
    return (signed, *body)


def seal_frame(exchange: Exchange, frame: list[Buffer]) -> list[Buffer]:
    """Return the frame as it is, or sealed."""
    if not is_sealed(exchange):
        return frame
    assert exchange.session is not None
    assert exchange.session.sealer is not None
    return exchange.session.sealer.seal(frame)


def authenticate(
    element: memoryview, header: Header, exchange: Exchange, sealed_by: Session | None
) -> None:
    """Check that the server's message is protected as the exchange wants it.

    ``sealed_by``: the session whose keys unsealed the frame. The Signature field of ``element``
    is zeroed in place.
    Raises: SecurityViolation.
    """
    session = exchange.session
    if sealed_by is not None:
        if sealed_by is not session:
            raise SecurityViolation("a response sealed by another session")
        return
    if session is None:
        return
    if is_sealed(exchange):
        raise NotEncrypted("a response in clear where sealing is required")
    if session.signer is None:
        if exchange.must_be_protected:
            raise SecurityViolation(f"a {header.command.name} response of a session without keys")
        return
    must_be_signed = session.signing_required or exchange.must_be_protected
    if header.session_id != session.session_id:
        raise SecurityViolation("a response of another session")
    if header.flags & HeaderFlags.SIGNED:
        verify_signature(session, element, header)
    elif must_be_signed and header.status != NtStatus.STATUS_PENDING:
        raise SecurityViolation(f"an unsigned {header.command.name} response")


def verify_signature(session: Session, element: memoryview, header: Header) -> None:
    """Verify one message of the server. Raises: SecurityViolation. Spec: [MS-SMB2] 3.1.5.1."""
    assert session.signer is not None
    # The signature was computed with its own field zero.
    element[_SIGNATURE_FIELD] = NO_SIGNATURE
    session.signer.verify(element, header.message_id, header.signature)
