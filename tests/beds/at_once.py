"""Calling what is async, and waits for nobody, from where there is no event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


def at_once(call: Coroutine[Any, Any, _T]) -> _T:
    """Return what a call gives. Raises: RuntimeError if it has to wait for something."""
    try:
        call.send(None)
    except StopIteration as end:
        result: _T = end.value
        return result
    call.close()
    raise RuntimeError("it waits")
