"""The edge's own connections: what they take for a question, what they end, and that answers keep their order."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.edge import heads
from gateway.edge.wire import Answer, Peer, Wire
from gateway.workers.accepting import Acceptor

ONE = b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n"
TWO = b"GET /two HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
PATIENCE_S = 20.0
MOST_BYTES = 2_000


class Stage:
    """A wire whose answers say which head they are for."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.too_large = 0
        self.held = asyncio.Event()
        self.held.set()
        self.body = b""
        self.acceptor: Acceptor | None = None

    async def respond(self, raw: bytes, peer: Peer) -> Answer:
        assert peer == ("", 0)
        head = heads.read(raw)
        if isinstance(head, heads.HeadFault):
            return b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", True
        self.asked.append(head.path.encode())
        if head.path == "/fault":
            raise RuntimeError("a fault of ours")
        await self.held.wait()
        said = head.path.encode() + self.body
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said), head.last

    def note(self, _: Peer) -> None:
        self.too_large += 1


Ask = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@asynccontextmanager
async def wired(folder: Path, **bounds: float) -> AsyncIterator[tuple[Stage, Wire, Ask]]:
    stage = Stage()
    wire = Wire(stage.respond, stage.note, MOST_BYTES, **bounds)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "s"))
    listening.listen()
    listening.setblocking(False)
    acceptor = stage.acceptor = Acceptor(listening, wire.connection, lambda: True)
    acceptor.open()
    writers: list[asyncio.StreamWriter] = []

    async def ask() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(folder / "s")
        writers.append(writer)
        return reader, writer

    try:
        async with asyncio.timeout(PATIENCE_S):
            yield stage, wire, ask
    finally:
        stage.held.set()
        for writer in writers:
            writer.close()
        acceptor.close()
        await wire.close(0.1)


async def everything(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return int(head.split(b" ")[1]), head, await reader.readexactly(length)


async def test_a_connection_is_kept_and_ends_when_asked_to(tmp_path: Path) -> None:
    async with wired(tmp_path) as (_, _, ask):
        reader, writer = await ask()
        for _ in range(3):
            writer.write(ONE)
            status, head, body = await answer(reader)
            assert (status, body, b"connection" in head) == (200, b"/one", False)
        writer.write(LAST)
        status, head, body = await answer(reader)
        assert (status, body, b"\r\nconnection: close\r\n" in head) == (200, b"/last", True)
        assert await everything(reader) == b""


async def test_heads_in_pieces_and_many_at_once_are_answered_in_order(tmp_path: Path) -> None:
    async with wired(tmp_path) as (stage, _, ask):
        reader, writer = await ask()
        for at in range(len(ONE)):
            writer.write(ONE[at : at + 1])
            await writer.drain()
        assert (await answer(reader))[2] == b"/one"
        stage.held.clear()
        writer.write((ONE + TWO) * 200 + LAST)
        writer.write_eof()
        while len(stage.asked) < 2:
            await asyncio.sleep(0)
        assert stage.asked == [b"/one", b"/one"], "one at a time"
        stage.held.set()
        said = [(await answer(reader))[2] for _ in range(401)]
        assert said == [b"/one", b"/two"] * 200 + [b"/last"]
        assert await everything(reader) == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 44\r\n\r\n" + TWO,
        b"GET /one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + TWO,
        b"GET /one HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + TWO,
        b"GET /one HTTP/1.0\r\nHost: x\r\n\r\n" + TWO,
    ],
)
async def test_what_follows_a_body_or_another_protocol_is_never_a_question(
    tmp_path: Path, raw: bytes
) -> None:
    """B14 A body that nobody reads must not be taken for the next question."""
    async with wired(tmp_path) as (stage, _, ask):
        reader, writer = await ask()
        writer.write(raw)
        assert (await answer(reader))[1].count(b"connection: close") == 1
        assert await everything(reader) == b""
        assert stage.asked == [b"/one"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /one HTTP/1.1\nHost: x\n\nGET /two HTTP/1.1\r\n\r\n",
        b"GET /one HTTP/1.1\r\nHost: x\nX-Other: y\r\n\r\n",
        b"GET /one HTTP/1.1\r\nHost: x\rX-Other: y\r\n\r\n",
        b"GET /one HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET /one HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /one HTTP/1.1\r\nHost: x\0y\r\n\r\n",
        b"GET /one HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /one\r\n\r\n",
        b"GET /one HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /one HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /one HTTP/1.1\r\n" + b"a: b\r\n" * (heads.MAX_FIELDS + 1) + b"\r\n",
    ],
)
async def test_what_is_not_one_head_of_one_meaning_is_refused(tmp_path: Path, raw: bytes) -> None:
    """B01 B02 B07 B08 B09 Framing that two servers could read in two ways ends the connection."""
    async with wired(tmp_path) as (stage, _, ask):
        reader, writer = await ask()
        writer.write(raw + TWO)
        assert (await answer(reader))[0] == 400
        assert await everything(reader) == b""
        assert stage.asked == []


async def test_a_head_without_end_is_bounded_in_bytes(tmp_path: Path) -> None:
    """B19 Nothing is kept of a head that is longer than any may be."""
    async with wired(tmp_path) as (stage, _, ask):
        for raw in (
            b"GET /one HTTP/1.1\r\nX: " + b"a" * MOST_BYTES,
            ONE[:-2] + b"X: " + b"a" * MOST_BYTES + b"\r\n\r\n",
        ):
            reader, writer = await ask()
            writer.write(raw)
            assert (await answer(reader))[0] == 431
        assert (stage.asked, stage.too_large) == ([], 2)


async def test_a_slow_head_and_an_idle_connection_are_ended(tmp_path: Path) -> None:
    async with wired(tmp_path, head_s=0.2, idle_s=0.2) as (stage, _, ask):
        idle, _ = await ask()
        slow, writer = await ask()
        writer.write(ONE[:10])
        assert await everything(idle) == await everything(slow) == b""
        assert stage.asked == []


async def test_whoever_does_not_read_is_not_answered_further(tmp_path: Path) -> None:
    async with wired(tmp_path) as (stage, _, ask):
        stage.body = b"b" * 100_000
        reader, writer = await ask()
        writer.write(ONE * 40)
        seen = -1
        while seen != len(stage.asked):
            seen = len(stage.asked)
            await asyncio.sleep(0.05)
        assert seen < 40
        for _ in range(40):
            assert (await answer(reader))[2][:4] == b"/one"


async def test_a_fault_answers_503_and_ends_the_connection(tmp_path: Path) -> None:
    async with wired(tmp_path) as (_, _, ask):
        reader, writer = await ask()
        writer.write(ONE.replace(b"/one", b"/fault") + TWO)
        assert (await answer(reader))[0] == 503
        assert await everything(reader) == b""


async def test_draining_answers_what_was_asked_and_takes_nothing_more(tmp_path: Path) -> None:
    async with wired(tmp_path) as (stage, wire, ask):
        busy, writer = await ask()
        idle, _ = await ask()
        stage.held.clear()
        writer.write(ONE)
        while not stage.asked:
            await asyncio.sleep(0)
        assert stage.acceptor is not None
        stage.acceptor.close(nobody_else=True)
        closing = asyncio.get_running_loop().create_task(wire.close(PATIENCE_S))
        assert await everything(idle) == b""
        with pytest.raises(OSError, match=r"refused|No such file"):
            await ask()
        stage.held.set()
        status, head, _ = await answer(busy)
        assert (status, head.count(b"connection: close")) == (200, 1)
        assert await everything(busy) == b""
        writer.close()
        await closing
        assert not wire.connections
