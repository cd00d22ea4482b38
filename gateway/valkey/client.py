"""The one way to the store: calls of one loop tick travel together, and no call waits longer than its deadline.

Calls that a failover must not undo are confirmed by replicas, on a lane of their own (`Confirmed`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from gateway import telemetry
from gateway.clock import spawn
from gateway.valkey import marker
from gateway.valkey.address import read_address
from gateway.valkey.confirmed import Confirmed
from gateway.valkey.lane import ErrorReply, Lane
from gateway.valkey.library import Library, compose
from gateway.valkey.link import Argument, Link, NotUsable, StoreUnavailable, pack
from gateway.valkey.prepared import Listener, Prepared
from gateway.valkey.primary import Direct, Finder, Found
from gateway.valkey.sentinel import finder_of
from gateway.valkey.slot import NOBODY, tagged, why_elsewhere

__all__ = ("Argument", "Store", "StoreEmptied", "StoreUnavailable")

_WATCH_S = 1.0
Send = Callable[[bytes, float], Awaitable[Any]]
_FENCE = ("ecluse_fence", "ecluse:fence")


class StoreEmptied(Exception):
    """The store answers, but it is empty or another one. Only ``ecluse store adopt`` or a restore mends that."""


class Store:
    """A client of one store. Make it with `Store.open`; it belongs to the loop that opened it."""

    def __init__(self, url: str, library: Library, timeout_ms: int, replicas: int = 0) -> None:
        address = read_address(url)
        self.address = address.public
        self.store_id = ""
        self.replicas = replicas
        # What the store's functions were told and asked to remember: they may have forgotten, and say so.
        self.told: set[str] = set()
        self._library = library
        self._timeout_s = timeout_ms / 1000
        self._emptied = False
        self._loading: asyncio.Lock = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._in_cluster = bool(address.seeds)
        self._marker_key = tagged(marker.MARKER) if self._in_cluster else marker.MARKER
        self._finder = finder_of(address, self._timeout_s)
        self._routes: list[tuple[Link, Direct | Found]] = []

        def link() -> Link:
            way = Found(address, self._finder) if self._finder is not None else Direct(address.url)
            self._routes.append((Link(way, address.public, self._timeout_s), way))
            return self._routes[-1][0]

        self._link = link()
        self._confirmed = (
            Confirmed(link(), address.public, replicas, self._timeout_s, self._fence) if replicas else None
        )
        self._watching: list[asyncio.Task[None]] = []

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        libraries: Sequence[str],
        state_dir: Path | None,
        timeout_ms: int = 800,
        replicas: int = 0,
    ) -> Self:
        """Connect to *url* (see address.read_address), load the functions, settle the store's id.

        *libraries* are Lua texts (library.product_sources), *state_dir* is where this node remembers the
        store's id, None for tools that follow whatever store they are given. A store that came back
        empty opens too: its calls raise StoreEmptied until it is adopted. *replicas* have to have what a
        confirmed call did before it is answered; 0: none is waited for.

        Raises:
            StoreUnavailable: no store there, or one that cannot run functions.
            MarkerFileBroken: the node's own memory is unreadable.
            AddressRefused: *url* is no store address.
        """
        library = compose(libraries, in_cluster=bool(read_address(url).seeds))
        store = cls(url, library, timeout_ms, replicas)
        try:
            await store._load()
            store.store_id = await marker.agree(store, state_dir)
        except BaseException:
            await store.close()
            raise
        store._watching.append(spawn(store._watch(), "store-watch"))
        if store._finder is not None:
            store._watching.append(spawn(store._watch_primary(store._finder), "store-primary"))
        return store

    @property
    def down(self) -> bool:
        """Whether calls are refused at once, until the probe gets through."""
        return self._link.down

    @property
    def ready(self) -> bool:
        """Whether records could be served, by the last look: the store is up and ours.

        Too few replicas refuse logins and locks on every node alike: that is told by a metric.
        """
        return not self.down and not self._emptied

    @property
    def confirms(self) -> bool:
        """Whether enough replicas confirmed at the last look; True where none are asked for."""
        return self._confirmed is None or not (self._confirmed.link.down or self._confirmed.short)

    def need_confirmation(self) -> None:
        """Refuse before anything is done, when by the last look it would not be confirmed.

        For what costs a person something even when it is refused.

        Raises:
            StoreUnavailable: too few replicas.
        """
        if not self.confirms:
            telemetry.STORE_FAILURES.inc()
            raise StoreUnavailable(f"the store at {self.address} has too few replicas to confirm anything")

    async def call(
        self,
        function: str,
        keys: Sequence[Argument] = (),
        args: Sequence[Argument] = (),
        *,
        confirmed: bool = False,
    ) -> Any:
        """Run *function* of the library and return its reply: int, bytes, None, or a list of these.

        The marker's key and id go before *keys* and *args*. Never sent twice, whatever happens.
        *confirmed*: answer only when enough replicas have it, if the store was opened with any.

        Raises:
            StoreUnavailable: no answer within the deadline, store known to be down, an error reply, or too few
                replicas. It may have been done.
            StoreEmptied: the store is not the one this node knows.
        """
        packed, send, began_s = (
            self._packed(function, keys, args),
            self._link_for(confirmed),
            self._loop.time(),
        )
        try:
            return await self._call(function, packed, began_s + self._timeout_s, send)
        except StoreUnavailable:
            telemetry.STORE_FAILURES.inc()
            raise
        finally:
            telemetry.STORE_SECONDS.by(function).observe(self._loop.time() - began_s)

    async def ask(self, prepared: Prepared) -> Any:
        """Run a call that was prepared, as `call` does.

        Raises:
            StoreUnavailable, StoreEmptied: likewise.
        """
        began_s = self._loop.time()
        outcome: Any
        try:
            outcome = await self._link.send(self._packed_once(prepared), began_s + self._timeout_s)
        except (ErrorReply, StoreUnavailable) as error:
            outcome = error
        try:
            return await self.settle(prepared, outcome, began_s)
        finally:
            telemetry.STORE_SECONDS.by(prepared.function).observe(self._loop.time() - began_s)

    def join(self, prepared: Prepared, began_s: float, listener: Listener) -> None:
        """Put a call that counts those who make it, at *began_s* (loop time): with those who make it in this moment.

        *listener* is told what became of it, which is for `settle`; it is called from where the answer is read.

        Raises:
            StoreUnavailable: the store is known to be down.
        """
        self._packed_once(prepared)
        prepared.join(self._link.put, began_s, began_s + self._timeout_s, listener)

    def _packed_once(self, prepared: Prepared) -> bytes:
        if prepared.store_id != self.store_id:
            prepared.pack(self._packed(prepared.function, prepared.keys, prepared.args), self.store_id)
        return prepared.packed

    async def settle(self, prepared: Prepared, outcome: Any, began_s: float) -> Any:
        """Return the reply that *outcome* is, what became of a call; where nothing was executed, do what it takes.

        Raises:
            StoreUnavailable, StoreEmptied: as `call`.
        """
        if isinstance(outcome, ErrorReply):
            deadline = began_s + self._timeout_s
            return await self._again(outcome, prepared.function, prepared.packed, deadline, self._link.send)
        if isinstance(outcome, Exception):
            telemetry.STORE_FAILURES.inc()
            raise outcome
        return outcome

    async def _call(self, function: str, packed: bytes, deadline: float, send: Send) -> Any:
        try:
            return await send(packed, deadline)
        except ErrorReply as error:
            return await self._again(error, function, packed, deadline, send)

    async def _again(
        self, error: ErrorReply, function: str, packed: bytes, deadline: float, send: Send
    ) -> Any:
        """Send a call again that was not executed: another node has the slot, or the store has lost its functions."""
        moved = loaded = False
        try:
            while True:
                # Neither has been executed, so sending it again spends nothing twice.
                if self._in_cluster and not moved and why_elsewhere(error.text) is not None:
                    moved = True
                    self._leave(error.lane)
                elif not loaded and error.text.endswith("Function not found"):
                    loaded = True
                    await self._load_anew(deadline)
                else:
                    raise error
                try:
                    return await send(packed, deadline)
                except ErrorReply as again:
                    error = again
        except ErrorReply as last:
            raise self._translated(last, function) from None

    async def _load_anew(self, deadline: float) -> None:
        """Load the functions into a server that has none, if it is ours."""
        if await self._marker(deadline) != self.store_id:
            self._emptied = True
            raise StoreEmptied(f"the store at {self.address} lost its marker: see 'ecluse store adopt'")
        await self._load(deadline)

    def _packed(self, function: str, keys: Sequence[Argument], args: Sequence[Argument]) -> bytes:
        name = self._library.wire_name(function)
        if self._in_cluster:
            keys = [tagged(key) for key in keys]
        return pack(("FCALL", name, len(keys) + 1, self._marker_key, *keys, self.store_id, *args))

    def _fence(self) -> bytes:
        return self._packed(_FENCE[0], _FENCE[1:], ())

    async def execute(self, *command: Argument) -> Any:
        """Run one plain command, for operators' tools and the marker; the request path uses `call`.

        Where it names a key, that is its first argument, and the only one.

        Raises:
            StoreUnavailable: as for `call`.
        """
        if self._in_cluster:
            command = (*command[:1], *(tagged(word) for word in command[1:2]), *command[2:])
        try:
            return await self._link.send(pack(command), self._loop.time() + self._timeout_s)
        except ErrorReply as error:
            raise self._translated(error, str(command[0])) from None

    async def confirm(self) -> None:
        """Return once enough replicas have everything that the primary was told until now.

        Raises:
            StoreUnavailable, StoreEmptied: as for `call`.
        """
        if self._confirmed is not None:
            deadline = self._loop.time() + self._timeout_s
            await self._call(_FENCE[0], self._fence(), deadline, self._confirmed.send)

    async def close(self) -> None:
        """Close the connections; whoever waits gets StoreUnavailable."""
        await self._link.close()
        if self._confirmed is not None:
            await self._confirmed.close()
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        if self._finder is not None:
            await self._finder.close()

    def _link_for(self, confirmed: bool) -> Send:
        return self._confirmed.send if confirmed and self._confirmed is not None else self._link.send

    async def _watch(self) -> None:
        """Know without any traffic whether calls would be answered, and by the right server."""
        while True:
            await asyncio.sleep(_WATCH_S)
            with suppress(StoreUnavailable):
                await self._look()
            with suppress(StoreUnavailable, StoreEmptied):
                await self.confirm()
            telemetry.STORE_CONFIRMS.set(int(self.confirms))

    async def _look(self) -> None:
        until = self._loop.time() + self._timeout_s
        try:
            if self._in_cluster:
                # A server that is giving the slot away may still have the marker.
                await self._link.send(pack(("EXISTS", NOBODY)), until)
            self._emptied = await self._marker(until) != self.store_id
        except ErrorReply as error:
            self._leave_if_elsewhere(error)

    async def _watch_primary(self, finder: Finder) -> None:
        """Leave a server that was replaced, though it may not know that yet."""
        while True:
            await asyncio.sleep(_WATCH_S)
            try:
                primary = await finder.primary()
            except NotUsable:
                # Nothing new is known. What must not be lost is confirmed by replicas all the same.
                continue
            for link, route in self._routes:
                if isinstance(route, Found) and route.at is not None and route.at.name != primary.name:
                    why = f"the store at {self.address} has another primary"
                    if self._in_cluster:
                        # Where owners change in good order, the old one passes on what it has not done.
                        link.move_on(why, _WATCH_S)
                    else:
                        link.fail(why)

    async def _marker(self, deadline: float) -> str | None:
        found = await self._link.send(pack(("GET", self._marker_key)), deadline)
        return found.decode("ascii", "replace") if isinstance(found, bytes) else None

    async def _load(self, deadline: float | None = None) -> None:
        until = self._loop.time() + self._timeout_s if deadline is None else deadline
        async with self._loading:
            try:
                await self._link.send(pack(("FUNCTION", "LOAD", self._library.source)), until)
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

    def _leave(self, lane: Lane | None) -> None:
        for link, _ in self._routes:
            link.leave(lane)

    def _leave_if_elsewhere(self, error: ErrorReply) -> str | None:
        """Look for another server if this one did not do it, and return why it did not."""
        why = why_elsewhere(error.text) if self._in_cluster else None
        if why is not None:
            self._leave(error.lane)
        return why

    def _translated(self, error: ErrorReply, function: str) -> StoreUnavailable | StoreEmptied:
        if (why := self._leave_if_elsewhere(error)) is not None:
            return StoreUnavailable(f"the store at {self.address} {why}")
        code = error.text.partition(" ")[0]
        if code == "STOREEMPTIED":
            self._emptied = True
            return StoreEmptied(
                f"the store at {self.address} is empty or another one: see 'ecluse store adopt'"
            )
        if code == "READONLY":
            # It was the primary, and is none any more: look for the one that is.
            for link, _ in self._routes:
                link.fail(f"the store at {self.address} is a replica by now")
        # Only script errors are quoted: they name a line of ours. Other texts may repeat arguments.
        if "user_function" in error.text:
            told = error.text[:200]
        else:
            told = code if code.isalpha() and code.isupper() else "an error"
        return StoreUnavailable(f"the store at {self.address} refused {function}: {told}")
