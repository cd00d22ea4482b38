"""The one way to the store: calls of one loop tick travel together, and no call waits longer than its deadline.

Calls go out on one `Lane` as they come. When it fails, one task probes until the store answers again, and calls
are refused at once meanwhile.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway import telemetry
from gateway.clock import spawn
from gateway.valkey import marker
from gateway.valkey.lane import ErrorReply, Lane, Waiting
from gateway.valkey.library import Library, compose

_IDLE_S = 5.0
_PROBE_SHARE = 0.25
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5

Argument = str | bytes | int


class StoreUnavailable(Exception):
    """The store is down, too slow, or refuses to work. The message names no argument and no password."""


class StoreEmptied(Exception):
    """The store answers, but it is empty or another one. Only ``ecluse store adopt`` or a restore mends that."""


class Store:
    """A client of one store. Make it with `Store.open`; it belongs to the loop that opened it."""

    def __init__(self, url: str, library: Library, timeout_ms: int) -> None:
        self.address = public_address(url)
        self.store_id = ""
        self._library = library
        self._timeout_s = timeout_ms / 1000
        self._lane: Lane | None = None
        self._queue: list[Waiting] = []
        self._reaching: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._why_down: str | None = None
        self._closed = False
        self._loading: asyncio.Lock = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._pool = ConnectionPool.from_url(
            url, protocol=2, driver_info=None, retry=Retry(NoBackoff(), 0), socket_timeout=None
        )

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
        except ErrorReply as error:
            if not error.text.endswith("Function not found"):
                raise self._translated(error, function) from None
        # A store restarted without its functions has not run the call, so sending it again spends nothing twice.
        try:
            if await self._marker(deadline) != self.store_id:
                raise StoreEmptied(f"the store at {self.address} lost its marker: see 'ecluse store adopt'")
            await self._load(deadline)
            return await self._send(packed, deadline)
        except ErrorReply as error:
            raise self._translated(error, function) from None

    async def execute(self, *command: Argument) -> Any:
        """Run one plain command, for operators' tools and the marker; the request path uses `call`.

        Raises:
            StoreUnavailable: as for `call`.
        """
        try:
            return await self._send(_pack(command), self._loop.time() + self._timeout_s)
        except ErrorReply as error:
            raise self._translated(error, str(command[0])) from None

    async def close(self) -> None:
        """Close the connection; whoever waits gets StoreUnavailable."""
        self._closed = True
        if self._reaching is not None:
            self._reaching.cancel()
            await asyncio.gather(self._reaching, return_exceptions=True)
        self._drop("the store client is closed")
        if self._alarm is not None:
            self._alarm.cancel()

    def _send(self, packed: bytes, deadline: float) -> asyncio.Future[Any]:
        if self._closed:
            raise StoreUnavailable("the store client is closed")
        if self._why_down is not None:
            raise StoreUnavailable(self._why_down)
        answer: asyncio.Future[Any] = self._loop.create_future()
        waiting = Waiting(packed, answer, deadline)
        lane = self._lane
        if lane is not None and self._reaching is None and not self._went_stale(lane):
            lane.send(waiting)
        else:
            self._queue.append(waiting)
            if self._reaching is None:
                self._reaching = spawn(self._reach(), "store-lane")
        if self._alarm is None:
            self._alarm = self._loop.call_at(deadline, self._look_at_deadlines)
        return answer

    def _went_stale(self, lane: Lane) -> bool:
        """Whether *lane* was idle for so long that the other side may have gone without a word."""
        return lane.idle and self._loop.time() - lane.last_used_s >= _IDLE_S

    def _look_at_deadlines(self) -> None:
        """Give up what has waited too long: one timer for all calls, set to the first deadline that is left."""
        self._alarm = None
        now_s, lane = self._loop.time(), self._lane
        sent_s = lane.oldest_sent_s() if lane is not None else None
        if sent_s is not None and now_s - sent_s >= self._timeout_s:
            self._fail(self._too_slow())
            return
        left = [*(lane.waiting() if lane is not None else ()), *self._queue]
        for waiting in left:
            if waiting.deadline_s <= now_s:
                waiting.fail(StoreUnavailable(self._too_slow()))
        pending = [waiting.deadline_s for waiting in left if not waiting.answer.done()]
        if pending:
            self._alarm = self._loop.call_at(min(pending), self._look_at_deadlines)
        elif sent_s is not None:
            # Nobody waits any more, and the store still owes an answer: it may be down.
            self._alarm = self._loop.call_at(sent_s + self._timeout_s, self._look_at_deadlines)

    def _lost(self, lane: Lane, why: str) -> None:
        """Take note that *lane* ended by itself. While nobody waited for it, that is no outage."""
        if lane is not self._lane:
            return
        if lane.idle:
            self._lane = None
        elif self._reaching is not None:
            # Only the probe travelled on it: what has gathered waits for the next connection.
            self._forget(lane, why)
        else:
            self._fail(f"the store at {self.address} failed: {why}")

    def _fail(self, why: str) -> None:
        """Count the store as down, tell everybody who waits, and begin to probe."""
        self._why_down = why
        self._drop(why)
        if self._reaching is None and not self._closed:
            self._reaching = spawn(self._reach(), "store-lane")

    def _drop(self, why: str) -> None:
        lane, self._lane = self._lane, None
        left = [*(lane.close() if lane is not None else ()), *self._queue]
        self._queue = []
        for waiting in left:
            waiting.fail(StoreUnavailable(why))

    def _forget(self, lane: Lane, why: str) -> None:
        """Close *lane* and fail what travels on it, and nothing else."""
        if self._lane is lane:
            self._lane = None
        for waiting in lane.close():
            waiting.fail(StoreUnavailable(f"the store at {self.address} failed: {why}"))

    async def _reach(self) -> None:
        """Make the lane usable, for as long as that takes; what has gathered meanwhile then goes out."""
        pause_s = _FIRST_PAUSE_S
        if self._why_down is not None:
            await asyncio.sleep(pause_s)
        try:
            while (why := await self._try_to_reach()) is not None:
                self._why_down = why
                self._drop(why)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            self._reaching = None
        self._why_down = None
        gathered, self._queue = self._queue, []
        for waiting in gathered:
            if self._lane is not None:
                self._lane.send(waiting)
            else:
                waiting.fail(StoreUnavailable(f"the store at {self.address} closed the connection"))

    async def _try_to_reach(self) -> str | None:
        """Connect, or ask an old connection whether it still stands; return why the store counts as down."""
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._lane is not None and await self._answers(self._lane):
                    return None
                self._lane = await self._connect()
                await self._ping(self._lane)
        except TimeoutError:
            return self._too_slow()
        except Exception as error:  # noqa: BLE001 - whatever breaks here, the store is down and calls fail
            return f"the store at {self.address} failed: {type(error).__name__}"
        return None

    async def _connect(self) -> Lane:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            return Lane(connection, self._lost)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def _answers(self, lane: Lane) -> bool:
        """Notice a connection that the other side left while nothing travelled, before anything is risked on it.

        One that is silent for a part of the deadline is given up: the rest is left for a new one.
        """
        try:
            async with asyncio.timeout(_PROBE_SHARE * self._timeout_s):
                await self._ping(lane)
        except (StoreUnavailable, ErrorReply, TimeoutError):
            self._forget(lane, "no answer on an idle connection")
            return False
        return self._lane is lane

    async def _ping(self, lane: Lane) -> None:
        answer: asyncio.Future[Any] = self._loop.create_future()
        lane.send(Waiting(_pack(("PING",)), answer, self._loop.time() + self._timeout_s))
        await answer

    async def _marker(self, deadline: float) -> str | None:
        found = await self._send(_pack(("GET", marker.MARKER)), deadline)
        return found.decode("ascii", "replace") if isinstance(found, bytes) else None

    async def _load(self, deadline: float | None = None) -> None:
        until = self._loop.time() + self._timeout_s if deadline is None else deadline
        async with self._loading:
            try:
                await self._send(_pack(("FUNCTION", "LOAD", self._library.source)), until)
            except ErrorReply as error:
                # The name is the hash of the text: a library of that name is this very text.
                if "already exists" in error.text:
                    return
                if error.text.startswith("ERR unknown command"):
                    raise StoreUnavailable(
                        f"the store at {self.address} has no functions: Valkey, or Redis 7.0 or later, is needed"
                    ) from None
                raise StoreUnavailable(
                    f"the store at {self.address} refused the function library: {error.text}"
                ) from None

    def _too_slow(self) -> str:
        return f"the store at {self.address} did not answer within {round(self._timeout_s * 1000)} ms"

    def _translated(self, error: ErrorReply, function: str) -> StoreUnavailable | StoreEmptied:
        code = error.text.partition(" ")[0]
        if code == "STOREEMPTIED":
            return StoreEmptied(
                f"the store at {self.address} is empty or another one: see 'ecluse store adopt'"
            )
        # Only script errors are quoted: they name a line of ours. Other texts may repeat arguments.
        if "user_function" in error.text:
            told = error.text[:200]
        else:
            told = code if code.isalpha() and code.isupper() else "an error"
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
