"""The limit on requests is nginx's, and is set as tightly as honest work allows."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.region.rivals import RequestLimit, gone_with, gone_without, tightest
from loadtest.region.thieves import FAST, SLOW, Plan
from loadtest.region.world import SECOND_US, WEEK_S


@pytest.mark.parametrize(
    ("limit", "moments_ms", "passed"),
    [
        # The first one and the burst pass at once, the next one does not.
        (RequestLimit(60, 0), [0, 0], 1),
        (RequestLimit(60, 5), [0] * 10, 6),
        # One a second comes back, and a refused one leaves no trace.
        (RequestLimit(60, 0), [0, 999, 1_000], 2),
        (RequestLimit(60, 2), [0, 0, 0, 0, 500, 1_000], 4),
        # Rates below one a second are kept in thousandths: 20 a minute are 333, and 3 004 ms are 1 000 of them.
        (RequestLimit(20, 0), [0, 3_003, 3_004], 2),
    ],
)
def test_as_nginx_counts(limit: RequestLimit, moments_ms: list[int], passed: int) -> None:
    assert limit.passed(moments_ms) == passed


@given(
    rate=st.sampled_from([1, 6, 20, 60]),
    burst=st.integers(0, 30),
    gaps=st.lists(st.integers(0, 30_000), max_size=200),
)
def test_never_more_than_the_burst_and_the_rate(rate: int, burst: int, gaps: list[int]) -> None:
    moments, now_ms = [], 0
    for gap_ms in gaps:
        now_ms += gap_ms
        moments.append(now_ms)
    span_s = Fraction(now_ms - (moments[0] if moments else 0), 1000)
    assert RequestLimit(rate, burst).passed(moments) <= burst + 1 + span_s * rate / 60


def test_the_tightest_limit_refuses_nobody_who_works_as_they_did() -> None:
    requests = {
        "busy": [(0, at_s * SECOND_US, 2) for at_s in range(0, 3_600, 20)],
        "calm": [(0, at_s * SECOND_US, 1) for at_s in range(0, 36_000, 600)],
    }
    limit = tightest(requests)
    for each in requests.values():
        moments = [at_us // 1000 for _, at_us, count in each for _ in range(count)]
        assert limit.passed(moments) == len(moments)
    less = RequestLimit(limit.rate_m, limit.burst - 2)
    busy = [at_us // 1000 for _, at_us, count in requests["busy"] for _ in range(count)]
    assert less.passed(busy) < len(busy)


def test_what_leaves_without_caps() -> None:
    assert gone_without(FAST) == 1_000_000
    assert gone_without(SLOW) == 10 * WEEK_S // 40
    assert gone_with(SLOW, RequestLimit(60, 10)) == gone_without(SLOW)
    assert gone_with(Plan("one", accounts=1), RequestLimit(6, 0)) == WEEK_S // 10
