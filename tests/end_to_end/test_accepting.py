"""A port that several accept on: none takes what others could, and who leaves takes nothing with it."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.workers.accepting import Acceptor, streamed
from gateway.workers.port import Places, PortTaken, take
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

    def leave(self, *, nobody_else: bool = False) -> None:
        self.standings.leave()
        self.acceptor.close(nobody_else=nobody_else)


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


async def test_the_last_one_to_leave_takes_what_waits() -> None:
    """Naive: what the kernel has accepted and nobody has taken is reset with the port, questions in it and all."""
    async with parties(1) as (port, (last,)):
        # Connected by the kernel alone: this loop has not had a turn to take them.
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        assert last.served == 0
        last.leave(nobody_else=True)
        for one in waiting:
            one.setblocking(False)
            async with asyncio.timeout(30):
                assert await asyncio.get_running_loop().sock_recv(one, 1) == b"!"
        for one in waiting:
            one.close()
        async with asyncio.timeout(30):
            while last.held:
                await asyncio.sleep(0.01)


def test_a_path_is_for_its_group_is_left_to_whoever_has_it_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    with pytest.raises(PortTaken, match=r"listener .*/edge\.sock: there is no group nobody-has-it"):
        Places("127.0.0.1", None, str(path), "nobody-has-it")
    places = Places("127.0.0.1", 0, str(path), None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert places.shown() == {
        "socket": str(path),
        "address": "127.0.0.1",
        "port": places.sockets[1].getsockname()[1],
    }
    # Bound and not yet listened on: nobody is let wait for nothing.
    with socket.socket(socket.AF_UNIX) as early, pytest.raises(ConnectionRefusedError):
        early.connect(str(path))
    places.sockets[0].listen()
    with pytest.raises(PortTaken, match="Address already in use"):
        Places("127.0.0.1", None, str(path), None)
    # A killed one leaves its path behind: it answers nobody, and the next one takes it.
    for one in places.sockets:
        one.close()
    again = Places("127.0.0.1", None, str(path), None)
    places.close()
    assert path.exists(), "it is another's by now"
    again.close()
    assert not path.exists()
    # When one place cannot be had, none is.
    with take("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(PortTaken, match=r"listener 127\.0\.0\.1:"):
            Places("127.0.0.1", taken.getsockname()[1], str(path), None)
    assert not path.exists()
