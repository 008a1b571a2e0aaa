"""Keys that are replaced while packets are late, lost or forged. Spec: RFC 9001 section 6."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path as FilePath

import pytest
from aioquic import tls
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoError, CryptoPair
from aioquic.quic.packet import QuicErrorCode, QuicFrameType

from smbfs.transport import quic_keys
from smbfs.transport.bbr import BBR
from smbfs.transport.quic_keys import LIMITS, KeyedConnection, KeyPair, Limits
from tests.beds.pki import Leaf, Pki
from tests.beds.simulated_path import Path, SimulatedPath

SUITE = tls.CipherSuite.AES_128_GCM_SHA256
PEER_ID = b"\7" * 8
SECRETS = (b"\1" * 32, b"\2" * 32)
PHASE = 4
MB = 1_000_000
LOSSY_LINE = Path(rate=10 * MB, delay_s=0.02, queue_s=0.05, loss=0.02, straying=0.05, detour_s=0.01)


@pytest.fixture(scope="module")
def leaf(tmp_path_factory: pytest.TempPathFactory) -> Leaf:
    return Pki(FilePath(tmp_path_factory.mktemp("pki"))).leaf("server")


class End:
    """One end, which numbers its packets."""

    def __init__(
        self, secret: bytes, peers: bytes, suite: tls.CipherSuite = SUITE, version: int = 1
    ) -> None:
        self.number = -1  # The handshake's last.
        self.ends: list[int] = []
        """The codes with which it has ended."""
        self.keys = KeyPair(lambda: self.number, self._closed)
        self.keys.send.setup(cipher_suite=suite, secret=secret, version=version)
        self.keys.recv.setup(cipher_suite=suite, secret=peers, version=version)
        self.number = self.expected = 0

    def _closed(self, code: QuicErrorCode, why: str) -> None:
        assert why
        self.ends.append(code)

    def seal(self, number: int | None = None) -> bytes:
        """The next packet, or one with a number of its own."""
        if number is None:
            number, self.number = self.number, self.number + 1
        first = 0x41 | self.keys.key_phase << 2
        header = bytes([first]) + PEER_ID + number.to_bytes(2, "big")
        return self.keys.encrypt_packet(header, b"number %d" % number, number)

    def open(self, packet: bytes) -> int:
        """The number of a packet that is as it was sent. Raises: CryptoError."""
        _, payload, number = self.keys.decrypt_packet(packet, 1 + len(PEER_ID), self.expected)
        assert payload == b"number %d" % number
        self.expected = max(self.expected, number + 1)
        return number

    def fails_to_open(self, packet: bytes) -> bool:
        """Whether a packet is refused, and nothing has changed by it."""
        before = (self.keys.recv, self.keys.send, self.keys.previous)
        with pytest.raises(CryptoError):
            self.open(packet)
        return (self.keys.recv, self.keys.send, self.keys.previous) == before


@pytest.fixture
def ends() -> tuple[End, End]:
    one, other = SECRETS
    return End(one, other), End(other, one)


def flipped(packet: bytes) -> bytes:
    return bytes([packet[0] ^ PHASE]) + packet[1:]


def test_packets_of_both_phases_are_opened_in_any_order(ends: tuple[End, End]) -> None:
    ours, theirs = ends
    old = [theirs.seal() for _ in range(4)]
    assert [ours.open(old[number]) for number in (0, 2)] == [0, 2]
    theirs.keys.renew()
    new = [theirs.seal() for _ in range(4)]
    order = [new[2], old[3], new[0], old[1], new[3], new[1]]
    assert [ours.open(packet) for packet in order] == [6, 3, 4, 1, 7, 5]
    assert ours.keys.key_phase == 1
    assert not theirs.keys.is_settled
    assert theirs.open(ours.seal()) == 0
    for end in ends:
        assert not end.keys.is_settled
        end.keys.forget_previous()
        assert end.keys.is_settled


def test_who_begins_still_opens_what_the_other_sends_meanwhile(ends: tuple[End, End]) -> None:
    ours, theirs = ends
    ours.keys.renew()
    unaware = [theirs.seal() for _ in range(3)]
    assert ours.open(unaware[0]) == 0
    theirs.open(ours.seal())
    assert [ours.open(packet) for packet in (theirs.seal(), unaware[2], unaware[1])] == [3, 2, 1]


def test_an_update_of_which_most_is_lost_is_followed(ends: tuple[End, End]) -> None:
    ours, theirs = ends
    ours.open(theirs.seal())
    theirs.keys.renew()
    *_, last = [theirs.seal() for _ in range(50)]
    assert ours.open(last) == 50


def test_both_may_begin_at_once(ends: tuple[End, End]) -> None:
    ours, theirs = ends
    for end in ends:
        end.keys.renew()
    ours.open(theirs.seal())
    theirs.open(ours.seal())
    assert [end.keys.key_phase for end in ends] == [1, 1]
    assert ours.open(theirs.seal()) == 1


def test_what_is_late_has_no_key_after_a_while(ends: tuple[End, End]) -> None:
    ours, theirs = ends
    late = theirs.seal()
    theirs.keys.renew()
    ours.open(theirs.seal())
    ours.keys.forget_previous()
    assert ours.fails_to_open(late)
    assert ours.open(theirs.seal()) == 2


@pytest.mark.parametrize("is_updated", [False, True])
def test_a_forged_phase_changes_nothing(
    ends: tuple[End, End], monkeypatch: pytest.MonkeyPatch, *, is_updated: bool
) -> None:
    ours, theirs = ends
    late = theirs.seal()
    if is_updated:
        theirs.keys.renew()
        ours.open(theirs.seal())
    genuine = theirs.seal()
    with monkeypatch.context() as patch:
        # To make a key for it would take time that tells what the phase is.
        patch.setattr(quic_keys, "_successor", lambda _: pytest.fail("a key was made"))
        for packet in (genuine, late):
            assert ours.fails_to_open(flipped(packet))
            assert ours.fails_to_open(packet[:-1] + b"?")
    assert [ours.open(packet) for packet in (genuine, late)] == [1 + is_updated, 0]
    assert ours.ends == []


def test_a_second_update_waits_for_our_answer(ends: tuple[End, End]) -> None:
    ours, theirs = ends
    for _ in range(2):
        theirs.keys.renew()
        ours.open(theirs.seal())
        theirs.open(ours.seal())
    theirs.keys.renew()
    ours.open(theirs.seal())
    theirs.keys.renew()
    hasty, later = theirs.seal(), theirs.seal()
    with pytest.raises(CryptoError):
        ours.open(hasty)
    assert ours.ends == [QuicErrorCode.KEY_UPDATE_ERROR]
    with pytest.raises(CryptoError):  # Nothing is looked at after that.
        ours.open(later)


@pytest.mark.parametrize("is_claimed", [False, True])
def test_an_old_key_for_a_new_packet_is_the_end(
    ends: tuple[End, End], monkeypatch: pytest.MonkeyPatch, *, is_claimed: bool
) -> None:
    ours, theirs = ends
    ours.open(theirs.seal())
    if is_claimed:  # By its header it is of the new phase.
        monkeypatch.setattr(theirs.keys.send, "key_phase", 1)
    wrong = theirs.seal(5)
    monkeypatch.undo()
    theirs.keys.renew()
    ours.open(theirs.seal())
    with pytest.raises(CryptoError):
        ours.open(wrong)
    assert ours.ends == [QuicErrorCode.KEY_UPDATE_ERROR]


def test_a_new_key_for_an_old_packet_is_the_end(ends: tuple[End, End]) -> None:
    ours, theirs = ends
    theirs.keys.renew()
    theirs.number = 7
    ours.open(theirs.seal())
    ours.keys.forget_previous()
    ours.seal()
    theirs.keys.renew()
    with pytest.raises(CryptoError):
        ours.open(theirs.seal(6))
    assert ours.ends == [QuicErrorCode.KEY_UPDATE_ERROR]


def test_there_is_an_end_to_forged_packets(
    ends: tuple[End, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, SUITE, Limits(sealed=100, forged=3))
    ours, theirs = ends
    for _ in range(3):
        assert ours.fails_to_open(theirs.seal()[:-1] + b"?")
    ours.open(theirs.seal())
    assert ours.ends == []
    with pytest.raises(CryptoError):
        ours.open(theirs.seal()[:-1] + b"?")
    assert ours.ends == [QuicErrorCode.AEAD_LIMIT_REACHED]
    assert ours.fails_to_open(theirs.seal())


@pytest.mark.parametrize(
    ("version", "following"),
    [
        (1, "1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9"),
        (0x6B3343CF, "c69374c49e3d2a9466fa689e49d476db5d0dfbc87d32ceeaa6343fd0ae4c7d88"),
    ],
)
def test_the_next_secret_is_that_of_the_specification(version: int, following: str) -> None:
    """Spec: RFC 9001 appendix A.5, RFC 9369 appendix A.5."""
    secret = bytes.fromhex("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b")
    end = End(secret, secret, tls.CipherSuite.CHACHA20_POLY1305_SHA256, version)
    end.keys.renew()
    assert end.keys.send.secret == bytes.fromhex(following)


def test_limits_are_the_ciphers() -> None:
    """Spec: RFC 9001 section 6.6."""
    known = {suite: End(b"\1" * 48, b"\2" * 48, suite).keys for suite in LIMITS}
    assert {suite.name: keys.limits.sealed.bit_length() - 1 for suite, keys in known.items()} == {
        "AES_128_GCM_SHA256": 23,
        "AES_256_GCM_SHA384": 23,
        "CHACHA20_POLY1305_SHA256": 62,
    }
    for keys in known.values():
        assert keys.renew_at <= keys.limits.sealed // 2


# --------------------------------------------------------------------- connections


def keys_of(quic: KeyedConnection) -> KeyPair:
    assert quic._keys is not None
    return quic._keys


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> list[KeyPair]:
    """Have either end replace its key every few hundred packets, or as soon after as it may.

    Each time whoever has begun is noted; now the one does, now the other.
    """
    began: list[KeyPair] = []
    chance = random.Random(1)
    renew, seals_anew = KeyPair.renew, KeyPair._seals_anew

    def noted(self: KeyPair) -> None:
        if self.send.key_phase == self.recv.key_phase:
            began.append(self)
        renew(self)

    def impatient(self: KeyPair, trigger: str = "") -> None:
        seals_anew(self, trigger)
        self.renew_at = self.first_sent + chance.choice([40, 300])

    monkeypatch.setattr(KeyPair, "renew", noted)
    monkeypatch.setattr(KeyPair, "_seals_anew", impatient)
    return began


def transfers(leaf: Leaf, rate: int, seed: int) -> tuple[SimulatedPath, float]:
    """Move what a bad line takes some seconds for."""
    path = SimulatedPath(replace(LOSSY_LINE, rate=rate), BBR, leaf, seed)
    return path, sum(path.transfer(rate).seconds for _ in range(3))


@pytest.mark.parametrize("rate", [MB, 10 * MB])
@pytest.mark.parametrize("seed", [10, 20])
def test_updates_cost_nothing_on_a_bad_line(
    leaf: Leaf, updates: list[KeyPair], monkeypatch: pytest.MonkeyPatch, rate: int, seed: int
) -> None:
    """Neither bytes nor time: no packet is lost that the line has not lost."""
    with monkeypatch.context() as patch:
        patch.setattr(KeyPair, "_count_forged", lambda *_: pytest.fail("it was not opened"))
        path, seconds = transfers(leaf, rate, seed)
    ends = [keys_of(path.client), keys_of(path.server)]
    assert min(map(updates.count, ends)) >= 2
    assert len(updates) >= 7
    monkeypatch.undo()
    assert seconds < 1.1 * transfers(leaf, rate, seed)[1]


@pytest.mark.parametrize("begins", ["server", "client"])
def test_updates_go_well_with_one_who_forgets_old_keys(
    leaf: Leaf, monkeypatch: pytest.MonkeyPatch, begins: str
) -> None:
    """The other end is aioquic as it is."""
    path = SimulatedPath(LOSSY_LINE, BBR, leaf)
    plain = CryptoPair()
    keys = keys_of(path.server)
    plain.recv, plain.send = keys.recv, keys.send
    path.server._keys = None
    path.server._cryptos[tls.Epoch.ONE_RTT] = plain
    beginner = path.server if begins == "server" else path.client
    for phase in (1, 0, 1):
        beginner.request_key_update()
        assert path.transfer(2 * MB).seconds < 3
        assert plain.key_phase == keys_of(path.client).key_phase == phase


def test_no_update_before_the_handshake_is_confirmed(leaf: Leaf) -> None:
    path = SimulatedPath(LOSSY_LINE, BBR, leaf)
    assert not path.client._handshake_confirmed
    keys = keys_of(path.client)
    keys.update_key()
    path.client.send_ping(1)
    assert path.client.datagrams_to_send(path.now)
    assert keys.key_phase == 0
    path.transfer(MB)
    assert keys.key_phase == keys_of(path.server).key_phase == 1


def test_a_server_may_update_before_its_client_knows_that_it_may(leaf: Leaf) -> None:
    path = SimulatedPath(replace(LOSSY_LINE, loss=0), BBR, leaf)
    path._events = [event for event in path._events if event[2] == 1 or event[3] is None]
    path.server.request_key_update()
    path.transfer(MB)
    assert path.client._handshake_confirmed
    assert keys_of(path.client).key_phase == 1


def test_the_next_update_waits_until_the_last_one_is_over(leaf: Leaf) -> None:
    """Until a packet of its phase is acknowledged, and what is late has come."""
    path = SimulatedPath(replace(LOSSY_LINE, loss=0, straying=0), BBR, leaf)
    path.transfer(MB)
    client, server = keys_of(path.client), keys_of(path.server)
    path.client.request_key_update()
    path.client.send_ping(1)
    path._pump(0)
    assert client.key_phase == 1
    path.client.request_key_update()
    path.pause(0.9 * 2 * LOSSY_LINE.delay_s)
    path.client.send_ping(2)
    path._pump(0)
    assert (client.key_phase, server.key_phase) == (1, 1)
    while client.previous is None:
        path.pause(0.001)
    began_s, timeout_s = path.now, path.client._loss.get_probe_timeout()
    while client.key_phase == 1:
        path.pause(0.001)
        path._pump(0)
    assert 0.9 * 3 * timeout_s < path.now - began_s < 1.1 * 3 * timeout_s + 0.01


def test_a_peer_that_does_not_follow_is_left_in_time(
    leaf: Leaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for suite in LIMITS:
        monkeypatch.setitem(LIMITS, suite, Limits(sealed=4000, forged=4000))
    monkeypatch.setattr(KeyPair, "is_settled", False)
    path = SimulatedPath(LOSSY_LINE, BBR, leaf)
    path.server.send_stream_data(0, bytes(10 * MB))
    path._pump(1)
    path._run_until(lambda: path.client.end is not None)
    end = path.client.end
    assert end is not None
    assert path.client.is_ended_by_peer
    # It comes in a frame with a type: QUIC says it, not the application.
    assert (end.error_code, end.frame_type) == (
        QuicErrorCode.AEAD_LIMIT_REACHED,
        QuicFrameType.PADDING,
    )
    assert 2000 < path.server._packet_number < 4000


def test_a_peer_that_updates_too_soon_is_told_so(leaf: Leaf) -> None:
    path = SimulatedPath(replace(LOSSY_LINE, loss=0), BBR, leaf)
    path.transfer(MB)
    keys = keys_of(path.server)
    for ping in range(2):
        keys.renew()
        path.server.send_ping(ping)
        for data, _ in path.server.datagrams_to_send(path.now):
            path.client.receive_datagram(data, ("192.0.2.2", 2), path.now)
    path._pump(0)
    path._run_until(lambda: path.server.end is not None)
    assert path.server.is_ended_by_peer
    assert path.server.end is not None
    assert path.server.end.error_code == QuicErrorCode.KEY_UPDATE_ERROR


def test_keys_go_when_the_connection_does(leaf: Leaf) -> None:
    path = SimulatedPath(LOSSY_LINE, BBR, leaf)
    path.transfer(MB)
    path.server.request_key_update()
    path.transfer(10_000)
    path.client.close()
    path._pump(0)
    path.pause(2)
    for quic in (path.client, path.server):
        keys = keys_of(quic)
        assert (keys.recv.secret, keys.send.secret) == (None, None)
        assert (keys.previous, keys._upcoming) == (None, None)
        assert quic.datagrams_to_send(path.now) == []


def test_a_connection_that_has_not_begun_has_no_keys() -> None:
    """It is as aioquic's own."""
    for make in (QuicConnection, KeyedConnection):
        quic = make(configuration=QuicConfiguration(is_client=True))
        with pytest.raises(IndexError):
            quic.datagrams_to_send(0)
