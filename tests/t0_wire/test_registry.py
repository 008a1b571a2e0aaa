"""Nothing that crosses the wire escapes the property tests."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import smbfs.wire
from smbfs.wire.create_context import CreateContext
from smbfs.wire.message import Message
from smbfs.wire.negotiate_contexts import KnownContext
from tests.t0_wire.contexts import (
    CREATE_REQUEST_CONTEXTS,
    CREATE_RESPONSE_CONTEXTS,
    NEGOTIATE_CONTEXTS,
)
from tests.t0_wire.strategies import CASES


def wire_modules() -> list[ModuleType]:
    names = [module.name for module in pkgutil.iter_modules(smbfs.wire.__path__)]
    return [importlib.import_module(f"smbfs.wire.{name}") for name in names]


def public_subclasses(base: type) -> set[type]:
    return {
        found
        for module in wire_modules()
        for name, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, base) and found is not base and not name.startswith("_")
    }


def test_every_message_has_a_case() -> None:
    assert public_subclasses(Message) == set(CASES)


def test_every_create_context_has_a_strategy() -> None:
    covered = {*CREATE_REQUEST_CONTEXTS, *CREATE_RESPONSE_CONTEXTS}
    assert public_subclasses(CreateContext) == covered


def test_every_negotiate_context_has_a_strategy() -> None:
    assert public_subclasses(KnownContext) == set(NEGOTIATE_CONTEXTS)


def test_every_message_but_the_error_knows_its_command() -> None:
    without = {message.__name__ for message in CASES if not hasattr(message, "command")}
    assert without == {"ErrorResponse"}
