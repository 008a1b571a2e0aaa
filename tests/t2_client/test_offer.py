"""What the options of a mount make of NEGOTIATE, which says what we are willing to do."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TypeVar

import pytest

from smbfs.auth.credentials import Credentials
from smbfs.auth.spnego import make_authenticator
from smbfs.client.attach import Destination, _offer
from smbfs.config.model import CIPHERS, SIGNING_ALGORITHMS, MountOptions
from smbfs.config.unc import Unc
from smbfs.engine.negotiate import Offer
from smbfs.transport.base import TransportName
from smbfs.wire.negotiate import (
    EncryptionCapabilities,
    NegotiateContext,
    NegotiateRequest,
    SecurityMode,
    SigningCapabilities,
    TransportCapabilities,
)

ContextT = TypeVar("ContextT", bound=NegotiateContext)


def offer(options: MountOptions, transport: TransportName = "tcp") -> Offer:
    unc, nobody = Unc("server", None, "share"), Credentials.guest()
    to = Destination(unc, options, nobody, make_authenticator, uuid.UUID(int=5))
    return _offer(to, transport)


def request(options: MountOptions, transport: TransportName = "tcp") -> NegotiateRequest:
    """As the server reads it."""
    return NegotiateRequest.decode(memoryview(offer(options, transport).request().encode()))


def context(of: NegotiateRequest, kind: type[ContextT]) -> ContextT:
    (found,) = (each for each in of.contexts if isinstance(each, kind))
    return found


def test_everything_that_we_know_by_default() -> None:
    sent, ours = request(MountOptions()), Offer(uuid.UUID(int=5), bytes(32), "server")
    assert [dialect.label for dialect in sent.dialects] == ["2.1", "3.0", "3.0.2", "3.1.1"]
    assert tuple(c.label for c in ours.ciphers) == CIPHERS
    assert tuple(a.label for a in ours.signing_algorithms) == SIGNING_ALGORITHMS
    assert replace(offer(MountOptions()), salt=ours.salt) == ours


@pytest.mark.parametrize("ciphers", [CIPHERS, CIPHERS[1:2], CIPHERS[::-1]])
def test_ciphers_in_their_order(ciphers: tuple[str, ...]) -> None:
    sent = context(request(MountOptions(ciphers=ciphers)), EncryptionCapabilities)
    assert [cipher.label for cipher in offer(MountOptions(ciphers=ciphers)).ciphers] == [*ciphers]
    assert [*sent.ciphers] == [int(each) for each in offer(MountOptions(ciphers=ciphers)).ciphers]


@pytest.mark.parametrize("names", [SIGNING_ALGORITHMS[:1], SIGNING_ALGORITHMS[::-1]])
def test_signing_algorithms_in_their_order(names: tuple[str, ...]) -> None:
    options = MountOptions(signing_algorithms=names)
    sent = context(request(options), SigningCapabilities)
    assert [each.label for each in offer(options).signing_algorithms] == [*names]
    assert [*sent.algorithms] == [int(each) for each in offer(options).signing_algorithms]


def test_dialects() -> None:
    options = MountOptions(minimum_dialect="3.0", maximum_dialect="3.0.2")
    assert [dialect.label for dialect in request(options).dialects] == ["3.0", "3.0.2"]


def test_required_signing() -> None:
    assert SecurityMode.SIGNING_REQUIRED in request(MountOptions()).security_mode
    asked = request(MountOptions(signing="if-offered")).security_mode
    assert asked == SecurityMode.SIGNING_ENABLED


@pytest.mark.parametrize(
    ("options", "transport", "required", "trusts"),
    [
        (MountOptions(), "tcp", False, False),
        (MountOptions(), "quic", False, True),
        (MountOptions(seal=True), "tcp", True, False),
        (MountOptions(seal=True), "quic", True, False),
        (MountOptions(seal_over_quic=True), "tcp", False, False),
        (MountOptions(seal_over_quic=True), "quic", True, False),
    ],
)
def test_what_has_to_be_encrypted(
    options: MountOptions, transport: TransportName, *, required: bool, trusts: bool
) -> None:
    assert offer(options, transport).encryption_required == required
    says = any(isinstance(c, TransportCapabilities) for c in request(options, transport).contexts)
    assert says == trusts
