"""The keys of a QUIC connection: replaced before they are worn out, and when the peer does so.

aioquic replaces keys when it is told to, and forgets the old ones at once. Here the key of packets
that are late is kept for a while, the one that comes next is ready before anybody needs it, and
connections count what was protected with a key and what was forged.

Each direction has its phase. Ours is ahead of the peer's from the packet with which we begin until
the first one that it answers in kind; nobody is ever ahead by two.

Spec: RFC 9001 sections 6 and 9.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from aioquic import tls
from aioquic.quic.connection import NetworkAddress, QuicConnection
from aioquic.quic.crypto import CryptoContext, CryptoError, CryptoPair, KeyUnavailableError
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicProtocolVersion,
    decode_packet_number,
)

_PHASE: Final = 0x04
"""The bit of a short header's first byte that has its key's phase. Spec: RFC 9000 17.3.1."""

_KEPT_FOR_PTO: Final = 3
"""Probe timeouts for which a key is kept that the peer has replaced. Spec: RFC 9001 6.5."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an AEAD stands. Spec: RFC 9001 section 6.6."""

    sealed: int
    """Packets that may be protected with one key."""
    forged: int
    """Packets of a connection that may fail to be opened."""

    @property
    def renew_after(self) -> int:
        """Packets after which we begin with a new key."""
        return self.sealed // 2

    @property
    def stop_after(self) -> int:
        """Packets after which a peer that has still not let us do so is left."""
        return self.sealed * 3 // 4


LIMITS: Final = {
    tls.CipherSuite.AES_128_GCM_SHA256: Limits(sealed=1 << 23, forged=1 << 52),
    tls.CipherSuite.AES_256_GCM_SHA384: Limits(sealed=1 << 23, forged=1 << 52),
    # More packets than there are numbers.
    tls.CipherSuite.CHACHA20_POLY1305_SHA256: Limits(sealed=1 << 62, forged=1 << 36),
}

_CCM: Final = Limits(sealed=int(2**21.5), forged=int(2**21.5))
"""The strictest, for what aioquic may learn one day."""


class KeyPair(CryptoPair):
    """The keys of both directions for packets with short headers."""

    def __init__(
        self, next_number: Callable[[], int], close: Callable[[QuicErrorCode, str], None]
    ) -> None:
        """``next_number``: of the next packet that we send. ``close``: ends the connection."""
        super().__init__(recv_setup_cb=self._opens_anew, send_setup_cb=self._seals_anew)
        self.previous: CryptoContext | None = None
        """What opens packets that are older than the peer's last update."""
        self.forget_at: float | None = None
        """When that is to be forgotten, as soon as somebody has looked at a clock."""
        self.first_sent = 0
        """The number of the first packet that is sealed with the present key."""
        self.renew_at: float = math.inf
        """The number of a packet before which that key is to be replaced."""
        self._next_number = next_number
        self._close = close
        self._upcoming: CryptoContext | None = None
        self._first_opened = 0
        """The lowest number seen of a packet of the peer's present phase."""
        self._forged = 0

    @property
    def key_phase(self) -> int:
        """The phase of the next packet that we send."""
        return self.send.key_phase

    @property
    def limits(self) -> Limits:
        """Those of the cipher that was agreed upon."""
        suite = self.send.cipher_suite
        return LIMITS.get(suite, _CCM) if suite is not None else _CCM

    @property
    def is_settled(self) -> bool:
        """Whether the last update is over: the peer has followed, and nothing late is expected."""
        return self.send.key_phase == self.recv.key_phase and self.previous is None

    def update_key(self) -> None:
        """Replace the key as soon as that is allowed."""
        self.renew_at = 0

    def renew(self) -> None:
        """Seal with the next key from the next packet on."""
        self.send = _successor(self.send)
        self._seals_anew()

    def forget_previous(self) -> None:
        """Open no packet any more that is older than the last update."""
        self.previous = self.forget_at = None

    def teardown(self) -> None:
        """Forget every key."""
        super().teardown()
        self._upcoming = None
        self.renew_at = math.inf
        self.forget_previous()

    def _opens_anew(self, _trigger: str = "") -> None:
        # Long before it is used: what it takes to make it must not tell of a packet's phase.
        self._upcoming = _successor(self.recv)

    def _seals_anew(self, _trigger: str = "") -> None:
        self.first_sent = self._next_number()
        self.renew_at = self.first_sent + self.limits.renew_after

    # ------------------------------------------------------------- opening

    def decrypt_packet(
        self, packet: bytes, encrypted_offset: int, expected_packet_number: int
    ) -> tuple[bytes, bytes, int]:
        """Return header, payload and number of a packet. Raises: CryptoError."""
        key = self.recv
        if key.aead is None or key.hp is None:
            raise KeyUnavailableError("there is no key")
        header, truncated = key.hp.remove(packet, encrypted_offset)
        first = header[0]
        number = decode_packet_number(truncated, ((first & 3) + 1) * 8, expected_packet_number)
        is_other = number < self._first_opened or (first & _PHASE) >> 2 != key.key_phase
        if is_other:
            key = self._key_for(first, number)
        body = packet[len(header) :]
        try:
            payload = key.aead.decrypt(body, header, number)  # type: ignore[union-attr] # as above
        except CryptoError:
            self._count_forged(body, header, number)
            raise
        if is_other:
            self._follow(key, number)
        return header, payload, number

    def _key_for(self, first: int, number: int) -> CryptoContext:
        """Return what should open a packet that is not plainly of the present phase."""
        if (first & _PHASE) >> 2 == self.recv.key_phase:
            return self.recv
        if number < self._first_opened and self.previous is not None:
            return self.previous
        assert self._upcoming is not None
        return self._upcoming

    def _follow(self, key: CryptoContext, number: int) -> None:
        """Go where the peer has gone: ``key`` has opened packet ``number``, so it is the peer's."""
        if key is self.previous:
            return
        if key is self.recv:
            self._first_opened = number
            return
        if number < self._first_opened:
            self._refuse("a new key was used for an old packet")
        is_answered = self._next_number() > self.first_sent
        if self.send.key_phase == self.recv.key_phase and not is_answered:
            self._refuse("a key was updated before its first packet was acknowledged")
        self.previous, self.forget_at, self.recv = self.recv, None, key
        self._first_opened = number
        self._opens_anew()
        if self.send.key_phase != self.recv.key_phase:
            self.renew()

    def _count_forged(self, body: bytes, header: bytes, number: int) -> None:
        """Count a packet that was not opened, unless it is worse than a forged one.

        One that the previous key opens now was sealed with it when there was a newer one. All
        packets are tried, so that the time it takes does not tell which phase they claim.
        """
        if self.previous is not None and self.previous.aead is not None:
            try:
                self.previous.aead.decrypt(body, header, number)
            except CryptoError:
                pass
            else:
                self._refuse("an old key was used for a new packet")
        self._forged += 1
        if self._forged > self.limits.forged:
            self.recv.teardown()
            self._close(QuicErrorCode.AEAD_LIMIT_REACHED, "too many forged packets")

    def _refuse(self, why: str) -> NoReturn:
        self.recv.teardown()  # Nothing that comes is looked at any more.
        self._close(QuicErrorCode.KEY_UPDATE_ERROR, why)
        raise CryptoError(why)


class KeyedConnection(QuicConnection):
    """A :class:`QuicConnection` that never uses a key for too long."""

    _keys: KeyPair | None = None

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self._keys = KeyPair(lambda: self._packet_number, self._close_for_keys)
        self._cryptos[tls.Epoch.ONE_RTT] = self._keys

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """See :class:`QuicConnection`."""
        keys = self._keys
        if keys is not None:
            if keys.previous is not None:
                self._forget_in_time(keys, now)
            if self._packet_number >= keys.renew_at:
                self._renew(keys)
        return super().datagrams_to_send(now)

    def _forget_in_time(self, keys: KeyPair, now: float) -> None:
        if keys.forget_at is None:
            keys.forget_at = now + _KEPT_FOR_PTO * self._loss.get_probe_timeout()
        elif now >= keys.forget_at:
            keys.forget_previous()

    def _renew(self, keys: KeyPair) -> None:
        """Begin with a new key if the peer is known to have the present one."""
        acknowledged = self._spaces[tls.Epoch.ONE_RTT].largest_acked_packet
        is_known = self._handshake_confirmed and acknowledged >= keys.first_sent
        if is_known and keys.is_settled:
            keys.renew()
        elif self._packet_number - keys.first_sent >= keys.limits.stop_after:
            self._close_for_keys(QuicErrorCode.AEAD_LIMIT_REACHED, "a key can't be replaced")

    def _close_for_keys(self, code: QuicErrorCode, why: str) -> None:
        # With a type of frame, since it is not the application that says so.
        self.close(error_code=code, frame_type=QuicFrameType.PADDING, reason_phrase=why)


def _successor(key: CryptoContext) -> CryptoContext:
    """Return the key that follows. Spec: RFC 9001 section 6.1, RFC 9369 section 3.3.2."""
    assert key.cipher_suite is not None
    assert key.secret is not None
    assert key.version is not None
    label = b"quicv2 ku" if key.version == QuicProtocolVersion.VERSION_2 else b"quic ku"
    algorithm = tls.cipher_suite_hash(key.cipher_suite)
    secret = tls.hkdf_expand_label(algorithm, key.secret, label, b"", algorithm.digest_size)
    successor = CryptoContext(key_phase=1 - key.key_phase)
    successor.setup(cipher_suite=key.cipher_suite, secret=secret, version=key.version)
    successor.hp = key.hp  # This one stays. Spec: RFC 9001 section 6.
    return successor
