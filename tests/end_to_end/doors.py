"""Every front proxy that is installed, all at once before one gateway, and between them what tells who asked what."""

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gateway.edge.front.site import Times
from tests.attacks.harness import Answered, complete
from tests.end_to_end import h2_client
from tests.end_to_end.fronts import COMMANDS, SECRET, Front, House, front, program
from tests.end_to_end.raw_app import Asked, RawApp, Script
from tests.people import DR_MARTIN
from tests.stand import HOST

CLIENT = "127.0.0.9"
"""Where clients come from; the proxies ask from 127.0.0.1, which the gateway trusts."""
PATIENCE_S = 2.0
"""How long a client waits for one more byte; what is not there by then is looked for at the end, too."""
_MORE_S = 0.3
"""The same after the first."""
_AT_ONCE = 64
INTERIM = re.compile(rb"HTTP/1\.1 1[0-9][0-9] [^\r]*\r\n(?:[^\r]+\r\n)*\r\n")
"""What comes before an answer."""
_FILES = "/static/"
_MADE = frozenset({
    "host", "cookie", "authorization", "x-ecluse-assertion", "connection", "via", "x-forwarded-for",
    "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-server", "x-real-ip",
    "content-length", "accept-encoding", "user-agent",
})  # fmt: skip
"""Lines that proxies write themselves."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the check answered to one question."""

    status: int
    lines: tuple[tuple[str, str], ...]


@dataclass
class Doorway:
    """One front proxy, and the app that it finds when it asks nobody else."""

    front: Front
    app: RawApp
    cookies: str
    """The Cookie line of somebody who is logged in."""

    @property
    def port(self) -> int:
        """Return the port of HTTPS."""
        return self.front.site.front.https_port

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """A context for clients of HTTP/1."""
        return self.front.house.authority.client()

    @cached_property
    def tls_h2(self) -> ssl.SSLContext:
        """A context for clients of HTTP/2."""
        made = self.front.house.authority.client()
        made.set_alpn_protocols(["h2"])
        return made

    def judged(self) -> list[Asked]:
        """Return every request that reached the app, each of which somebody has judged.

        Raises:
            Ambiguous: some bytes that reached it have more readings than one.
            AssertionError: a request went on that the check was not asked about, or otherwise than it said.
        """
        passed: Counter[tuple[str, ...]] = Counter()
        shown: dict[str, set[tuple[str, str]]] = {}
        for question, answer in questions(self.front.house):
            if answer.status == 200:
                told = (question.one("x-forwarded-method"), question.one("x-forwarded-uri"))
                passed[(*told, _host(question.one("x-forwarded-host")), *_credentials(answer.lines))] += 1
                shown.setdefault(told[1], set()).update(question.lines)
        found = self.app.requests()
        for asked in found:
            assert asked.method in {"GET", "HEAD"}, asked
            assert asked.one("x-forwarded-for") == CLIENT or asked.target == "/static/app.css", asked
            assert SECRET not in str(asked.lines), asked
            if asked.target.startswith(_FILES):
                assert _credentials(asked.lines) == ("", "", ""), asked
                assert _host(asked.one("host")) == HOST, asked
                continue
            key = (asked.method, asked.target, _host(asked.one("host")), *_credentials(asked.lines))
            assert passed[key] > 0, ("nobody was asked about this", asked)
            passed[key] -= 1
            more = {line for line in asked.lines if line[0] not in _MADE} - shown[asked.target]
            assert not more, ("the check was not shown this", more)
        return found

    async def send(
        self, *parts: bytes, patience_s: float = PATIENCE_S, port: int | None = None, one: bool = False
    ) -> Answered:
        """Send *parts* on a connection of their own, and read until the other side closes or says nothing more.

        *port*: to there, in clear. *one*: read one answer alone, which is waited for.
        """
        if one:
            patience_s = max(patience_s, 30.0)
        raw, closed = bytearray(), False
        secure = port is None
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port or self.port, local_addr=(CLIENT, 0),
                ssl=self.tls if secure else None, server_hostname=HOST if secure else None,
            )  # fmt: skip
        except OSError:
            return Answered(b"", closed=True)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            while True:
                async with asyncio.timeout(patience_s if one or not raw else _MORE_S):
                    data = await reader.read(65_536)
                if not data:
                    closed = True
                    break
                raw += data
                if one and complete(INTERIM.sub(b"", bytes(raw))):
                    break
        except TimeoutError:
            pass
        except (ConnectionError, ssl.SSLError):
            closed = True
        finally:
            writer.close()
        return Answered(bytes(raw), closed)

    async def send_h2(
        self, heads: Iterable[tuple[Sequence[tuple[str, str]], bytes]], patience_s: float = PATIENCE_S
    ) -> list[int]:
        """Send each head and body as HTTP/2, with the cookies of the session; return the statuses, 0 for none."""
        room = asyncio.Semaphore(_AT_ONCE)
        more = (("cookie", self.cookies), ("accept", "text/html"))

        async def send(lines: Sequence[tuple[str, str]], body: bytes) -> int:
            async with room:
                whole = (*lines, *more)
                return await h2_client.ask(self.port, self.tls_h2, HOST, whole, body, CLIENT, patience_s)

        return await asyncio.gather(*(send(lines, body) for lines, body in heads))

    async def send_all(self, messages: Iterable[bytes], *, one: bool = False) -> list[Answered]:
        """Send each of *messages* on a connection of its own, many at once; return what each got."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def send(message: bytes) -> Answered:
            async with room:
                return await self.send(message, one=one)

        return await asyncio.gather(*map(send, messages))


def _host(text: str) -> str:
    return text.lower().partition(":")[0].removesuffix(".")


def _credentials(lines: Iterable[tuple[str, str]]) -> tuple[str, str, str]:
    found = dict(lines)
    return found.get("cookie", ""), found.get("authorization", ""), found.get("x-ecluse-assertion", "")


_read: dict[int, tuple[int, list[tuple[Asked, Answer]]]] = {}


def questions(around: House) -> Iterator[tuple[Asked, Answer]]:
    """Yield what the check was asked until now, and what it answered; questions for a page it packed are left out."""
    for asked, answered in list(around.relay.record):
        # Connections are kept; what was read of one is not read again until there is more.
        size, found = _read.get(id(asked), (-1, []))
        if size != len(answered):
            found = []
            for (first, lines), (status, given) in zip(
                _messages(bytes(asked)), _messages(bytes(answered)), strict=False
            ):
                method, target, _ = first.split(" ", 2)
                if target != "/answer":
                    found.append((Asked(method, target, lines), Answer(int(status.split(" ")[1]), given)))
            _read[id(asked)] = len(answered), found
        yield from found


def _messages(raw: bytes) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return first lines and header lines of the messages of one direction; bodies have a length, or come in chunks."""
    found, start = [], 0
    while (end := raw.find(b"\r\n\r\n", start)) >= 0:
        first, *rest = raw[start:end].decode("latin-1").split("\r\n")
        lines = tuple(
            (name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in rest)
        )
        named = dict(lines)
        start = end + 4 + int(named.get("content-length", "0"))
        if "transfer-encoding" in named:
            start = raw.find(b"0\r\n\r\n", end) + 5
        found.append((first, lines))
    return found


@asynccontextmanager
async def doorways(
    around: House, folder: Path, scripts: Mapping[str, Script], times: Times | None = None
) -> AsyncIterator[dict[str, Doorway]]:
    """Run every front proxy that is installed before *around*, where DR_MARTIN is logged in."""
    if DR_MARTIN not in around.cookies:
        around.cookies[DR_MARTIN] = dict((await around.gate.log_in(DR_MARTIN)).cookies)
    cookies = "; ".join(f"{name}={value}" for name, value in around.cookies[DR_MARTIN].items())

    async with AsyncExitStack() as stack:

        async def begin(name: str) -> tuple[str, Doorway]:
            (folder / name).mkdir()
            app = await stack.enter_async_context(RawApp(scripts))
            running = front(around, name, folder / name, app.port, times)
            return name, Doorway(await stack.enter_async_context(running), app, cookies)

        names = [name for name in COMMANDS if program(name) is not None]
        yield dict(await asyncio.gather(*map(begin, names)))


def children(pid: int) -> list[int]:
    """Return the processes that *pid* began, by the kernel's own list."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
