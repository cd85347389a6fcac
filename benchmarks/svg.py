"""Plots as SVG: horizontal bars with their values, and curves over a logarithmic axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

ACCENT = "#0b6e99"
GREY = "#b4b9be"
_TEXT = "#3c4043"
_LINE = "#dadce0"
_FONT = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"
_WIDTH = 760
_LEFT = 170
_RIGHT = 90
_ROW = 26


@dataclass(frozen=True, slots=True)
class Bar:
    """A named bar; `low` and `high` are drawn as a whisker, `ours` selects pubner's colour."""

    name: str
    value: float
    low: float
    high: float
    label: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """A polyline through points; `ours` selects pubner's colour."""

    name: str
    points: Sequence[tuple[float, float]]
    ours: bool = True


def bar_plot(title: str, bars: Sequence[Bar]) -> str:
    """Return a plot of horizontal bars, the longest over the full width."""
    top = 48
    height = top + _ROW * len(bars) + 12
    most = max((bar.high for bar in bars), default=1.0) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    parts = [_heading(title)]
    for number, bar in enumerate(bars):
        y = top + _ROW * number
        middle = y + 9
        width = max(1.0, bar.value * scale)
        colour = ACCENT if bar.ours else GREY
        weight = "600" if bar.ours else "400"
        end = _LEFT + max(width, bar.high * scale)
        parts += [
            _text(_LEFT - 10, middle + 4, bar.name, anchor="end", weight=weight),
            f"<rect x='{_LEFT}' y='{y}' width='{width:.1f}' height='18' rx='2' fill='{colour}'/>",
            f"<line x1='{_LEFT + bar.low * scale:.1f}' x2='{_LEFT + bar.high * scale:.1f}' "
            f"y1='{middle}' y2='{middle}' stroke='{_TEXT}' stroke-width='1.5'/>",
            _text(end + 8, middle + 4, bar.label, weight=weight),
        ]
    return _document(height, parts)


def curve_plot(title: str, unit: str, curves: Sequence[Curve]) -> str:
    """Return a plot of curves over a logarithmic axis of citations; the y axis starts at zero."""
    height, top, bottom = 300, 56, 44
    points = [point for curve in curves for point in curve.points]
    low = math.log10(min(x for x, _ in points))
    high = math.log10(max(x for x, _ in points))
    most = _round_up(max(y for _, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(x) - low) / (high - low) if high > low else 0.5
        return (
            70 + share * (_WIDTH - 70 - _LEFT),
            height - bottom - (y / most) * (height - top - bottom),
        )

    parts = [_heading(title)]
    for step in range(5):
        value = most * step / 4
        _, y = place(10**low, value)
        parts += [
            f"<line x1='70' x2='{_WIDTH - _LEFT}' y1='{y:.1f}' y2='{y:.1f}' stroke='{_LINE}'/>",
            _text(62, y + 4, f"{value:,.4g}", anchor="end"),
        ]
    parts.append(_text(8, top - 14, unit))
    for x in sorted({x for x, _ in points}):
        across, _ = place(x, 0)
        parts.append(_text(across, height - bottom + 18, _short(x), anchor="middle"))
    parts.append(_text((70 + _WIDTH - _LEFT) / 2, height - 8, "citations", anchor="middle"))
    labels: list[float] = []
    for curve in curves:
        colour = ACCENT if curve.ours else GREY
        placed = [place(x, y) for x, y in curve.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>" for x, y in placed]
        x, y = placed[-1]
        if any(abs(y - other) < 14 for other in labels):
            y = max(labels) + 14
        labels.append(y)
        parts.append(_text(x + 10, y + 4, curve.name, weight="600" if curve.ours else "400"))
    return _document(height, parts)


def _heading(title: str) -> str:
    return _text(8, 24, title, size=15, weight="600")


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, weight: str = "400"
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' "
        f"font-weight='{weight}' fill='{_TEXT}'>{escape(words)}</text>"
    )


def _document(height: int, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' "
        f"viewBox='0 0 {_WIDTH} {height}' {_FONT}>\n"
        f"<rect width='{_WIDTH}' height='{height}' fill='#ffffff'/>\n{body}\n</svg>\n"
    )


def _round_up(value: float) -> float:
    """Return the next higher value with round quarters."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(x * power for x in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if x * power >= value)


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
