"""What a peer sends is handed on as it comes, in its order and to the end, and held back when it must be."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from addons.arriving import Arriving

PATIENCE_S = 5.0


class Line(asyncio.Transport):
    """Stands for the socket: notes when it is read from and when not."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")

    def is_closing(self) -> bool:
        return False


class Site:
    """One connection. *full*: from now on whoever reads it wants no more until ``caught_up`` is set."""

    def __init__(self) -> None:
        self.stream, self.line = asyncio.StreamReader(limit=4), Line()
        self.stream.set_transport(self.line)
        self.received: list[bytes] = []
        self.full = False
        self.caught_up = asyncio.Event()

    def arriving(self) -> Arriving:
        def receive(piece: bytes) -> bool:
            self.received.append(piece)
            return not self.full

        writer: Any = SimpleNamespace(transport=self.line)
        return Arriving(self.stream, writer, receive, self._wait)

    async def _wait(self) -> None:
        await self.caught_up.wait()
        self.full = False


async def _to_the_end(arriving: Arriving) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        return await arriving.read(65_536)


async def test_all_of_it_in_order_whether_it_came_before_or_after() -> None:
    site = Site()
    # More than the stream holds: it has stopped the socket, which must be read from again.
    site.stream.feed_data(b"came before, ")
    reading = asyncio.create_task(_to_the_end(site.arriving()))
    await asyncio.sleep(0)
    site.stream.feed_data(b"came after, ")
    assert site.received == [b"came before, ", b"came after, "]
    assert site.line.told == ["pause", "resume"]
    site.stream.feed_data(b"came last")
    site.stream.feed_eof()
    assert await reading == b""
    assert b"".join(site.received) == b"came before, came after, came last"
    assert site.line.told == ["pause", "resume"]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("broken", [True, False], ids=["broken", "closed"])
async def test_its_end_is_told_after_what_came(before: bool, broken: bool) -> None:
    site = Site()

    def end() -> None:
        site.stream.feed_data(b"all of it")
        if broken:
            site.stream.set_exception(ConnectionResetError())
        else:
            site.stream.feed_eof()

    if before:
        end()
    arriving = site.arriving()
    if not before:
        asyncio.get_running_loop().call_soon(end)
    assert await _to_the_end(arriving) == b""
    assert site.received == [b"all of it"]


async def test_nothing_is_read_while_somebody_is_slow() -> None:
    site = Site()
    reading = asyncio.create_task(_to_the_end(site.arriving()))
    await asyncio.sleep(0)
    site.full = True
    site.stream.feed_data(b"one")
    assert site.line.told == ["pause"]
    for _ in range(3):
        await asyncio.sleep(0)
    assert site.line.told == ["pause"]
    assert not reading.done()
    site.caught_up.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert site.line.told == ["pause", "resume"]
    site.stream.feed_data(b"two")
    site.stream.feed_eof()
    assert await reading == b""
    assert site.received == [b"one", b"two"]


async def test_who_waits_for_it_can_be_told_to_stop() -> None:
    site = Site()
    reading = asyncio.create_task(site.arriving().read(1))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
