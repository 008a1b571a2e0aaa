"""No reader of smbfs.wire is without a target, and the targets accept what is valid."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from smbfs.wire.create_context import CreateContext
from smbfs.wire.message import Message
from smbfs.wire.negotiate_contexts import KnownContext
from tests.t0_wire.test_registry import wire_modules
from tests.t1_fuzz.targets import all_targets

_READERS = ("decode", "iterate", "parse")
_BASES = (Message, CreateContext, KnownContext)


def public_readers() -> Iterator[str]:
    """Every function and method of the package that by its name makes something of bytes."""
    for module in wire_modules():
        for name, found in inspect.getmembers(module):
            if name.startswith("_") or getattr(found, "__module__", "") != module.__name__:
                continue
            if inspect.isclass(found) and found not in _BASES:
                for method, _ in inspect.getmembers(found, callable):
                    if method.startswith(_READERS):
                        yield f"{name}.{method}"
            elif inspect.isfunction(found) and name.startswith(_READERS):
                yield name


def test_every_public_reader_has_a_target() -> None:
    readers = set(public_readers())
    assert len(readers) > 80
    assert readers == {name for target in all_targets().values() for name in target.reads}
