"""What becomes of requests: two states of one application tried with the same ones. Pure.

The order of doors decides, so that names and templates alone do not tell what a change does.
"""

from collections.abc import Iterator
from typing import Final

from gateway.policy import params
from gateway.policy.paths import compile_template
from gateway.policy.policy import App, Route
from gateway.policy.routes import RouteMatch, match
from gateway.policy.weakening.changes import Change, Effect, compare_fields
from gateway.policy.weakening.samples import (
    can_be_met,
    is_plain,
    paths_of,
    paths_of_both,
    requests_for,
)
from gateway.policy.weakening.table import KIND_RANKS, TABLE
from gateway.vocabulary.messages import RequestFacts
from gateway.vocabulary.records import RouteKind

MOST_PAIRS: Final = 4_000
_UNTOLD: Final = "nobody can tell what it takes from other doors, so it counts as weaker"
_EVERYTHING: Final = compile_template("/*")


def compare_doors(old: App, new: App, where: str) -> list[Change]:
    """Return what becomes of the doors of one application: of each that is in both, then of requests.

    Requests are made of the templates of both, alone and where two meet. A door that changed its place, its template
    or its conditions, and of which requests cannot stand for all, counts as weaker.
    """
    olds, news = ({route.name: route for route in app.routes} for app in (old, new))
    found: list[Change] = []
    for name in olds:
        if name in news:
            found += compare_fields(olds[name], news[name], TABLE, f"{where}.{name}")
    touched = _touched(old, new)
    pairs = [(one, other) for one in touched for other in (*old.routes, *new.routes) if one is not other]
    if len(pairs) > MOST_PAIRS:
        return [*found, Change(where, "many doors", "many doors", Effect.WEAKER, _UNTOLD)]
    if touched:
        found += _tried(old, new, pairs, where)
    for name in dict.fromkeys(route.name for route in touched):
        found.append(_told_of(olds.get(name), news.get(name), pairs, f"{where}.{name}"))
    return found


def _touched(old: App, new: App) -> list[Route]:
    """Return the doors that are in one only, fit other requests than before, or changed places."""
    olds, news = ([_takes(route) for route in app.routes] for app in (old, new))
    found = [route for route in old.routes if _takes(route) not in news]
    found += [route for route in new.routes if _takes(route) not in olds]
    common_old = [takes for takes in olds if takes in news]
    common_new = [takes for takes in news if takes in olds]
    moved = {one for one, other in zip(common_old, common_new, strict=True) if one != other}
    return found + [route for route in new.routes if _takes(route) in moved]


def _takes(route: Route) -> tuple[object, ...]:
    # Public doors are matched to the letter, all others loosely.
    return route.name, route.template.text, route.methods, route.params, route.kind is RouteKind.PUBLIC


def _told_of(
    before: Route | None, after: Route | None, pairs: list[tuple[Route, Route]], where: str
) -> Change:
    """Say of a door that takes other requests than before whether the requests that were tried stand for all."""
    was, now = (
        f"{one.kind.value} {one.template.text}" if one is not None else "none" for one in (before, after)
    )
    if was == now:
        was, now = f"{was} as it stood", f"{now} as it stands"
    doors = [one for one in (before, after) if one is not None]
    only_blocks = before is None and all(one.kind is RouteKind.BLOCKED for one in doors)
    blind = any(one in doors and not can_be_met(other) and paths_of_both(one, other) for one, other in pairs)
    if not only_blocks and (blind or not all(is_plain(one) for one in doors)):
        return Change(where, was, now, Effect.WEAKER, f"shapes or conditions: {_UNTOLD}")
    return Change(where, was, now, Effect.NEITHER, "what requests meet instead is told for each, if anything")


def _tried(old: App, new: App, pairs: list[tuple[Route, Route]], where: str) -> list[Change]:
    """Return what changes for requests, once for each two doors they meet."""
    found: dict[tuple[str, str, Effect], Change] = {}
    for facts in _requests(old, new, pairs):
        before, after = _met(old, facts), _met(new, facts)
        if before is None or after is None or _shown(before) == _shown(after):
            continue
        effect, why = _judged(before, after)
        place = f"{where}: {facts.method} {facts.path}"
        change = Change(place, _shown(before), _shown(after), effect, why)
        found.setdefault((change.before, change.after, effect), change)
    return list(found.values())


def _requests(old: App, new: App, pairs: list[tuple[Route, Route]]) -> Iterator[RequestFacts]:
    # A door that does not know a method refuses it, so that every method is tried at every door.
    every = old.methods | new.methods
    for app in (old, new):
        for route in app.routes:
            for wanted in (route, None) if route.params else (None,):
                yield from requests_for(wanted, every, paths_of(route))
    for one, other in pairs:
        both = paths_of_both(one, other)
        for wanted in (one, other) if one.params or other.params else (None,):
            yield from requests_for(wanted, every, both)


def _met(app: App, facts: RequestFacts) -> RouteMatch | None:
    try:
        return match(app, facts)
    except params.BodyUnreadable:
        return None


def _kind(met: RouteMatch) -> RouteKind:
    return RouteKind.BLOCKED if met.alias else met.kind


def _judged(before: RouteMatch, after: RouteMatch) -> tuple[Effect, str]:
    first, second = KIND_RANKS[_kind(before)], KIND_RANKS[_kind(after)]
    if first != second:
        effect = Effect.STRONGER if second > first else Effect.WEAKER
        return effect, "what the door asks, and what is counted there"
    inner = compare_fields(_door(before), _door(after), TABLE)
    for effect in (Effect.WEAKER, Effect.STRONGER):
        for change in inner:
            if change.effect is effect:
                return effect, f"{change.where}: {change.why}"
    return Effect.NEITHER, "the same is asked"


def _door(met: RouteMatch) -> Route:
    return met.route if met.route is not None else Route("otherwise", met.kind, _EVERYTHING)


def _shown(met: RouteMatch) -> str:
    return f"{_kind(met).value} ({met.rule})"
