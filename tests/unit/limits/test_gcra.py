"""Requests: burst, refill, retry time, clocks that step back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import gcra

NOW_US = 1_790_000_000_000_000


def test_a_burst_of_the_bound_passes_and_no_more() -> None:
    arrival_us = None
    for _ in range(60):
        use = gcra.measure(arrival_us, NOW_US, 60)
        assert not use.crossed
        arrival_us = NOW_US + use.after
    assert gcra.measure(arrival_us, NOW_US, 60).crossed


@pytest.mark.parametrize(
    ("hard", "retry_us"),
    [
        # One request is forgotten after the bound's share of ten seconds, rounded up.
        (60, 166_667),
        (7, 1_428_572),
        (1, 10_000_000),
        # Nothing is ever allowed.
        (0, 10_000_000),
    ],
)
def test_retry_is_exact(hard: int, retry_us: int) -> None:
    full = NOW_US + gcra.interval_us(hard) * hard if hard else None
    use = gcra.measure(full, NOW_US, hard)
    assert (use.crossed, use.retry_us) == (True, retry_us)
    if hard:
        assert gcra.measure(full, NOW_US + retry_us - 1, hard).crossed
        assert not gcra.measure(full, NOW_US + retry_us, hard).crossed


def test_a_clock_that_stepped_back_shuts_nobody_out_for_longer_than_a_full_bucket() -> None:
    use = gcra.measure(NOW_US + 3_600_000_000, NOW_US, 60)
    assert use.crossed
    assert use.retry_us == gcra.interval_us(60)


@given(hard=st.integers(1, 50), gaps=st.lists(st.integers(0, 3_000_000), max_size=200))
def test_the_long_run_rate_is_never_beaten(hard: int, gaps: list[int]) -> None:
    arrival_us, now_us, passed = None, NOW_US, 0
    for gap_us in gaps:
        now_us += gap_us
        use = gcra.measure(arrival_us, now_us, hard)
        if not use.crossed:
            arrival_us, passed = now_us + use.after, passed + 1
    assert passed <= hard + (now_us - NOW_US) * hard // gcra.WINDOW_US
