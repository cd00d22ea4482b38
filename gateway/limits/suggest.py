"""Caps out of what was observed: how much each class uses on its busiest moments, and what a cap would have stopped.

The sample is the account-day: on each UTC day on which an account saw anything, the most that each of its rolling
windows held. A cap is proposed at the 99.5th percentile of these, times 1.5 (behaviour, part 6). Pure.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.limits.meter import COSTS, Meter
from gateway.vocabulary.limits import PATIENT_CONTROLS, Charge, Control

ENOUGH_DAYS: Final = 200
"""Fewer account-days than this have no 99.5th percentile worth the name, and no cap is proposed from them."""

CONTROLS: Final = tuple(one for one in (*PATIENT_CONTROLS, *COSTS) if one is not Control.SIGHTINGS_1H)
"""What the log tells. It holds neither each request nor which sightings were new to the person."""

_DAY_MS = 86_400_000
_SHARE, _FACTOR = 0.995, 1.5
_STEPS = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100)

Day = tuple[str, int]
"""An account, and a UTC day counted from 1970."""


@dataclass(frozen=True, slots=True)
class Stops:
    """Whom a cap would have stopped: on how many days, by account."""

    by_account: Mapping[str, int]

    @property
    def days(self) -> int:
        """Return on how many account-days."""
        return sum(self.by_account.values())


@dataclass(frozen=True, slots=True)
class Finding:
    """One control of one class. All amounts are whole units of the control, patients rounded up.

    *days* are account-days. *present* is None when no configuration says it, *proposed* None when there are
    too few days to tell.
    """

    control: Control
    days: int
    p50: int
    p95: int
    p995: int
    most: int
    present: int | None
    proposed: int | None
    stopped_present: Stops
    stopped_proposed: Stops
    peaks: Sequence[int] = field(repr=False)


@dataclass(slots=True)
class _Class:
    active: set[Day] = field(default_factory=set)
    peaks: dict[Control, dict[Day, int]] = field(default_factory=lambda: defaultdict(dict))


class Observed:
    """What accounts used, gathered from exchanges in order of time.

    *weight_of* gives what a listed patient weighs in a class, in thousandths. Days before *from_ms* fill the
    windows and are not in the sample.
    """

    def __init__(self, weight_of: Callable[[str], int], from_ms: int) -> None:
        self._weight_of = weight_of
        self._from_ms = from_ms
        self._meters: dict[str, Meter] = {}
        self._classes: dict[str, _Class] = defaultdict(_Class)

    def note(self, at_ms: int, account: str, account_class: str, charge: Charge) -> None:
        """Take one released exchange."""
        meter = self._meters.get(account)
        if meter is None:
            meter = self._meters[account] = Meter(self._weight_of(account_class))
        after = meter.after(at_ms * 1000, charge)
        meter.commit(at_ms * 1000, charge)
        if at_ms < self._from_ms:
            return
        day, into = (account, at_ms // _DAY_MS), self._classes[account_class]
        into.active.add(day)
        for control, use in after.items():
            peaks = into.peaks[control]
            peaks[day] = max(use, peaks.get(day, 0))

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes that were seen, in order."""
        return tuple(sorted(self._classes))

    def accounts(self, account_class: str) -> int:
        """Return how many accounts of *account_class* were seen."""
        return len({account for account, _ in self._classes[account_class].active})

    def findings(self, account_class: str, present: Mapping[Control, int]) -> list[Finding]:
        """Return what was found for each control of *account_class*, whose *present* caps are given."""
        found = self._classes[account_class]
        told = []
        for control in CONTROLS:
            peaks = {
                day: _units(control, use) for day, use in found.peaks.get(control, {}).items() if use > 0
            }
            sample = sorted((*peaks.values(), *[0] * (len(found.active) - len(peaks))))
            p995 = percentile(sample, _SHARE)
            proposed = rounded(p995 * _FACTOR) if len(sample) >= ENOUGH_DAYS else None
            told.append(
                Finding(
                    control=control,
                    days=len(sample),
                    p50=percentile(sample, 0.5),
                    p95=percentile(sample, 0.95),
                    p995=p995,
                    most=sample[-1] if sample else 0,
                    present=present.get(control),
                    proposed=proposed,
                    stopped_present=_over(peaks, present.get(control)),
                    stopped_proposed=_over(peaks, proposed),
                    peaks=sample,
                )
            )
        return told


def percentile(ordered: Sequence[int], share: float) -> int:
    """Return the least value that *share* of *ordered* does not exceed (nearest rank); 0 of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0


def rounded(amount: float) -> int:
    """Return the least of 1, 2, ... 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120 ... that is not below *amount*."""
    if amount <= _STEPS[0]:
        return max(1, math.ceil(amount))
    scale = 1
    while amount > _STEPS[-1] * scale:
        scale *= 10
    return next(step * scale for step in _STEPS if step * scale >= amount)


def _over(peaks: Mapping[Day, int], cap: int | None) -> Stops:
    days: dict[str, int] = defaultdict(int)
    for (account, _), use in peaks.items():
        if cap is not None and use > cap:
            days[account] += 1
    return Stops(dict(sorted(days.items(), key=lambda one: (-one[1], one[0]))))


def _units(control: Control, use: int) -> int:
    return -(-use // 1000) if control in PATIENT_CONTROLS else use
