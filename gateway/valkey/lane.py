"""One open connection to the store: calls of one loop tick travel together, answers come back in their order."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

import hiredis
from redis.asyncio.connection import AbstractConnection

_ENOUGH = 8
"""How many prompt calls go out before the loop tick ends."""


class ErrorReply(Exception):
    """The store answered with an error: *text* is its wording, its code first; *lane* is where it came from."""

    def __init__(self, text: str, lane: "Lane | None" = None) -> None:
        super().__init__(text)
        self.text = text
        self.lane = lane


class Call(Protocol):
    """A call that is under way. *deadline_s* and *sent_s* (0: not yet) are the loop's time.

    What becomes of it is told once: the reply, an ErrorReply, or why there is none. *prompt*: its process does little
    beside such calls, so that the store should begin with some while the others are still made.
    """

    deadline_s: float
    sent_s: float
    prompt: bool

    @property
    def done(self) -> bool:
        """Tell whether nobody waits any more."""

    def words(self) -> bytes:
        """Return the command as it travels."""

    def take(self, reply: Any) -> None:
        """Tell what the store has answered."""

    def fail(self, error: Exception) -> None:
        """Tell whoever still waits that there will be no answer."""


class Waiting:
    """A command, and the future that gets its answer."""

    __slots__ = ("_packed", "answer", "deadline_s", "sent_s")
    prompt = False

    def __init__(self, packed: bytes, answer: "asyncio.Future[Any]", deadline_s: float) -> None:
        self._packed = packed
        self.answer = answer
        self.deadline_s = deadline_s
        self.sent_s = 0.0

    @property
    def done(self) -> bool:
        """Tell whether nobody waits any more."""
        return self.answer.done()

    def words(self) -> bytes:
        """Return the command as it travels."""
        return self._packed

    def take(self, reply: Any) -> None:
        """Hand on what the store has answered."""
        if self.answer.done():
            return
        if isinstance(reply, ErrorReply):
            self.answer.set_exception(reply)
        else:
            self.answer.set_result(reply)

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
        self._unsent: list[Call] = []
        self._sent: deque[Call] = deque()
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

    def waiting(self) -> list[Call]:
        """Return the calls that are under way, in order."""
        return [*self._sent, *self._unsent]

    def send(self, call: Call) -> None:
        """Send a call with the others of this tick."""
        self._unsent.append(call)
        if len(self._unsent) == 1:
            self._loop.call_soon(self._flush)
        elif call.prompt and len(self._unsent) >= _ENOUGH:
            self._flush()

    def _flush(self) -> None:
        # Whoever gave up before the call travelled has not made it.
        going = [call for call in self._unsent if not call.done]
        self._unsent.clear()
        if not going or self._lost is None:
            return
        now_s = self._loop.time()
        for call in going:
            call.sent_s = now_s
        self._sent.extend(going)
        self._transport.write(b"".join([call.words() for call in going]))

    def data_received(self, data: bytes) -> None:
        """Hand each answer to whoever waits for it."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                call = self._sent.popleft()
                call.take(ErrorReply(str(reply), self) if isinstance(reply, hiredis.ReplyError) else reply)
        except (hiredis.ProtocolError, IndexError):
            self._transport.abort()
        self.last_used_s = self._loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the connection has ended."""
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(self, "ConnectionError" if exc is None else type(exc).__name__)

    def close(self) -> list[Call]:
        """End the connection; return the calls that nobody will answer."""
        self._lost = None
        self._transport.abort()
        left = self.waiting()
        self._sent.clear()
        self._unsent.clear()
        return left
