"""A chart of bars as SVG, which every browser shows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

_LEFT: Final = 190
_WIDTH: Final = 480
_RIGHT: Final = 110
_ROW: Final = 28
_TOP: Final = 48


def draw_bars(title: str, bars: Sequence[tuple[str, float]], unit: str) -> str:
    """Return an SVG with a bar for each label and value, to one scale."""
    longest = max((value for _, value in bars), default=0.0) or 1.0
    height = _TOP + _ROW * len(bars) + 16
    size = f'width="{_LEFT + _WIDTH + _RIGHT}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="16" y="28" font-size="16" font-weight="bold">{escape(title)}</text>',
    ]
    for row, (label, value) in enumerate(bars):
        y = _TOP + row * _ROW
        width = value / longest * _WIDTH
        parts += [
            f'<text x="{_LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="20" fill="#2563eb"/>',
            f'<text x="{_LEFT + width + 8:.1f}" y="{y + 16}">{value:.0f} {escape(unit)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
