"""A load generator for loopback that checks every answer: ``python -m loadtest.driver``.

Its job comes in on standard input as JSON: port, connections, seconds, heads (request heads, taken in turn by the
connections) and expected (the body that every answer must have). With per_second it sends so many requests a second
instead of as many as are answered; one that finds every connection taken waits, and its wait counts. What it did
goes out as JSON.
"""

import asyncio
import json
import sys
import time
from collections import deque
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
    """One kept connection that sends the same request again as soon as it was answered, or when *pace* says so."""

    def __init__(self, tally: Tally, head: bytes, pace: "Pace | None" = None) -> None:
        self._tally = tally
        self._head = head
        self._pace = pace
        self._buffer = b""
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a stream transport is needed")
        self._transport = transport
        self._go_on()

    def _go_on(self) -> None:
        if self._pace is None:
            self.send(time.perf_counter())
        else:
            self._pace.free(self)

    def send(self, due_s: float) -> None:
        """Send the request that was due at *due_s* of the performance counter."""
        self._sent = due_s
        self._transport.write(self._head)

    def close(self) -> None:
        """Close a connection on which nothing is awaited."""
        self._transport.close()

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
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count an end that nobody asked for."""
        if not self._tally.stopping:
            self._tally.fail(f"connection ended: {exc}")
        if not self.done.done():
            self.done.set_result(None)


class Pace:
    """Hands out *per_second* requests a second to the connections that are free."""

    def __init__(self, per_second: float) -> None:
        self._every_s = 1 / per_second
        self._next_s = time.perf_counter()
        self._due: deque[float] = deque()
        self.waiting: deque[Caller] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def free(self, caller: Caller) -> None:
        """Give *caller* the oldest request that waits, or let it wait for one."""
        if self._due:
            caller.send(self._due.popleft())
        else:
            self.waiting.append(caller)

    def tick(self) -> None:
        """Send what is due by now, and come back when the next one is."""
        now_s = time.perf_counter()
        while self._next_s <= now_s:
            # How exactly the loop's own timer goes is no part of an answer's time.
            if self.waiting:
                self.waiting.popleft().send(now_s)
            else:
                self._due.append(self._next_s)
            self._next_s += self._every_s
        self._timer = asyncio.get_running_loop().call_later(self._next_s - time.perf_counter(), self.tick)

    def stop(self) -> None:
        """Send no more; connections on which nothing is awaited are closed."""
        if self._timer is not None:
            self._timer.cancel()
        while self.waiting:
            self.waiting.popleft().close()


def _same(caller: Caller) -> Caller:
    return caller


async def drive(job: dict[str, Any]) -> dict[str, Any]:
    """Keep every connection busy for ``seconds``; return counts, requests a second and latencies in ms."""
    loop = asyncio.get_running_loop()
    tally = Tally(job["expected"].encode())
    heads = [head.encode() for head in job["heads"]]
    callers = []
    pace = Pace(job["per_second"]) if job.get("per_second") else None
    started = time.perf_counter()
    for number in range(job["connections"]):
        caller = Caller(tally, heads[number % len(heads)], pace)
        await loop.create_connection(partial(_same, caller), "127.0.0.1", job["port"])
        callers.append(caller)
    if pace is not None:
        pace.tick()
    await asyncio.sleep(job["seconds"])
    right, seconds = tally.right, time.perf_counter() - started
    tally.stopping = True
    if pace is not None:
        pace.stop()
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
