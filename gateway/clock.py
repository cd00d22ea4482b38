"""The one place that reads the machine's clock and starts background tasks."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Protocol


class Clock(Protocol):
    """Unix time, in milliseconds."""

    def now_ms(self) -> int:
        """Return the present time."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return the present time."""
        return time.time_ns() // 1_000_000


class FixedClock:
    """A clock for tests and replays; it moves when told to."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Return the time last set."""
        return self._now_ms

    def advance(self, by_ms: int) -> None:
        """Move by *by_ms* milliseconds, backwards when negative."""
        self._now_ms += by_ms


_tasks: set[asyncio.Task[Any]] = set()


def spawn(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Run *work* in the background and keep it alive: the loop itself holds tasks only weakly."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task
