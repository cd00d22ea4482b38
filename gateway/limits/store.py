"""Limits on the wire: how limit sets, pools and charges are told to the store, and how its answers read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from gateway.limits.measures import STATES, pool_states, states
from gateway.limits.pooled import pooled
from gateway.valkey.client import Store
from gateway.vocabulary.limits import (
    NO_POOLS,
    PATIENT_CONTROLS,
    POOLED_CONTROLS,
    WINDOW_S,
    Asked,
    Charge,
    Control,
    Exhausted,
    Limit,
    LimitSet,
    Mode,
    Outcome,
    Pool,
    Pools,
    Spent,
)
from gateway.vocabulary.measures import MeasureRules

_KINDS = {
    Control.REQUESTS: "g",
    **{one: f"p{WINDOW_S[one]}" for one in (*PATIENT_CONTROLS, *POOLED_CONTROLS)},
    Control.ROWS_1H: "r",
    Control.BYTES_1H: "b",
    Control.EXPORTS_24H: "e",
    Control.PROBES_1H: "o",
    Control.SIGHTINGS_1H: "s",
}
_MODES = {Mode.ENFORCE: "e", Mode.SOFT: "s", Mode.OBSERVE: "o"}
_POOLS = {Pool.DEVICE: "d", Pool.CLUSTER: "c", Pool.ESTABLISHMENT: "e", Pool.SITE: "s"}
_COMMITTED, _DENIED = b"1", b"0"
_NOTHING_TOLD = b"1||||"
_SPENT = Spent()


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """The store keys of one account that limits write to."""

    patients: str
    opened: str
    counters: str


@dataclass(frozen=True, slots=True)
class Used:
    """How much of one limit an account has used: *used_milli* in thousandths of the control's unit."""

    control: Control
    used_milli: int
    hard: int
    soft: int | None = None


@lru_cache(maxsize=10_000)
def account_keys(account_id: str) -> AccountKeys:
    """Return the keys of *account_id*; in a Cluster they lie with all others in one slot (valkey/slot.py)."""
    base = f"ecluse:{{{account_id}}}"
    return AccountKeys(f"{base}:patients", f"{base}:opened", f"{base}:counters")


@lru_cache(maxsize=1024)
def encode_limits(limits: LimitSet) -> str:
    """Return *limits* as the one argument that limits.lua parses, positions in the set's order."""
    told = "".join(
        f"|{_KINDS[one.control]},{_soft(one)},{one.hard},{_MODES[one.mode]}" for one in limits.limits
    )
    return f"{limits.listed_weight_milli}{told}"


@lru_cache(maxsize=1024)
def encode_states(limits: LimitSet, rules: MeasureRules) -> str:
    """Return what *limits* are under every measure, in the order in which measures.lua picks one."""
    return "/".join(encode_limits(each) for each in states(limits, rules))


@lru_cache(maxsize=1024)
def encode_pools(pools: Pools, limits: LimitSet, rules: MeasureRules) -> str:
    """Return what holds an account of *limits* in the pools under every measure, each as pools.lua parses it."""
    each = [
        (_POOLS[pool], pool_states(pool, bounds, rules)) for pool, bounds in pooled(pools, limits).items()
    ]
    return "/".join(
        ";".join(f"{letter}{encode_limits(held[state])}" for letter, held in each) for state in range(STATES)
    )


def _soft(limit: Limit) -> int:
    return limit.hard if limit.soft is None else min(limit.soft, limit.hard)


def encode_costs(charge: Charge) -> tuple[int, int, int, int, int]:
    """Return rows, bytes, exports, probes and sightings, in the order in which limits.lua takes them."""
    return (charge.rows, charge.bytes, charge.exports, charge.probes, charge.sightings)


def distinct_members(charge: Charge) -> tuple[list[bytes], list[bytes]]:
    """Return the opened and the listed patients of *charge*, each once; an opened one is not listed too."""
    opened = dict.fromkeys(charge.opened)
    return list(opened), [member for member in dict.fromkeys(charge.listed) if member not in opened]


def read_spend(limits: LimitSet, reply: bytes, pools: Pools = NO_POOLS) -> Outcome:
    """Return what limits.lua answered: committed, or refused or asked about with nothing committed.

    *pools* are those that the charge was told with.
    """
    if reply == _NOTHING_TOLD:
        return _SPENT
    how, which, number, *told = reply.split(b"|")
    known = [one.control for one in limits.limits]
    if pools.limits:
        known += [one.control for bounds in pooled(pools, limits).values() for one in bounds.limits]
    would, would_ask = (_controls(known, positions) for positions in told)
    if how == _COMMITTED:
        return Spent(_controls(known, which), would, would_ask, _controls(known, number))
    control = known[int(which) - 1]
    if how == _DENIED:
        return Exhausted(control, max(1, -(-int(number) // 1_000_000)), would, would_ask)
    return Asked(control, would, would_ask)


async def usage(store: Store, account_id: str, limits: LimitSet) -> tuple[Used, ...]:
    """Return how much of each limit *account_id* has used, for people who ask why they were stopped.

    Raises:
        StoreUnavailable, StoreEmptied: as every call.
    """
    return await _usage(store, account_keys(account_id), limits, f"ecluse:{{{account_id}}}:account")


async def pool_usage(store: Store, pool: Pool, name: str, limits: LimitSet) -> tuple[Used, ...]:
    """Return how much of each limit on patients the *pool* of this *name* has used; the site has none.

    Raises:
        StoreUnavailable, StoreEmptied: as every call.
    """
    base = f"ecluse:{pool.value}" if pool is Pool.SITE else f"ecluse:{pool.value}:{name}"
    keys = AccountKeys(f"{base}:patients", f"{base}:opened", f"{base}:counters")
    return await _usage(store, keys, limits, keys.counters)


async def _usage(store: Store, keys: AccountKeys, limits: LimitSet, requests: str) -> tuple[Used, ...]:
    """*requests*: the key that counts them, where it is not that of the counters."""
    told = [keys.patients, keys.opened, keys.counters, requests]
    reply = await store.call("ecluse_usage", told, [encode_limits(limits)])
    return tuple(
        Used(one.control, used if _KINDS[one.control].startswith("p") else used * 1000, one.hard, one.soft)
        for one, used in zip(limits.limits, reply, strict=True)
    )


def _controls(known: Sequence[Control], positions: bytes) -> tuple[Control, ...]:
    return tuple(known[int(position) - 1] for position in positions.split(b",")) if positions else ()
