"""Rows, bytes, exports, probes, sightings: sliding windows of sub-buckets, in whole microseconds.

A window is cut in twelve. The sub-bucket that the window's far edge cuts through counts whole, so in no
rolling window, wherever it starts, is more than the bound spent; the price is that what was spent is
forgotten up to a twelfth of the window late.
"""

from collections.abc import Mapping

from gateway.limits.measured import Measured

SUB_BUCKETS = 12


def bucket_of(now_us: int, window_us: int) -> int:
    """Return the number of the sub-bucket that *now_us* falls in; *window_us* is a multiple of 12."""
    return now_us // (window_us // SUB_BUCKETS)


def measure(
    spent: Mapping[int, int], now_us: int, window_us: int, cost: int, hard: int, soft: int | None = None
) -> Measured:
    """Measure *cost* against *hard* per window, given what was *spent* by sub-bucket number."""
    bound = hard if soft is None else min(soft, hard)
    newest = bucket_of(now_us, window_us)
    counted = range(newest - SUB_BUCKETS, newest + 1)
    before = sum(spent.get(number, 0) for number in counted)
    after = before + cost
    if after <= hard:
        return Measured(before, after, hard, 0, bound)
    left = after
    for number in counted:
        left -= spent.get(number, 0)
        if left <= hard:
            gone_us = (number + SUB_BUCKETS + 1) * (window_us // SUB_BUCKETS)
            return Measured(before, after, hard, gone_us - now_us, bound)
    return Measured(before, after, hard, window_us, bound)
