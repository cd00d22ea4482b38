"""The one way to the store: calls of one loop tick travel together, and no call waits longer than its deadline.

One connection, one task. The task sends whatever has gathered while the previous batch was under way;
when the store fails it becomes the one probe that reconnects, and calls are refused at once meanwhile.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from gateway import telemetry
from gateway.clock import spawn
from gateway.valkey import marker
from gateway.valkey.library import Library, compose

_BATCH = 256
_IDLE_S = 5.0
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5

Argument = str | bytes | int


class StoreUnavailable(Exception):
    """The store is down, too slow, or refuses to work. The message names no argument and no password."""


class StoreEmptied(Exception):
    """The store answers, but it is empty or another one. Only ``ecluse store adopt`` or a restore mends that."""


class _ErrorReply(Exception):
    """The store answered with an error: *text* is its wording, *kind* the client library's word for it."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind


@dataclass(slots=True)
class _Waiting:
    packed: bytes
    answer: asyncio.Future[Any]
    timer: asyncio.TimerHandle


class Store:
    """A client of one store. Make it with `Store.open`; it belongs to the loop that opened it."""

    def __init__(self, url: str, library: Library, timeout_ms: int) -> None:
        self.address = public_address(url)
        self.store_id = ""
        self._library = library
        self._timeout_s = timeout_ms / 1000
        self._queue: list[_Waiting] = []
        self._wake: asyncio.Future[None] | None = None
        self._why_down: str | None = None
        self._closed = False
        self._loading: asyncio.Lock = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._last_used_s = self._loop.time()
        self._pool = ConnectionPool.from_url(
            url, protocol=2, driver_info=None, retry=Retry(NoBackoff(), 0), socket_timeout=None
        )
        self._connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        self._lane = spawn(self._serve(), "store-lane")

    @classmethod
    async def open(
        cls, url: str, *, libraries: Sequence[str], state_dir: Path | None, timeout_ms: int = 800
    ) -> Self:
        """Connect to *url* (``redis://``, ``rediss://``, ``unix://``), load the functions, settle the store's id.

        *libraries* are Lua texts (library.product_sources), *state_dir* is where this node remembers the
        store's id, None for tools that follow whatever store they are given. A store that came back
        empty opens too: its calls raise StoreEmptied until it is adopted.

        Raises:
            StoreUnavailable: no store there, or one that cannot run functions.
            MarkerFileBroken: the node's own memory is unreadable.
            ValueError: *url* is no store address.
        """
        store = cls(url, compose(libraries), timeout_ms)
        try:
            await store._load()
            store.store_id = await marker.agree(store, state_dir)
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def down(self) -> bool:
        """Whether calls are refused at once, until the probe gets through."""
        return self._why_down is not None

    async def call(self, function: str, keys: Sequence[Argument] = (), args: Sequence[Argument] = ()) -> Any:
        """Run *function* of the library and return its reply: int, bytes, None, or a list of these.

        The marker's key and id go before *keys* and *args*. Never sent twice, whatever happens.

        Raises:
            StoreUnavailable: no answer within the deadline, store known to be down, or an error reply.
            StoreEmptied: the store is not the one this node knows.
        """
        began_s = self._loop.time()
        try:
            return await self._call(function, keys, args, began_s + self._timeout_s)
        except StoreUnavailable:
            telemetry.STORE_FAILURES.inc()
            raise
        finally:
            telemetry.of(telemetry.STORE_SECONDS, function).observe(self._loop.time() - began_s)

    async def _call(
        self, function: str, keys: Sequence[Argument], args: Sequence[Argument], deadline: float
    ) -> Any:
        packed = _pack(
            (
                "FCALL",
                self._library.wire_name(function),
                len(keys) + 1,
                marker.MARKER,
                *keys,
                self.store_id,
                *args,
            )
        )
        try:
            return await self._send(packed, deadline)
        except _ErrorReply as error:
            if not error.text.endswith("Function not found"):
                raise self._translated(error, function) from None
        # A store restarted without its functions has not run the call, so sending it again spends nothing twice.
        try:
            if await self._marker(deadline) != self.store_id:
                raise StoreEmptied(f"the store at {self.address} lost its marker: see 'ecluse store adopt'")
            await self._load(deadline)
            return await self._send(packed, deadline)
        except _ErrorReply as error:
            raise self._translated(error, function) from None

    async def execute(self, *command: Argument) -> Any:
        """Run one plain command, for operators' tools and the marker; the request path uses `call`.

        Raises:
            StoreUnavailable: as for `call`.
        """
        try:
            return await self._send(_pack(command), self._loop.time() + self._timeout_s)
        except _ErrorReply as error:
            raise self._translated(error, str(command[0])) from None

    async def close(self) -> None:
        """Close the connection; whoever waits gets StoreUnavailable."""
        self._closed = True
        self._lane.cancel()
        await asyncio.gather(self._lane, return_exceptions=True)
        self._fail_all(self._take(len(self._queue)), "the store client is closed")
        await self._connection.disconnect(nowait=True)

    def _send(self, packed: bytes, deadline: float) -> asyncio.Future[Any]:
        if self._closed:
            raise StoreUnavailable("the store client is closed")
        if self._why_down is not None:
            raise StoreUnavailable(self._why_down)
        answer: asyncio.Future[Any] = self._loop.create_future()
        timer = self._loop.call_at(deadline, self._expire, answer)
        self._queue.append(_Waiting(packed, answer, timer))
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        return answer

    def _expire(self, answer: asyncio.Future[Any]) -> None:
        if not answer.done():
            answer.set_exception(StoreUnavailable(self._too_slow()))

    async def _serve(self) -> None:
        try:
            while True:
                while not self._queue:
                    self._wake = self._loop.create_future()
                    await self._wake
                batch = [waiting for waiting in self._take(_BATCH) if not waiting.answer.done()]
                if not batch:
                    continue
                why = await self._attempt(batch)
                if why is not None:
                    self._why_down = why
                    self._fail_all([*batch, *self._take(len(self._queue))], why)
                    await self._probe_until_up()
        finally:
            self._closed = True
            self._fail_all(self._take(len(self._queue)), "the store client has stopped")

    async def _attempt(self, batch: list[_Waiting]) -> str | None:
        """Exchange one batch; return why the store counts as down, None when it answered."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._refresh()
                await self._exchange(batch)
        except TimeoutError:
            await self._connection.disconnect(nowait=True)
            return self._too_slow()
        except Exception as error:  # noqa: BLE001 - whatever breaks here, the lane lives on and the calls fail
            await self._connection.disconnect(nowait=True)
            return f"the store at {self.address} failed: {type(error).__name__}"
        except asyncio.CancelledError:
            self._fail_all(batch, "the store client is closed")
            raise
        self._last_used_s = self._loop.time()
        return None

    async def _exchange(self, batch: list[_Waiting]) -> None:
        connection = self._connection
        await connection.send_packed_command([waiting.packed for waiting in batch], check_health=False)
        for waiting in batch:
            reply: Any
            try:
                reply = await connection.read_response(disconnect_on_error=False)
            except ResponseError as error:
                reply = error
            waiting.timer.cancel()
            if waiting.answer.done():
                continue
            if isinstance(reply, Exception):
                waiting.answer.set_exception(_ErrorReply(str(reply), type(reply).__name__))
            else:
                waiting.answer.set_result(reply)

    async def _refresh(self) -> None:
        """Notice a connection that the other side closed while nothing travelled, before anything is risked on it."""
        if not self._connection.is_connected or self._loop.time() - self._last_used_s < _IDLE_S:
            return
        try:
            await self._ping()
        except (RedisError, OSError):
            await self._connection.disconnect(nowait=True)

    async def _ping(self) -> None:
        await self._connection.send_packed_command(_pack(("PING",)), check_health=False)
        await self._connection.read_response(disconnect_on_error=False)

    async def _probe_until_up(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._ping()
            except Exception:  # noqa: BLE001 - not up yet, for whatever reason; the next probe tells
                await self._connection.disconnect(nowait=True)
                continue
            self._why_down = None
            return

    async def _marker(self, deadline: float) -> str | None:
        found = await self._send(_pack(("GET", marker.MARKER)), deadline)
        return found.decode("ascii", "replace") if isinstance(found, bytes) else None

    async def _load(self, deadline: float | None = None) -> None:
        until = self._loop.time() + self._timeout_s if deadline is None else deadline
        async with self._loading:
            try:
                await self._send(_pack(("FUNCTION", "LOAD", self._library.source)), until)
            except _ErrorReply as error:
                # The name is the hash of the text: a library of that name is this very text.
                if "already exists" in error.text:
                    return
                if error.text.startswith("unknown command"):
                    raise StoreUnavailable(
                        f"the store at {self.address} has no functions: Valkey, or Redis 7.0 or later, is needed"
                    ) from None
                raise StoreUnavailable(
                    f"the store at {self.address} refused the function library: {error.text}"
                ) from None

    def _take(self, count: int) -> list[_Waiting]:
        taken, self._queue = self._queue[:count], self._queue[count:]
        return taken

    def _fail_all(self, batch: list[_Waiting], why: str) -> None:
        for waiting in batch:
            waiting.timer.cancel()
            if not waiting.answer.done():
                waiting.answer.set_exception(StoreUnavailable(why))

    def _too_slow(self) -> str:
        return f"the store at {self.address} did not answer within {round(self._timeout_s * 1000)} ms"

    def _translated(self, error: _ErrorReply, function: str) -> StoreUnavailable | StoreEmptied:
        code = error.text.partition(" ")[0]
        if code == "STOREEMPTIED":
            return StoreEmptied(
                f"the store at {self.address} is empty or another one: see 'ecluse store adopt'"
            )
        # Only script errors are quoted: they name a line of ours. Other texts may repeat arguments.
        if "user_function" in error.text:
            told = error.text[:200]
        else:
            told = code if code.isalpha() and code.isupper() else error.kind
        return StoreUnavailable(f"the store at {self.address} refused {function}: {told}")


def _pack(command: tuple[Argument, ...]) -> bytes:
    # hiredis' annotation says a tuple of one; it takes any length.
    return hiredis.pack_command(command)  # type: ignore[arg-type, no-any-return]


def public_address(url: str) -> str:
    """Return *url* without user, password and query.

    Raises:
        ValueError: the scheme is none of redis, rediss, unix.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("the store's url must start with redis://, rediss:// or unix://")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
