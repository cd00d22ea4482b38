"""What a limit on requests per account would have stopped, and what nothing stops.

The limit is nginx's `limit_req` with `nodelay`, to the letter of ngx_http_limit_req_module: excess in thousandths of a
request, drained by the rate, refused when over the burst, and a refused request leaves no trace. Kong and others
count alike or worse (fixed windows). It is set as tightly as honest work allows.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from loadtest.region.thieves import BASE, BEGIN_US, Plan
from loadtest.region.world import SECOND_US, WEEK_S

WRONG_DAYS: Final = 1 / 10_000
"""How many professional-days may meet a refusal: as few as the caps are allowed."""

_RATES = (1, 2, 3, 4, 6, 10, 20, 30, 60)


@dataclass(frozen=True, slots=True)
class RequestLimit:
    """*rate_m* requests a minute and a *burst*, for each account."""

    rate_m: int
    burst: int

    def passed(self, moments_ms: Iterable[int]) -> int:
        """Return how many requests at *moments_ms* (in order) are not refused."""
        rate, burst = self.rate_m * 1000 // 60, self.burst * 1000
        excess, last_ms, count = 0, None, 0
        for now_ms in moments_ms:
            if last_ms is None:
                last_ms, count = now_ms, count + 1
                continue
            after = max(0, excess - rate * (now_ms - last_ms) // 1000 + 1000)
            if after <= burst:
                excess, last_ms, count = after, now_ms, count + 1
        return count


def tightest(requests: Mapping[str, Sequence[tuple[int, int, int]]]) -> RequestLimit:
    """Return the limit that lets a patient thief take least in a week and hurts honest people seldom enough.

    *requests* are day, microseconds and number of requests, by person.
    """
    candidates = [RequestLimit(rate, _burst(requests, rate)) for rate in _RATES]
    return min(candidates, key=lambda one: one.rate_m * WEEK_S // 60 + one.burst)


def _burst(requests: Mapping[str, Sequence[tuple[int, int, int]]], rate_m: int) -> int:
    rate = rate_m * 1000 // 60
    most: list[int] = []
    for each in requests.values():
        days: dict[int, int] = {}
        excess, last_ms = 0, 0
        for day, at_us, count in each:
            now_ms = at_us // 1000
            excess = max(0, excess - rate * (now_ms - last_ms) // 1000) + 1000 * count
            last_ms = now_ms
            days[day] = max(excess, days.get(day, 0))
        most += days.values()
    most.sort()
    allowed = math.floor(WRONG_DAYS * len(most))
    return math.ceil(most[len(most) - 1 - allowed] / 1000)


def gone_without(plan: Plan) -> int:
    """Return how many patients the gang of *plan* has after a week when nothing stops it."""
    accounts = 1 if plan.turns else plan.accounts
    return min(BASE, accounts * plan.a_page * sum(1 for _ in _attempts(plan)))


def gone_with(plan: Plan, limit: RequestLimit) -> int:
    """Return how many patients the gang has after a week under *limit*."""
    if plan.turns:
        # Each account is asked every tenth time.
        each = limit.passed(at for place, at in enumerate(_attempts(plan)) if place % plan.accounts == 0)
    else:
        each = limit.passed(_attempts(plan))
    return min(BASE, plan.accounts * plan.a_page * each)


def _attempts(plan: Plan) -> Iterator[int]:
    """Yield the milliseconds at which one tool of *plan* asks, for a week, or as long as its code lasts."""
    at_us = BEGIN_US
    # A relayed code opens one session; without caps that is twelve hours of it.
    end_us = at_us + (WEEK_S if plan.codes is None else 12 * 3_600 * plan.codes) * SECOND_US
    pace_us = round(plan.pace_s * SECOND_US)
    while (at_us := plan.opens_us(at_us)) < end_us:
        yield at_us // 1000
        at_us += pace_us
