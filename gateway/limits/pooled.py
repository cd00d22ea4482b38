"""What holds accounts that are counted together, for whoever asks just now. Pure."""

from functools import lru_cache

from gateway.vocabulary.limits import (
    PATIENT_CONTROLS,
    POOL_CONTROLS,
    Control,
    Limit,
    LimitSet,
    Mode,
    Pool,
    Pools,
)

_WIDENED = frozenset({Pool.DEVICE, Pool.CLUSTER})
_GENTLE = (Mode.OBSERVE, Mode.SOFT, Mode.ENFORCE)
_ALIKE = {
    pooled: one
    for controls in POOL_CONTROLS.values()
    for pooled, one in zip(controls, PATIENT_CONTROLS, strict=True)
}
_SOFT_SHARE = 0.75


def pooled(pools: Pools, limits: LimitSet) -> dict[Pool, LimitSet]:
    """Return the limits of each pool for an account that *limits* hold.

    A device and a cluster have room for *least_accounts* accounts of the class, so that a class whose work is to see
    many is not stopped by sharing a room; a class that is only observed is only observed here too. Listed patients
    weigh what they weigh for the account.
    """
    return dict(_pooled(pools, limits))


@lru_cache(maxsize=1024)
def _pooled(pools: Pools, limits: LimitSet) -> tuple[tuple[Pool, LimitSet], ...]:
    own = {one.control: one for one in limits.limits}
    return tuple(
        (
            pool,
            LimitSet(
                pool.value,
                tuple(
                    _held(one, own.get(_ALIKE[one.control]), pools.least_accounts if pool in _WIDENED else 0)
                    for one in pools.limits[pool]
                ),
                limits.listed_weight_milli,
            ),
        )
        for pool in Pool
        if pool in pools.limits
    )


def _held(limit: Limit, own: Limit | None, least_accounts: int) -> Limit:
    if own is None:
        return limit
    mode = min(limit.mode, own.mode, key=_GENTLE.index)
    least = own.hard * least_accounts
    if least <= limit.hard:
        return Limit(limit.control, limit.hard, mode, limit.soft)
    soft = None if limit.soft is None else max(limit.soft, round(least * _SOFT_SHARE))
    return Limit(limit.control, least, mode, soft)


def alike(control: Control) -> Control:
    """Return the account's control of the same window as the pooled *control*; any other is its own."""
    return _ALIKE.get(control, control)
