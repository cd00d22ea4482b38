"""Who does not read what was asked for: given up after a while; who reads slowly: served to the last byte."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from addons.sentinel import RELEASE, mark
from gateway.policy.policy import Upstream
from loadtest.endurance.crowd import Held
from tests.attacks.harness import Door, RecordingUpstream, TinyGuard, get, ok, policy_for

BODY = b"0123456789abcdef" * 500_000
IDLE_S = 2
_NARROW_BYTES = 32_768


@asynccontextmanager
async def _door(*, streamed: bool, body: bytes = BODY, idle_s: int = IDLE_S) -> AsyncIterator[Door]:
    async with RecordingUpstream((ok(body),)) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        guard = TinyGuard(policy_for(upstream))

        def release(flow: object) -> None:
            flow.response.stream = True  # type: ignore[attr-defined]
            mark(flow, RELEASE)  # type: ignore[arg-type]

        guard.on_responseheaders = release if streamed else None
        async with Door([guard], [upstream], idle_timeout_s=idle_s) as door:
            yield door


@asynccontextmanager
async def _asking(port: int, *lines: bytes) -> AsyncIterator[socket.socket]:
    """Ask for the large answer, on a connection on whose side little of it fits."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NARROW_BYTES)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, get(b"/patient/1", *lines))
        yield client


async def _read(
    client: socket.socket, pause_s: float, every: int = 1_000_000, most: int = len(BODY)
) -> bytes:
    """Read to the end, or until a body of *most* bytes has come, with a pause after *every* so many."""
    raw, pause_at = b"", every
    while data := await asyncio.get_running_loop().sock_recv(client, 65_536):
        raw += data
        if len(raw.partition(b"\r\n\r\n")[2]) >= most:
            break
        if len(raw) >= pause_at:
            pause_at += every
            await asyncio.sleep(pause_s)
    return raw.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "held"])
async def test_who_reads_nothing_is_given_up(streamed: bool) -> None:
    """O04: the answer does not stay in memory, nor the socket open, for as long as the client likes."""
    # Naive: a closed connection is kept until everything that was written to it has been read.
    async with _door(streamed=streamed) as door, _asking(door.port) as client:
        held, port = Held(door.port), client.getsockname()[1]
        async with asyncio.timeout(20):
            while not held(port):
                await asyncio.sleep(0.1)
            while held(port):
                await asyncio.sleep(0.1)
        assert not door.master.leaving


async def test_who_reads_slowly_has_all_of_it() -> None:
    """O04: the neighbour: slower than any bound, and never cut."""
    async with _door(streamed=False) as door, _asking(door.port, b"Connection: close") as client:
        assert await _read(client, 0.4) == BODY


async def test_who_reads_a_stream_slowly_has_all_of_it() -> None:
    """O04: while somebody empties the system's buffers nothing happens at the door: that is no silence."""
    # Naive: a connection without an event for the time of the bound is closed, whatever is being read.
    async with _door(streamed=True, body=BODY[:6_000_000], idle_s=1) as door, _asking(door.port) as client:
        assert await _read(client, 0.1, 100_000, 6_000_000) == BODY[:6_000_000]


async def test_a_stop_waits_for_what_is_being_read() -> None:
    """O04: an answer that has left the door in part leaves it whole, for as long as a stop may take."""
    # Naive: whoever has the answer in the buffers of a closed connection counts as gone.
    async with _door(streamed=False) as door, _asking(door.port) as client:
        # The head's first bytes: the answer is under way.
        assert await asyncio.get_running_loop().sock_recv(client, 16)
        draining = asyncio.ensure_future(door.master.drain(20))
        await asyncio.sleep(0.5)
        assert not draining.done()
        assert await _read(client, 0.1) == BODY
        assert await draining == 0
