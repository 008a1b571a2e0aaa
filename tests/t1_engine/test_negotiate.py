"""Algorithms that are not allowed are not used, also where a dialect knows no other one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smbfs.engine.negotiate import Negotiated, conclude
from smbfs.errors import NegotiationRefused
from smbfs.wire.dialect import Dialect
from smbfs.wire.header import Command, Header
from smbfs.wire.negotiate import (
    Capabilities,
    Cipher,
    NegotiateResponse,
    SigningAlgorithm,
    SigningCapabilities,
)
from tests.beds.scripted_server import ScriptedServer
from tests.t1_engine.conversation import OFFER, negotiate

GMAC_ONLY = replace(OFFER, signing_algorithms=(SigningAlgorithm.AES_GMAC,))


@pytest.mark.parametrize(
    ("dialect", "only"),
    [
        (Dialect.SMB_2_1, "hmac-sha256"),
        (Dialect.SMB_3_0, "aes-128-cmac"),
        (Dialect.SMB_3_0_2, "aes-128-cmac"),
    ],
)
def test_the_only_signing_algorithm_of_an_old_dialect_has_to_be_allowed(
    dialect: Dialect, only: str
) -> None:
    with pytest.raises(NegotiationRefused, match=f"sign with {only} only") as caught:
        negotiate(ScriptedServer(dialect=dialect), GMAC_ONLY)
    assert caught.value.rule == "signing_algorithms"
    assert "aes-128-gmac" in caught.value.why


def test_a_server_that_says_nothing_of_algorithms_signs_with_cmac() -> None:
    """So that has to be allowed. Spec: [MS-SMB2] 3.2.5.2."""
    _, answer = ScriptedServer()._negotiate(Header(0, 0, Command.NEGOTIATE), memoryview(b""))
    assert isinstance(answer, NegotiateResponse)
    silent = replace(
        answer, contexts=tuple(c for c in answer.contexts if not isinstance(c, SigningCapabilities))
    )
    assert conclude(OFFER, silent).signing_algorithm is SigningAlgorithm.AES_CMAC
    with pytest.raises(NegotiationRefused, match="aes-128-cmac only"):
        conclude(GMAC_ONLY, silent)


def test_the_only_cipher_of_an_old_dialect_is_used_if_it_is_allowed() -> None:
    def negotiated(*ciphers: Cipher, required: bool = False) -> Negotiated:
        server = ScriptedServer(
            dialect=Dialect.SMB_3_0, capabilities=Capabilities.LARGE_MTU | Capabilities.ENCRYPTION
        )
        offer = replace(OFFER, ciphers=ciphers, encryption_required=required)
        found = negotiate(server, offer).engine.negotiated
        assert found is not None
        return found

    assert negotiated(Cipher.AES_256_GCM, Cipher.AES_128_CCM).cipher is Cipher.AES_128_CCM
    assert negotiated(Cipher.AES_256_GCM).cipher is None
    with pytest.raises(NegotiationRefused, match="encryption") as caught:
        negotiated(Cipher.AES_256_GCM, required=True)
    assert "offers none of aes-256-gcm." in caught.value.why
    assert caught.value.rule == "ciphers"
