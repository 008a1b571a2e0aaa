"""Batches of datagrams, and networks that do not take them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Literal

import pytest

from smbfs.transport.udp import Address, Datagram, UdpSocket, connected_socket, largest_datagram

Batch = Sequence[Datagram]

UDP_GRO = 104
"""Spec: udp(7)."""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


class Network:
    """Stands between a socket and the kernel, and refuses some batches."""

    def __init__(self, udp: UdpSocket, refuses: Callable[[Batch], bool]) -> None:
        self.sent: list[int] = []
        """Datagrams of each batch that was taken."""
        self._refuses = refuses
        self._send, udp._send_batch = udp._send_batch, self._take  # type: ignore[method-assign]

    def _take(self, batch: Batch) -> None:
        if self._refuses(batch):
            raise OSError(errno.EMSGSIZE, "refused")
        self._send(batch)
        self.sent.append(len(batch))


async def test_what_is_too_large_is_lost_and_batches_go_on(listener: socket.socket) -> None:
    peer: Address = listener.getsockname()
    udp = UdpSocket(connected_socket(peer))
    network = Network(udp, lambda batch: len(batch[0][0]) > 1300)
    assert udp.send([(bytes(1400), peer)] * 3) == 3
    assert udp.send([(bytes(1200), peer)] * 3) == 3
    assert network.sent == [3]
    udp.close()


async def test_a_device_that_can_not_cut_gets_one_by_one(listener: socket.socket) -> None:
    peer: Address = listener.getsockname()
    udp = UdpSocket(connected_socket(peer))
    network = Network(udp, lambda batch: len(batch) > 1)
    for _ in range(2):
        assert udp.send([(bytes(1200), peer)] * 3) == 3
    assert network.sent == [1] * 6
    assert len(listener.recv(2000)) == 1200
    udp.close()


async def test_a_routers_word_on_an_earlier_datagram_is_about_no_other(
    listener: socket.socket,
) -> None:
    peer: Address = listener.getsockname()
    udp = UdpSocket(connected_socket(peer))
    news = [True]
    network = Network(udp, lambda _: bool(news) and news.pop())
    for _ in range(2):
        assert udp.send([(bytes(1200), peer)] * 3) == 3
    assert network.sent == [3, 3]
    udp.close()


@pytest.mark.parametrize("order", ["little", "big"])
async def test_what_was_joined_is_parted(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, order: Literal["little", "big"]
) -> None:
    """The kernel tells the size as an int of the machine's."""
    peer: Address = listener.getsockname()
    udp = UdpSocket(connected_socket(peer))
    joined = (bytes(250), [(socket.IPPROTO_UDP, UDP_GRO, (100).to_bytes(4, order))], 0, peer)
    with monkeypatch.context() as patch:
        patch.setattr("smbfs.transport.udp.sys.byteorder", order)
        patch.setattr(udp, "_socket", SimpleNamespace(recvmsg=lambda *_: joined))
        assert [len(data) for data, _ in udp.receive()] == [100, 100, 50]
    udp.close()


def test_loopback_carries_what_an_ip_packet_holds(listener: socket.socket) -> None:
    peer: Address = listener.getsockname()
    assert largest_datagram(peer) == 65_507
    with connected_socket(peer) as sock:
        assert sock.send(bytes(65_507)) == 65_507
