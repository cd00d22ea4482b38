"""Draw what an auditor waits against the size of the trail: the figures of bench_audit as one SVG."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 200, 30, 60
_LINES = (
    ("patient_warm_s", "one patient, warm", "#1f6feb", ""),
    ("patient_cold_s", "one patient, cold", "#1f6feb", "5 4"),
    ("week_warm_s", "an account's week, warm", "#bf3989", ""),
    ("week_cold_s", "an account's week, cold", "#bf3989", "5 4"),
    ("top20_day_warm_s", "top 20 of a day, warm", "#1a7f37", ""),
    ("top20_day_cold_s", "top 20 of a day, cold", "#1a7f37", "5 4"),
)


def draw(figures: list[dict[str, Any]]) -> str:
    """Return the SVG of *figures*, both axes logarithmic."""
    sizes = [one["events"] for one in figures]
    times = [one[name] for one in figures for name, *_ in _LINES]
    low, high = 10 ** math.floor(math.log10(min(times))), 10 ** math.ceil(math.log10(max(times)))

    def x(events: float) -> float:
        span = math.log10(max(sizes)) - math.log10(min(sizes)) or 1.0
        return _LEFT + (math.log10(events) - math.log10(min(sizes))) / span * (_WIDTH - _LEFT - _RIGHT)

    def y(seconds: float) -> float:
        share = (math.log10(seconds) - math.log10(low)) / (math.log10(high) - math.log10(low))
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12" role="img"><title>Seconds an auditor waits, by number of events</title>'
    )
    out = [head, f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>']
    exponents = range(round(math.log10(low)), round(math.log10(high)) + 1)
    ticks = [value * 10**exponent for exponent in exponents for value in (1, 2, 5)]
    out += [
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#d8dee4"/>'
        f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g} s</text>'
        for tick in ticks
        if low <= tick <= high
    ]
    for events in sizes:
        power = round(math.log10(events))
        out.append(
            f'<line x1="{x(events):.1f}" x2="{x(events):.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" stroke="#d8dee4"/>'
            f'<text x="{x(events):.1f}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">10'
            f'<tspan dy="-5" font-size="9">{power}</tspan></text>'
        )
    out.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 14}" text-anchor="middle">events in the trail</text>'
    )
    for number, (name, label, colour, dashes) in enumerate(_LINES):
        points = " ".join(f"{x(one['events']):.1f},{y(one[name]):.1f}" for one in figures)
        at, key = _TOP + 14 + number * 22, _WIDTH - _RIGHT + 14
        out.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
            f'<line x1="{key}" x2="{key + 24}" y1="{at}" y2="{at}" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dashes}"/><text x="{key + 30}" y="{at + 4}">{label}</text>'
        )
    return "\n".join([*out, "</svg>\n"])


def main() -> int:
    """Read the figures and write the picture."""
    parser = argparse.ArgumentParser(prog="loadtest.audit_curve", description=__doc__)
    parser.add_argument("figures", type=Path, help="what bench_audit saved")
    parser.add_argument("picture", type=Path, help="the SVG to write")
    chosen = parser.parse_args()
    chosen.picture.write_text(draw(json.loads(chosen.figures.read_text("utf-8"))), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
