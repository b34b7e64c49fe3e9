"""Small SVG drawings are made here, of elements that escape what they are given, and a linear or logarithmic
axis.

Colours are classes, never attributes: the page's style sheet knows light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape


def el(tag: str, *children: Markup | str, **attributes: str | float | None) -> Markup:
    """Return one element. Text and attributes are escaped; `class_` is class, `stroke_width` stroke-width."""
    parts = [tag]
    for name, value in attributes.items():
        if value is not None:
            text = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
            parts.append(f'{name.rstrip("_").replace("_", "-")}="{escape(text)}"')
    return Markup("<{}>{}</{}>").format(Markup(" ".join(parts)), group(children), Markup(tag))


def group(children: Iterable[Markup | str]) -> Markup:
    return Markup("").join(children)


def text(x: float, y: float, content: str, class_: str = "tick", anchor: str = "middle") -> Markup:
    return el("text", content, x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return el("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def drawing(width: float, height: float, label: str, *children: Markup) -> Markup:
    """Return a drawing that shrinks with the page and is read out as `label`."""
    return el(
        "svg",
        el("title", label),
        *children,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        role="img",
        aria_label=label,
    )


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis maps values in [low, high] to pixels in [start, end]."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; outside values stop at the edge."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        position = math.log10(max(value, self.low)) if self.log else value
        share = min(1.0, max(0.0, (position - low) / (high - low)))
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Return round values inside the range."""
        if self.log:
            return [
                10.0**k for k in range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            ]
        rough = (self.high - self.low) / about
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [k * step for k in range(first, last + 1)]


def axis_over(values: Sequence[float], start: float, end: float, zero: bool = False) -> Axis:
    """Return an axis over all values with some room, from 0 with `zero`. Its length is never 0."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return Axis(
        low - room * (low != 0.0 or not zero),
        high + room * (high != 0.0 or not zero or low == 0.0),
        start,
        end,
    )


def tick_label(value: float) -> str:
    return f"{value:.6g}".replace("-", "−") if abs(value) > 1e-12 else "0"


_MARKS = {
    "circle": "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0Z",
    "square": "M-4,-4H4V4H-4Z",
    "diamond": "M0,-5.6L5.6,0L0,5.6L-5.6,0Z",
    "triangle": "M0,-5.4L5,3.6H-5Z",
    "cross": "M-1.7,-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5V-1.7H-1.7Z",
    "down": "M0,5.4L5,-3.6H-5Z",
}
MARKS = tuple(_MARKS)


def mark(shape: str, x: float, y: float, class_: str, title: str = "") -> Markup:
    """Return a point of one of the `MARKS`, with what is shown on hovering."""
    inside = (el("title", title),) if title else ()
    return el("path", *inside, d=_MARKS[shape], transform=f"translate({x:.1f},{y:.1f})", class_=class_)
