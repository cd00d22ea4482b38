"""Quarantine: the first hours of a new factor have a share of every cap. Pure; the oracle of limits.lua."""

from dataclasses import replace

from gateway.vocabulary.limits import Control, Limit, LimitSet

QUARANTINE_MILLI = 500
"""Half."""


def scaled(limits: LimitSet, share_milli: int) -> LimitSet:
    """Return *limits* with *share_milli* thousandths of every bound, rounded down, hard ones at least 1.

    The limit of requests stays: it holds a person's hands and not what they may know.
    """
    return replace(limits, limits=tuple(_scaled(one, share_milli) for one in limits.limits))


def _scaled(limit: Limit, share_milli: int) -> Limit:
    if limit.control is Control.REQUESTS:
        return limit
    hard = max(1, limit.hard * share_milli // 1000)
    if limit.soft is None or limit.soft >= limit.hard:
        return replace(limit, hard=hard, soft=None)
    return replace(limit, hard=hard, soft=limit.soft * share_milli // 1000)
