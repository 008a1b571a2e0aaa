"""From a fresh connection to a session: NEGOTIATE, then SESSION_SETUP until both sides agree.

Spec: [MS-SMB2] 3.2.4.2.2, 3.2.4.2.3, 3.2.5.2, 3.2.5.3.
"""

from __future__ import annotations

import logging

from smbfs.auth.base import Authenticator
from smbfs.client.answers import answer
from smbfs.client.connection import Connection
from smbfs.engine.exchange import exchange_of
from smbfs.engine.negotiate import Negotiated
from smbfs.engine.session import Session
from smbfs.errors import (
    DialectRefused,
    RemoteProtocolError,
    SecurityViolation,
    ServerStatusError,
    Smb1Answer,
    TransportError,
    UserError,
)
from smbfs.wire.negotiate import Capabilities, SecurityMode
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.session_setup import (
    SessionFlags,
    SessionSetupFlags,
    SessionSetupRequest,
    SessionSetupResponse,
)

_ROUNDS_MAX = 8
"""SESSION_SETUP round trips after which we stop believing that it will end."""

_GOES_ON = frozenset({NtStatus.STATUS_SUCCESS, NtStatus.STATUS_MORE_PROCESSING_REQUIRED})

_log = logging.getLogger(__name__)


async def negotiate(connection: Connection) -> Negotiated:
    """Agree on a dialect.

    Raises: CertificateRefused when the server does not like ours, over QUIC; NegotiationRefused
    when it can't do what we require, or answers NEGOTIATE by hanging up, as servers do that know
    SMB1 only.
    """
    offer = connection.engine.offer
    exchange = exchange_of([offer.request()])
    try:
        await connection.perform(exchange)
    except TransportError as error:
        cause = error.__cause__
        if isinstance(cause, UserError | RemoteProtocolError) and not isinstance(cause, Smb1Answer):
            raise cause from None
        if connection.stream.transport == "quic":
            raise  # What hangs up there is no old server.
        raise _dialect_refused(offer.dialects[0].label) from error
    try:
        answer(exchange)
    except ServerStatusError as error:
        if error.status in (NtStatus.STATUS_NOT_SUPPORTED, NtStatus.STATUS_INVALID_PARAMETER):
            raise _dialect_refused(offer.dialects[0].label) from error
        raise
    negotiated = connection.engine.negotiated
    assert negotiated is not None
    return negotiated


async def sign_on(
    connection: Connection,
    authenticator: Authenticator,
    *,
    previous_session_id: int = 0,
    bound: Session | None = None,
    expired: Session | None = None,
) -> tuple[Session, SessionFlags]:
    """Log on and return the session, with what the server says about it.

    The session is usable only after the caller has judged the flags (guest or not).
    ``previous_session_id``: a session of ours that the server shall end, if it still has it.
    ``bound``: a session of another connection, made for this one, to be signed on here, too.
    ``expired``: a session of this connection that goes on, with the keys that it has.
    Raises: ServerStatusError when the server refuses; AuthenticationError when the mechanism
    fails; SecurityViolation when the last answer's signature is wrong, or says of a session that
    goes on that it is unsigned.
    """
    engine = connection.engine
    negotiated = engine.negotiated
    assert negotiated is not None
    session = (
        bound
        or expired
        or Session(
            signing_required=engine.offer.signing_required
            or SecurityMode.SIGNING_REQUIRED in negotiated.security_mode
        )
    )
    flags = SessionSetupFlags(0) if bound is None else SessionSetupFlags.BINDING
    token = await authenticator.step(negotiated.security_buffer)
    for _ in range(_ROUNDS_MAX):
        request = SessionSetupRequest(
            security_mode=engine.offer.security_mode,
            capabilities=Capabilities(0),
            security_buffer=token or b"",
            previous_session_id=previous_session_id,
            flags=flags,
        )
        exchange = await connection.perform(exchange_of([request], session=session))
        answered = answer(exchange, accept=_GOES_ON, context=authenticator.mechanism)
        response = SessionSetupResponse.decode(answered.body)
        if not authenticator.complete and response.security_buffer:
            token = await authenticator.step(response.security_buffer)
        if exchange.response().header.status == NtStatus.STATUS_SUCCESS:
            given = response.session_flags
            unsigned = bool(given & (SessionFlags.IS_GUEST | SessionFlags.IS_NULL))
            if unsigned and (bound or expired):
                raise SecurityViolation("a session that has keys was called a guest's, or nobody's")
            if not unsigned and not authenticator.complete:
                raise RemoteProtocolError("the server ended sign-on before it proved itself")
            session.encrypt_data = session.encrypt_data or (
                SessionFlags.ENCRYPT_DATA in given and not negotiated.trusts_transport
            )
            if expired is None:
                engine.establish(exchange, b"" if unsigned else authenticator.session_key)
            _log.info("signed on, session 0x%x, flags %r", session.session_id, given)
            return session, given
    raise RemoteProtocolError(f"sign-on did not end within {_ROUNDS_MAX} rounds")


def _dialect_refused(oldest: str) -> DialectRefused:
    return DialectRefused(
        f"the server speaks none of the dialects from SMB {oldest} on.",
        "it closed the connection or answered NEGOTIATE with an error; servers that know only "
        "SMB1 do that (Windows reports 0x80070040 or error 384: it requires the obsolete SMB1 "
        "protocol, which is unsafe).",
        "switch SMB2 or SMB3 on in the server's settings, or update it. SMB1 is not supported.\n"
        "A server with SMB 2.0.2 alone (2008): -o vers=2.0",
        rule="minimum_dialect",
    )
