"""An app that keeps every byte it got, and reads it as strictly as RFC 9112 allows: what it cannot read, it tells."""

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.stand import OnLoopback

CUT = "cut"
"""In a script: hang up."""
Script = Sequence[bytes | str]

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
_FIRST = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.[01]")


class Ambiguous(ValueError):
    """Bytes that two servers could read in two ways."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: *lines* in the order they came, names in lower case."""

    method: str
    target: str
    lines: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """Return the values of the lines called *name*."""
        return [value for key, value in self.lines if key == name]

    def one(self, name: str) -> str:
        """Return the value of the only line called *name*, "" without one.

        Raises:
            Ambiguous: there are several.
        """
        values = self.all(name)
        if len(values) > 1:
            raise Ambiguous(f"{name} comes {len(values)} times")
        return values[0] if values else ""


def head_of(raw: bytes) -> Asked:
    """Return the request whose head, its empty line left out, is *raw*.

    Raises:
        Ambiguous: it has more readings than one, or a body.
    """
    first, *rest = raw.split(b"\r\n")
    found = _FIRST.fullmatch(first)
    if found is None:
        raise Ambiguous(f"request line {first[:200]!r}")
    lines = []
    for line in rest:
        pair = _LINE.fullmatch(line)
        if pair is None:
            raise Ambiguous(f"header line {line[:200]!r}")
        lines.append((pair[1].decode("ascii").lower(), pair[2].decode("latin-1")))
    asked = Asked(found[1].decode("ascii"), found[2].decode("ascii"), tuple(lines))
    for name in ("host", "cookie", "authorization", "content-length", "connection"):
        asked.one(name)
    if not asked.all("host"):
        raise Ambiguous("no host")
    if asked.all("transfer-encoding") or asked.all("content-length") not in ([], ["0"]):
        raise Ambiguous("a body")
    if asked.all("upgrade") or asked.all("expect") or asked.all("trailer"):
        raise Ambiguous("more than a request")
    if not {option.strip().lower() for option in asked.one("connection").split(",")} <= {
        "", "close", "keep-alive",
    }:  # fmt: skip
        raise Ambiguous(f"connection {asked.one('connection')!r}")
    return asked


def requests_of(raw: bytes) -> list[Asked]:
    """Return the requests that one connection brought, one after the other and nothing between them.

    Raises:
        Ambiguous: it brought anything else.
    """
    *heads, rest = raw.split(b"\r\n\r\n")
    if rest:
        raise Ambiguous(f"bytes that are no request {rest[:200]!r}")
    return [head_of(head) for head in heads]


class RawApp(OnLoopback):
    """Answers whatever it gets, by the word after ``answer=`` in the address when *scripts* knows it."""

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        super().__init__()
        self.scripts = scripts
        self.connections: list[bytearray] = []

    def received(self) -> bytes:
        """Return every byte, connection after connection."""
        return b"\n--\n".join(map(bytes, self.connections))

    def requests(self) -> list[Asked]:
        """Return every request, connection after connection.

        Raises:
            Ambiguous: some bytes have more readings than one.
        """
        return [asked for raw in list(self.connections) for asked in requests_of(bytes(raw))]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw, answered = bytearray(), 0
        self.connections.append(raw)
        self._writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                while data := await reader.read(65_536):
                    raw += data
                    while (end := raw.find(b"\r\n\r\n", answered)) >= 0:
                        first = bytes(raw[answered:end]).partition(b"\r\n")[0]
                        answered = end + 4
                        if not await self._answer(first, writer):
                            return
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, first: bytes, writer: asyncio.StreamWriter) -> bool:
        method, _, rest = first.partition(b" ")
        target = rest.partition(b" ")[0].decode("latin-1")
        body = b"" if method == b"HEAD" else target.encode("latin-1")
        plain = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(target) + body
        )
        for step in self.scripts.get(target.partition("answer=")[2].partition("&")[0], (plain,)):
            if isinstance(step, str):
                return False
            writer.write(step)
            await writer.drain()
        return True
