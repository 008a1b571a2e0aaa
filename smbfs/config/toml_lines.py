"""In which line of a TOML file a key stands: tomllib, which reads them, does not tell.

Spec: TOML 1.0.0.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Final

DEPTH: Final = 3
"""Parts of a key that count: ``server``, its name, the option."""

Path = tuple[str, ...]

# Strings and comments are taken whole, since brackets and newlines inside mean nothing.
_PIECE: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?"""(?!")|\'\'\'.*?\'\'\'(?!\')|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*'''
    r"""|\n|[\[\]{}=]|[^\s"'#\[\]{}=]+""",
    re.DOTALL,
)


def lines_of(text: str) -> dict[Path, int]:
    """Return the line, from 1, in which each key of a valid TOML text first stands.

    Keys are cut after ``DEPTH`` parts; those inside an inline table are in the line of its own key.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    for line, statement in _statements(text):
        if statement[0] == "[":
            table = _path("".join(statement).strip("[]"))
            found = table
        else:
            found = (table + _path("".join(statement[: statement.index("=")])))[:DEPTH]
        for size in range(1, len(found) + 1):
            lines.setdefault(found[:size], line)
    return lines


def line_of(path: Path, lines: Mapping[Path, int]) -> int:
    """Return the line of a key, or of the nearest one that it is in."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield headers and assignments: their first line and, of what counts, their pieces.

    Of a header that is everything, of an assignment the key and ``=``.
    """
    line, began, depth = 1, 1, 0
    pieces: list[str] = []
    in_value = False
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece == "\n" and depth == 0:
            if pieces:
                yield began, pieces
            pieces, in_value = [], False
        elif in_value:
            depth += (piece in "[{") - (piece in "]}")
        elif piece[0] != "#" and piece != "\n":
            began = began if pieces else line
            in_value = piece == "="
            pieces.append(piece)
        line += piece.count("\n")
    if pieces:
        yield began, pieces


def _path(key: str) -> Path:
    """Return the parts of a key as it is written, quotes and escapes resolved."""
    parts: list[str] = []
    value: object = tomllib.loads(f"{key} = 0")
    while isinstance(value, dict) and len(parts) < DEPTH:
        ((part, value),) = value.items()
        parts.append(part)
    return tuple(parts)
