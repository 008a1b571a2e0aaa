"""One contract for every MessageStream; each transport adds itself to ``STREAM_PAIRS``."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
import trio.testing

from smbfs.errors import RemoteProtocolError, TransportError
from smbfs.transport.base import MAX_FRAME_SIZE, MessageStream
from smbfs.transport.memory import MemoryStream, memory_stream_pair
from smbfs.transport.tcp import TcpStream
from tests.beds.pki import Pki
from tests.beds.quic_pair import quic_stream_pair

StreamPair = tuple[MessageStream, MessageStream]


Make = Callable[[], Awaitable[StreamPair]]


async def tcp_stream_pair() -> StreamPair:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return TcpStream(ours), TcpStream(theirs)


async def memory_pair() -> StreamPair:
    return memory_stream_pair()


async def quic_pair() -> StreamPair:
    with TemporaryDirectory() as folder:
        ours, theirs = quic_stream_pair(Pki(Path(folder)).leaf("server"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.handshake)
        nursery.start_soon(theirs.wait_open)
    return ours, theirs


STREAM_PAIRS = [tcp_stream_pair, memory_pair, quic_pair]
pairs = pytest.mark.parametrize("make", STREAM_PAIRS)


async def deliver(sender: MessageStream, receiver: MessageStream, *frames: bytes) -> list[bytes]:
    """Send ``frames`` and return what arrives."""
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for frame in frames:
                sender.send([frame])
                await sender.flush()

        nursery.start_soon(send)
        return [bytes(await receiver.receive_message()) for _ in frames]


@pairs
async def test_frames_arrive_whole_and_in_order(make: Make) -> None:
    ours, theirs = await make()
    frames = [bytes([n % 251]) * size for n, size in enumerate([64, 1, 8192, 70_000, 2 << 20, 5])]
    assert await deliver(ours, theirs, *frames) == frames
    assert await deliver(theirs, ours, *frames) == frames
    await ours.aclose()
    await theirs.aclose()


@pairs
async def test_flow_grows_with_what_was_taken_and_what_came(make: Make) -> None:
    ours, theirs = await make()
    if isinstance(ours, MemoryStream):
        return  # A frame is there at once.
    before = ours.flow
    await deliver(ours, theirs, bytes(100_000))
    assert ours.flow.sent - before.sent >= 100_000
    with trio.fail_after(5):
        while ours.flow.taken - before.taken < 100_000:  # It may be acknowledged a little later.
            await deliver(theirs, ours, b"thank you")
    middle = ours.flow
    assert middle.sent - middle.taken < 1000
    await deliver(theirs, ours, bytes(50_000))
    assert ours.flow.received - middle.received >= 50_000
    await ours.aclose()
    await theirs.aclose()


async def test_what_was_not_delivered_is_dropped_with_the_connection() -> None:
    """A request that was repeated elsewhere must not be executed long afterwards."""
    ours, theirs = await tcp_stream_pair()
    while not ours.unflushed:
        ours.send([bytes(1 << 20)])
    await ours.aclose()

    async def receive_all() -> None:
        while True:
            await theirs.receive_message()

    with pytest.raises(TransportError, match="reset"):
        await receive_all()
    await theirs.aclose()


@pairs
async def test_who_receives_lets_others_run_although_frames_are_there(make: Make) -> None:
    ours, theirs = await make()
    for _ in range(10):
        ours.send([b"a frame"])
    await ours.flush()
    await theirs.receive_message()
    await trio.sleep(0.01)  # All of them are there.
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(9):
            await theirs.receive_message()
        assert turns >= 5
        nursery.cancel_scope.cancel()
    await ours.aclose()
    await theirs.aclose()


class _Counted(socket.socket):
    """A socket that counts how often it was read from."""

    reads = 0

    def recv_into(  # type: ignore[override]  # Streams read into nothing else.
        self, buffer: memoryview, nbytes: int = 0, flags: int = 0
    ) -> int:
        self.reads += 1
        return super().recv_into(buffer, nbytes, flags)


async def test_a_small_answer_costs_one_read_of_the_socket() -> None:
    ours, theirs = socket.socketpair()
    counted = _Counted(fileno=theirs.detach())
    sender, receiver = TcpStream(ours), TcpStream(counted)
    await deliver(sender, receiver, b"the first one")
    counted.reads = 0
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(receiver.receive_message)
            await trio.testing.wait_all_tasks_blocked()
            sender.send([b"answer"])
            await trio.testing.wait_all_tasks_blocked()
    assert counted.reads == 10
    await sender.aclose()
    await receiver.aclose()


@pairs
async def test_pieces_are_joined(make: Make) -> None:
    ours, theirs = await make()
    ours.send([b"head", memoryview(b"middle"), bytearray(b"tail")])
    await ours.flush()
    assert await theirs.receive_message() == b"headmiddletail"
    await ours.aclose()
    await theirs.aclose()


@pairs
async def test_frame_larger_than_allowed_ends_the_stream(make: Make) -> None:
    ours, theirs = await make()
    theirs.max_message_size = 1000
    ours.send([bytes(1001)])
    await ours.flush()
    with pytest.raises(RemoteProtocolError, match="1001"):
        await theirs.receive_message()
    await ours.aclose()
    await theirs.aclose()


@pairs
async def test_frame_that_the_prefix_cannot_state(make: Make) -> None:
    ours, theirs = await make()
    with pytest.raises(ValueError, match="framed"):
        ours.send([bytes(MAX_FRAME_SIZE), b"x"])
    await ours.aclose()
    await theirs.aclose()


@pairs
async def test_the_end_is_an_error_of_the_transport(make: Make) -> None:
    ours, theirs = await make()
    await theirs.aclose()
    with pytest.raises(TransportError):
        await ours.receive_message()
    await ours.aclose()


@pairs
async def test_cancelled_receiver_loses_no_frame(make: Make) -> None:
    ours, theirs = await make()
    with trio.move_on_after(0.01):
        await theirs.receive_message()
    assert await deliver(ours, theirs, b"after the cancellation") == [b"after the cancellation"]
    await ours.aclose()
    await theirs.aclose()


async def test_tcp_sends_whole_frames_while_the_peer_does_not_read() -> None:
    """What the socket does not take is kept, in order, until ``flush``."""
    ours, theirs = await tcp_stream_pair()
    frames = [bytes([n]) * (1 << 20) for n in range(16)]
    for frame in frames:
        ours.send([frame])
    backlog = ours.unflushed
    assert backlog
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.flush)
        for frame in frames:
            assert await theirs.receive_message() == frame
    assert not ours.unflushed
    await ours.aclose()
    await theirs.aclose()


async def test_tcp_small_frames_that_arrive_together_are_split() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    stream = TcpStream(theirs)
    frames = [bytes([n]) * n for n in range(1, 200)]
    ours.sendall(b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames))
    for frame in frames:
        assert await stream.receive_message() == frame
    ours.close()
    await stream.aclose()


async def test_tcp_frames_that_come_in_two_pieces_are_put_together() -> None:
    """Wherever the cut is, and whether or not somebody waits already."""
    ours, theirs = socket.socketpair()
    stream = TcpStream(theirs)
    frames = [b"first", bytes(300), b"the third"]
    sent = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    received: list[bytes] = []

    async def receive() -> None:
        received.extend([bytes(await stream.receive_message()) for _ in frames])

    for cut in range(len(sent) + 1):
        received.clear()
        async with trio.open_nursery() as nursery:
            if cut % 2:
                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
            ours.sendall(sent[:cut])
            if not cut % 2:
                nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            ours.sendall(sent[cut:])
        assert received == frames
    ours.close()
    await stream.aclose()


@pytest.mark.parametrize("sent", [b"", b"\0", b"\0\0\0\x04", b"\0\0\0\x04par"])
async def test_tcp_peer_that_ends_within_a_frame(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    stream = TcpStream(theirs)
    ours.sendall(b"\0\0\0\x05whole" + sent)
    ours.close()
    assert await stream.receive_message() == b"whole"
    with trio.fail_after(5), pytest.raises(TransportError, match="closed"):
        await stream.receive_message()
    await stream.aclose()


async def test_tcp_peer_that_does_not_speak_smb() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    stream = TcpStream(theirs)
    ours.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(RemoteProtocolError, match="does not speak SMB"):
        await stream.receive_message()
    ours.close()
    await stream.aclose()
