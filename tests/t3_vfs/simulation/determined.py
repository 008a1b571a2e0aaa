"""Runs that can be repeated: no chance but the seed's, no clock but the run's."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from types import SimpleNamespace
from unittest import mock
from uuid import UUID

import trio
import trio._core._run as core

from smbfs.wire.message import Message
from smbfs.wire.negotiate import NegotiateRequest, NegotiateResponse
from smbfs.wire.session_setup import SessionSetupRequest, SessionSetupResponse
from smbfs.wire.tree_connect import TreeConnectRequest, TreeConnectResponse
from tests.beds.simulated_files import EPOCH_NS

# ------------------------------------------------------------- what is the same in every run


@contextmanager
def packed_once() -> Iterator[None]:
    """Have what every connection begins with packed and read once: smbprotocol takes its time."""
    with ExitStack() as stack:
        for message, encode in _ENCODED.items():
            stack.enter_context(mock.patch.object(message, "encode", encode))
        for message, decode in _DECODED.items():
            stack.enter_context(mock.patch.object(message, "decode", decode))
        yield


def _encoder(message: type[Message]) -> Callable[[Message], bytes]:
    remembered = cache(message.encode)

    def encode(self: Message) -> bytes:  # Unlike a cache, it becomes a method.
        return remembered(self)

    return encode


def _decoder(message: type[Message]) -> Callable[[memoryview], Message]:
    decode = message.decode
    remembered = cache(lambda body: decode(memoryview(body)))
    return lambda body: remembered(bytes(body))


_ASKED: tuple[type[Message], ...] = (NegotiateRequest, SessionSetupRequest, TreeConnectRequest)
_TOLD: tuple[type[Message], ...] = (
    NegotiateResponse,
    SessionSetupRequest,
    SessionSetupResponse,
    TreeConnectResponse,
)
_ENCODED = {message: _encoder(message) for message in _ASKED}
_DECODED = {message: _decoder(message) for message in _TOLD}


# ------------------------------------------------------------- no chance but the seed's


async def _no_network_changes() -> AsyncIterator[None]:
    while True:
        await trio.sleep(math.inf)
        yield


async def _no_sleep(*_: object) -> None:
    await trio.lowlevel.checkpoint()


def _time_ns() -> int:
    return EPOCH_NS + int(trio.current_time() * 1e9)


@contextmanager
def nothing_by_chance(seed: int) -> Iterator[None]:
    """Have everything that is drawn, or that the clock tells, follow from the seed."""
    chance = random.Random(f"client {seed}")
    urandom = chance.randbytes
    random.seed(seed)
    core._r.seed(seed)
    logging.disable(logging.CRITICAL)
    try:
        with (
            mock.patch.object(core, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
            mock.patch("os.urandom", urandom),
            mock.patch("random._urandom", urandom),
            mock.patch("time.time_ns", _time_ns),
            mock.patch("smbfs.client.reconnect.network_changes", _no_network_changes),
            mock.patch("smbfs.client.reconnect.follow_sleep", _no_sleep),
            mock.patch("smbfs.client.attach.os", SimpleNamespace(urandom=bytes)),
            mock.patch("smbfs.client.connect.uuid", SimpleNamespace(uuid4=lambda: UUID(int=2))),
        ):
            yield
    finally:
        logging.disable(logging.NOTSET)
