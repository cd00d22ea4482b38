"""What the strict posture and a plan blanc make of bounds. Pure: the store only picks one of the results."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gateway.vocabulary.limits import Control, Limit, LimitSet, Pool
from gateway.vocabulary.measures import MeasureRules, PlanBlancRule

STATES: Final = 4
"""Nothing in force, the strict posture, a plan blanc, both."""


def held(limits: LimitSet, rules: MeasureRules, *, strict: bool, plan_blanc: bool) -> LimitSet:
    """Return what holds an account whose usual bounds are *limits*.

    Under both nobody has more than usual: what a plan blanc would raise stays as it is, all else is lowered.
    """
    if not strict:
        return _each(limits, lambda one: _raised(one, rules.plan_blanc)) if plan_blanc else limits
    spared = rules.plan_blanc.raises if plan_blanc else frozenset[Control]()
    share_milli = rules.strict.caps_share_milli
    return _each(limits, lambda one: one if one.control in spared else _lowered(one, share_milli))


def states(limits: LimitSet, rules: MeasureRules) -> tuple[LimitSet, LimitSet, LimitSet, LimitSet]:
    """Return what holds when nothing is in force, under the strict posture, under a plan blanc, under both."""
    return (
        limits,
        held(limits, rules, strict=True, plan_blanc=False),
        held(limits, rules, strict=False, plan_blanc=True),
        held(limits, rules, strict=True, plan_blanc=True),
    )


def pool_states(pool: Pool, bounds: LimitSet, rules: MeasureRules) -> tuple[LimitSet, ...]:
    """Return what holds accounts that are counted together in *pool*, in the order of ``states``.

    A plan blanc makes room where its people meet, on their devices and in their establishment; the site's breaker
    stays where it is. Under both nobody has more than usual, and who was raised no less.
    """
    strict = _each(bounds, lambda one: _lowered(one, rules.strict.caps_share_milli))
    if pool is Pool.SITE:
        return bounds, strict, bounds, strict
    times_milli = max(1_000, rules.plan_blanc.times_milli)
    raised = _each(
        bounds,
        lambda one: _with(one, one.hard * times_milli // 1000, asks_at(one) * times_milli // 1000),
    )
    return bounds, strict, raised, bounds


def asks_at(limit: Limit) -> int:
    """Return beyond how much a code is asked for; the hard bound where nobody is asked."""
    return limit.hard if limit.soft is None else min(limit.soft, limit.hard)


def _each(limits: LimitSet, change: Callable[[Limit], Limit]) -> LimitSet:
    return replace(limits, limits=tuple(change(one) for one in limits.limits))


def _lowered(limit: Limit, share_milli: int) -> Limit:
    # As in quarantine: the limit of requests holds a person's hands and not what they may know.
    if limit.control is Control.REQUESTS:
        return limit
    hard = min(limit.hard, max(1, limit.hard * share_milli // 1000))
    return _with(limit, hard, asks_at(limit) * share_milli // 1000)


def _raised(limit: Limit, rule: PlanBlancRule) -> Limit:
    ceiling = dict(rule.ceilings).get(limit.control)
    if limit.control not in rule.raises or ceiling is None or limit.hard == 0:
        return limit
    hard = max(limit.hard, min(limit.hard * rule.times_milli // 1000, ceiling))
    return _with(limit, hard, asks_at(limit) * hard // limit.hard)


def _with(limit: Limit, hard: int, soft: int) -> Limit:
    """Return *limit* with other bounds; whom nobody asks at a soft one is not asked now either."""
    asks = limit.soft is not None and limit.soft < limit.hard
    return replace(limit, hard=hard, soft=soft if asks else None)
