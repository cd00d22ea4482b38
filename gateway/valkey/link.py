"""One lane to the store and its care: deadlines, outages, and what a server must be before anything is risked on it.

Calls go out on one `Lane` as they come. When it fails, one task probes until the store answers again, and calls
are refused at once meanwhile. Nothing is ever sent twice.
"""

import asyncio
from typing import Any, Protocol

import hiredis
from redis.asyncio.connection import AbstractConnection

from gateway.clock import spawn
from gateway.valkey.lane import Call, ErrorReply, Lane, Waiting
from gateway.valkey.slot import NOBODY, why_elsewhere

_IDLE_S = 5.0
_PROBE_SHARE = 0.25
_PATIENT_SHARE = 0.25
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5

Argument = str | bytes | int


class StoreUnavailable(Exception):
    """The store is down, too slow, or refuses to work. The message names no argument and no password."""


class NotUsable(Exception):
    """A server that answers, but must not be used, or no server to be found: the text says why."""


class Route(Protocol):
    """A way to the server that is to be used. *in_cluster*: it owns the site's slot of a Cluster."""

    in_cluster: bool

    async def open(self) -> AbstractConnection:
        """Return a new connection, set up."""
        ...


class Link:
    """Calls over one lane. *place* is how the store is called in messages; *timeout_s* bounds each call."""

    def __init__(self, route: Route, place: str, timeout_s: float) -> None:
        self._route = route
        self._place = place
        self._timeout_s = timeout_s
        self._lane: Lane | None = None
        self._left: list[Lane] = []
        self._probe: tuple[Argument, ...] = ("EXISTS", NOBODY) if route.in_cluster else ("PING",)
        self._queue: list[Call] = []
        self._reaching: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._why_down: str | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()

    @property
    def down(self) -> bool:
        """Whether calls are refused at once, until the probe gets through."""
        return self._why_down is not None

    def send(self, packed: bytes, deadline: float) -> asyncio.Future[Any]:
        """Send a packed command; the future gets the reply, ErrorReply or StoreUnavailable by *deadline* (loop time).

        Commands sent without a pause in between travel together, in order.

        Raises:
            StoreUnavailable: the store is known to be down.
        """
        waiting = Waiting(packed, self._loop.create_future(), deadline)
        self.put(waiting)
        return waiting.answer

    def put(self, call: Call) -> None:
        """Send a call, as `send` does.

        Raises:
            StoreUnavailable: the store is known to be down.
        """
        if self._closed:
            raise StoreUnavailable("the store client is closed")
        if self._why_down is not None:
            raise StoreUnavailable(self._why_down)
        lane = self._lane
        if lane is not None and self._reaching is None and not self._went_stale(lane):
            lane.send(call)
        else:
            self._queue.append(call)
            if self._reaching is None:
                self._reaching = spawn(self._reach(), "store-lane")
        if self._alarm is None:
            self._alarm = self._loop.call_at(call.deadline_s, self._look_at_deadlines)

    def fail(self, why: str) -> None:
        """Count the store as down, tell everybody who waits, and begin to probe."""
        self._why_down = why
        self._drop(why)
        if self._reaching is None and not self._closed:
            self._reaching = spawn(self._reach(), "store-lane")

    def leave(self, lane: Lane | None) -> None:
        """Look for the server anew: *lane* leads to one that does not do what it is asked, and says so.

        What travels on it still gets its answers; what comes next waits for the new connection.
        """
        if lane is not None and lane is self._lane and self._reaching is None and not self._closed:
            self._leave(lane, self._timeout_s)

    def move_on(self, why: str, within_s: float) -> None:
        """Look for the server anew, since there is another: what travels has *within_s* to be answered."""
        if self._lane is not None and self._reaching is None and not self._closed:
            self._leave(self._lane, within_s)
        else:
            self.fail(why)

    def _leave(self, lane: Lane, within_s: float) -> None:
        self._lane = None
        self._left.append(lane)
        self._loop.call_later(within_s, self._forget, lane, "it is another server by now, and gave no answer")
        self._reaching = spawn(self._reach(), "store-lane")

    async def close(self) -> None:
        """Close the connection; whoever waits gets StoreUnavailable."""
        self._closed = True
        if self._reaching is not None:
            self._reaching.cancel()
            await asyncio.gather(self._reaching, return_exceptions=True)
        self._drop("the store client is closed")
        if self._alarm is not None:
            self._alarm.cancel()

    def _went_stale(self, lane: Lane) -> bool:
        """Whether *lane* was idle for so long that the other side may have gone without a word."""
        return lane.idle and self._loop.time() - lane.last_used_s >= _IDLE_S

    def _look_at_deadlines(self) -> None:
        """Give up what has waited too long: one timer for all calls, set to the first deadline that is left."""
        self._alarm = None
        now_s, lane = self._loop.time(), self._lane
        sent_s = lane.oldest_sent_s() if lane is not None else None
        if sent_s is not None and now_s - sent_s >= self._timeout_s:
            self.fail(self._too_slow())
            return
        lanes = self._left if lane is None else [*self._left, lane]
        left = [*(call for each in lanes for call in each.waiting()), *self._queue]
        for call in left:
            if call.deadline_s <= now_s:
                call.fail(StoreUnavailable(self._too_slow()))
        pending = [call.deadline_s for call in left if not call.done]
        if pending:
            self._alarm = self._loop.call_at(min(pending), self._look_at_deadlines)
        elif sent_s is not None:
            # Nobody waits any more, and the store still owes an answer: it may be down.
            self._alarm = self._loop.call_at(sent_s + self._timeout_s, self._look_at_deadlines)

    def _lost(self, lane: Lane, why: str) -> None:
        """Take note that *lane* ended by itself. While nobody waited for it, that is no outage."""
        if lane in self._left:
            self._forget(lane, why)
        elif lane is not self._lane:
            return
        elif lane.idle:
            self._lane = None
        elif self._reaching is not None:
            # Only the probe travelled on it: what has gathered waits for the next connection.
            self._forget(lane, why)
        else:
            self.fail(f"the store at {self._place} failed: {why}")

    def _drop(self, why: str) -> None:
        lanes = self._left if self._lane is None else [*self._left, self._lane]
        self._lane, self._left = None, []
        left = [*(call for lane in lanes for call in lane.close()), *self._queue]
        self._queue = []
        for call in left:
            call.fail(StoreUnavailable(why))

    def _hang_up(self, why: str) -> None:
        if self._lane is not None:
            self._forget(self._lane, why)

    def _forget(self, lane: Lane, why: str) -> None:
        """Close *lane* and fail what travels on it, and nothing else."""
        if self._lane is lane:
            self._lane = None
        if lane in self._left:
            self._left.remove(lane)
        for call in lane.close():
            call.fail(StoreUnavailable(f"the store at {self._place} failed: {why}"))

    async def _reach(self) -> None:
        """Make the lane usable, for as long as that takes; what has gathered meanwhile then goes out."""
        pause_s = _FIRST_PAUSE_S
        # Who was left says that there is another by now: that may not have been heard everywhere yet.
        patient_until_s = self._loop.time() + (_PATIENT_SHARE * self._timeout_s if self._left else 0.0)
        if self._why_down is not None:
            await asyncio.sleep(pause_s)
        try:
            while (why := await self._try_to_reach()) is not None:
                if self._why_down is None and self._loop.time() < patient_until_s:
                    self._hang_up(why)
                else:
                    self._why_down = why
                    self._drop(why)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            self._reaching = None
        self._why_down = None
        gathered, self._queue = self._queue, []
        for call in gathered:
            if self._lane is not None:
                self._lane.send(call)
            else:
                call.fail(StoreUnavailable(f"the store at {self._place} closed the connection"))

    async def _try_to_reach(self) -> str | None:
        """Connect, or ask an old connection whether it still stands; return why the store counts as down."""
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._lane is not None and await self._answers(self._lane):
                    return None
                self._lane = await self._connect()
                asked = (self._ask(self._lane, "HELLO"), self._ask(self._lane, *self._probe))
                told: list[object] = await asyncio.gather(*asked, return_exceptions=True)
                refused = unfit(told[0], told[1], in_cluster=self._route.in_cluster)
                return f"the store at {self._place} {refused}" if refused is not None else None
        except TimeoutError:
            return self._too_slow()
        except NotUsable as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - whatever breaks here, the store is down and calls fail
            return f"the store at {self._place} failed: {type(error).__name__}"

    async def _connect(self) -> Lane:
        connection = await self._route.open()
        try:
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
                await self._ask(lane, *self._probe)
        except (StoreUnavailable, ErrorReply, TimeoutError):
            self._forget(lane, "no answer on an idle connection")
            return False
        return self._lane is lane

    async def _ask(self, lane: Lane, *command: Argument) -> Any:
        answer: asyncio.Future[Any] = self._loop.create_future()
        lane.send(Waiting(pack(command), answer, self._loop.time() + self._timeout_s))
        return await answer

    def _too_slow(self) -> str:
        return f"the store at {self._place} did not answer within {round(self._timeout_s * 1000)} ms"


def unfit(hello: object, probed: object, *, in_cluster: bool) -> str | None:
    """Return why a server is not to be used, None when it is, by its answers to HELLO and to the probe.

    Raises:
        Exception: one of the answers, when it is an error that tells nothing about this.
    """
    if in_cluster and isinstance(probed, ErrorReply) and (why := why_elsewhere(probed.text)) is not None:
        return why
    for answer in (hello, probed):
        if isinstance(answer, BaseException):
            raise answer
    flat = hello if isinstance(hello, list) else []
    told = dict(zip(flat[::2], flat[1::2], strict=False))
    if told.get(b"mode") == b"cluster" and not in_cluster:
        return (
            "is a node of a Cluster, which moves its keys from node to node: name several nodes, with "
            "store.url cluster://h1:6379,h2:6379,h3:6379"
        )
    if told.get(b"mode") == b"sentinel":
        return "is a Sentinel: write sentinel:// in store.url, and the name of the primary after the hosts"
    if told.get(b"role") != b"master":
        return "is a replica: name the primary in store.url, or let Sentinels do so with sentinel://"
    return None


def pack(command: tuple[Argument, ...]) -> bytes:
    """Return *command* as it travels."""
    # hiredis' annotation says a tuple of one; it takes any length.
    return hiredis.pack_command(command)  # type: ignore[arg-type, no-any-return]
