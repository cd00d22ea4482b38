"""Honest work through the gate: on how many professional-days somebody was asked for a code, or wrongly stopped."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from gateway.limits.meter import Meter
from gateway.vocabulary.limits import Control
from loadtest.region.days import Professional
from loadtest.region.gate import Account, Gate, Page
from loadtest.region.profiles import Calendar, Profile, staff
from loadtest.region.world import START_US

_SITE, _SITE_PATIENTS = 19, 1_500
"""Professionals and patients of an establishment (see domain figures of comparable regional tools)."""

_SHARING = frozenset({"ward nurse", "ward doctor"})
"""Who works at one PC of the house, day and night."""

Peaks = dict[Control, int]


@dataclass(slots=True)
class Days:
    """What one profile met, by (person, day). *peaks*: the most each window would have held with no cap at all."""

    worked: set[tuple[str, int]] = field(default_factory=set)
    soft: dict[tuple[str, int], Control | None] = field(default_factory=dict)
    hard: dict[tuple[str, int], Control | None] = field(default_factory=dict)
    peaks: dict[tuple[str, int], Peaks] = field(default_factory=dict)

    def by(self, found: dict[tuple[str, int], Control | None]) -> str:
        """Return which controls spoke first on the days of *found*, the most frequent first."""
        counted = Counter("signals" if one is None else one.value for one in found.values())
        return ", ".join(f"{name} {count}" for name, count in counted.most_common(3))


@dataclass
class Staff:
    """Everybody who works honestly in one region, and what they met."""

    measured: bool = True
    """Whether to keep what each window would have held: for figures, not for what was met."""
    days: dict[str, Days] = field(default_factory=lambda: defaultdict(Days))
    profiles: dict[str, Profile] = field(default_factory=dict)
    requests: dict[str, list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))
    """By person: day, microseconds, and number of requests, for limits that count nothing else."""

    def employ(self, gate: Gate, professionals: int, calendar: Calendar, seed: int) -> None:
        """Enrol *professionals*, each with a rhythm of their own out of *seed*, and let them begin."""
        draw = Random(seed)
        everybody = staff(professionals)
        draw.shuffle(everybody)
        for number, profile in enumerate(everybody):
            site = number // _SITE
            patients = range(site * _SITE_PATIENTS, (site + 1) * _SITE_PATIENTS)
            account = Account(f"p{number}", profile.account_class, f"59{site:07d}", f"10.1.{site % 250}.7")
            account.device = f"ward-{site}" if profile.name in _SHARING else f"own-{number}"
            self.profiles[profile.name] = profile
            gate.enrol(account)
            person = Professional(profile, patients, Random(seed * 1_000_003 + number))
            gate.world.begin(self._work(gate, account, person, calendar), START_US)

    async def _work(self, gate: Gate, account: Account, person: Professional, calendar: Calendar) -> None:
        meter, days = Meter(), self.days[person.profile.name]
        for day, at_us, page in person.pages(calendar):
            await gate.world.until(START_US + at_us)
            days.worked.add((account.name, day))
            if self.measured:
                _measure(days.peaks.setdefault((account.name, day), {}), meter, page, START_US + at_us)
            self.requests[account.name].append((day, START_US + at_us, page.requests))
            met = await gate.ask(account, page)
            if met.soft or met.owed:
                days.soft.setdefault((account.name, day), met.soft[0] if met.soft else None)
            if not met.passed:
                days.hard.setdefault((account.name, day), met.control)

    @property
    def worked(self) -> int:
        """Return the number of professional-days."""
        return sum(len(one.worked) for one in self.days.values())

    @property
    def soft(self) -> int:
        """Return on how many of them a soft bound was crossed."""
        return sum(len(one.soft) for one in self.days.values())

    @property
    def hard(self) -> int:
        """Return on how many of them an honest answer was withheld, or a request refused."""
        return sum(len(one.hard) for one in self.days.values())

    def over(self, caps: Mapping[str, Mapping[Control, int]]) -> int:
        """Return on how many professional-days use would have gone over *caps* (by class, in whole units).

        A class that *caps* does not name has none.
        """
        count = 0
        for name, days in self.days.items():
            bounds = caps.get(self.profiles[name].account_class, {})
            count += sum(
                any(use > bounds[one] * unit(one) for one, use in peaks.items() if one in bounds)
                for peaks in days.peaks.values()
            )
        return count


def _measure(peaks: Peaks, meter: Meter, page: Page, at_us: int) -> None:
    for control, use in meter.after(at_us, page.charge).items():
        peaks[control] = max(use, peaks.get(control, 0))
    meter.commit(at_us, page.charge)


def unit(control: Control) -> int:
    """Return what one whole unit of *control* is in a meter's numbers."""
    return 1_000 if control.value.startswith("patients") else 1
