"""Lines of TOML keys, against texts that were put together of statements of known sizes."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs.config.toml_lines import line_of, lines_of

AWKWARD = '''# a = 1
first = """
not = "a key"
[neither]
"""  # three "quotes"
"quoted key".with.parts = [ # [
    1, "]", ']',
    { x = "#" },
]
[ server . "nas.example.org" ] # a table
seal = true
'literal = key' = 'C:\\'
inline = { a = { b = [1,
  2] } }
[[list]]
[server.b]
text = \'\'\'
\'\'\'\'\'
other = """x\\""" "y"""""
empty = ""
last = 1'''


def test_every_kind_of_statement() -> None:
    tomllib.loads(AWKWARD)
    assert lines_of(AWKWARD) == {
        ("first",): 2,
        ("quoted key",): 6,
        ("quoted key", "with"): 6,
        ("quoted key", "with", "parts"): 6,
        ("server",): 10,
        ("server", "nas.example.org"): 10,
        ("server", "nas.example.org", "seal"): 11,
        ("server", "nas.example.org", "literal = key"): 12,
        ("server", "nas.example.org", "inline"): 13,
        ("list",): 15,
        ("server", "b"): 16,
        ("server", "b", "text"): 17,
        ("server", "b", "other"): 19,
        ("server", "b", "empty"): 20,
        ("server", "b", "last"): 21,
    }


def test_keys_of_inline_tables_are_where_those_are() -> None:
    text = "\nserver = {nas = {seal = true}}"
    assert line_of(("server", "nas", "seal"), lines_of(text)) == 2
    assert line_of(("nowhere",), {}) == 1


def test_lines_of_windows() -> None:
    assert lines_of('a = """\r\n"""\r\n# x\r\nb = 1\r\n') == {("a",): 1, ("b",): 4}


VALUES = st.sampled_from(
    [
        "1", "true", '"x"', "'x'", '""', "''", '"# [\\" = "', "'# ] = '", "1979-05-27", "{}", "[]",
        '"""\na = 1\n"""', "'''\n[b]\n'''", "[\n1,\n# ] c = 3\n2]", '{a = "}", b = [1,\n2]}',
        '"""\\"""\n"""', '"""x"""""', '[[\n"]"], [{x = "{"}]]',
        '"""x""""', "'''x''''",
    ]
)  # fmt: skip
KEYS = st.sampled_from(["k{}", '"k {}"', "'k={}'", '"k[{}"', '"k#{}"', '"k\\"{}"', "k{} . a"])


@given(
    st.lists(
        st.tuples(
            KEYS, VALUES, st.sampled_from(["", " # x = [", ' # " [', " # ' [", "\n", "\n\n#"])
        )
    )
)
def test_statements_of_known_sizes(parts: list[tuple[str, str, str]]) -> None:
    text, expected = "", {}
    for number, (key, value, tail) in enumerate(parts):
        statement = f"{key.format(number)} = {value}"
        (name,) = tomllib.loads(f"{key.format(number)} = 1")
        expected[name,] = text.count("\n") + 1
        text += f"{statement}{tail}\n"
    tomllib.loads(text)
    assert {path: line for path, line in lines_of(text).items() if len(path) == 1} == expected


@pytest.mark.parametrize("header", ["a" + ".a" * 5000, '"' + "x" * 5000 + '"'])
def test_long_keys_take_no_more_than_their_place(header: str) -> None:
    text = f"[{header}]\n" + "\n".join(f"b{number} = 1" for number in range(1000))
    assert sum(map(len, lines_of(text))) <= 3 * 1003
