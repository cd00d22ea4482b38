"""Connections of front proxies: heads framed and bounded, one question at a time, answers in their order.

An asyncio protocol of its own: a framework in between costs more than the check. A head is everything up to the
first empty line; what it means is the service's to say. Nothing else is read: after a question that brings a body
the connection ends.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gateway import telemetry
from gateway.edge.heads import END
from gateway.pages.calm import calm_answer

Peer = tuple[str, int]
"""Address and port; "" and 0 for a unix socket."""
Answer = tuple[bytes, bool]
"""An answer's bytes, without a word on the connection, and whether it ends after them."""
Coming = Coroutine[Any, Any, Answer]
"""An answer that is being found. When that raises, the answer is a 503."""
Respond = Callable[[bytes, Peer], Coming]
"""Answers one head."""
Done = Callable[[Answer | Coming], None]
"""Takes an answer, once."""
Hasten = Callable[[bytes, Done], bool]
"""Answers one head without a task for it, if it can; False: nothing was begun."""

HEAD_S = 10.0
"""How long a head may take from its first byte."""
IDLE_S = 75.0
"""How long a connection may be idle: longer than front proxies keep one."""
_LOOK_S = 1.0
LINGER_S = 0.5
_TOO_LARGE = calm_answer(431)
_FAULT = calm_answer(503)
_LAST = b"\r\nconnection: close\r\n"


class Wire:
    """Every connection of one process. *most_bytes* bounds a head; *too_large* is told of one that is longer."""

    def __init__(
        self,
        respond: Respond,
        too_large: Callable[[Peer], None],
        most_bytes: int,
        *,
        hasten: Hasten = lambda _head, _done: False,
        head_s: float = HEAD_S,
        idle_s: float = IDLE_S,
    ) -> None:
        self.respond = respond
        self.hasten = hasten
        self.too_large = too_large
        self.most_bytes = most_bytes
        self.draining = False
        self.loop = asyncio.get_running_loop()
        self.now_s = self.loop.time()
        self.connections: set[Connection] = set()
        self._head_s = head_s
        self._idle_s = idle_s
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()

    def connection(self) -> "Connection":
        """Return what a fresh connection is given to."""
        if self._timer is None:
            self._look()
        return Connection(self)

    async def close(self, within_s: float, idle_s: float = LINGER_S) -> int:
        """Answer what was asked, and end; return how many were cut, since they were not done *within_s*.

        Nobody gives this wire connections any more. Every answer says that it is the last one of its connection.
        Idle connections stay for *idle_s*: a question may be on its way.
        """
        self.draining = True
        end_s = self.loop.time() + within_s
        await self._emptied(min(idle_s, within_s))
        for connection in [one for one in self.connections if not one.busy]:
            connection.end()
        await self._emptied(max(0.0, end_s - self.loop.time()))
        left = [*self.connections]
        for connection in left:
            connection.cut()
        if self._timer is not None:
            self._timer.cancel()
        return len(left)

    async def _emptied(self, within_s: float) -> None:
        self._empty.clear()
        if not self.connections:
            return
        try:
            async with asyncio.timeout(within_s):
                await self._empty.wait()
        except TimeoutError:
            return

    def gone(self, connection: "Connection") -> None:
        """Forget *connection*, which has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    def _look(self) -> None:
        """End what has been idle or has dribbled for too long: one timer for all connections."""
        self.now_s = now_s = self.loop.time()
        for connection in [*self.connections]:
            connection.look(now_s - self._head_s, now_s - self._idle_s)
        self._timer = self.loop.call_later(_LOOK_S, self._look)


class Connection(asyncio.Protocol):
    """One connection: reads heads, has them answered one by one, and holds the asker back meanwhile."""

    __slots__ = (
        "_choked",
        "_ending",
        "_half",
        "_kept",
        "_peer",
        "_since_s",
        "_task",
        "_transport",
        "_wire",
        "busy",
    )

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._transport: Any = None
        self._peer: Peer = ("", 0)
        self._kept = b""
        self._since_s = wire.now_s
        self._task: asyncio.Task[None] | None = None
        self._choked = False
        self._ending = False
        self._half = False
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        told = transport.get_extra_info("peername")
        if isinstance(told, tuple):
            self._peer = (str(told[0]), int(told[1]))
        self._wire.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End. A question under way is decided all the same, and its answer goes nowhere."""
        self._ending = True
        self._wire.gone(self)

    def eof_received(self) -> bool:
        """Let what was asked be answered before the connection ends."""
        self._half = True
        return self.busy or self._choked or END in self._kept

    def pause_writing(self) -> None:
        """Answer nothing more until the last answer has left."""
        self._choked = True

    def resume_writing(self) -> None:
        """Go on."""
        self._choked = False
        if not self.busy:
            self._next()

    def data_received(self, data: bytes) -> None:
        """Take bytes in; answer when they end a head."""
        if self._ending:
            return
        if self.busy or self._choked:
            self._kept += data
            if len(self._kept) > self._wire.most_bytes:
                self._transport.pause_reading()
            return
        if self._kept:
            data = self._kept + data
        self._take(data)

    def _next(self) -> None:
        if self._kept and not self._ending and not self.busy:
            self._transport.resume_reading()
            self._take(self._kept)

    def _take(self, data: bytes) -> None:
        length = data.find(END) + len(END)
        if length < len(END):
            length = len(data)
            if length <= self._wire.most_bytes:
                if not self._kept:
                    self._since_s = self._wire.now_s
                self._kept = data
                return
        if length > self._wire.most_bytes:
            self._wire.too_large(self._peer)
            self._finish(_TOO_LARGE, last=True)
            return
        self.busy = True
        if length == len(data):
            self._kept, head = b"", data
        else:
            head, self._kept = data[:length], data[length:]
        if not self._wire.hasten(head, self._hear):
            self._hear(self._wire.respond(head, self._peer))

    def _hear(self, answer: Answer | Coming) -> None:
        if isinstance(answer, tuple):
            self._tell(*answer)
        else:
            # Begun at once: most of a question is done before anything has to be waited for.
            self._task = asyncio.Task(self._wait_for(answer), loop=self._wire.loop, eager_start=True)

    async def _wait_for(self, coming: Coming) -> None:
        try:
            answer, last = await coming
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing may pass because of it
            telemetry.log().error("question_failed", error=type(error).__name__, exc_info=True)
            self.busy = False
            self._finish(_FAULT, last=True)
        else:
            self._tell(answer, last)

    def _tell(self, answer: bytes, last: bool) -> None:
        if last or self._wire.draining:
            answer, last = answer.replace(b"\r\n", _LAST, 1), True
        self.busy = False
        self._finish(answer, last=last)

    def _finish(self, answer: bytes, *, last: bool) -> None:
        if self._transport.is_closing():
            return
        self._since_s = self._wire.now_s
        self._transport.write(answer)
        if last:
            self._last()
        elif self._half and END not in self._kept:
            self.end()
        elif self._kept and not self._choked:
            # Not from here: a long line of questions would become a deep one of calls.
            self._wire.loop.call_soon(self._next)

    def _last(self) -> None:
        """End after what was written. What still comes is not read, so that it cannot take the answer with it."""
        self._ending = True
        self._kept = b""
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._transport.resume_reading()
        else:
            self._transport.close()

    def end(self) -> None:
        """End a connection on which nothing is under way."""
        self._ending = True
        self._transport.close()

    def cut(self) -> None:
        """End now, whatever is under way."""
        self._ending = True
        self._transport.abort()

    def look(self, head_since_s: float, idle_since_s: float) -> None:
        """End a head that began before *head_since_s*, and idleness since *idle_since_s*."""
        if self.busy:
            return
        if self._since_s < (head_since_s if self._kept or self._ending or self._choked else idle_since_s):
            self.cut()
