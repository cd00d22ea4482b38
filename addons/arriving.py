"""What a peer sends, worked off where it comes in: no future and no task's step for each piece.

asyncio's stream readers keep each piece until a task comes round to fetch it. mitmproxy's task of a connection waits
here for nothing but the connection's end, or for somebody who is slow to read.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


class Arriving:
    """Stands in for *stream*, the reader of a connection whose writer is *writer*, towards mitmproxy.

    *receive* is given each piece, and returns whether more may come; else *caught_up* waits until it may.
    """

    __slots__ = ("_caught_up", "_early", "_held", "_over", "_receive", "_stream", "_transport", "_turn")

    def __init__(
        self,
        stream: asyncio.StreamReader,
        writer: Any,
        receive: Callable[[bytes], bool],
        caught_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._stream: Any = stream
        self._transport: asyncio.Transport = writer.transport
        self._receive = receive
        self._caught_up = caught_up
        self._turn: asyncio.Future[None] | None = None
        self._held = False
        self._over = False
        self._early: list[bytes] = []
        self._take_over()

    async def read(self, _most: int) -> bytes:
        """Return nothing, once all that came was received and no more can come: the end, or the connection broke."""
        for piece in self._early:
            self._hand_on(piece)
        self._early.clear()
        while True:
            if self._held:
                await self._caught_up()
                self._held = False
                if not self._transport.is_closing():
                    self._transport.resume_reading()
            elif self._over:
                return b""
            else:
                self._turn = asyncio.get_running_loop().create_future()
                await self._turn

    def _take_over(self) -> None:
        """Take what the stream has, and be called in its place from now on."""
        stream = self._stream
        if stream._buffer:  # noqa: SLF001 - it has no other way to tell without waiting
            self._early.append(bytes(stream._buffer))  # noqa: SLF001 - likewise
            stream._buffer.clear()  # noqa: SLF001 - likewise
            stream._maybe_resume_transport()  # noqa: SLF001 - likewise
        self._over = stream.at_eof() or stream.exception() is not None
        stream.feed_data = self._hand_on
        stream.feed_eof = self._end
        stream.set_exception = self._break

    def _hand_on(self, piece: bytes) -> None:
        if not self._receive(piece) and not self._held:
            self._held = True
            if not self._transport.is_closing():
                self._transport.pause_reading()
            self._go_on()

    def _end(self) -> None:
        type(self._stream).feed_eof(self._stream)
        self._over = True
        self._go_on()

    def _break(self, error: Exception) -> None:
        type(self._stream).set_exception(self._stream, error)
        self._over = True
        self._go_on()

    def _go_on(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)
