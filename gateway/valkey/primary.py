"""Who the primary is, asked of all who should know: the newest knowledge among those that answer counts."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.valkey.address import Address
from gateway.valkey.link import NotUsable

_SHARE_FOR_ASKING = 0.4
_LONGEST_ASKING_S = 2.0
_SHARE_FOR_STRAGGLERS = 0.25
_QUICK: dict[str, Any] = {"protocol": 2, "driver_info": None}


class Primary(NamedTuple):
    """A server by where it is, and by the *name* that tells it from others, wherever it moves."""

    host: str
    port: int
    name: str


class Heard(NamedTuple):
    """What one of those asked said. *epoch* is higher after each failover; *places* are others who should know."""

    epoch: int
    primary: Primary
    places: tuple[tuple[str, int], ...] = ()


class Direct:
    """The way to the one server that *url* names."""

    in_cluster = False

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool.from_url(url, **_QUICK, retry=Retry(NoBackoff(), 0), socket_timeout=None)

    async def open(self) -> AbstractConnection:
        """Return a new connection, set up.

        Raises:
            redis.exceptions.RedisError, OSError: there is none.
        """
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection


class Finder(ABC):
    """Those who know the primary. *timeout_s* is that of a call to the store; asking them takes a part of it."""

    in_cluster = False

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._within_s = min(_SHARE_FOR_ASKING * timeout_s, _LONGEST_ASKING_S)
        self._newest = -1
        # One asks at a time: who was left because it is none of them any more is not asked again by another.
        self._asking = asyncio.Lock()

    async def primary(self) -> Primary:
        """Return the primary of this moment.

        Each failover has a higher number (the configuration epoch), and whoever is cut off from the others keeps the
        old one: the highest counts, and never less than was heard before.

        Raises:
            NotUsable: nobody answers, or knows, or all have forgotten.
        """
        async with self._asking:
            return await self._found()

    async def _found(self) -> Primary:
        asked = [asyncio.ensure_future(self._ask(client)) for client in self._clients()]
        try:
            await self._hear(asked)
        finally:
            for each in asked:
                each.cancel()
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
        heard = [outcome for outcome in outcomes if isinstance(outcome, Heard)]
        if not heard:
            raise NotUsable(self._why_silent(outcomes))
        newest = max(heard)
        if newest.epoch < self._newest:
            raise NotUsable(
                f"the {self.called} of {self._address.public} know less than before (epoch {newest.epoch} after "
                f"{self._newest}): restart the gateway if they were set up anew"
            )
        self._newest = newest.epoch
        await self._learn(newest)
        return newest.primary

    async def _hear(self, asked: Sequence["asyncio.Future[Heard]"]) -> None:
        """Wait for all, and not long for a few that are silent: one of them may be the primary that fell."""
        loop = asyncio.get_running_loop()
        until_s, silent, heard = loop.time() + self._within_s, set(asked), 0
        while silent and (left_s := until_s - loop.time()) > 0:
            told, silent = await asyncio.wait(silent, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            heard += sum(each.exception() is None for each in told)
            if 2 * heard > len(asked):
                until_s = min(until_s, loop.time() + _SHARE_FOR_STRAGGLERS * self._within_s)

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients():
            await hang_up(client)

    called: str
    """What they are, in messages."""

    @abstractmethod
    def _clients(self) -> Sequence["Redis"]:
        """Return whom to ask."""

    @abstractmethod
    async def _ask(self, client: "Redis") -> Heard:
        """Ask one of them."""

    @abstractmethod
    def _why_silent(self, outcomes: Sequence[object]) -> str:
        """Return what to tell when no outcome is an answer."""

    async def _learn(self, heard: Heard) -> None:  # noqa: B027 - most have nothing to learn
        """Take note of what was believed."""

    def _client(self, url: str) -> "Redis":
        return Redis.from_url(
            url,
            **_QUICK,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=self._within_s,
            socket_connect_timeout=self._within_s,
        )


class Found:
    """The way to the primary that *finder* names. *at* is the one that the last connection leads to."""

    def __init__(self, address: Address, finder: Finder) -> None:
        self._address = address
        self._finder = finder
        self.in_cluster = finder.in_cluster
        self.at: Primary | None = None

    async def open(self) -> AbstractConnection:
        """Return a new connection to the primary of this moment, set up.

        Raises:
            NotUsable, redis.exceptions.RedisError, OSError: there is none.
        """
        self.at = await self._finder.primary()
        return await Direct(self._address.server_url(self.at.host, self.at.port)).open()


async def hang_up(client: "Redis") -> None:
    """Close the connections of *client*, if they can be closed."""
    with suppress(RedisError, OSError):
        await client.aclose()


def kinds_of(outcomes: Sequence[object]) -> str:
    """Return the kinds of errors among *outcomes*."""
    return ", ".join(sorted({type(one).__name__ for one in outcomes if isinstance(one, BaseException)}))
