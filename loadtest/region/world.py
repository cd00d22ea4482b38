"""Virtual time: everybody is a coroutine, and the world wakes each at the moment it waits for.

Whoever calls the store within the same span travels in one pipeline, each call with its own time. No rule of the store
reaches from one account to another, so within a span one life may run ahead of another.
"""

import heapq
import itertools
from collections.abc import Coroutine, Generator
from typing import Any

from loadtest.region.store import Trip, VirtualStore

Life = Coroutine[Any, Any, None]

SECOND_US = 1_000_000
HOUR_S, DAY_S, WEEK_S = 3_600, 86_400, 604_800
START_US = 1_790_553_600 * SECOND_US
"""Monday 2026-09-28, 00:00 UTC: the first day of every region."""


class Sleep:
    """Waiting for *until_us* of virtual time."""

    __slots__ = ("until_us",)

    def __init__(self, until_us: int) -> None:
        self.until_us = until_us

    def __await__(self) -> Generator["Sleep", None, None]:
        yield self


class World:
    """Lives coroutines in virtual time over one store. *together_s*: whose calls may travel together."""

    def __init__(self, store: VirtualStore, *, together_s: float = DAY_S) -> None:
        self.store = store
        self.trips = 0
        self._together_us = round(together_s * SECOND_US)
        self._waiting: list[tuple[int, int, Life]] = []
        self._turns = itertools.count()
        self._calling: list[tuple[int, Life, Trip]] = []

    @property
    def now_us(self) -> int:
        """Return the time of whoever runs just now."""
        return self.store.now_us

    async def until(self, at_us: int) -> None:
        """Wait until *at_us*; a moment that has passed is now."""
        await Sleep(max(at_us, self.now_us))

    def begin(self, life: Life, at_us: int) -> None:
        """Let *life* begin at *at_us*."""
        heapq.heappush(self._waiting, (at_us, next(self._turns), life))

    def run(self) -> None:
        """Live until nobody waits any more."""
        while self._waiting or self._calling:
            if self._waiting:
                horizon_us = self._waiting[0][0] + self._together_us
                while self._waiting and self._waiting[0][0] <= horizon_us:
                    at_us, _, life = heapq.heappop(self._waiting)
                    self._resume(life, at_us, None)
            # A span ends only when everybody in it has had every answer, or two spans would mix.
            while self._calling:
                calling, self._calling = self._calling, []
                self.trips += len(calling)
                replies = self.store.travel([trip for _, _, trip in calling])
                for (at_us, life, _), reply in zip(calling, replies, strict=True):
                    self._resume(life, at_us, reply)

    def _resume(self, life: Life, at_us: int, reply: Any) -> None:
        self.store.now_us = at_us
        try:
            asked = life.send(reply)
        except StopIteration:
            return
        if isinstance(asked, Trip):
            self._calling.append((at_us, life, asked))
        elif isinstance(asked, Sleep):
            heapq.heappush(self._waiting, (asked.until_us, next(self._turns), life))
        else:
            raise TypeError(f"nobody here waits for {asked!r}")
