"""Caps by class, app, establishment and time of day: their faults, and the rules they become. Pure."""

from collections.abc import Iterator, Mapping

from gateway.configuration.faults import Location, Problem
from gateway.configuration.schema_realm import DAYS, CapRuleSpec, RealmSpec
from gateway.policy.caps import CapBound, CapRule, tie
from gateway.vocabulary.limits import ACCOUNT_CONTROLS, Control

_CONDITIONS = "class, app, establishment, hours or days"


def check_caps(name: str, realm: RealmSpec, classes: frozenset[str]) -> Iterator[Problem]:
    """Yield the faults of the caps of one realm, whose classes are *classes*."""
    rules = compile_caps(realm.caps)
    for index, (spec, rule) in enumerate(zip(realm.caps, rules, strict=True)):
        at: Location = ("realms", name, "caps", index)
        yield from _check_rule(at, spec, rule, classes)
        if any(earlier.name == rule.name for earlier in rules[:index]):
            yield Problem((*at, "name"), f"the name {rule.name} stands here twice", "give each its own name")
        for earlier in rules[:index]:
            tied = tie(earlier, rule, rules)
            if tied is not None:
                yield Problem(
                    at,
                    f"rules {earlier.name} and {rule.name} tie: both set {_key(tied)} with as many conditions, "
                    "and both can fit",
                    "name one condition more in one of them, or write a rule of the conditions of both",
                )


def check_caps_apps(name: str, realm: RealmSpec, realm_of: Mapping[str, str | None]) -> Iterator[Problem]:
    """Yield the apps that rules of one realm name and that are none of it; *realm_of*: None is not known."""
    mine = sorted(app for app, of in realm_of.items() if of == name)
    for index, spec in enumerate(realm.caps):
        for app in spec.app:
            if app not in realm_of or realm_of[app] not in {None, name}:
                yield Problem(
                    ("realms", name, "caps", index, "app"),
                    f"there is no app {app!r} in this realm",
                    f"write one of {', '.join(mine)}",
                )


def _check_rule(at: Location, spec: CapRuleSpec, rule: CapRule, classes: frozenset[str]) -> Iterator[Problem]:
    if not rule.conditions:
        yield Problem(
            at, f"rule {rule.name} names no condition", f"write {_CONDITIONS}, or its numbers in the classes"
        )
    if not rule.bounds:
        yield Problem(at, f"rule {rule.name} sets no cap", "write at least one, such as patients_10min: 10")
    for each in spec.class_:
        if each not in classes:
            yield Problem(
                (*at, "class"),
                f"there is no class {each!r} in this realm",
                f"write one of {', '.join(sorted(classes))}",
            )
    for bound in rule.bounds:
        if bound.soft is not None and bound.soft > bound.hard:
            yield Problem(
                (*at, _key(bound.control), "soft"),
                "the soft bound lies above the hard one",
                f"write at most {bound.hard}",
            )


def compile_caps(written: list[CapRuleSpec]) -> tuple[CapRule, ...]:
    """Return the rules as written, in their order."""
    return tuple(_rule(spec) for spec in written)


def _rule(spec: CapRuleSpec) -> CapRule:
    bounds = []
    for control in ACCOUNT_CONTROLS:
        own = getattr(spec, _key(control))
        if own is not None:
            bounds.append(CapBound(control, own.hard, own.soft, own.mode))
    return CapRule(
        name=spec.name,
        bounds=tuple(bounds),
        classes=frozenset(spec.class_),
        apps=frozenset(spec.app),
        establishments=frozenset(spec.establishment),
        hours=_hours(spec.hours) if spec.hours is not None else None,
        days=frozenset(DAYS.index(day) for day in spec.days),
    )


def _hours(text: str) -> tuple[int, int]:
    begin, _, end = text.partition("-")
    return _minute(begin), _minute(end)


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


def _key(control: Control) -> str:
    return control.value.replace("-", "_")
