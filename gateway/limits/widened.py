"""A break-glass: some patients more, for a while. Pure; the oracle of what limits.lua does with *extra*."""

from dataclasses import replace

from gateway.limits.pooled import alike
from gateway.vocabulary.limits import PATIENT_CONTROLS, Limit, LimitSet


def widened(limits: LimitSet, extra: int) -> LimitSet:
    """Return *limits* with *extra* patients more under every hard bound on patients; the others stay.

    Whom nobody asks at a soft bound is not asked now either.
    """
    return replace(limits, limits=tuple(_widened(one, extra) for one in limits.limits))


def _widened(limit: Limit, extra: int) -> Limit:
    if alike(limit.control) not in PATIENT_CONTROLS:
        return limit
    asks = limit.soft is not None and limit.soft < limit.hard
    return replace(limit, hard=limit.hard + extra, soft=limit.soft if asks else None)
