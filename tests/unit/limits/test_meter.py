"""The moving windows against the oracles, which look at the whole past of an account each time."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limits.distinct import noted_ms
from gateway.limits.meter import COSTS, Meter
from gateway.vocabulary.limits import (
    PATIENT_CONTROLS,
    WINDOW_S,
    Charge,
    Control,
    Exhausted,
    Limit,
    LimitSet,
)
from tests.unit.limits.ledger import Ledger

NOW_US = 1_790_000_000_000_000
POOL = [number.to_bytes(8, "big") for number in range(25)]
SOME = st.lists(st.sampled_from(POOL), max_size=5, unique=True)
COST = st.one_of(st.just(0), st.integers(0, 6))
GAP_US = st.one_of(
    st.integers(0, 120_000_000),
    st.sampled_from([0, 300_000_000, 600_000_000, 3_600_000_000, 86_400_000_000, 604_800_000_000]),
    st.integers(0, 90_000_000_000),
)
CHARGE = st.builds(
    lambda opened, listed, *costs: Charge(
        tuple(opened), tuple(one for one in listed if one not in opened), *costs
    ),
    SOME, SOME, COST, COST, COST, COST, COST,
)  # fmt: skip
STEPS = st.lists(st.tuples(GAP_US, CHARGE), max_size=40)
CONTROLS = (*PATIENT_CONTROLS, *COSTS)


def crossed(meter: Meter, now_us: int, charge: Charge, bounds: dict[Control, int]) -> set[Control]:
    unit = dict.fromkeys(PATIENT_CONTROLS, 1000)
    return {
        one
        for one, use in meter.after(now_us, charge).items()
        if one in bounds and use > bounds[one] * unit.get(one, 1)
    }


@given(
    bounds=st.dictionaries(st.sampled_from(CONTROLS), st.integers(0, 12), max_size=9),
    weight=st.sampled_from([0, 1, 200, 1000]),
    steps=STEPS,
)
@settings(max_examples=100, deadline=None)
def test_what_is_stopped_is_what_the_oracles_stop(
    bounds: dict[Control, int], weight: int, steps: list[tuple[int, Charge]]
) -> None:
    limits = LimitSet("random", tuple(Limit(one, hard) for one, hard in bounds.items()), weight)
    meter, ledger, now_us = Meter(weight), Ledger(), NOW_US
    for gap_us, charge in steps:
        now_us += gap_us
        answer = ledger.spend(now_us, limits, charge)
        over = crossed(meter, now_us, charge, bounds)
        assert bool(over) == isinstance(answer, Exhausted)
        if isinstance(answer, Exhausted):
            assert answer.control in over
        else:
            meter.commit(now_us, charge)


@given(steps=STEPS)
def test_use_is_what_a_count_of_the_whole_past_gives(steps: list[tuple[int, Charge]]) -> None:
    meter, now_us = Meter(200), NOW_US
    past: list[tuple[int, Charge]] = []
    for gap_us, charge in steps:
        now_us += gap_us
        told = meter.after(now_us, charge)
        meter.commit(now_us, charge)
        past.append((now_us // 1000, charge))
        for control in PATIENT_CONTROLS:
            since_ms = now_us // 1000 - WINDOW_S[control] * 1000
            inside = [one for at_ms, one in past if noted_ms(at_ms) > since_ms]
            opened = set(itertools.chain.from_iterable(one.opened for one in inside))
            everybody = opened.union(*(one.listed for one in inside))
            if control in told:
                assert told[control] == 800 * len(opened) + 200 * len(everybody)
        for control, name in COSTS.items():
            if control in told:
                # A counter may hold up to a twelfth of its window too much, and never too little.
                window_ms = WINDOW_S[control] * 1000
                least = sum(getattr(one, name) for at_ms, one in past if at_ms > now_us // 1000 - window_ms)
                most = sum(
                    getattr(one, name)
                    for at_ms, one in past
                    if at_ms >= now_us // 1000 - window_ms * 13 // 12 - 1
                )
                assert least <= told[control] <= most
