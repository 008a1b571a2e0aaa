"""One mount's conversation with the kernel: requests are read, served, and answered.

Most requests are answered from memory, without waiting for anybody. So one task reads and serves,
one request after the other; only when a handler has to wait does another task go on reading. That
spares the event loop a task, and a turn, for each request.

INVARIANT: at most one task reads; none does only while as much is in handlers as there may be.

Spec: fuse(4).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Coroutine, Generator, Mapping
from functools import partial
from types import coroutine
from typing import Any, Final, TypeVar

import trio

from smbfs.errors import SmbfsError
from smbfs.fuse.answers import encode_answer_header, encode_init
from smbfs.fuse.askers import is_being_killed
from smbfs.fuse.errno_map import errno_of, killed_errno, says_unmounted, unsupported_errno
from smbfs.fuse.protocol import REQUEST_SIZE_MAX, UNANSWERED, Buffer, Opcode
from smbfs.fuse.requests import (
    REQUEST_HEADER_SIZE,
    Request,
    decode_init,
    decode_interrupt,
    decode_request,
)

Handler = Callable[[int, bytes], Coroutine[Any, Any, Buffer]]
"""Serves a request: given its inode and its body, returns the body of the answer."""

Undo = Callable[[Opcode, bytes], Coroutine[Any, Any, None]]
"""Takes back what an answer would have given out."""

TASKS_MAX: Final = 1000
"""Requests that are served at once; who asks more is not heard, not even if killed."""

HELD_MAX: Final = 64 * 1024 * 1024
"""Bytes of requests that wait, beyond which none is read."""

IDLE_MAX: Final = 16
"""Tasks that are kept for the next request that has to wait."""

LOOK_AGAIN_S: Final = 0.5
"""Seconds between two looks at somebody who would rather not wait."""

TURN: Final = 64
"""Requests that are served in a row before other tasks get a turn."""

_ResultT = TypeVar("_ResultT")

_log = logging.getLogger(__name__)


class Session:
    """Serves the kernel through an open /dev/fuse."""

    def __init__(self, device: int, handlers: Mapping[Opcode, Handler], undo: Undo) -> None:
        """``device`` is the caller's to close. What has no handler is not supported.

        ``undo`` is called with an answer that nobody is there for any more.
        """
        os.set_blocking(device, False)
        self._device = device
        self._undo = undo
        known = {
            Opcode.INIT: _initialise,
            Opcode.DESTROY: _end,
            Opcode.INTERRUPT: self._interrupt,
            **handlers,
        }
        self._handlers = {int(opcode): handler for opcode, handler in known.items()}
        self._buffer = memoryview(bytearray(REQUEST_SIZE_MAX))
        self._idle = trio.lowlevel.ParkingLot()
        """Tasks that have done waiting, and may go on reading."""
        self._tasks = 0
        self._is_read = False
        """Whether a task reads, or is about to."""
        self._handovers = 0
        self._is_over = False
        self._waiting: dict[int, Request] = {}
        """Requests whose handlers wait, by what they are named."""
        self._held = 0
        """Bytes of these."""
        self._abandoned: set[int] = set()
        """Those of them that nobody waits for any more."""

    async def serve(self) -> None:
        """Serve until the mount is gone, and until all that was under way then is served."""
        async with trio.open_nursery() as self._nursery:
            self._hand_over()

    def _hand_over(self) -> None:
        """Have another task go on reading."""
        self._handovers += 1
        can_be_another = bool(self._idle) or self._tasks < TASKS_MAX
        # Otherwise the next one that has done waiting reads.
        self._is_read = can_be_another and self._held < HELD_MAX
        if self._is_read and self._idle:
            self._idle.unpark()
        elif self._is_read:
            self._tasks += 1
            self._nursery.start_soon(self._read_and_serve)

    async def _read_and_serve(self) -> None:
        served = 0
        while (request := await self._next_request()) is not None:
            handovers = self._handovers
            await self._serve(*request)
            served += 1
            if self._handovers != handovers:
                if not await self._is_needed():
                    break
            elif served % TURN == 0:
                await trio.lowlevel.checkpoint()
        self._tasks -= 1

    async def _is_needed(self) -> bool:
        """Wait until nobody reads; False if there is somebody else for that, too."""
        if self._is_read and not self._is_over:
            if len(self._idle) >= IDLE_MAX:
                return False
            await self._idle.park()
        self._is_read = True
        return True

    async def _next_request(self) -> tuple[Request, bytes] | None:
        while not self._is_over:
            try:
                size = os.readv(self._device, (self._buffer,))
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._device)
            except FileNotFoundError:
                pass  # Who asked was killed, and needs no answer.
            except OSError as error:
                if not says_unmounted(error):
                    raise
                self._is_over = True
                self._idle.unpark_all()
            else:
                return decode_request(self._buffer), bytes(self._buffer[REQUEST_HEADER_SIZE:size])
        return None

    async def _serve(self, request: Request, body: bytes) -> None:
        handler = self._handlers.get(request.opcode)
        if handler is None:
            self._refuse(request, unsupported_errno())
            return
        waits = partial(self._waits, request)
        try:
            answer = await _telling(handler(request.node, body), on_wait=waits)
            if request.unique in self._abandoned:
                await self._undo(Opcode(request.opcode), bytes(answer))
        except SmbfsError as error:
            _log.debug("%s: %s", _described(request), error)
            self._refuse(request, errno_of(error))
        except Exception as error:  # noqa: BLE001 - a bug ends one request, not the mount
            _log.exception("%s failed unexpectedly", _described(request))
            self._refuse(request, errno_of(error))
        else:
            if request.opcode not in UNANSWERED:
                self._answer(request, answer)
        finally:
            if self._waiting.pop(request.unique, None) is not None:
                self._held -= request.size
            self._abandoned.discard(request.unique)

    # ------------------------------------------------------------- who would rather not wait

    def _waits(self, request: Request) -> None:
        self._waiting[request.unique] = request
        self._held += request.size
        self._hand_over()

    async def _interrupt(self, _node: int, body: bytes) -> bytes:
        request = self._waiting.get(decode_interrupt(body))
        if request is not None:
            self._nursery.start_soon(self._abandon_if_killed, request)
        return b""

    async def _abandon_if_killed(self, request: Request) -> None:
        """Let go whoever is being killed; it would wait for us, whatever it is sent.

        Nothing is cancelled: what is under way is done, and what it would have given out is taken
        back. Other signals have to wait: no program thinks that they could end a stat(2).
        """
        while request.unique in self._waiting and request.unique not in self._abandoned:
            if is_being_killed(request.thread):
                self._refuse(request, killed_errno())
                self._abandoned.add(request.unique)
            else:
                await trio.sleep(LOOK_AGAIN_S)

    # ------------------------------------------------------------- answers

    def _answer(self, request: Request, body: Buffer) -> None:
        if request.unique in self._abandoned:
            return
        header = encode_answer_header(request.unique, len(body))
        try:
            os.writev(self._device, (header, body))
        except OSError as error:
            if isinstance(error, FileNotFoundError) or says_unmounted(error):
                _log.debug("%s: nobody waits for the answer", _described(request))
                return
            _log.exception("%s: the kernel did not take the answer", _described(request))
            self._refuse(request, errno_of(error))

    def _refuse(self, request: Request, number: int) -> None:
        if request.opcode in UNANSWERED or request.unique in self._abandoned:
            return
        try:
            os.write(self._device, encode_answer_header(request.unique, 0, number))
        except OSError as error:
            _log.debug("%s: the kernel did not take the error: %s", _described(request), error)


async def _initialise(_node: int, body: bytes) -> bytes:
    return encode_init(decode_init(body))


async def _end(_node: int, _body: bytes) -> bytes:
    return b""


@coroutine
def _telling(
    work: Coroutine[Any, Any, _ResultT], *, on_wait: Callable[[], None]
) -> Generator[Any, Any, _ResultT]:
    """Do what ``await work`` does, and call ``on_wait`` when it has to wait for the first time."""
    try:
        wish = work.send(None)
        on_wait()
        while True:
            # Trio tells by a value, too, that somebody has waited in vain.
            wish = work.send((yield wish))
    except StopIteration as done:
        result: _ResultT = done.value
        return result


def _described(request: Request) -> str:
    try:
        name = Opcode(request.opcode).name
    except ValueError:
        name = f"opcode {request.opcode}"
    return f"{name} of inode {request.node}"
