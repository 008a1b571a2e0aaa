"""The chart: one SVG, drawn by hand, that shows how many times the baseline each one is."""

from __future__ import annotations

from html import escape

from benchmarks.report import format_value, measured
from benchmarks.run import BASELINE, Samples
from benchmarks.workloads import Measure

_COLOURS = ("#2563eb", "#7c3aed", "#64748b", "#d97706", "#059669")
_LEFT, _WIDTH, _RIGHT = 270, 560, 110
_BAR, _GAP, _TOP = 16, 14, 64
_MARGIN = 24


def draw_chart(samples: Samples, subtitle: str) -> str:
    """Return the SVG. Bars are ratios, so that every row fits the same scale."""
    names = list(samples.values)
    rows = [each for each in measured(samples) if samples.median(BASELINE, each.key)]
    longest = max((_ratio(samples, name, row) for row in rows for name in names), default=1.0)
    scale = _WIDTH / max(longest, 1.0)
    parts: list[str] = []
    y = _TOP
    for row in rows:
        shown = [name for name in names if samples.median(name, row.key) is not None]
        middle = y + len(shown) * _BAR / 2
        better = "" if row.higher_is_better else " (less is better)"
        parts.append(_text(_LEFT - 10, middle - 2, row.title, "end"))
        parts.append(_text(_LEFT - 10, middle + 12, f"{row.unit}{better}", "end", "unit"))
        for name in shown:
            colour = _COLOURS[names.index(name) % len(_COLOURS)]
            parts += _bar(samples, name, row, y=y, scale=scale, colour=colour)
            y += _BAR
        y += _GAP
    one = _LEFT + scale
    line = f'<line x1="{one:.1f}" y1="{_TOP - 6}" x2="{one:.1f}" y2="{y - _GAP}" class="one"/>'
    return _document(y + _MARGIN, subtitle, [line, *_legend(names, y + 4), *parts])


def _ratio(samples: Samples, name: str, row: Measure) -> float:
    return samples.ratio(name, row.key) or 0.0


def _bar(
    samples: Samples, name: str, row: Measure, *, y: float, scale: float, colour: str
) -> tuple[str, str]:
    ratio = _ratio(samples, name, row)
    value = samples.median(name, row.key) or 0.0
    width = max(1.0, ratio * scale)
    label = format_value(value) + ("" if name == BASELINE else f"  {ratio:.2f}x")
    size = f'width="{width:.1f}" height="{_BAR - 2}"'
    return (
        f'<rect x="{_LEFT}" y="{y}" {size} fill="{colour}"/>',
        _text(_LEFT + width + 6, y + 11, label, "start", "value"),
    )


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
        ".title{font-size:16px;font-weight:bold}.one{stroke:#999;stroke-dasharray:3 3}</style>\n"
        f'<rect width="{width}" height="{height:.0f}" fill="#fff"/>\n'
    )
    title = _text(16, 26, f"The same share, mounted by each: {BASELINE} is 1", "start", "title")
    return head + "\n".join([title, _text(16, 44, subtitle, "start", "sub"), *parts]) + "\n</svg>\n"
