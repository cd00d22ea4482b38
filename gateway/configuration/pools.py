"""From the words about pools to what holds them. Pure."""

from collections.abc import Iterator

from gateway.configuration.faults import Problem
from gateway.configuration.schema_pools import PoolLimitValue, PoolSpec, PoolsSpec
from gateway.vocabulary.limits import (
    PATIENT_CONTROLS,
    POOL_CONTROLS,
    Clusters,
    Control,
    Limit,
    Pool,
    Pools,
)


def check_pools(spec: PoolsSpec) -> Iterator[Problem]:
    """Yield the faults of what is said about pools."""
    for pool in Pool:
        for control, written in _written(pool, getattr(spec, pool.value)):
            if written.soft is not None and written.soft > written.hard:
                key = control.value.removeprefix(f"{pool.value}-").replace("-", "_")
                yield Problem(
                    ("pools", pool.value, key, "soft"),
                    "the soft bound lies above the hard one",
                    f"write at most {written.hard}",
                )


def compile_pools(spec: PoolsSpec) -> Pools:
    """Return the pools of *spec*."""
    limits = {}
    for pool in Pool:
        each: PoolSpec = getattr(spec, pool.value)
        found = _written(pool, each)
        limits[pool] = tuple(Limit(control, one.hard, each.mode, one.soft) for control, one in found)
    return Pools(limits, Clusters(spec.cluster_accounts, spec.linked_s), spec.least_accounts)


def _written(pool: Pool, spec: PoolSpec) -> list[tuple[Control, PoolLimitValue]]:
    told = []
    for control, one in zip(POOL_CONTROLS[pool], PATIENT_CONTROLS, strict=True):
        value: PoolLimitValue | None = getattr(spec, one.value.replace("-", "_"))
        if value is not None:
            told.append((control, value))
    return told
