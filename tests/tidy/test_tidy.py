"""The house rules that ruff does not know: sizes, and citations of the specification."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.tidy.measure import REPOSITORY, Measured, measure, modules

LIMITS = {"module": 600, "class": 300, "methods": 20, "function": 70}

WAIVERS: dict[tuple[str, str], int] = {}
"""What is over its limit, by kind and name, with its size. Sizes here may only shrink."""


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """Keep the syntax trees no longer: every collection of garbage would go through them."""
    yield
    modules.cache_clear()


def too_large(measured: Measured, waivers: dict[tuple[str, str], int]) -> str | None:
    """What is wrong with a size, if anything."""
    limit = LIMITS[measured.kind]
    waived = waivers.get((measured.kind, measured.name))
    if waived is None:
        if measured.size > limit:
            return f"{measured.name}: {measured.kind} {measured.size}, at most {limit}"
        return None
    if measured.size > waived:
        return f"{measured.name}: grew from {waived} to {measured.size}"
    if measured.size < waived or waived <= limit:
        return f"{measured.name}: now {measured.size}; its waiver of {waived} must shrink with it"
    return None


def test_sizes() -> None:
    complaints = [complaint for part in measure() if (complaint := too_large(part, WAIVERS))]
    assert not complaints, "\n".join(complaints)


def test_waivers_name_what_exists() -> None:
    assert set(WAIVERS) <= {(part.kind, part.name) for part in measure()}


@pytest.mark.parametrize(
    ("size", "waived", "accepted"),
    [
        *((70, None, True), (71, None, False)),
        *((80, 80, True), (81, 80, False), (79, 80, False), (60, 60, False)),
    ],
)
def test_a_waiver_only_shrinks(size: int, waived: int | None, *, accepted: bool) -> None:
    waivers = {} if waived is None else {("function", "f"): waived}
    assert (too_large(Measured("f", "function", size), waivers) is None) == accepted


def test_everything_large_is_measured() -> None:
    parts = {(part.kind, part.name): part.size for part in measure()}
    here = "tests/tidy/test_tidy.py"
    assert parts["function", f"{here}::test_waivers_name_what_exists"] == 1
    assert parts["module", here] == len((REPOSITORY / here).read_text().splitlines())
    assert parts["methods", "tests/beds/samba.py::SambaServer"] > 10


def test_every_module_says_what_it_is() -> None:
    silent = [path for path, tree in modules().items() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def message_classes() -> dict[str, ast.ClassDef]:
    """The classes of wire that derive from ``Message``, directly or not."""
    classes = {
        f"{path}::{node.name}": node
        for path, tree in modules().items()
        if path.startswith("smbfs/wire/")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found: dict[str, ast.ClassDef] = {}
    known = {"Message"}
    while True:
        more = {
            name: node
            for name, node in classes.items()
            if name not in found and known & {ast.unparse(base) for base in node.bases}
        }
        if not more:
            return found
        found |= more
        known |= {node.name for node in more.values()}


def test_every_message_cites_the_specification() -> None:
    messages = message_classes()
    assert len(messages) > 20
    silent = [
        name
        for name, node in messages.items()
        if not node.name.startswith("_") and "[MS-" not in (ast.get_docstring(node) or "")
    ]
    assert silent == []


TOLD_TO_PEOPLE = {"UserError", "ConfigError", "CommandError", "AuthenticationError", "_usage"}


def test_every_message_to_people_says_why_and_what_to_do() -> None:
    """As far as one sees without running it."""
    calls = [
        (f"{path}:{node.lineno}", node)
        for path, tree in modules().items()
        if path.startswith("smbfs/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in TOLD_TO_PEOPLE
    ]
    assert len(calls) > 60
    assert [where for where, call in calls if not _has_three_parts(call)] == []


def _has_three_parts(call: ast.Call) -> bool:
    if any(isinstance(part, ast.Starred) for part in call.args):
        return True
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    parts = [*call.args, *(named[name] for name in ("why", "do") if name in named)]
    empty = [part for part in parts[1:3] if isinstance(part, ast.Constant) and not part.value]
    return len(parts) >= 3 and not empty
