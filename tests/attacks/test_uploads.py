"""Files sent to the app: passed on while they arrive, never before the verdict, never more than was said."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from mitmproxy import http

from addons.sentinel import DEFER, mark
from gateway.policy.policy import Upstream
from tests.attacks.harness import Door, RawClient, RecordingUpstream, TinyGuard, hang_up, policy_for
from tests.attacks.witness import attempt, lavish, raw, told
from tests.people import DR_MARTIN
from tests.stand import MiniApp, Said, Seen, Stand, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_REQUEST_BYTES, MAX_UPLOAD_BYTES = 100_000, 400_000
PIECE = b"x" * 50_000
_PUSHED_BYTES, _TAKEN_BYTES = 64_000_000, 32_000_000
"""What a client pushes, and what the buffers of both systems and of the door may take of it."""


class FileApp(MiniApp):
    """An app that tells how long what it got was."""

    def __call__(self, seen: Seen) -> Said:
        if seen.path in {"/envois", "/notes"}:
            return Said(body=f"{len(seen.body)} octets")
        return super().__call__(seen)


def _config(config: dict[str, Any]) -> None:
    lavish(config)
    config["gateway"]["max_request_bytes"] = MAX_REQUEST_BYTES
    config["apps"]["parcours"]["routes"] += [
        {"name": "files", "kind": "page", "path": "/envois", "max_upload_bytes": MAX_UPLOAD_BYTES},
        {"name": "notes", "kind": "page", "path": "/notes"},
    ]


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _sockets() -> AsyncIterator[None]:
    yield
    await hang_up()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: Any) -> AsyncIterator[Stand]:
    async with stand(tmp_path_factory.mktemp("uploads"), FileApp(), _config) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cookies(gate: Stand) -> dict[str, str]:
    return (await gate.log_in(DR_MARTIN)).cookies


def _head(cookies: dict[str, str], framing: str, target: str = "/envois") -> bytes:
    return raw("POST", target, framing, cookies=cookies).replace(b"Content-Length: 0\r\n", b"")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _until_at_app(gate: Stand, before: int, count: int) -> None:
    async with asyncio.timeout(20):
        while len(gate.app.bytes) - before < count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("declared", [True, False], ids=["length", "chunks"])
async def test_a_file_is_passed_on_while_it_arrives(
    gate: Stand, cookies: dict[str, str], declared: bool
) -> None:
    """O04: the app has the first piece before the last one is sent, and all of them in the end."""
    # Naive: the door reads a body to its end before it asks the app.
    before, size = len(gate.app.bytes), 4 * len(PIECE)
    client = await RawClient.open(gate.port)
    framing = f"Content-Length: {size}" if declared else "Transfer-Encoding: chunked"
    sent = PIECE if declared else _chunk(PIECE)
    await client.send(_head(cookies, framing), sent)
    await _until_at_app(gate, before, len(PIECE))
    await client.send(sent, sent, sent, b"" if declared else b"0\r\n\r\n")
    answered = await client.answer()
    assert answered.status == 200
    assert answered.raw.endswith(b"%d octets" % size)


async def test_a_file_longer_than_the_door_takes(gate: Stand, cookies: dict[str, str]) -> None:
    """O04: its length is told: refused before a byte of it is read."""
    outcome = await attempt(gate, _head(cookies, f"Content-Length: {MAX_UPLOAD_BYTES + 1}"))
    assert outcome.status == 413
    assert outcome.app_bytes == b""
    assert (outcome.event["kind"], outcome.event["status"]) == ("refused", 413)


async def test_a_file_that_grows_too_long(gate: Stand, cookies: dict[str, str]) -> None:
    """O04: its length is not told: broken off at the bound, and the app never sees its end."""
    before = len(await told(gate))
    bytes_before = len(gate.app.bytes)
    client = await RawClient.open(gate.port)
    await client.send(_head(cookies, "Transfer-Encoding: chunked"), *[_chunk(PIECE)] * 8)
    await _until_at_app(gate, bytes_before, MAX_UPLOAD_BYTES)
    await client.send(_chunk(PIECE))
    assert (await client.rest(20)).closed
    assert gate.app.bytes[bytes_before:].count(b"x" * 100) <= MAX_UPLOAD_BYTES // 100
    assert b"0\r\n\r\n" not in gate.app.bytes[bytes_before:]
    events = (await told(gate))[before:]
    # The cut itself is told too, as a request that was not whole.
    assert ("refused", 413) in [(event["kind"], event["status"]) for event in events]


async def test_a_file_of_a_stranger(gate: Stand) -> None:
    """A02 O04: nothing of it goes to the app before the verdict, nor after."""
    outcome = await attempt(gate, _head({}, "Transfer-Encoding: chunked"), *[_chunk(PIECE)] * 4)
    assert outcome.status in {401, 303}
    assert outcome.app_bytes == b""


@pytest.mark.parametrize("declared", [True, False], ids=["length", "chunks"])
async def test_other_doors_keep_their_bound(gate: Stand, cookies: dict[str, str], declared: bool) -> None:
    """O04: what is held is bounded as before."""
    if declared:
        parts = [_head(cookies, f"Content-Length: {MAX_REQUEST_BYTES + 1}", "/notes")]
    else:
        parts = [_head(cookies, "Transfer-Encoding: chunked", "/notes"), *[_chunk(PIECE)] * 3]
    outcome = await attempt(gate, *parts)
    assert outcome.status == 413
    assert outcome.app_bytes == b""


async def test_nothing_is_read_ahead_of_the_verdict() -> None:
    """A04 O04: while the verdict is waited for, an upload without an end fills no memory of ours."""
    # Naive: mitmproxy queues whatever arrives while a hook runs.
    verdict = asyncio.Event()

    async def think(flow: http.HTTPFlow) -> None:
        await verdict.wait()
        mark(flow, DEFER)

    async with RecordingUpstream() as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        async with Door([TinyGuard(policy_for(upstream), on_request=think)], [upstream]) as door:
            taken = await _push(door.port)
            verdict.set()
            await asyncio.sleep(0)
        assert app.received == b""
    assert taken < _TAKEN_BYTES


async def _push(port: int) -> int:
    """Send chunks for as long as somebody takes them; return how many bytes were taken."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(
            client, b"POST /x HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        taken, piece = 0, _chunk(b"x" * 1_000_000)
        try:
            while taken < _PUSHED_BYTES:
                async with asyncio.timeout(1.5):
                    await loop.sock_sendall(client, piece)
                taken += len(piece)
        except TimeoutError:
            pass
    return taken
