"""Between supervisor and worker: messages of JSON, one a line, over a pair of sockets of their own."""

import asyncio
import socket
from typing import Any, Self

import msgspec

_LONGEST_BYTES = 16_000_000


class Link:
    """One end. Make it with `Link.over`; it belongs to the loop that made it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, connection: socket.socket) -> Self:
        """Return the end that *connection* is."""
        connection.setblocking(False)
        return cls(*await asyncio.open_connection(sock=connection, limit=_LONGEST_BYTES))

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message, None once the other side is gone."""
        try:
            line = await self._reader.readline()
            return msgspec.json.decode(line, type=dict[str, Any]) if line.endswith(b"\n") else None
        except (OSError, ValueError, msgspec.DecodeError):
            # A side that speaks no sense is as good as gone.
            return None

    def send(self, message: dict[str, Any]) -> None:
        """Send *message*; a side that is gone does not mind."""
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(message) + b"\n")

    async def close(self) -> None:
        """Send what waits, and hang up."""
        self._writer.close()
        try:
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            pass
