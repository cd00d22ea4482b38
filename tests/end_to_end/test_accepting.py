"""A port that several accept on: none takes what others could, and who leaves takes nothing with it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import pytest

from gateway.workers.accepting import Acceptor, streamed
from gateway.workers.port import take
from gateway.workers.standings import Standings


@dataclass
class Party:
    """One who accepts, and holds each connection until the other side hangs up."""

    listening: socket.socket
    standings: Standings
    held: set[asyncio.StreamWriter] = field(default_factory=set)
    served: int = 0

    def __post_init__(self) -> None:
        self.acceptor = Acceptor(self.listening, lambda: streamed(self.serve), self.is_my_turn)

    def is_my_turn(self) -> bool:
        return self.standings.is_my_turn(len(self.held) + self.acceptor.pending)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served += 1
        self.held.add(writer)
        writer.write(b"!")
        await reader.read()
        self.held.discard(writer)
        writer.close()

    def leave(self) -> None:
        self.standings.leave()
        self.acceptor.close()


@contextmanager
def table() -> Iterator[int]:
    handle = Standings.make()
    try:
        yield handle
    finally:
        os.close(handle)


@asynccontextmanager
async def parties(count: int) -> AsyncIterator[tuple[int, list[Party]]]:
    with take("127.0.0.1", 0) as bound, table() as handle:
        several = [Party(bound.dup(), Standings(handle, number)) for number in range(1, count + 1)]
        port = bound.getsockname()[1]
        for party in several:
            party.acceptor.open()
        try:
            yield port, several
        finally:
            for party in several:
                party.leave()


async def call(port: int) -> asyncio.StreamWriter:
    """Connect, and return once somebody serves."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(30):
        assert await reader.read(1) == b"!"
    return writer


async def hang_up(writers: list[asyncio.StreamWriter]) -> None:
    for writer in writers:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("count", [2, 3])
async def test_a_burst_is_shared_out(count: int) -> None:
    # Naive: asyncio's own server takes all that waits, so that one of two has every connection.
    async with parties(count) as (port, several):
        writers = await asyncio.gather(*(call(port) for _ in range(12 * count)))
        served = [party.served for party in several]
        assert sum(served) == 12 * count
        # A fair share is twelve; on a busy machine somebody may be late for some of his.
        assert min(served) >= 4
        await hang_up(writers)


async def test_who_leaves_takes_nothing_with_it_and_holds_nobody_up() -> None:
    async with parties(2) as (port, (first, second)):
        before = [await call(port) for _ in range(4)]
        first.leave()
        calls = [asyncio.ensure_future(call(port)) for _ in range(8)]
        after = await asyncio.gather(*calls)
        assert second.served >= 8
        assert first.served + second.served == 12
        # What it had goes on.
        assert len(first.held) == first.served
        await hang_up([*before, *after])


async def test_a_port_that_somebody_listens_on_is_refused() -> None:
    with take("127.0.0.1", 0) as early:
        port = early.getsockname()[1]
        with take("127.0.0.1", port) as late, table() as handle:
            early.listen()
            with pytest.raises(OSError, match="in use"):
                Party(late, Standings(handle, 1)).acceptor.open()
        with pytest.raises(OSError, match=f"listener 127.0.0.1:{port}: Address already in use"):
            take("127.0.0.1", port)
