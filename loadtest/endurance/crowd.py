"""Connections that do nothing, or hardly anything: thousands of them, and when each was closed on them."""

import asyncio
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.endurance import content
from loadtest.endurance.line import Line, dial, read_head

_AT_ONCE = 50
_SMALL_BYTES = 300
_DRIP_S = 0.5
_READ_BYTES = 32_768
_LOOK_AGAIN_S = 1.0


class Silent(asyncio.Protocol):
    """One idle connection. *head* is a request that it makes once, whose answer must be *expected*."""

    def __init__(self, head: bytes, expected: bytes) -> None:
        self._head, self._expected = head, expected
        self._buffer = b""
        self.served: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.quiet_since_s = 0.0
        self.closed_after_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask, or say nothing."""
        self.transport = transport
        self.quiet_since_s = time.monotonic()
        if self._head and isinstance(transport, asyncio.Transport):
            transport.write(self._head)
        else:
            self.served.set_result(True)

    def data_received(self, data: bytes) -> None:
        """Take in the one answer."""
        self.quiet_since_s = time.monotonic()
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if found and len(body) >= len(self._expected) and not self.served.done():
            self.served.set_result(head.startswith(b"HTTP/1.1 200 ") and body == self._expected)
            self._buffer = b""

    def connection_lost(self, _exc: Exception | None) -> None:
        """Note when the other side closed it."""
        self.closed_after_s = time.monotonic() - self.quiet_since_s
        if not self.served.done():
            self.served.set_result(False)


async def open_idle(port: int, count: int) -> list[Silent]:
    """Open *count* connections: every second one is served a file once, the others never say a word."""
    line = Line(port)
    head, expected = (
        line.head("GET", f"/static/{_SMALL_BYTES}"),
        b"".join(content.blocks(f"{_SMALL_BYTES}", _SMALL_BYTES)),
    )
    gate, loop = asyncio.Semaphore(_AT_ONCE), asyncio.get_running_loop()

    async def one(number: int) -> Silent:
        async with gate:
            asks = number % 2 == 1
            _, made = await loop.create_connection(
                lambda: Silent(head if asks else b"", expected if asks else b""), "127.0.0.1", port
            )
            await made.served
            return made

    return await asyncio.gather(*(one(number) for number in range(count)))


@dataclass
class Slow:
    """What slow clients met: after how many seconds each was closed on, by what it did; None while it is held."""

    ended: dict[str, list[float | None]] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)

    def note(self, kind: str, after_s: float | None, status: int = 0) -> None:
        """Note one end."""
        self.ended.setdefault(kind, []).append(after_s)
        self.statuses.setdefault(kind, []).append(status)


async def drip_head(line: Line, slow: Slow, until_s: float) -> None:
    """Send a head byte by byte."""
    await _drip(line, b"", line.head("GET", "/aide", "X-Long: " + "x" * 4_000), "head", slow, until_s)


async def drip_body(line: Line, slow: Slow, until_s: float) -> None:
    """Send a login's body byte by byte."""
    head = line.head(
        "POST", "/connexion", "Content-Length: 5000", "Content-Type: application/x-www-form-urlencoded"
    )
    await _drip(line, head, b"x" * 5_000, "body", slow, until_s)


async def drip_upload(line: Line, slow: Slow, until_s: float) -> None:
    """Send a file byte by byte, on a door that passes files on as they come."""
    head = line.head("POST", "/envois", "Content-Length: 100000000")
    await _drip(line, head, b"x" * 5_000, "upload", slow, until_s)


async def _drip(line: Line, at_once: bytes, drops: bytes, kind: str, slow: Slow, until_s: float) -> None:
    reader, writer = await dial(line.port, line.tls)
    writer.write(at_once)
    began_s = time.monotonic()
    answered = asyncio.ensure_future(reader.read(64))
    try:
        for drop in drops:
            if time.monotonic() >= until_s or answered.done():
                break
            writer.write(bytes([drop]))
            await asyncio.wait({answered}, timeout=_DRIP_S)
        said = answered.result() if answered.done() else b""
        status = int(said[9:12]) if said.startswith(b"HTTP/1.1 ") else 0
        slow.note(kind, time.monotonic() - began_s if answered.done() else None, status)
    except OSError:
        slow.note(kind, time.monotonic() - began_s)
    finally:
        answered.cancel()
        writer.transport.abort()


class Held:
    """Which connections the gateway still holds, by the port of the client (Linux, proc(5): /proc/net/tcp).

    Who reads nothing never learns that a connection was closed on it.
    """

    def __init__(self, port: int) -> None:
        self._local = f":{port:04X}"
        self._read_s = -_LOOK_AGAIN_S
        self._ports: frozenset[int] = frozenset()

    def __call__(self, client_port: int) -> bool:
        """Tell whether a process of the gateway holds the connection of *client_port*."""
        if time.monotonic() >= self._read_s + _LOOK_AGAIN_S:
            self._read_s = time.monotonic()
            lines = (line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:])
            # A socket that no process holds any more has no inode.
            self._ports = frozenset(
                int(words[2].rpartition(":")[2], 16)
                for words in lines
                if words[1].endswith(self._local) and words[9] != "0"
            )
        return client_port in self._ports


async def read_in_drops(line: Line, target: str, slow: Slow, until_s: float) -> None:
    """Ask for a large file, and read a little of it now and then."""
    reader, writer = await _dial_narrow(line)
    writer.write(line.head("GET", target))
    began_s = time.monotonic()
    try:
        status, _ = await read_head(reader)
        while time.monotonic() < until_s:
            await asyncio.sleep(1.0)
            if not await reader.read(_READ_BYTES):
                slow.note("reader", time.monotonic() - began_s, status)
                return
        slow.note("reader", None, status)
    except (OSError, asyncio.IncompleteReadError):
        slow.note("reader", time.monotonic() - began_s)
    finally:
        writer.transport.abort()


async def read_nothing(line: Line, target: str, slow: Slow, until_s: float, held: Held) -> None:
    """Ask for a large file, and read none of it."""
    _, writer = await _dial_narrow(line)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(line.head("GET", target))
    client_port, began_s = writer.get_extra_info("sockname")[1], time.monotonic()
    while not held(client_port) and time.monotonic() < until_s:  # noqa: ASYNC110 - until it is taken from the port
        await asyncio.sleep(_LOOK_AGAIN_S)
    while time.monotonic() < until_s:
        await asyncio.sleep(_LOOK_AGAIN_S)
        if not held(client_port):
            slow.note("stalled reader", time.monotonic() - began_s)
            break
    else:
        slow.note("stalled reader", None)
    writer.transport.abort()


async def _dial_narrow(line: Line) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection on which little waits on this side."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _READ_BYTES)
    narrow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", line.port))
    return await asyncio.open_connection(sock=narrow, limit=_READ_BYTES)
