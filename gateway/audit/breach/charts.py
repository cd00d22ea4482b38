"""Charts as shapes, so that a page and a paper show the same drawing. Pure, and the same bytes each time."""

from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH = 720
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 14, 44
_HEIGHT = 240
_BAND, _THICK = 26, 16
_NAME_WIDTH = 190
_MOST_NAME = 26
_LINES = 4
_LABELS = 8


@dataclass(frozen=True, slots=True)
class Rect:
    """A bar. Coordinates count from the upper left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the grid."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class Label:
    """A text at its baseline; *anchor* is ``start``, ``middle`` or ``end``."""

    x: float
    y: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing with the *title* and *description* of whoever cannot see it. *name* is unique in a document."""

    name: str
    title: str
    description: str
    width: float
    height: float
    rects: tuple[Rect, ...]
    lines: tuple[Line, ...]
    labels: tuple[Label, ...]


def upright(name: str, title: str, description: str, points: Sequence[tuple[str, int]]) -> Picture:
    """Draw *points* (label, value from 0) as bars side by side: time goes to the right."""
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    floor, top = _TOP + inner_height, _ceiling(max((value for _, value in points), default=0))
    step = inner_width / max(1, len(points))
    rects = tuple(
        Rect(
            _round(_LEFT + at * step + step * 0.1),
            _round(floor - value / top * inner_height),
            _round(step * 0.8),
            _round(value / top * inner_height),
        )
        for at, (_, value) in enumerate(points)
        if value
    )
    lines, labels = [], []
    for line in range(_LINES + 1):
        y = _round(floor - line / _LINES * inner_height)
        lines.append(Line(_LEFT, y, _WIDTH - _RIGHT, y))
        labels.append(Label(_LEFT - 6, y + 4, f"{top * line // _LINES}", "end"))
    every = max(1, -(-len(points) // _LABELS))
    labels += [
        Label(_round(_LEFT + (at + 0.5) * step), floor + 18, label)
        for at, (label, _) in enumerate(points)
        if at % every == 0
    ]
    return Picture(name, title, description, _WIDTH, _HEIGHT, rects, tuple(lines), tuple(labels))


def across(name: str, title: str, description: str, points: Sequence[tuple[str, int]]) -> Picture:
    """Draw *points* (label, value from 0) as bars one below the other, each with its value."""
    top = max((value for _, value in points), default=0) or 1
    room = _WIDTH - _NAME_WIDTH - _RIGHT - 60
    rects, labels = [], []
    for at, (label, value) in enumerate(points):
        y = _TOP + at * _BAND
        length = _round(value / top * room)
        rects.append(Rect(_NAME_WIDTH, y, max(length, 1), _THICK))
        shown = label if len(label) <= _MOST_NAME else label[: _MOST_NAME - 1] + "…"
        labels.append(Label(_NAME_WIDTH - 8, y + 12, shown, "end"))
        labels.append(Label(_NAME_WIDTH + length + 6, y + 12, f"{value}", "start"))
    height = _TOP * 2 + max(1, len(points)) * _BAND
    return Picture(name, title, description, _WIDTH, height, tuple(rects), (), tuple(labels))


def _ceiling(value: int) -> int:
    """Return the least of 4, 8, 20, 40, 80, 200 ... that is not below *value*: the grid then has whole numbers."""
    step = 4
    while step < value:
        step = step * 5 // 2 if str(step).startswith("8") else step * 2
    return step


def _round(value: float) -> float:
    return round(value, 2)
