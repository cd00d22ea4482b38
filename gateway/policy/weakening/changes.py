"""What a change of configuration does: words, and how one field is judged by its direction. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum, StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

_LONGEST = 160


class Effect(StrEnum):
    """Which way a change goes. What nobody can tell counts as WEAKER."""

    WEAKER = "weaker"
    STRONGER = "stronger"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference in effect. *where* names the setting, *before* and *after* its values, *why* the judgement.

    None of them holds a secret: a policy has none, and settings that are secret are told as there or not there.
    """

    where: str
    before: str
    after: str
    effect: Effect
    why: str

    def __str__(self) -> str:
        return f"{self.effect.value}: {self.where}: {self.before} -> {self.after} ({self.why})"


class Way(StrEnum):
    """How the values of a field compare."""

    WEAKENS = "weakens"
    """More of it (a number, members of a set, yes instead of no) weakens."""
    STRENGTHENS = "strengthens"
    RANKED = "ranked"
    """Values have ranks, the lowest is the weakest; two of one rank cannot be compared."""
    UNKNOWN = "unknown"
    """Any change counts as weaker."""
    NEITHER = "neither"
    PART = "part"
    """Its own fields are judged, by name where there are several."""
    ELSEWHERE = "elsewhere"
    """Judged by a function of its own."""
    KEY = "key"
    """What it is told apart by: the same on both sides, or two names of one thing."""


@dataclass(frozen=True, slots=True)
class Field:
    """How a field is judged, and *why*.

    *none* is what None is worth beside any value. *added* and *removed* judge the parts of a PART that are in one
    configuration only.
    """

    way: Way
    why: str
    none: Effect = Effect.WEAKER
    ranks: Mapping[Any, int] | None = None
    added: Effect = Effect.WEAKER
    removed: Effect = Effect.WEAKER


Table = Mapping[type, Mapping[str, Field]]
"""Every field of every dataclass of a configuration."""

KEYS: Final = ("name", "account", "control")
"""By which field several parts of a kind are told apart."""


def compare_fields(old: Any, new: Any, table: Table, where: str = "") -> list[Change]:
    """Return the differences of two values of one dataclass, field by field, by the directions of *table*."""
    found: list[Change] = []
    for item in fields(old):
        before, after = getattr(old, item.name), getattr(new, item.name)
        if before != after:
            place = f"{where}.{item.name}" if where else item.name
            found += _field(before, after, table[type(old)][item.name], table, place)
    return found


def _field(before: Any, after: Any, field: Field, table: Table, where: str) -> list[Change]:
    if field.way in (Way.ELSEWHERE, Way.KEY):
        return []
    if field.way is not Way.PART:
        return [Change(where, told(before), told(after), judged(before, after, field), field.why)]
    if is_dataclass(before) and is_dataclass(after):
        return compare_fields(before, after, table, where)
    found: list[Change] = []
    olds, news = _parts(before), _parts(after)
    for key in (*olds, *(key for key in news if key not in olds)):
        place = f"{where}.{key}" if key else where
        if key not in news:
            found.append(Change(place, told(olds[key]), "none", field.removed, field.why))
        elif key not in olds:
            found.append(Change(place, "none", told(news[key]), field.added, field.why))
        elif olds[key] != news[key]:
            found += _field(olds[key], news[key], field, table, place)
    return found


def _parts(value: Any) -> dict[str, Any]:
    """Return the parts of *value* by name: a mapping's, those of several, or the one there is."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {told(key): item for key, item in value.items()}
    if isinstance(value, tuple):
        return {told(_key(item)): item for item in value}
    return {"": value}


def _key(item: Any) -> Any:
    return next(getattr(item, name) for name in KEYS if hasattr(item, name))


def judged(before: Any, after: Any, field: Field) -> Effect:
    """Return which way the change of one value goes."""
    if field.way in (Way.NEITHER, Way.UNKNOWN):
        return Effect.NEITHER if field.way is Way.NEITHER else Effect.WEAKER
    if after is None:
        return field.none
    if before is None:
        return Effect.STRONGER if field.none is Effect.WEAKER else Effect.WEAKER
    if field.way is Way.RANKED and field.ranks is not None:
        return stronger_if(field.ranks.get(after, -1) > field.ranks.get(before, -1))
    grows = _grows(before, after)
    return stronger_if(grows is not None and grows is (field.way is Way.STRENGTHENS))


def stronger_if(so: bool) -> Effect:
    """Return STRONGER if *so*, else WEAKER."""
    return Effect.STRONGER if so else Effect.WEAKER


def _grows(before: Any, after: Any) -> bool | None:
    """Tell whether there is more of it now; None when some is more and some is less."""
    if isinstance(before, frozenset | tuple):
        pairs = [*before, *after]
        if pairs and all(isinstance(item, tuple) and len(item) == 2 for item in pairs):
            return _pairs_grow(dict(before), dict(after))
        more, less = _beyond(after, before), _beyond(before, after)
        return None if more and less else more
    return bool(after > before)


def _beyond(these: Iterable[Any], those: Iterable[Any]) -> bool:
    known = tuple(those)
    return any(not any(_within(one, other) for other in known) for one in these)


def _within(one: Any, other: Any) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.subnet_of(other)
    if isinstance(one, IPv6Network) and isinstance(other, IPv6Network):
        return one.subnet_of(other)
    return bool(one == other)


def _pairs_grow(before: Mapping[Any, int], after: Mapping[Any, int]) -> bool | None:
    # What has no bound has the highest.
    more = any(key not in after or after[key] > before[key] for key in before)
    less = any(key not in before or before[key] > after[key] for key in after)
    return None if more and less else more


def told(value: Any) -> str:
    """Return *value* for a reader, in a few words."""
    if value is None or (isinstance(value, tuple | frozenset) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, frozenset):
        return told(tuple(sorted(value, key=str)))
    if isinstance(value, tuple):
        return _cut(", ".join(told(item) for item in value))
    if is_dataclass(value):
        return _cut(", ".join(f"{item.name} {told(getattr(value, item.name))}" for item in fields(value)))
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
