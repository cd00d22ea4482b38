"""A steady rate: what is due goes to whoever is free, and what finds nobody free keeps the time it was due at."""

import time
from typing import cast

from loadtest.driver import Caller, Pace


class _Free:
    """Takes requests, and remembers when each was due."""

    def __init__(self) -> None:
        self.due_s: list[float] = []
        self.closed = False

    def send(self, due_s: float) -> None:
        self.due_s.append(due_s)

    def close(self) -> None:
        self.closed = True


async def test_requests_that_wait_for_a_connection_are_late_from_when_they_were_due() -> None:
    # A request each 100 s, the first five of them due already: the time of the test itself decides nothing.
    pace, began_s = Pace(0.01), time.perf_counter()
    pace._next_s = began_s - 450
    free = [_Free(), _Free(), _Free()]
    for one in free:
        pace.free(cast("Caller", one))
    pace.tick()
    assert all(len(one.due_s) == 1 and one.due_s[0] >= began_s for one in free)
    pace.free(cast("Caller", free[0]))
    pace.free(cast("Caller", free[1]))
    assert free[0].due_s[1:] == [began_s - 150]
    assert free[1].due_s[1:] == [began_s - 50]
    pace.free(cast("Caller", free[2]))
    assert len(free[2].due_s) == 1
    pace.stop()
    assert [one.closed for one in free] == [False, False, True]
