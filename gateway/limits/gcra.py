"""Requests: the generic cell rate algorithm (ITU-T I.371, annex A), in whole microseconds.

*hard* requests may come at once, then one more every *hard*-th part of 10 s. One number is kept for each
account: the arrival time, when its backlog will be gone.
"""

from gateway.limits.measured import Measured

WINDOW_US = 10_000_000


def measure(arrival_us: int | None, now_us: int, hard: int, soft: int | None = None) -> Measured:
    """Measure one request against *hard* requests per 10 s. The unit is microseconds of backlog.

    The soft bound lies *soft* requests deep in the same backlog, which drains at the rate of *hard*.

    An arrival time further ahead than a full bucket comes from a clock that stepped back; it counts as a
    full bucket, and whoever keeps it writes that down, so that nobody is shut out until the clock catches up.
    """
    if hard == 0:
        return Measured(0, 1, 0, WINDOW_US, 0)
    interval = interval_us(hard)
    tolerance = interval * hard
    ahead = max(0, min((arrival_us or 0) - now_us, tolerance))
    after = ahead + interval
    bound = tolerance if soft is None else interval * min(soft, hard)
    return Measured(ahead, after, tolerance, max(0, after - tolerance), bound)


def interval_us(hard: int) -> int:
    """Return in how many microseconds one request is forgotten, rounded up; *hard* is at least 1."""
    return -(-WINDOW_US // hard)
