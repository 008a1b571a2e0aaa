"""Sizes of modules, classes and functions, read from the syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ROOMS = ("smbfs", "tests", "benchmarks", "demo")

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Measured:
    """One module, class or function. ``name`` is ``path``, ``path::Class`` or ``path::f``."""

    name: str
    kind: str
    """module, class, methods (of a class) or function."""
    size: int
    """Lines, or the number of methods."""


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the repository by its path, parsed."""
    paths = sorted(path for room in ROOMS for path in (REPOSITORY / room).rglob("*.py"))
    return {str(path.relative_to(REPOSITORY)): ast.parse(path.read_text()) for path in paths}


def measure() -> Iterator[Measured]:
    """Everything that has a limit."""
    for path, tree in modules().items():
        yield Measured(path, "module", len((REPOSITORY / path).read_text().splitlines()))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield from _measure_class(path, node)
            elif isinstance(node, FunctionNode):
                yield Measured(f"{path}::{node.name}", "function", _body_lines(node))


def _measure_class(path: str, node: ast.ClassDef) -> Iterator[Measured]:
    """A class without methods (an enum of 300 status codes) is a table, which may be long."""
    methods = sum(isinstance(part, FunctionNode) for part in node.body)
    if methods:
        yield Measured(f"{path}::{node.name}", "class", _lines(node))
        yield Measured(f"{path}::{node.name}", "methods", methods)


def _body_lines(node: FunctionNode) -> int:
    """Lines of a function without its signature and docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return _last_line(node) - body[0].lineno + 1 if body else 0


def _lines(node: ast.ClassDef) -> int:
    return _last_line(node) - node.lineno + 1


def _last_line(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno
