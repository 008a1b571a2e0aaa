"""The chart: one SVG, drawn by hand, that shows how many times the baseline each one is."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log2

from benchmarks.report import format_value, measured
from benchmarks.run import BASELINE, Samples
from benchmarks.workloads import Measure

_COLOURS = ("#2563eb", "#7c3aed", "#64748b", "#d97706", "#059669")
_LEFT, _WIDTH, _RIGHT = 270, 560, 110
_BAR, _GAP, _TOP = 16, 14, 78
_MARGIN = 24


def draw_chart(samples: Samples, subtitle: str) -> str:
    """Return the SVG. Bars are ratios on a logarithmic scale, so that every row fits it."""
    names = list(samples.values)
    rows = [each for each in measured(samples) if samples.median(BASELINE, each.key)]
    found = [log2(_ratio(samples, name, row)) for row in rows for name in _shown(samples, row)]
    least, most = min([-1.0, *found]), max([1.0, *found])
    scale = _WIDTH / (most - least)
    one = _LEFT - least * scale
    parts: list[str] = []
    y = _TOP
    for row in rows:
        shown = _shown(samples, row)
        middle = y + len(shown) * _BAR / 2
        better = "" if row.higher_is_better else " (less is better)"
        parts.append(_text(_LEFT - 10, middle - 2, row.title, "end"))
        parts.append(_text(_LEFT - 10, middle + 12, f"{row.unit}{better}", "end", "unit"))
        for name in shown:
            colour = _COLOURS[names.index(name) % len(_COLOURS)]
            parts += _bar(samples, name, row, y=y, one=one, scale=scale, colour=colour)
            y += _BAR
        y += _GAP
    grid = [
        _line(one + power * scale, y, f"{2.0**power:g}x")
        for power in range(ceil(least), floor(most) + 1)
    ]
    return _document(y + _MARGIN, subtitle, [*grid, *_legend(names, y + 4), *parts])


def _shown(samples: Samples, row: Measure) -> list[str]:
    """Who has a bar in a row: the baseline, too, as a mark at 1."""
    return [name for name in samples.values if samples.ratio(name, row.key)]


def _ratio(samples: Samples, name: str, row: Measure) -> float:
    return samples.ratio(name, row.key) or 1.0


def _bar(
    samples: Samples, name: str, row: Measure, *, y: float, one: float, scale: float, colour: str
) -> tuple[str, str]:
    ratio = _ratio(samples, name, row)
    end = one + log2(ratio) * scale
    left, width = min(one, end), max(2.0, abs(end - one))
    value = format_value(samples.median(name, row.key) or 0.0)
    label = value if name == BASELINE else f"{value} ({ratio:.2f}x)"
    size = f'width="{width:.1f}" height="{_BAR - 2}"'
    return (
        f'<rect x="{left:.1f}" y="{y}" {size} fill="{colour}"/>',
        _text(max(one, end) + 6, y + 11, label, "start", "value"),
    )


def _line(x: float, bottom: float, label: str) -> str:
    ends = f'x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{bottom - _GAP}"'
    kind = "one" if label == "1x" else "grid"
    return f'<line {ends} class="{kind}"/>' + _text(x, _TOP - 10, label, "middle", "unit")


def _legend(names: list[str], y: float) -> list[str]:
    parts = []
    x = float(_LEFT)
    for index, name in enumerate(names):
        colour = _COLOURS[index % len(_COLOURS)]
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(x + 17, y + 10, name, "start"))
        x += 34 + 7 * len(name)
    return parts


def _text(x: float, y: float, text: str, anchor: str, kind: str = "name") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'
    )


def _document(height: float, subtitle: str, parts: list[str]) -> str:
    width = _LEFT + _WIDTH + _RIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" '
        f'width="{width}" height="{height:.0f}" font-family="sans-serif">\n'
        "<style>text{font-size:12px;fill:#111}.unit,.value,.sub{font-size:11px;fill:#555}"
        ".title{font-size:16px;font-weight:bold}.grid{stroke:#ddd}.one{stroke:#333}</style>\n"
        f'<rect width="{width}" height="{height:.0f}" fill="#fff"/>\n'
    )
    title = _text(16, 26, f"The same share, mounted by each: {BASELINE} is 1", "start", "title")
    return head + "\n".join([title, _text(16, 44, subtitle, "start", "sub"), *parts]) + "\n</svg>\n"
