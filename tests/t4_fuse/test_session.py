"""The conversation with the kernel, whose place a socket takes that keeps messages apart."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping

import pytest
import trio
import trio.testing

from smbfs.errors import SmbfsError
from smbfs.fuse import session
from smbfs.fuse.protocol import Opcode
from smbfs.fuse.session import TURN, Handler, Session
from smbfs.vfs.refusals import Refusal, Refused

HEADER = struct.Struct("=IiQ")


class Kernel:
    """Asks, and reads the answers."""

    def __init__(self) -> None:
        # As many messages as requests at once have to fit in.
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self._asked = 0
        self.thread = 77
        self.device = self._theirs.fileno()

    def ask(self, opcode: int, node: int = 1, body: bytes = b"") -> int:
        """Send a request and return what its answer is named by."""
        self._asked += 2
        header = struct.pack(
            "=IIQQIIIHH", 40 + len(body), opcode, self._asked, node, 0, 0, self.thread, 0, 0
        )
        self._ours.send(header + body)
        return self._asked

    async def answer(self) -> tuple[int, int, bytes]:
        """Return the next answer: what it belongs to, its errno, its body."""
        with trio.fail_after(10):
            await trio.lowlevel.wait_readable(self._ours)
        data = self._ours.recv(1 << 21)
        size, error, unique = HEADER.unpack_from(data)
        assert size == len(data)
        return unique, -error, data[HEADER.size :]

    def has_answer(self) -> bool:
        """Whether an answer is there already."""
        try:
            self._ours.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.close()


Serve = Callable[[Mapping[Opcode, Handler]], Session]


@pytest.fixture
def serve(kernel: Kernel, nursery: trio.Nursery) -> Serve:
    def begin(handlers: Mapping[Opcode, Handler]) -> Session:
        served = Session(kernel.device, handlers, nothing)
        nursery.start_soon(served.serve)
        return served

    return begin


async def nothing(_opcode: Opcode, _answer: bytes) -> None:
    raise AssertionError("nothing was to be undone")


async def echo(node: int, body: bytes) -> bytes:
    return node.to_bytes(1, "little") + body


async def test_an_answer_belongs_to_its_request(kernel: Kernel, serve: Serve) -> None:
    serve({Opcode.READ: echo})
    asked = [kernel.ask(Opcode.READ, node, b"x" * node) for node in (1, 2, 3)]
    for node, unique in enumerate(asked, 1):
        assert await kernel.answer() == (unique, 0, bytes([node]) + b"x" * node)


async def test_what_has_no_handler_is_not_supported(kernel: Kernel, serve: Serve) -> None:
    serve({})
    for opcode in (Opcode.GETXATTR, 4000):
        unique = kernel.ask(opcode)
        assert await kernel.answer() == (unique, errno.ENOSYS, b"")


async def test_the_first_words(kernel: Kernel, serve: Serve) -> None:
    """What is not offered is not used."""
    serve({})
    async_read, big_writes, readdirplus = 1, 1 << 5, 1 << 13
    for offered, used in (
        (0, 0),
        (0xFFFF_FFFF, None),
        (async_read | 2, async_read),
        (big_writes | readdirplus, big_writes | readdirplus),
    ):
        kernel.ask(Opcode.INIT, 0, struct.pack("=IIII", 7, 45, 131072, offered) + bytes(48))
        _, error, body = await kernel.answer()
        assert (error, len(body)) == (0, 64)
        major, minor, read_ahead, flags = struct.unpack_from("=IIII", body)
        assert (major, minor, read_ahead) == (7, 33, 131072)
        assert flags == (used if used is not None else 0x1044_B029)
        assert struct.unpack_from("=II", body, 20) == (1 << 20, 1)  # max_write, time_gran


async def test_who_waits_holds_up_nobody(kernel: Kernel, serve: Serve) -> None:
    go_on = trio.Event()

    async def wait(_node: int, _body: bytes) -> bytes:
        await go_on.wait()
        return b"late"

    serve({Opcode.READ: wait, Opcode.GETATTR: echo})
    late = [kernel.ask(Opcode.READ) for _ in range(3)]
    for _ in range(3):
        unique = kernel.ask(Opcode.GETATTR, 9)
        assert await kernel.answer() == (unique, 0, b"\x09")
    go_on.set()
    answers = [await kernel.answer() for _ in late]
    assert {unique for unique, _, _ in answers} == set(late)
    assert {body for _, _, body in answers} == {b"late"}
    unique = kernel.ask(Opcode.GETATTR, 9)
    assert (await kernel.answer())[0] == unique


async def test_who_waits_often_is_replaced_once(kernel: Kernel, serve: Serve) -> None:
    async def wait_often(_node: int, _body: bytes) -> bytes:
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        return b"done"

    serve({Opcode.READ: wait_often})
    for _ in range(3):
        asked = {kernel.ask(Opcode.READ) for _ in range(4)}
        assert {(await kernel.answer())[0] for _ in asked} == asked


async def test_who_waits_can_be_cancelled(kernel: Kernel) -> None:
    seen: list[str] = []

    async def wait(_node: int, _body: bytes) -> bytes:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            seen.append("cancelled")
            raise

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Session(kernel.device, {Opcode.READ: wait}, nothing).serve)
        kernel.ask(Opcode.READ)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert seen == ["cancelled"]
    assert not kernel.has_answer()


@pytest.mark.parametrize("fails", [False, True])
async def test_who_is_killed_waits_no_longer(
    kernel: Kernel,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    fails: bool,
) -> None:
    """Who is only sent a signal waits on. What comes late is taken back."""
    go_on = trio.Event()
    killed: set[int] = set()
    undone: list[tuple[Opcode, bytes]] = []

    async def wait(_node: int, _body: bytes) -> bytes:
        await go_on.wait()
        if fails:
            raise Refused(Refusal.STALE)
        return b"late"

    async def undo(opcode: Opcode, answer: bytes) -> None:
        undone.append((opcode, answer))

    monkeypatch.setattr(session, "is_being_killed", killed.__contains__)
    served = Session(kernel.device, {Opcode.OPEN: wait}, undo)
    nursery.start_soon(served.serve)
    first, second = kernel.ask(Opcode.OPEN), kernel.ask(Opcode.OPEN)
    for unique in (first, 4711):
        kernel.ask(Opcode.INTERRUPT, 0, struct.pack("=Q", unique))
    await trio.sleep(10)
    assert not kernel.has_answer()
    killed.add(kernel.thread)
    await trio.sleep(1)
    assert await kernel.answer() == (first, errno.EINTR, b"")
    await trio.sleep(1)
    assert not kernel.has_answer()
    go_on.set()
    late = (second, errno.ESTALE, b"") if fails else (second, 0, b"late")
    assert await kernel.answer() == late
    await trio.sleep(1)
    assert undone == ([] if fails else [(Opcode.OPEN, b"late")])
    if not fails:
        assert not kernel.has_answer()
    assert served._waiting == {}
    assert served._abandoned == set()


@pytest.mark.parametrize(("limit", "value"), [("TASKS_MAX", 21), ("HELD_MAX", 20 * 1024)])
async def test_no_more_at_once_than_allowed(
    kernel: Kernel, serve: Serve, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    waiting: list[trio.Event] = []

    async def wait(_node: int, _body: bytes) -> bytes:
        waiting.append(trio.Event())
        await waiting[-1].wait()
        return b""

    monkeypatch.setattr(session, limit, value)
    served = serve({Opcode.READ: wait, Opcode.GETATTR: echo})
    together = [kernel.ask(Opcode.READ, body=bytes(1024 - 40)) for _ in range(3)]
    await trio.testing.wait_all_tasks_blocked()
    for event in waiting:
        event.set()
    for _ in together:
        await kernel.answer()  # Now there are tasks that have nothing to do.
    waiting.clear()
    for _ in range(20 + (limit == "TASKS_MAX")):
        kernel.ask(Opcode.READ, body=bytes(1024 - 40))
        await trio.testing.wait_all_tasks_blocked()
    unique = kernel.ask(Opcode.GETATTR)
    await trio.testing.wait_all_tasks_blocked()
    assert not kernel.has_answer()
    waiting[0].set()
    await kernel.answer()
    assert (await kernel.answer())[0] == unique
    for event in waiting[1:]:
        event.set()
    for _ in waiting[1:]:
        await kernel.answer()
    # Some of them are idle now, the others have ended, and still only one reads.
    await trio.testing.wait_all_tasks_blocked()
    assert served._tasks <= session.IDLE_MAX + 1
    unique = kernel.ask(Opcode.GETATTR)
    assert (await kernel.answer())[0] == unique


async def test_errors_have_their_errno(
    kernel: Kernel, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(_node: int, _body: bytes) -> bytes:
        raise Refused(Refusal.STALE)

    async def refuse_late(_node: int, _body: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        raise SmbfsError("something else")

    async def stumble(_node: int, _body: bytes) -> bytes:
        raise ZeroDivisionError

    serve({Opcode.READ: refuse, Opcode.WRITE: refuse_late, Opcode.OPEN: stumble})
    for opcode, number in (
        (Opcode.READ, errno.ESTALE),
        (Opcode.WRITE, errno.EIO),
        (Opcode.OPEN, errno.EIO),
        (Opcode.READ, errno.ESTALE),
    ):
        unique = kernel.ask(opcode)
        assert await kernel.answer() == (unique, number, b"")
    assert caplog.text.count("Traceback") == 1
    assert "OPEN of inode 1 failed unexpectedly" in caplog.text


async def test_who_forgets_gets_no_answer(kernel: Kernel, serve: Serve) -> None:
    forgotten: list[int] = []

    async def forget(node: int, _body: bytes) -> bytes:
        forgotten.append(node)
        if node == 6:
            raise Refused(Refusal.STALE)
        return b""

    serve({Opcode.FORGET: forget, Opcode.GETATTR: echo})
    for node in (5, 6, 7):
        kernel.ask(Opcode.FORGET, node)
    unique = kernel.ask(Opcode.GETATTR)
    assert (await kernel.answer())[0] == unique
    assert forgotten == [5, 6, 7]


async def test_quick_answers_starve_nobody(kernel: Kernel, serve: Serve) -> None:
    """As long as the kernel has something to ask, others get their turn, too."""
    turns = 0
    limit = 10 * TURN
    asked = 0

    async def ask_again(_node: int, _body: bytes) -> bytes:
        nonlocal asked
        asked += 1
        if asked < limit:
            kernel.ask(Opcode.FORGET)
        return b""

    async def take_turns() -> None:
        nonlocal turns
        while asked < limit:
            turns += 1
            await trio.lowlevel.checkpoint()

    serve({Opcode.FORGET: ask_again})
    kernel.ask(Opcode.FORGET)
    await take_turns()
    assert limit / TURN - 2 <= turns < limit / 2


async def test_the_end_of_the_mount(
    kernel: Kernel, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way is served to its end; the answer is not wanted any more."""
    is_unmounted, may_end, may_go = False, trio.Event(), trio.Event()
    readv, writev = os.readv, os.writev
    done: list[str] = []

    def read(device: int, buffers: list[memoryview]) -> int:
        if is_unmounted:
            raise OSError(errno.ENODEV, "unmounted")
        return readv(device, buffers)

    def write(device: int, buffers: tuple[bytes, ...]) -> int:
        if is_unmounted:
            raise OSError(errno.ENODEV, "unmounted")
        return writev(device, buffers)

    async def wait(_node: int, _body: bytes) -> bytes:
        await may_end.wait()
        done.append("served")
        return b""

    async def run() -> None:
        await Session(kernel.device, handlers, nothing).serve()
        done.append("ended")

    async def crowd(_node: int, _body: bytes) -> bytes:
        await may_go.wait()
        return b""

    handlers = {Opcode.RELEASE: wait, Opcode.READ: wait, Opcode.OPEN: crowd}
    monkeypatch.setattr(os, "readv", read)
    monkeypatch.setattr(os, "writev", write)
    nursery.start_soon(run)
    for _ in range(5):
        kernel.ask(Opcode.OPEN)
        await trio.testing.wait_all_tasks_blocked(0.01)
    may_go.set()
    for _ in range(5):
        await kernel.answer()  # There are tasks now that have nothing to do.
    kernel.ask(Opcode.RELEASE)
    kernel.ask(Opcode.READ)
    await trio.testing.wait_all_tasks_blocked(0.01)
    is_unmounted = True
    kernel.ask(Opcode.GETATTR)  # Wakes who reads.
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert done == []
    may_end.set()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert done == ["served", "served", "ended"]
