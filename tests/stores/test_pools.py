"""pools.lua against the oracles: who shares what with whom, and what all of them together may see."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.limits.clusters import Linked
from gateway.limits.pooled import pooled
from gateway.limits.store import (
    account_keys,
    distinct_members,
    encode_costs,
    encode_limits,
    encode_pools,
    read_spend,
)
from gateway.limits.widened import widened
from gateway.vocabulary.limits import (
    POOL_CONTROLS,
    Asked,
    Charge,
    Clusters,
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
from tests.stores.timed import NOW_US, members, new_name, timed_library
from tests.unit.limits.ledger import Ledger

TIMED = """
redis.register_function('timed_shared_spend', function(keys, args)
  local costs, opened, listed = timed_charge(args, 17)
  local account = { patients = keys[1], opened = keys[2], counters = keys[3] }
  local ids = { d = args[13], c = args[14], e = args[15], s = args[16] }
  return limits_spend(tonumber(args[1]), account, limits_parse(args[2]), costs, opened, listed, args[10] == '1',
    tonumber(args[11]), pools_parse(args[3]), pools_shared(pools_parse(args[3]), ids))
end)
redis.register_function('timed_link', function(keys, args)
  pools_link(tonumber(args[1]), keys[1], args[2], tonumber(args[3]), tonumber(args[4]))
  local cluster = pools_cluster(string.match(keys[1], '{(%x+)}'), tonumber(args[1]) - tonumber(args[4]))
  return { cluster or '', cluster and redis.call('ZRANGE', pools_members(cluster), 0, -1) or {} }
end)
"""
DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000


def usual(pools: Pools, limits: LimitSet) -> str:
    """Return what holds when no measure is in force."""
    return encode_pools(pools, limits, MeasureRules()).partition("/")[0]


@dataclass(frozen=True)
class Shared:
    """limits.lua and pools.lua with the time as an argument."""

    client: redis.Redis
    spending: str
    linking: str

    def spend(
        self,
        account_id: str,
        now_us: int,
        limits: LimitSet,
        pools: Pools,
        ids: Mapping[Pool, str],
        charge: Charge,
        *,
        stepped: bool = False,
        extra: int = 0,
    ) -> Outcome:
        keys = account_keys(account_id)
        opened, listed = distinct_members(charge)
        told = (now_us, encode_limits(limits), usual(pools, limits), *encode_costs(charge))
        more = (len(opened), int(stepped), extra, "", *(ids.get(pool, "") for pool in Pool))
        reply = self.client.execute_command(
            "FCALL",
            self.spending,
            3,
            keys.patients,
            keys.opened,
            keys.counters,
            *told,
            *more,
            *opened,
            *listed,
        )
        return read_spend(limits, reply, pools)

    def log_in(
        self, now_us: int, account_id: str, device: str, rules: Clusters
    ) -> tuple[str, frozenset[str]]:
        """Return the cluster that the account is in afterwards, and who else is."""
        name, members = self.client.execute_command(
            "FCALL", self.linking, 1, f"ecluse:{{{account_id}}}:account", now_us // 1000, device,
            rules.accounts_most, rules.linked_s * 1000,
        )  # fmt: skip
        return name.decode(), frozenset(member.decode() for member in members)


@pytest.fixture(scope="module")
def shared(store_url: str) -> Iterator[Shared]:
    with timed_library(store_url, TIMED) as (client, library):
        yield Shared(client, library.wire_name("timed_shared_spend"), library.wire_name("timed_link"))


MODE = st.sampled_from(list(Mode))
SOME = st.lists(st.sampled_from(members(25)), max_size=5, unique=True)
OWN = st.sampled_from((Control.PATIENTS_10MIN, Control.PATIENTS_24H, Control.PATIENTS_7D, Control.ROWS_1H))


def some_limits(controls: st.SearchStrategy[Control]) -> st.SearchStrategy[tuple[Limit, ...]]:
    limit = st.builds(
        Limit, control=controls, hard=st.integers(1, 14), mode=MODE, soft=st.none() | st.integers(0, 10)
    )
    return st.lists(limit, unique_by=lambda one: one.control, max_size=3).map(tuple)


LIMITS = st.builds(
    LimitSet, name=st.just("random"), limits=some_limits(OWN), listed_weight_milli=st.sampled_from([0, 200, 1000])
)  # fmt: skip
POOLS = st.builds(
    Pools,
    limits=st.fixed_dictionaries({pool: some_limits(st.sampled_from(POOL_CONTROLS[pool])) for pool in Pool}),
    least_accounts=st.integers(0, 2),
)
STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 1), st.integers(0, 2),
        st.sampled_from([0, 1_000, 300_000_000, HOUR_US, DAY_US, 7 * DAY_US]),
        st.builds(lambda opened, listed, rows: Charge(
            tuple(opened), tuple(one for one in listed if one not in opened), rows), SOME, SOME, st.integers(0, 3)),
        st.booleans(), st.sampled_from([0, 0, 4]),
    ),
    max_size=25,
)  # fmt: skip


@given(limits=LIMITS, pools=POOLS, steps=STEPS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_store_answers_as_the_oracles_together(
    shared: Shared,
    limits: LimitSet,
    pools: Pools,
    steps: Sequence[tuple[int, int, int, int, Charge, bool, int]],
) -> None:
    accounts, places = [new_name() for _ in range(3)], [new_name() for _ in range(2)]
    shared.client.delete("ecluse:site:patients", "ecluse:site:opened")
    ledgers: dict[str, Ledger] = defaultdict(Ledger)
    now_us = NOW_US
    for who, device, cluster, gap_us, charge, stepped, extra in steps:
        now_us += gap_us
        ids = {Pool.DEVICE: places[device], Pool.ESTABLISHMENT: places[who % 2], Pool.SITE: "all"}
        if cluster:
            ids[Pool.CLUSTER] = places[cluster - 1]
        held = pooled(pools, limits)
        expected = ledgers[accounts[who]].spend(
            now_us,
            widened(limits, extra),
            charge,
            stepped=stepped,
            pools=[
                (ledgers[f"{pool}/{ids[pool]}"], widened(held[pool], extra))
                for pool in Pool
                if pool in ids and held[pool].limits
            ],
        )
        told = shared.spend(accounts[who], now_us, limits, pools, ids, charge, stepped=stepped, extra=extra)
        assert told == expected


LOGINS = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.integers(0, 3),
        st.sampled_from([0, 1_000, HOUR_US, DAY_US, 3 * DAY_US, 8 * DAY_US]),
    ),
    max_size=30,
)


@given(logins=LOGINS, most=st.integers(2, 6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_who_shares_devices_is_one_cluster_as_the_oracle_says(
    shared: Shared, logins: Sequence[tuple[int, int, int]], most: int
) -> None:
    accounts, devices = [new_name() for _ in range(8)], [new_name() for _ in range(4)]
    oracle, now_us = Linked(Clusters(most, 604_800)), NOW_US
    for who, which, gap_us in logins:
        now_us += gap_us
        oracle.log_in(now_us // 1000, accounts[who], devices[which])
        _, told = shared.log_in(now_us, accounts[who], devices[which], oracle.rules)
        assert told == frozenset(oracle.cluster_of(accounts[who]) or ())
        assert len(told) <= most


def test_what_was_seen_before_the_link_counts_in_the_cluster(shared: Shared) -> None:
    """Ten accounts that took what they could, each alone, are over as soon as they meet on one device."""
    limits = LimitSet("ward", (Limit(Control.PATIENTS_24H, 10),))
    pools = Pools({Pool.CLUSTER: (Limit(Control.CLUSTER_PATIENTS_24H, 20),)}, least_accounts=0)
    thieves, device = [new_name() for _ in range(3)], new_name()
    for number, account in enumerate(thieves):
        spent = shared.spend(account, NOW_US, limits, pools, {}, Charge(opened=members(7, 10 * number)))
        assert spent == Spent()
    for account in thieves:
        cluster, linked = shared.log_in(NOW_US + 1_000, account, device, Clusters())
    assert linked == set(thieves)
    more = Charge(opened=members(1, 500))
    refused = shared.spend(thieves[0], NOW_US + 2_000, limits, pools, {Pool.CLUSTER: cluster}, more)
    assert isinstance(refused, Exhausted)
    assert refused.control is Control.CLUSTER_PATIENTS_24H
    # The colleague who never touched that device is none of them.
    assert shared.spend(new_name(), NOW_US + 2_000, limits, pools, {}, more) == Spent()


def test_a_denied_charge_leaves_no_trace_in_any_pool(shared: Shared) -> None:
    limits, device = LimitSet("ward", (Limit(Control.PATIENTS_24H, 3),)), new_name()
    pools = Pools({Pool.DEVICE: (Limit(Control.DEVICE_PATIENTS_24H, 50),)})
    ids = {Pool.DEVICE: device}
    refused = shared.spend(new_name(), NOW_US, limits, pools, ids, Charge(opened=members(4)))
    assert isinstance(refused, Exhausted)
    asking = Pools({Pool.DEVICE: (Limit(Control.DEVICE_PATIENTS_24H, 50, soft=1),)})
    asked = shared.spend(new_name(), NOW_US, limits, asking, ids, Charge(opened=members(2)))
    assert asked == Asked(Control.DEVICE_PATIENTS_24H)
    assert shared.client.keys(f"ecluse:device:{device}*") == []


def test_a_breaker_that_observes_tells_near_and_over_once(shared: Shared) -> None:
    place, limits = new_name(), LimitSet("ward", ())
    pools = Pools({Pool.ESTABLISHMENT: (Limit(Control.ESTABLISHMENT_PATIENTS_1H, 10, Mode.OBSERVE),)})
    told = [
        shared.spend(
            new_name(), NOW_US, limits, pools, {Pool.ESTABLISHMENT: place}, Charge(opened=members(1, n))
        )
        for n in range(14)
    ]
    assert [n for n, one in enumerate(told, 1) if isinstance(one, Spent) and one.near] == [8]
    assert [n for n, one in enumerate(told, 1) if isinstance(one, Spent) and one.would] == [11]


def test_pools_forget_what_no_window_needs(shared: Shared) -> None:
    place, limits = new_name(), LimitSet("ward", ())
    pools = Pools({Pool.ESTABLISHMENT: (Limit(Control.ESTABLISHMENT_PATIENTS_1H, 10_000, Mode.OBSERVE),)})
    key = f"ecluse:establishment:{place}:patients"
    for hour in range(40):
        charge = Charge(opened=members(1, hour))
        shared.spend(new_name(), NOW_US + hour * HOUR_US, limits, pools, {Pool.ESTABLISHMENT: place}, charge)
        assert 3_600 < shared.client.ttl(key) <= 4_115
        # The hour is kept by the store's clock, which this test does not turn: what it forgets, it forgets here.
        shared.client.expire(key, 3_500)
    assert shared.client.zcard(key) <= 3
