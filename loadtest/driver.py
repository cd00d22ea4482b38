"""A load generator for loopback that checks every answer: ``python -m loadtest.driver``.

Its job comes in on standard input as JSON: port, connections, seconds, heads (request heads, taken in turn by the
connections) and expected (the body that every answer must have). What it did goes out as JSON.
"""

import asyncio
import json
import sys
import time
from functools import partial
from typing import Any

_MOST_WRONG = 3


class Tally:
    """What all connections did together. *wrong* keeps the first few answers that were not as expected."""

    def __init__(self, expected: bytes) -> None:
        self.expected = expected
        self.right = 0
        self.failed = 0
        self.wrong: list[str] = []
        self.latencies: list[float] = []
        self.stopping = False

    def fail(self, words: str) -> None:
        """Count an answer that was not as expected."""
        self.failed += 1
        if len(self.wrong) < _MOST_WRONG:
            self.wrong.append(words)


class Caller(asyncio.Protocol):
    """One kept connection that sends the same request again as soon as it was answered."""

    def __init__(self, tally: Tally, head: bytes) -> None:
        self._tally = tally
        self._head = head
        self._buffer = b""
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a stream transport is needed")
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        """Check a whole answer, then send again."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            self._tally.fail(head[:200].decode("latin-1"))
            self._transport.close()
            return
        length = int(head[at + 17 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
        if head.startswith(b"http/1.1 200 ") and body == self._tally.expected:
            self._tally.right += 1
            self._tally.latencies.append(time.perf_counter() - self._sent)
        else:
            self._tally.fail((head[:200] + b" ... " + body[:200]).decode("latin-1"))
        if self._tally.stopping:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count an end that nobody asked for."""
        if not self._tally.stopping:
            self._tally.fail(f"connection ended: {exc}")
        if not self.done.done():
            self.done.set_result(None)


def _same(caller: Caller) -> Caller:
    return caller


async def drive(job: dict[str, Any]) -> dict[str, Any]:
    """Keep every connection busy for ``seconds``; return counts, requests a second and latencies in ms."""
    loop = asyncio.get_running_loop()
    tally = Tally(job["expected"].encode())
    heads = [head.encode() for head in job["heads"]]
    callers = []
    started = time.perf_counter()
    for number in range(job["connections"]):
        caller = Caller(tally, heads[number % len(heads)])
        await loop.create_connection(partial(_same, caller), "127.0.0.1", job["port"])
        callers.append(caller)
    await asyncio.sleep(job["seconds"])
    right, seconds = tally.right, time.perf_counter() - started
    tally.stopping = True
    await asyncio.wait([caller.done for caller in callers], timeout=10)
    latencies = sorted(tally.latencies) or [0.0]
    return {
        "right": right,
        "failed": tally.failed,
        "wrong": tally.wrong,
        "per_second": round(right / seconds, 1),
        "median_ms": round(latencies[len(latencies) // 2] * 1000, 2),
        "p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1000, 2),
    }


if __name__ == "__main__":
    json.dump(asyncio.run(drive(json.load(sys.stdin))), sys.stdout)
