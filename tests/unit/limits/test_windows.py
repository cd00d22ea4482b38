"""Sliding windows: never more than the bound in any rolling window, and a retry time that holds."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import windows

HOUR_US = 3_600_000_000
STEP = st.one_of(
    st.integers(0, 10_000_000), st.integers(0, HOUR_US // 6), st.sampled_from([HOUR_US, HOUR_US // 12])
)


@given(
    hard=st.integers(1, 40),
    steps=st.lists(st.tuples(STEP, st.integers(1, 15)), max_size=80),
    start_us=st.integers(1_790_000_000_000_000, 1_790_000_000_000_000 + HOUR_US),
)
def test_never_more_than_the_bound_in_any_rolling_window(
    hard: int, steps: list[tuple[int, int]], start_us: int
) -> None:
    spent: dict[int, int] = {}
    accepted: list[tuple[int, int]] = []
    now_us = start_us
    for gap_us, cost in steps:
        now_us += gap_us
        if not windows.measure(spent, now_us, HOUR_US, cost, hard).crossed:
            number = windows.bucket_of(now_us, HOUR_US)
            spent[number] = spent.get(number, 0) + cost
            accepted.append((now_us, cost))
    for end_us, _ in accepted:
        assert sum(cost for at_us, cost in accepted if end_us - HOUR_US < at_us <= end_us) <= hard


@given(
    hard=st.integers(1, 40),
    spent=st.dictionaries(st.integers(0, 14), st.integers(1, 20), max_size=10),
    now_us=st.integers(12 * HOUR_US // 12, 15 * HOUR_US // 12 - 1),
    cost=st.integers(1, 40),
)
def test_the_same_charge_passes_at_the_retry_time_and_not_before(
    hard: int, spent: dict[int, int], now_us: int, cost: int
) -> None:
    spent = {number: units for number, units in spent.items() if number <= windows.bucket_of(now_us, HOUR_US)}
    use = windows.measure(spent, now_us, HOUR_US, cost, hard)
    if cost > hard or not use.crossed:
        assert use.retry_us == (HOUR_US if use.crossed else 0)
        return
    assert windows.measure(spent, now_us + use.retry_us - 1, HOUR_US, cost, hard).crossed
    assert not windows.measure(spent, now_us + use.retry_us, HOUR_US, cost, hard).crossed
