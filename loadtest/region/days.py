"""A professional's day as a list of pages at their moments: rounds, lists, repeats, reviews, exports, nights."""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from gateway.vocabulary.limits import Charge
from gateway.vocabulary.records import RouteKind
from loadtest.region.gate import Page
from loadtest.region.profiles import Calendar, Profile
from loadtest.region.world import HOUR_S, SECOND_US

_RECORD_BYTES, _ROW_BYTES = (30_000, 120_000), 700
_LEAST_PAUSE_S = 15.0
_SPREAD = 0.6
_REPEATS = 0.5
_MISTYPED = 0.01
_REVIEW_PAGE, _EMERGENCY = 50, 0.004
_MORNING_S, _NIGHT_S = 8 * HOUR_S, 20.5 * HOUR_S


def member(number: int) -> bytes:
    """Return patient *number* as the caps know patients: 8 bytes."""
    return number.to_bytes(8, "big")


@dataclass(slots=True)
class Professional:
    """Somebody at work. *patients* are the numbers their establishment deals with; *draw* is their own luck."""

    profile: Profile
    patients: range
    draw: Random
    night: bool = False
    _file: list[int] = field(default_factory=list)

    def pages(self, calendar: Calendar) -> Iterator[tuple[int, int, Page]]:
        """Yield day, microseconds since the first midnight, and page, in order of time."""
        profile, draw = self.profile, self.draw
        self._file = draw.sample(self.patients, min(profile.file, len(self.patients)))
        self.night = draw.random() < profile.night
        held: list[tuple[int, int, Page]] = []
        for day in range(calendar.days):
            on_duty = draw.random() < (profile.weekend if calendar.is_weekend(day) else 0.8)
            if on_duty:
                held = sorted([*held, *self._day(calendar, day)], key=lambda one: one[1])
            # A night goes on into the next morning: what is not over yet waits.
            midnight_us = (day + 1) * 24 * HOUR_S * SECOND_US
            over = bisect.bisect_left(held, midnight_us, key=lambda one: one[1])
            yield from held[:over]
            held = held[over:]
            self._renew()
        yield from held

    def _day(self, calendar: Calendar, day: int) -> list[tuple[int, int, Page]]:
        profile, draw = self.profile, self.draw
        factor = calendar.factor(profile, day)
        count = profile.patients_of_day(draw, factor)
        if draw.random() < _EMERGENCY:
            count = profile.peak
        if count == 0:
            return []
        patients = self._of_the_day(count)
        begins_s = day * 24 * HOUR_S + (_NIGHT_S if self.night else _MORNING_S)
        length_s = (9 if self.night else 9.5) * HOUR_S
        # Half of the rounds begin in the first two hours and a half: the peak of every morning.
        starts = sorted(
            begins_s + length_s * (0.25 * draw.random() if draw.random() < 0.5 else draw.random())
            for _ in range(profile.rounds)
        )
        busy = max(1.0, count / (profile.median * 1.5))
        made: list[tuple[float, Page]] = []
        for number, start_s in enumerate(starts):
            share = patients[number :: profile.rounds]
            made += self._round(max(start_s, made[-1][0] if made else 0.0), share, busy)
        if draw.random() < profile.review:
            made += self._review(begins_s + length_s * draw.random())
        for _ in range(_poisson(draw, profile.exports)):
            made.append((begins_s + length_s * draw.random(), self._export()))
        return [(day, round(at_s * SECOND_US), page) for at_s, page in made]

    def _round(self, at_s: float, patients: list[int], busy: float) -> list[tuple[float, Page]]:
        profile, draw, made = self.profile, self.draw, []
        for _ in range(profile.lists_a_round):
            shown = {
                *patients,
                *draw.sample(self._file, min(len(self._file), draw.randint(*profile.list_rows))),
            }
            rows = sorted(shown)[: profile.list_rows[1]]
            made.append((at_s, _listing(rows)))
            at_s += draw.uniform(5, 40)
        done: list[int] = []
        for patient in patients:
            opened = [patient]
            if done and draw.random() < _REPEATS:
                opened.append(draw.choice(done))
            if draw.random() < _MISTYPED:
                made.append((at_s, Page(Charge(probes=1))))
                at_s += draw.uniform(4, 15)
            for one in opened:
                size = draw.randint(*_RECORD_BYTES)
                made.append(
                    (at_s, Page(Charge(opened=(member(one),), bytes=size), requests=draw.randint(1, 2)))
                )
                pause_s = profile.think_s / min(busy, 1.6) * draw.lognormvariate(0, _SPREAD)
                at_s += max(_LEAST_PAUSE_S, pause_s)
            done.append(patient)
        return made

    def _review(self, at_s: float) -> list[tuple[float, Page]]:
        """Go through the whole waiting list, page after page."""
        draw, made = self.draw, []
        rows = draw.sample(self.patients, min(len(self.patients), draw.randint(*self.profile.review_rows)))
        for first in range(0, len(rows), _REVIEW_PAGE):
            made.append((at_s, _listing(rows[first : first + _REVIEW_PAGE])))
            at_s += draw.uniform(20, 120)
        return made

    def _export(self) -> Page:
        rows = self.draw.sample(
            self.patients, min(len(self.patients), self.draw.randint(*self.profile.export_rows))
        )
        charge = Charge(listed=tuple(map(member, rows)), rows=len(rows), bytes=len(rows) * 2_000, exports=1)
        return Page(charge, RouteKind.EXPORT)

    def _of_the_day(self, count: int) -> list[int]:
        known = min(len(self._file), round(count * self.profile.known))
        chosen = dict.fromkeys(self.draw.sample(self._file, known))
        while len(chosen) < count:
            chosen[self.draw.choice(self.patients)] = None
        found = list(chosen)
        self.draw.shuffle(found)
        return found

    def _renew(self) -> None:
        """Let a tenth of the file go home, and others come."""
        for _ in range(max(1, len(self._file) // 10)):
            self._file[self.draw.randrange(len(self._file))] = self.draw.choice(self.patients)
        self._file = list(dict.fromkeys(self._file))


def _listing(rows: list[int]) -> Page:
    size = len(rows) * _ROW_BYTES + 5_000
    return Page(Charge(listed=tuple(map(member, rows)), rows=len(rows), bytes=size), RouteKind.LISTING)


def _poisson(draw: Random, mean: float) -> int:
    """Draw how often something happens that happens *mean* times on average."""
    count, waited = 0, draw.expovariate(1.0)
    while waited < mean:
        count, waited = count + 1, waited + draw.expovariate(1.0)
    return count
