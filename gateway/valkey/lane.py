"""One open connection to the store: calls of one loop tick travel together, answers come back in their order."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection


class ErrorReply(Exception):
    """The store answered with an error: *text* is its wording, its code first; *lane* is where it came from."""

    def __init__(self, text: str, lane: "Lane | None" = None) -> None:
        super().__init__(text)
        self.text = text
        self.lane = lane


class Waiting:
    """A command and who waits for its answer. *deadline_s* and *sent_s* (0: not yet) are the loop's time."""

    __slots__ = ("answer", "deadline_s", "packed", "sent_s")

    def __init__(self, packed: bytes, answer: "asyncio.Future[Any]", deadline_s: float) -> None:
        self.packed = packed
        self.answer = answer
        self.deadline_s = deadline_s
        self.sent_s = 0.0

    def fail(self, error: Exception) -> None:
        """Tell whoever still waits that there will be no answer."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Lane(asyncio.Protocol):
    """What travels over one connection that redis-py has opened: address, TLS, password and database are its work.

    *lost* is called once, with the reason, when the connection has ended by itself.
    """

    def __init__(self, connection: AbstractConnection, lost: "Callable[[Lane, str], None]") -> None:
        self._lost: Callable[[Lane, str], None] | None = lost
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._unsent: list[Waiting] = []
        self._sent: deque[Waiting] = deque()
        # redis-py offers no way to take over a connection that it has set up: its two streams are taken from it.
        self._writer = cast("asyncio.StreamWriter", connection._writer)  # noqa: SLF001
        connection._reader = connection._writer = None  # noqa: SLF001
        self._transport: Any = self._writer.transport
        self.last_used_s = self._loop.time()
        self._transport.set_protocol(self)

    @property
    def idle(self) -> bool:
        """Tell whether nobody waits."""
        return not self._sent and not self._unsent

    def oldest_sent_s(self) -> float | None:
        """Return when the call was sent that has waited longest, None when none is under way."""
        return self._sent[0].sent_s if self._sent else None

    def waiting(self) -> list[Waiting]:
        """Return everybody who waits, in order."""
        return [*self._sent, *self._unsent]

    def send(self, waiting: Waiting) -> None:
        """Send a call with the others of this tick."""
        self._unsent.append(waiting)
        if len(self._unsent) == 1:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        # Whoever gave up before the call travelled has not made it.
        going = [waiting for waiting in self._unsent if not waiting.answer.done()]
        self._unsent.clear()
        if not going or self._lost is None:
            return
        now_s = self._loop.time()
        for waiting in going:
            waiting.sent_s = now_s
        self._sent.extend(going)
        self._transport.write(b"".join([waiting.packed for waiting in going]))

    def data_received(self, data: bytes) -> None:
        """Hand each answer to whoever waits for it."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._answer(reply)
        except (hiredis.ProtocolError, IndexError):
            self._transport.abort()
        self.last_used_s = self._loop.time()

    def _answer(self, reply: Any) -> None:
        answer = self._sent.popleft().answer
        if answer.done():
            return
        if isinstance(reply, hiredis.ReplyError):
            answer.set_exception(ErrorReply(str(reply), self))
        else:
            answer.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the connection has ended."""
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(self, "ConnectionError" if exc is None else type(exc).__name__)

    def close(self) -> list[Waiting]:
        """End the connection; return everybody who waits in vain."""
        self._lost = None
        self._transport.abort()
        left = self.waiting()
        self._sent.clear()
        self._unsent.clear()
        return left
