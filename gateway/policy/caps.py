"""Caps by class, app, establishment and time of day: which rule gives each number. Pure.

A rule changes the bound and not the count: what an account has spent is one figure across apps and hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from gateway.vocabulary.limits import Control, Limit, LimitSet, Mode

DAY_MINUTES = 1_440
WEEK_MINUTES = 7 * DAY_MINUTES
ALWAYS = (1 << WEEK_MINUTES) - 1
"""Every minute of the week, one bit each, from Monday 00:00."""


@dataclass(frozen=True, slots=True)
class CapBound:
    """The bounds that a rule gives to one control.

    *soft* None: the share of the hard bound that the class has. *mode* None: that of the class.
    """

    control: Control
    hard: int
    soft: int | None = None
    mode: Mode | None = None


@dataclass(frozen=True, slots=True)
class CapRule:
    """Bounds for whoever fits every condition; an empty one fits all.

    *hours*: minutes of the local day, from and until; one that ends no later than it begins goes past midnight.
    *days*: 0 is Monday; the day on which the hours begin.
    """

    name: str
    bounds: tuple[CapBound, ...]
    classes: frozenset[str] = frozenset()
    apps: frozenset[str] = frozenset()
    establishments: frozenset[str] = frozenset()
    hours: tuple[int, int] | None = None
    days: frozenset[int] = frozenset()

    @property
    def conditions(self) -> int:
        """Return how many conditions it names: the more, the more specific it is."""
        named = (self.classes, self.apps, self.establishments, self.hours is not None, self.days)
        return sum(1 for one in named if one)

    @property
    def minutes(self) -> int:
        """Return the minutes of the week in which it holds, one bit each."""
        return _minutes(self.hours, self.days)

    def bound(self, control: Control) -> CapBound | None:
        """Return what it says of *control*, None when nothing."""
        return next((one for one in self.bounds if one.control is control), None)


@dataclass(frozen=True, slots=True)
class Place:
    """Who stands where, and when: *minute* of the local week, 0 is Monday 00:00."""

    account_class: str
    app: str | None
    establishment: str | None
    minute: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """The bounds that hold, and beside each the name of the rule that gave it, None for the class itself."""

    limits: LimitSet
    sources: tuple[str | None, ...]


def local_minute(at_ms: int, timezone: str) -> int:
    """Return the minute of the week that clocks on the wall of *timezone* show at *at_ms* (Unix milliseconds).

    An hour that is skipped in spring does not come, one that is repeated in autumn holds twice.

    Raises:
        KeyError, ValueError: there is no such time zone.
    """
    return _local_minute(at_ms // 60_000, timezone)


def fits(rule: CapRule, place: Place) -> bool:
    """Tell whether *rule* speaks of *place*."""
    return (
        (not rule.classes or place.account_class in rule.classes)
        and (not rule.apps or place.app in rule.apps)
        and (not rule.establishments or place.establishment in rule.establishments)
        and bool(rule.minutes >> place.minute & 1)
    )


def resolve(limits: LimitSet, rules: Sequence[CapRule], place: Place) -> Resolved:
    """Return what holds at *place* an account whose class has *limits*.

    Each control takes its bounds from the rule with the most conditions among those that fit and speak of it.
    """
    return _applied(limits, tuple(rule for rule in rules if fits(rule, place)))


def held(limits: LimitSet, rules: Sequence[CapRule], place: Place) -> LimitSet:
    """Return the bounds alone, as ``resolve`` finds them."""
    return resolve(limits, rules, place).limits if rules else limits


@lru_cache(maxsize=4_096)
def _applied(limits: LimitSet, rules: tuple[CapRule, ...]) -> Resolved:
    found: list[tuple[Limit, str | None]] = []
    for limit in limits.limits:
        speaking = [(rule, bound) for rule in rules if (bound := rule.bound(limit.control)) is not None]
        if not speaking:
            found.append((limit, None))
            continue
        # Equals are refused when the configuration is read; were there any, the lower bound would hold.
        rule, bound = min(speaking, key=lambda one: (-one[0].conditions, one[1].hard, one[0].name))
        found.append((_bounded(limit, bound), rule.name))
    return Resolved(
        replace(limits, limits=tuple(limit for limit, _ in found)), tuple(name for _, name in found)
    )


def _bounded(limit: Limit, bound: CapBound) -> Limit:
    soft = bound.soft
    if soft is None and limit.soft is not None and limit.soft < limit.hard:
        soft = limit.soft * bound.hard // limit.hard
    return replace(limit, hard=bound.hard, soft=soft, mode=bound.mode or limit.mode)


def tie(first: CapRule, second: CapRule, rules: Sequence[CapRule]) -> Control | None:
    """Return a control for which neither of two rules comes before the other; None when there is none.

    They are equally specific, meet somewhere, and no rule of *rules* that is more specific settles it there.
    """
    if first.conditions != second.conditions or not _meet(first, second):
        return None
    above = [rule for rule in rules if rule.conditions > first.conditions and _covers(rule, first, second)]
    for bound in first.bounds:
        if second.bound(bound.control) is not None and not any(rule.bound(bound.control) for rule in above):
            return bound.control
    return None


def _sets(rule: CapRule) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    return rule.classes, rule.apps, rule.establishments


def _meet(first: CapRule, second: CapRule) -> bool:
    pairs = zip(_sets(first), _sets(second), strict=True)
    return all(not a or not b or a & b for a, b in pairs) and bool(first.minutes & second.minutes)


def _covers(rule: CapRule, first: CapRule, second: CapRule) -> bool:
    """Tell whether *rule* fits wherever both others do."""
    for wide, a, b in zip(_sets(rule), _sets(first), _sets(second), strict=True):
        both = a & b if a and b else a or b
        if wide and (not both or not both <= wide):
            return False
    return not first.minutes & second.minutes & ~rule.minutes


@lru_cache(maxsize=1_024)
def _minutes(hours: tuple[int, int] | None, days: frozenset[int]) -> int:
    if hours is None and not days:
        return ALWAYS
    begin, end = hours if hours is not None else (0, DAY_MINUTES)
    length = end - begin if end > begin else end - begin + DAY_MINUTES
    span, found = (1 << length) - 1, 0
    for day in days or range(7):
        found |= span << (day * DAY_MINUTES + begin)
    # What goes past Sunday midnight comes round to Monday.
    return (found & ALWAYS) | (found >> WEEK_MINUTES)


@lru_cache(maxsize=16)
def _zone(timezone: str) -> ZoneInfo:
    return ZoneInfo(timezone)


@lru_cache(maxsize=1_024)
def _local_minute(at_minute: int, timezone: str) -> int:
    at = datetime.fromtimestamp(at_minute * 60, tz=UTC).astimezone(_zone(timezone))
    return at.weekday() * DAY_MINUTES + at.hour * 60 + at.minute
