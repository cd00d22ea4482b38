"""A connection that never tries twice, so that every answer that failed to come is counted; and streamed bodies."""

import asyncio
import hashlib
import ssl
from dataclasses import dataclass

from gateway.demo.client import Answer, Client
from loadtest.endurance import content

PATIENCE_S = 60.0
_LIMIT_BYTES = 1 << 22


@dataclass
class Line(Client):
    """One kept connection. *cookies* may be shared by all lines of one browser."""

    within_s: float = PATIENCE_S

    async def send(self, wire: bytes, *, bodiless: bool = False) -> Answer:
        """Send *wire* once; an answer of status 0 is one that did not come whole."""
        self.seen.clear()
        if self._reader is None or self._reader.at_eof():
            await self.close()
            self._reader, self._writer = await dial(self.port, self.tls)
        try:
            async with asyncio.timeout(self.within_s):
                return await self._exchange(wire, bodiless=bodiless)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            await self.close()
            return Answer(0)

    def head(self, method: str, target: str, *lines: str) -> bytes:
        """Return a request's head with the cookies of this browser."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        named = [f"Cookie: {cookies}"] if cookies else []
        return "\r\n".join([
            f"{method} {target} HTTP/1.1", f"Host: {self.host}:{self.port}", "Accept: */*", *named, *lines, "", "",
        ]).encode()  # fmt: skip


async def dial(port: int, tls: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection to loopback *port*."""
    name = "localhost" if tls is not None else None
    return await asyncio.open_connection("127.0.0.1", port, limit=_LIMIT_BYTES, ssl=tls, server_hostname=name)


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Return status and header lines of the answer that comes next."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return int(first.split(" ")[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def download(line: Line, target: str, seed: str, size: int, pause_s: float = 0.0) -> str | None:
    """Read a file of *size* bytes as it comes, a pause after each block; return what is wrong with it."""
    reader, writer = await dial(line.port, line.tls)
    try:
        writer.write(line.head("GET", target))
        status, headers = await read_head(reader)
        if status != 200 or headers.get("content-length") != str(size):
            return f"{target}: {status}, length {headers.get('content-length')}"
        for number, block in enumerate(content.blocks(seed, size)):
            if await reader.readexactly(len(block)) != block:
                return f"{target}: block {number} is another's"
            if pause_s:
                await asyncio.sleep(pause_s)
    except (OSError, asyncio.IncompleteReadError) as error:
        return f"{target}: {type(error).__name__}"
    finally:
        writer.close()
    return None


async def upload(line: Line, target: str, asked: content.Asked, size: int, *, chunked: bool) -> str | None:
    """Send a file of *size* bytes as fast as it is taken; return what is wrong with the receipt."""
    reader, writer = await dial(line.port, line.tls)
    digest = hashlib.sha256()
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    try:
        writer.write(line.head("POST", target, framing, "Content-Type: application/octet-stream"))
        for block in content.blocks(asked.words, size):
            digest.update(block)
            writer.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
            await writer.drain()
        if chunked:
            writer.write(b"0\r\n\r\n")
        status, headers = await read_head(reader)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (OSError, asyncio.IncompleteReadError) as error:
        return f"{target}: {type(error).__name__}"
    finally:
        writer.close()
    expected = content.receipt(asked, size, digest.hexdigest())
    return None if status == 200 and body.decode() == expected else f"{target}: {status} {body[:200]!r}"


async def give_up(line: Line, target: str, after_bytes: int) -> None:
    """Ask for *target* and hang up when *after_bytes* of the answer have come."""
    reader, writer = await dial(line.port, line.tls)
    try:
        writer.write(line.head("GET", target))
        await writer.drain()
        if after_bytes:
            async with asyncio.timeout(PATIENCE_S):
                await reader.readexactly(after_bytes)
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.transport.abort()
