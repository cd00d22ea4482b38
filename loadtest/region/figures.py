"""What other caps would do: honest days that they stop, against patients that a fast thief carries away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.vocabulary.limits import Control, LimitSet
from loadtest.region.honest import Staff

Caps = Mapping[str, Mapping[Control, int]]

CLASSES: Final = ("standard", "heavy")
SWEPT: Final[dict[Control, tuple[int, ...]]] = {
    Control.PATIENTS_10MIN: (10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120),
    Control.PATIENTS_1H: (20, 30, 40, 50, 60, 80, 100, 120),
    Control.PATIENTS_24H: (40, 60, 80, 100, 150, 200, 300, 400, 600),
    Control.PATIENTS_7D: (80, 100, 150, 200, 300, 500, 700, 1_000, 2_500),
}


@dataclass(frozen=True, slots=True)
class Point:
    """One *cap* of one control in one class: honest days it stops per 10 000, out of *days*."""

    account_class: str
    control: Control
    cap: int
    wrong_per_10000: float
    days: int


def hard_of(classes: Mapping[str, LimitSet]) -> Caps:
    """Return the hard bounds of *classes*, requests apart."""
    return {
        name: {one.control: one.hard for one in classes[name].limits if one.control is not Control.REQUESTS}
        for name in CLASSES
    }


def days_of(regions: Sequence[Staff], account_class: str) -> int:
    """Return how many professional-days people of *account_class* worked."""
    return sum(
        len(days.worked)
        for region in regions
        for name, days in region.days.items()
        if region.profiles[name].account_class == account_class
    )


def sweep(regions: Sequence[Staff]) -> list[Point]:
    """Return what each of the SWEPT caps, alone, would stop among honest people, in each class."""
    return [
        Point(
            name,
            control,
            cap,
            round(
                10_000 * sum(one.over({name: {control: cap}}) for one in regions) / days_of(regions, name), 1
            ),
            days_of(regions, name),
        )
        for name in CLASSES
        for control, caps in SWEPT.items()
        for cap in caps
    ]


def as_values(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return *points* for JSON."""
    return [
        {
            "class": one.account_class,
            "control": one.control.value,
            "cap": one.cap,
            "wrong_per_10000": one.wrong_per_10000,
            "days": one.days,
        }
        for one in points
    ]


_PANEL, _LEFT, _TOP, _ROOM = 300, 60, 40, 200
_TALLEST = 500.0


def svg(points: Sequence[Point], present: Caps) -> str:
    """Draw a panel for each class and control: the cap to the right, honest days stopped upwards, cut off at 500."""
    width, height = 4 * _PANEL + 40, len(CLASSES) * (_ROOM + 90) + 30
    parts = [
        (
            f'<svg role="img" aria-labelledby="t d" viewBox="0 0 {width} {height}" '
            'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12">'
        ),
        '<title id="t">Honest professional-days stopped, by cap</title>',
        '<desc id="d">One panel for each class and window; the numbers stand in scraping.json.</desc>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for row, name in enumerate(CLASSES):
        for column, control in enumerate(SWEPT):
            chosen = [one for one in points if one.account_class == name and one.control is control]
            left, top = _LEFT + column * _PANEL, _TOP + row * (_ROOM + 90)
            parts += _panel(chosen, left, top, f"{name}, {control.value}", present[name][control])
    return "\n".join([*parts, "</svg>", ""])


def _panel(points: Sequence[Point], left: int, top: int, title: str, present: int) -> list[str]:
    wide, floor = _PANEL - 70, top + _ROOM
    place = {one.cap: left + wide * at / (len(points) - 1) for at, one in enumerate(points)}
    parts = [f'<text x="{left}" y="{top - 12}" font-weight="bold">{title}</text>']
    for level in (0, 100, 250, 500):
        y = floor - _ROOM * level / _TALLEST
        parts.append(f'<line x1="{left}" x2="{left + wide}" y1="{y:g}" y2="{y:g}" stroke="#c9d3d8"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:g}" text-anchor="end">{level}</text>')
    line = " ".join(
        f"{place[one.cap]:.1f},{floor - _ROOM * min(one.wrong_per_10000, _TALLEST) / _TALLEST:.1f}"
        for one in points
    )
    parts.append(f'<polyline points="{line}" fill="none" stroke="#0b5468" stroke-width="2"/>')
    parts += [
        f'<text x="{x:.1f}" y="{floor + 16}" text-anchor="middle" font-size="9">{cap}</text>'
        for cap, x in place.items()
    ]
    if present in place:
        parts.append(
            f'<line x1="{place[present]:.1f}" x2="{place[present]:.1f}" y1="{top}" y2="{floor}" '
            f'stroke="#a3161a" stroke-dasharray="4"/>'
        )
    parts.append(f'<text x="{left}" y="{floor + 34}" fill="#a3161a">now {present}</text>')
    return parts
