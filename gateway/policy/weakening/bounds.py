"""Which bounds hold whom, where and when: two realms compared by what their classes and cap rules come to. Pure."""

from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import Final

from gateway.policy.caps import ALWAYS, DAY_MINUTES, WEEK_MINUTES, CapRule, Place, resolve
from gateway.policy.policy import Realm
from gateway.policy.weakening.changes import Change, Effect, compare_fields, told
from gateway.policy.weakening.table import MODE_RANKS, TABLE
from gateway.vocabulary.limits import Limit, LimitSet

MOST_PLACES: Final = 20_000
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNTOLD: Final = "nobody can tell, so it counts as weaker"


def compare_bounds(old: Realm, new: Realm, where: str) -> list[Change]:
    """Return how the bounds of two states of one realm differ, for each class of either.

    An account of a class that is not there has the default one, in both. Each control is told once a class: the
    first place where it is weaker, else its first.
    """
    held = ("classes", "default_class", "caps", "timezone")
    if all(getattr(old, name) == getattr(new, name) for name in held):
        return []
    rules = (*old.caps, *new.caps)
    found = _clocks(old, new, rules, where)
    names: list[str | None] = [*sorted({*old.classes, *new.classes})]
    if old.default_class != new.default_class:
        names.append(None)
        why = "it holds whoever has no class, or one that is not there: told below, control by control"
        place = f"{where}.default_class"
        found.append(Change(place, old.default_class, new.default_class, Effect.NEITHER, why))
    places = _places(rules)
    if len(places) * len(names) > MOST_PLACES:
        found.append(
            Change(f"{where}.caps", "many rules", "many rules", Effect.WEAKER, f"too many places: {_UNTOLD}")
        )
        return found
    for name in names:
        place = f"{where}.classes.{name}" if name is not None else f"{where}.classes (any other)"
        before, after = _class_of(old, name), _class_of(new, name)
        found += compare_fields(before, after, TABLE, place)
        found += _controls(old, new, name, places, place)
    return found


def _clocks(old: Realm, new: Realm, rules: Sequence[CapRule], where: str) -> list[Change]:
    if old.timezone == new.timezone:
        return []
    timed = any(rule.minutes != ALWAYS for rule in rules)
    effect, why = (
        (Effect.WEAKER, f"when rules hold: {_UNTOLD}") if timed else (Effect.NEITHER, "no rule has hours")
    )
    return [Change(f"{where}.timezone", old.timezone, new.timezone, effect, why)]


def _class_of(realm: Realm, name: str | None) -> LimitSet:
    return realm.classes.get(name or "", realm.classes[realm.default_class])


def _controls(
    old: Realm, new: Realm, name: str | None, places: Sequence[tuple[str | None, str | None, int]], where: str
) -> list[Change]:
    told_of: dict[str, Change] = {}
    for app, establishment, minute in places:
        before, after = (
            resolve(
                _class_of(realm, name),
                realm.caps,
                Place(_class_of(realm, name).name, app, establishment, minute),
            ).limits
            for realm in (old, new)
        )
        if before.limits == after.limits:
            continue
        at = _at(app, establishment, minute)
        for change in _limits(before, after, where, at):
            known = told_of.get(change.where)
            if known is None or (change.effect is Effect.WEAKER and known.effect is not Effect.WEAKER):
                told_of[change.where] = change
    return list(told_of.values())


def _limits(before: LimitSet, after: LimitSet, where: str, at: str) -> Iterator[Change]:
    olds = {limit.control: limit for limit in before.limits}
    news = {limit.control: limit for limit in after.limits}
    for control in sorted({*olds, *news}):
        one, other = olds.get(control), news.get(control)
        if one == other:
            continue
        effect = _judge(one, other)
        why = f"the bounds that hold{at}"
        yield Change(f"{where}.{control.value}", _told(one), _told(other), effect, why)


def _judge(before: Limit | None, after: Limit | None) -> Effect:
    if before is None or after is None:
        return Effect.STRONGER if before is None else Effect.WEAKER
    weaker = (
        after.hard > before.hard
        or MODE_RANKS[after.mode] < MODE_RANKS[before.mode]
        or _asks_from(after) > _asks_from(before)
    )
    return Effect.WEAKER if weaker else Effect.STRONGER


def _asks_from(limit: Limit) -> int:
    return limit.hard if limit.soft is None else min(limit.soft, limit.hard)


def _told(limit: Limit | None) -> str:
    return "none" if limit is None else f"soft {told(limit.soft)}, hard {limit.hard}, {limit.mode.value}"


def _at(app: str | None, establishment: str | None, minute: int) -> str:
    words = [f" in {app}"] if app is not None else []
    words += [f" for {establishment}"] if establishment is not None else []
    words += (
        [f" on {_DAYS[minute // DAY_MINUTES]} at {minute % DAY_MINUTES // 60:02}:{minute % 60:02}"]
        if minute
        else []
    )
    return "".join(words)


def _places(rules: Sequence[CapRule]) -> list[tuple[str | None, str | None, int]]:
    """Return places that stand for all: every application and establishment that a rule names, and one that none
    does; of the minutes that fit the same rules, one."""
    apps = [None, *sorted({name for rule in rules for name in rule.apps})]
    establishments = [None, *sorted({name for rule in rules for name in rule.establishments})]
    masks = tuple({rule.minutes for rule in rules} - {ALWAYS})
    minutes: dict[tuple[int, ...], int] = {}
    for minute in range(WEEK_MINUTES) if masks else (0,):
        minutes.setdefault(tuple(mask >> minute & 1 for mask in masks), minute)
    sizes = len(apps) * len(establishments) * len(minutes)
    return list(islice(product(apps, establishments, minutes.values()), min(sizes, MOST_PLACES + 1)))
