"""limits.lua against the oracles, on random histories and at the edges, on every store."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.limits.scaled import scaled
from gateway.limits.store import (
    account_keys,
    distinct_members,
    encode_costs,
    encode_limits,
    read_spend,
    usage,
)
from gateway.limits.widened import widened
from gateway.valkey.client import Store
from gateway.vocabulary.limits import (
    ACCOUNT_CONTROLS,
    WINDOW_S,
    Asked,
    Charge,
    Control,
    Exhausted,
    Limit,
    LimitSet,
    Mode,
    Outcome,
    Spent,
)
from tests.stores.timed import NOW_US, members, new_account, timed_library
from tests.unit.limits.ledger import Ledger

TIMED = """
redis.register_function('timed_spend', function(keys, args)
  local costs, opened, listed = timed_charge(args, 13)
  local share, limits = tonumber(args[12]), limits_parse(args[2])
  if args[3] ~= '0' then
    return limits_request(tonumber(args[1]), keys[3], redis.call('HGET', keys[3], 'requests_us'), limits,
      args[10] == '1', true, tonumber(args[3]))
  end
  if share < 1000 then limits = limits_scaled(limits, share) end
  local account = { patients = keys[1], opened = keys[2], counters = keys[3] }
  return limits_spend(tonumber(args[1]), account, limits, costs, opened, listed, args[10] == '1',
    tonumber(args[11]))
end)
"""


@dataclass(frozen=True)
class Timed:
    """limits.lua with the time as an argument."""

    client: redis.Redis
    function: str

    def spend(
        self,
        account_id: str,
        now_us: int,
        limits: LimitSet,
        charge: Charge,
        requests: int = 0,
        *,
        stepped: bool = False,
        extra: int = 0,
        share_milli: int = 1000,
    ) -> Outcome | None:
        """Return what was answered; None: nothing was spent, as each of *requests* is to be spent by itself."""
        keys = account_keys(account_id)
        opened, listed = distinct_members(charge)
        told = (
            now_us,
            encode_limits(limits),
            requests,
            *encode_costs(charge),
            len(opened),
            int(stepped),
            extra,
            share_milli,
        )
        args = (*told, *opened, *listed)
        reply = self.client.execute_command(
            "FCALL", self.function, 3, keys.patients, keys.opened, keys.counters, *args
        )
        return read_spend(limits, reply) if reply is not None else None


@pytest.fixture(scope="module")
def timed(store_url: str) -> Iterator[Timed]:
    with timed_library(store_url, TIMED) as (client, library):
        yield Timed(client, library.wire_name("timed_spend"))


POOL = members(25)
SOME = st.lists(st.sampled_from(POOL), max_size=5, unique=True)
COST = st.one_of(st.just(0), st.integers(0, 6))
GAP_US = st.one_of(
    st.integers(0, 400_000),
    st.integers(0, 120_000_000),
    st.sampled_from(
        [0, 300_000_000, 600_000_000, 3_600_000_000, 7_200_000_000, 86_400_000_000, 604_800_000_000]
    ),
    st.integers(0, 90_000_000_000),
)
MODE = st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.SOFT, Mode.OBSERVE])
SOFT = st.one_of(st.none(), st.integers(0, 12))
LIMITS = st.builds(
    LimitSet,
    name=st.just("random"),
    limits=st.lists(
        st.builds(
            Limit, control=st.sampled_from(ACCOUNT_CONTROLS), hard=st.integers(0, 12), mode=MODE, soft=SOFT
        ),
        unique_by=lambda limit: limit.control,
        max_size=10,
    ).map(tuple),
    listed_weight_milli=st.sampled_from([0, 1, 200, 333, 1000]),
)
STEPS = st.lists(
    st.tuples(
        GAP_US,
        st.integers(0, 1),
        st.builds(
            lambda opened, listed, *costs: Charge(
                tuple(opened), tuple(one for one in listed if one not in opened), *costs
            ),
            SOME, SOME, COST, COST, COST, COST, COST,
        ),
        st.booleans(),
        st.sampled_from([0, 0, 0, 2, 5]),
    ),
    max_size=25,
)  # fmt: skip


@given(limits=LIMITS, steps=STEPS, share_milli=st.sampled_from([1000, 1000, 500]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_store_answers_as_the_oracles(
    timed: Timed, limits: LimitSet, steps: list[tuple[int, int, Charge, bool, int]], share_milli: int
) -> None:
    account_id, ledger, now_us = new_account(), Ledger(), NOW_US
    for gap_us, requests, charge, stepped, extra in steps:
        now_us += gap_us
        if requests:
            expected = ledger.spend(now_us, limits, Charge(), 1, stepped=stepped)
            assert timed.spend(account_id, now_us, limits, Charge(), 1, stepped=stepped) == expected
        held = widened(limits if share_milli == 1000 else scaled(limits, share_milli), extra)
        expected = ledger.spend(now_us, held, charge, stepped=stepped)
        told = timed.spend(
            account_id,
            now_us,
            limits,
            charge,
            stepped=stepped,
            extra=extra,
            share_milli=share_milli,
        )
        assert told == expected


@given(
    limits=LIMITS,
    steps=st.lists(st.tuples(st.sampled_from([0, 1_000, 300_000, 3_000_000]), st.booleans()), max_size=40),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_request_and_nothing_else_is_answered_as_by_the_oracles(
    timed: Timed, limits: LimitSet, steps: list[tuple[int, bool]]
) -> None:
    account_id, ledger, now_us = new_account(), Ledger(), NOW_US
    for gap_us, stepped in steps:
        now_us += gap_us
        expected = ledger.spend(now_us, limits, Charge(), 1, stepped=stepped)
        assert timed.spend(account_id, now_us, limits, Charge(), 1, stepped=stepped) == expected


@given(
    limits=LIMITS,
    steps=st.lists(
        st.tuples(st.sampled_from([0, 300_000, 3_000_000, 11_000_000]), st.integers(2, 6), st.booleans()),
        max_size=20,
    ),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_requests_of_one_moment_are_spent_at_once_where_none_of_them_has_anything_to_tell(
    timed: Timed, limits: LimitSet, steps: list[tuple[int, int, bool]]
) -> None:
    account_id, ledger, now_us = new_account(), Ledger(), NOW_US
    for gap_us, count, stepped in steps:
        now_us += gap_us
        together = timed.spend(account_id, now_us, limits, Charge(), count, stepped=stepped)
        expected = [ledger.spend(now_us, limits, Charge(), 1, stepped=stepped) for _ in range(count)]
        if together is None:
            for one in expected:
                assert timed.spend(account_id, now_us, limits, Charge(), 1, stepped=stepped) == one
            assert set(expected) != {Spent()}
        else:
            assert (together, set(expected)) == (Spent(), {Spent()})


def only(control: Control, hard: int, mode: Mode = Mode.ENFORCE) -> LimitSet:
    return LimitSet(control.value, (Limit(control, hard, mode),))


def test_a_denied_charge_leaves_no_trace(timed: Timed) -> None:
    account_id = new_account()
    limits = LimitSet(
        "both", (Limit(Control.PATIENTS_1H, 5), Limit(Control.ROWS_1H, 10), Limit(Control.REQUESTS, 9))
    )
    for charge in (Charge(opened=members(6)), Charge(opened=members(2), rows=11, bytes=5, probes=1)):
        assert isinstance(timed.spend(account_id, NOW_US, limits, charge), Exhausted)
    assert timed.client.keys(f"ecluse:{{{account_id}}}:*") == []


def test_two_thousand_patients_in_one_response(timed: Timed) -> None:
    account_id, limits = new_account(), only(Control.PATIENTS_24H, 2_000)
    everybody = members(2_000)
    assert timed.spend(account_id, NOW_US, limits, Charge(opened=everybody)) == Spent(
        near=(Control.PATIENTS_24H,)
    )
    assert timed.spend(account_id, NOW_US, limits, Charge(listed=everybody)) == Spent()
    refused = timed.spend(account_id, NOW_US + 1_000_000, limits, Charge(opened=members(1, 2_000)))
    assert refused == Exhausted(Control.PATIENTS_24H, 86_399)
    # The charge's own patients are paid anew at the retry, so those who lie beyond the page bound the answer.
    refused = timed.spend(account_id, NOW_US + 1_000_000, limits, Charge(opened=members(1_999, 1_000)))
    assert refused == Exhausted(Control.PATIENTS_24H, 86_399)
    assert timed.client.zcard(account_keys(account_id).patients) == 2_000


def test_observed_limits_only_tell(timed: Timed) -> None:
    account_id = new_account()
    limits = LimitSet("watched", (Limit(Control.PATIENTS_1H, 2, Mode.OBSERVE), Limit(Control.ROWS_1H, 100)))
    assert timed.spend(account_id, NOW_US, limits, Charge(opened=members(3), rows=1)) == Spent(
        near=(Control.PATIENTS_1H,), would=(Control.PATIENTS_1H,)
    )
    # What was observed is remembered, and reported beside a refusal too.
    assert timed.spend(account_id, NOW_US, limits, Charge(opened=members(4), rows=100)) == Exhausted(
        Control.ROWS_1H, 3_600 + 300 - NOW_US // 1_000_000 % 300, would=(Control.PATIENTS_1H,)
    )


def test_near_is_told_once_on_the_way_up(timed: Timed) -> None:
    account_id, limits = new_account(), only(Control.PATIENTS_1H, 10)
    told = [timed.spend(account_id, NOW_US, limits, Charge(opened=members(count))) for count in range(1, 11)]
    assert [one.near for one in told if isinstance(one, Spent)] == [()] * 7 + [(Control.PATIENTS_1H,)] + [
        ()
    ] * 2


@pytest.mark.parametrize(
    "control", [control for control in ACCOUNT_CONTROLS if control is not Control.REQUESTS]
)
def test_every_window_forgets_and_not_too_early(timed: Timed, control: Control) -> None:
    account_id, limits = new_account(), only(control, 1)
    charge = {
        Control.ROWS_1H: Charge(rows=1),
        Control.BYTES_1H: Charge(bytes=1),
        Control.EXPORTS_24H: Charge(exports=1),
        Control.PROBES_1H: Charge(probes=1),
        Control.SIGHTINGS_1H: Charge(sightings=1),
    }
    first, second = (
        charge.get(control, Charge(opened=members(1))),
        charge.get(control, Charge(opened=members(1, 1))),
    )
    assert timed.spend(account_id, NOW_US, limits, first) == Spent(near=(control,))
    inside_us = NOW_US + WINDOW_S[control] * 1_000_000 - 1_000
    assert isinstance(timed.spend(account_id, inside_us, limits, second), Exhausted)
    if charge.get(control) is None:
        edge_us = NOW_US + WINDOW_S[control] * 1_000_000
        both = Charge(opened=members(2))
        assert timed.spend(account_id, edge_us - 1_000, limits, first) == Spent()
        assert isinstance(timed.spend(account_id, edge_us, limits, both), Exhausted)
        account_id = new_account()
        assert timed.spend(account_id, NOW_US, limits, first) == Spent(near=(control,))
        assert isinstance(timed.spend(account_id, edge_us, limits, both), Exhausted)
    after_us = NOW_US + WINDOW_S[control] * 1_000_000 * 13 // 12
    assert timed.spend(account_id, after_us, limits, second) == Spent(near=(control,))


def test_old_sub_buckets_and_patients_are_swept(timed: Timed) -> None:
    account_id, limits, now_us = new_account(), only(Control.ROWS_1H, 10_000), NOW_US
    for number in range(60):
        now_us += 400_000_000
        timed.spend(account_id, now_us, limits, Charge(opened=members(1, number), rows=1, bytes=1))
    keys = account_keys(account_id)
    assert timed.client.hlen(keys.counters) <= 2 * 13
    assert 97_200 < timed.client.ttl(keys.counters) <= 104_400
    assert 604_800 < timed.client.ttl(keys.patients) <= 691_200
    for key in (keys.patients, keys.opened):
        timed.client.expire(key, 604_000)
    timed.spend(account_id, now_us + 604_800_000_000, limits, Charge(opened=members(1, 99)))
    assert 604_800 < timed.client.ttl(keys.opened) <= 691_200
    assert timed.client.zcard(keys.patients) == timed.client.zcard(keys.opened) == 1


def test_counters_that_are_counted_on_are_kept(timed: Timed) -> None:
    account_id, bucket_us = new_account(), 300_000_000
    limits = LimitSet("both", (Limit(Control.ROWS_1H, 10_000), Limit(Control.REQUESTS, 200)))
    counters = account_keys(account_id).counters
    begun_us = NOW_US // 3_600_000_000 * 3_600_000_000
    for at_us, requests, rows, renewed in (
        (begun_us, 1, 1, True),
        (begun_us + 1_000_000, 1, 1, False),
        (begun_us + bucket_us, 0, 1, True),
        (begun_us + bucket_us + 1_000_000, 1, 0, False),
        (begun_us + 3_600_000_000, 1, 0, True),
    ):
        timed.client.expire(counters, 97_000)
        for _ in range(requests):
            timed.spend(account_id, at_us, limits, Charge(), 1)
        if rows:
            timed.spend(account_id, at_us, limits, Charge(rows=rows))
        assert (timed.client.ttl(counters) > 97_200) is renewed, at_us - begun_us


def test_what_was_noted_this_second_is_not_written_again(timed: Timed) -> None:
    account_id, limits = new_account(), only(Control.PATIENTS_1H, 50)
    charge = Charge(opened=members(2), listed=members(3, 2))
    timed.spend(account_id, NOW_US + 1_000, limits, charge)

    def written() -> int:
        return int(timed.client.info("commandstats")["cmdstat_zadd"]["calls"])

    before = written()
    for at_us in (2_000, 400_000, 1_000_000):
        assert timed.spend(account_id, NOW_US + at_us, limits, charge) == Spent()
    assert written() == before
    timed.spend(account_id, NOW_US + 1_001_000, limits, charge)
    assert written() == before + 3
    # Somebody who was only listed this second is opened now.
    timed.spend(account_id, NOW_US + 1_002_000, limits, Charge(opened=members(3)))
    assert written() == before + 4
    keys = account_keys(account_id)
    assert (timed.client.zcard(keys.patients), timed.client.zcard(keys.opened)) == (5, 3)


def test_a_clock_that_steps_back_forgets_no_patient(timed: Timed) -> None:
    account_id, limits = new_account(), only(Control.PATIENTS_1H, 2)
    timed.spend(account_id, NOW_US, limits, Charge(opened=members(2)))
    earlier_us = NOW_US - 1_800_000_000
    assert timed.spend(account_id, earlier_us, limits, Charge(opened=members(2))) == Spent()
    assert isinstance(timed.spend(account_id, earlier_us, limits, Charge(opened=members(1, 7))), Exhausted)
    assert isinstance(
        timed.spend(account_id, NOW_US + 3_599_000_000, limits, Charge(opened=members(1, 7))), Exhausted
    )


async def test_usage_tells_what_was_used(store: Store, timed: Timed) -> None:
    account_id = new_account()
    limits = LimitSet(
        "all",
        (
            Limit(Control.REQUESTS, 60),
            Limit(Control.PATIENTS_24H, 300),
            Limit(Control.ROWS_1H, 50),
            Limit(Control.PROBES_1H, 9),
        ),
    )
    now_us = int(store_time_us(timed.client))
    timed.spend(account_id, now_us, limits, Charge(), 1)
    timed.spend(account_id, now_us, limits, Charge(opened=members(3), listed=members(5, 3), rows=8))
    told = {one.control: one.used_milli for one in await usage(store, account_id, limits)}
    assert told[Control.REQUESTS] in (0, 1_000)
    assert told[Control.PATIENTS_24H] == 4_000
    assert told[Control.ROWS_1H] == 8_000
    assert told[Control.PROBES_1H] == 0


def store_time_us(client: redis.Redis) -> int:
    seconds, micros = client.time()
    return seconds * 1_000_000 + micros


def test_a_clock_that_steps_back_holds_requests_up_for_a_moment_only(timed: Timed) -> None:
    account_id, limits = new_account(), only(Control.REQUESTS, 10)
    timed.spend(account_id, NOW_US + 3_600_000_000, limits, Charge(), 1)
    assert timed.spend(account_id, NOW_US, limits, Charge(), 1) == Exhausted(Control.REQUESTS, 1)
    assert isinstance(timed.spend(account_id, NOW_US + 999_999, limits, Charge(), 1), Exhausted)
    assert isinstance(timed.spend(account_id, NOW_US + 1_000_000, limits, Charge(), 1), Spent)


def test_the_retry_time_is_exact_beyond_the_page_when_the_charge_knows_patients_there(timed: Timed) -> None:
    account_id, limits = new_account(), only(Control.PATIENTS_24H, 4_000)
    timed.spend(account_id, NOW_US, limits, Charge(opened=members(2_000)))
    timed.spend(account_id, NOW_US + 10_000_000, limits, Charge(opened=members(2_000, 2_000)))
    refused = timed.spend(account_id, NOW_US + 20_000_000, limits, Charge(opened=members(2_100, 2_500)))
    assert refused == Exhausted(Control.PATIENTS_24H, 86_380)


def test_seeing_again_is_free_under_a_lowered_bound(timed: Timed) -> None:
    account_id = new_account()
    timed.spend(account_id, NOW_US, only(Control.PATIENTS_1H, 9), Charge(opened=members(5)))
    lowered = only(Control.PATIENTS_1H, 2)
    assert timed.spend(account_id, NOW_US, lowered, Charge(opened=members(5))) == Spent()
    assert isinstance(timed.spend(account_id, NOW_US, lowered, Charge(opened=members(1, 7))), Exhausted)


def test_past_the_soft_bound_a_fresh_code_is_wanted_and_nothing_is_counted(timed: Timed) -> None:
    account_id = new_account()
    limits = LimitSet("ward", (Limit(Control.PATIENTS_1H, 10, soft=4),))
    assert timed.spend(account_id, NOW_US, limits, Charge(opened=members(4))) == Spent()
    more = Charge(opened=members(1, 4))
    assert timed.spend(account_id, NOW_US, limits, more) == Asked(Control.PATIENTS_1H)
    assert timed.spend(account_id, NOW_US, limits, Charge(opened=members(4))) == Spent()
    assert timed.client.zcard(account_keys(account_id).patients) == 4
    assert timed.spend(account_id, NOW_US, limits, more, stepped=True) == Spent()
    # Another one is asked for again, and the hard bound speaks first.
    assert timed.spend(account_id, NOW_US, limits, Charge(opened=members(1, 5))) == Asked(Control.PATIENTS_1H)
    assert isinstance(timed.spend(account_id, NOW_US, limits, Charge(opened=members(9, 5))), Exhausted)
    refused = timed.spend(account_id, NOW_US, limits, Charge(opened=members(9, 5)), stepped=True)
    assert isinstance(refused, Exhausted)


def test_requests_are_counted_past_their_soft_bound(timed: Timed) -> None:
    account_id, limits = new_account(), LimitSet("ward", (Limit(Control.REQUESTS, 4, soft=2),))
    told = [timed.spend(account_id, NOW_US, limits, Charge(), 1) for _ in range(5)]
    asks = [one.asks for one in told if isinstance(one, Spent)]
    assert asks == [(), (), (Control.REQUESTS,), (Control.REQUESTS,)]
    assert isinstance(told[-1], Exhausted)


def test_soft_mode_asks_and_only_observes_the_hard_bound(timed: Timed) -> None:
    account_id = new_account()
    limits = LimitSet("ward", (Limit(Control.ROWS_1H, 6, Mode.SOFT, 3),))
    assert timed.spend(account_id, NOW_US, limits, Charge(rows=4)) == Asked(Control.ROWS_1H)
    assert timed.spend(account_id, NOW_US, limits, Charge(rows=7)) == Asked(
        Control.ROWS_1H, would=(Control.ROWS_1H,)
    )
    spent = timed.spend(account_id, NOW_US, limits, Charge(rows=7), stepped=True)
    assert spent == Spent(near=(Control.ROWS_1H,), would=(Control.ROWS_1H,))


def test_observed_limits_tell_once_that_they_would_have_asked(timed: Timed) -> None:
    account_id = new_account()
    limits = LimitSet("watched", (Limit(Control.PATIENTS_1H, 9, Mode.OBSERVE, 2),))
    told = [timed.spend(account_id, NOW_US, limits, Charge(opened=members(1, n))) for n in range(6)]
    assert [one.would_ask for one in told] == [(), (), (Control.PATIENTS_1H,), (), (), ()]
    assert all(isinstance(one, Spent) and not one.would for one in told)
