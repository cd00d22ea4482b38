"""Confirmed calls while the store is down, in a loop that runs tasks at once."""

import asyncio

import pytest

from gateway.valkey.confirmed import Confirmed
from gateway.valkey.link import Link, StoreUnavailable


class Absent:
    """Nobody who could be asked."""

    in_cluster = False

    async def open(self) -> "asyncio.Future[None]":
        raise OSError


async def test_none_is_forgotten_when_the_first_is_refused_at_once() -> None:
    """The door's loop is one: whoever came after an outage would wait for ever."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    link = Link(Absent(), "nowhere", 5.0)  # type: ignore[arg-type]
    confirmed = Confirmed(link, "nowhere", 1, 5.0, lambda: b"")
    link.fail("it is down")
    try:
        async with asyncio.timeout(10):
            for _ in range(3):
                with pytest.raises(StoreUnavailable, match="down"):
                    await confirmed.send(b"", loop.time() + 5.0)
    finally:
        await confirmed.close()
