"""What changes in effect between two policies, and whether it weakens. Pure; what nobody can tell counts as weaker."""

from gateway.policy.policy import App, Policy
from gateway.policy.weakening.bounds import compare_bounds
from gateway.policy.weakening.changes import Change, Effect, compare_fields
from gateway.policy.weakening.doors import compare_doors
from gateway.policy.weakening.table import TABLE

__all__ = ["Change", "Effect", "compare_policies", "weakenings"]

_ORDER = (Effect.WEAKER, Effect.STRONGER, Effect.NEITHER)


def compare_policies(old: Policy, new: Policy) -> tuple[Change, ...]:
    """Return every difference in effect between two policies, those that weaken first; none when they do the same."""
    found = compare_fields(old, new, TABLE)
    found += _hosts(old, new)
    for name, realm in old.realms.items():
        if name in new.realms:
            found += compare_bounds(realm, new.realms[name], f"realms.{name}")
    for name, app in old.apps.items():
        if name in new.apps:
            found += compare_doors(app, new.apps[name], f"apps.{name}.routes")
    return in_order(found)


def in_order(changes: list[Change]) -> tuple[Change, ...]:
    """Return *changes*, each once, those that weaken first."""
    return tuple(sorted(dict.fromkeys(changes), key=lambda change: _ORDER.index(change.effect)))


def weakenings(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Return those that weaken."""
    return tuple(change for change in changes if change.effect is Effect.WEAKER)


def _hosts(old: Policy, new: Policy) -> list[Change]:
    """Return which hosts are answered for by another application now."""
    found = []
    for host in sorted({*old.by_host, *new.by_host}):
        before, after = _name(old.by_host.get(host)), _name(new.by_host.get(host))
        if before == after:
            continue
        if before == "none":
            effect, why = Effect.NEITHER, "one more name for an application, whose rules hold there"
        elif after == "none":
            effect, why = Effect.STRONGER, "nobody answers there any more"
        else:
            effect, why = (
                Effect.WEAKER,
                "another application's rules hold there: nobody can tell, so it counts as weaker",
            )
        found.append(Change(f"hosts.{host}", before, after, effect, why))
    return found


def _name(app: App | None) -> str:
    return app.name if app is not None else "none"
