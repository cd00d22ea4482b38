"""Who the primary is, asked of the Sentinels: the newest knowledge among those that answer counts."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.valkey.address import Address
from gateway.valkey.link import NotUsable

_SHARE_FOR_ASKING = 0.4
_QUICK: dict[str, Any] = {"protocol": 2, "driver_info": None}


class Direct:
    """The way to the one server that *url* names."""

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


class Sentinels:
    """Those that watch over the store's servers. *timeout_s* is that of a call to the store."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._within_s = _SHARE_FOR_ASKING * timeout_s
        self._newest = -1
        self._clients = [
            Redis.from_url(
                url,
                **_QUICK,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=self._within_s,
                socket_connect_timeout=self._within_s,
            )
            for url in address.sentinel_urls()
        ]

    async def primary(self) -> tuple[str, int]:
        """Return host and port of the primary.

        Each failover has a higher number (the configuration epoch), and a Sentinel cut off from the others
        keeps the old one: the highest counts, and never less than was heard before.

        Raises:
            NotUsable: none of them answers, they do not know the group, or all have forgotten.
        """
        asked = [asyncio.ensure_future(self._ask(client)) for client in self._clients]
        try:
            await asyncio.wait(asked, timeout=self._within_s)
        finally:
            for each in asked:
                each.cancel()
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
        heard = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
        if not heard:
            raise NotUsable(_why_silent(self._address, outcomes))
        epoch, host, port = max(heard)
        if epoch < self._newest:
            raise NotUsable(
                f"the Sentinels of {self._address.public} know less than before (epoch {epoch} after {self._newest}): "
                "restart the gateway if they were set up anew"
            )
        self._newest = epoch
        return host, port

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            with suppress(RedisError, OSError):
                await client.aclose()

    async def _ask(self, client: "Redis") -> tuple[int, str, int]:
        # The address is asked after the epoch: what is told under an epoch is at least as new as it.
        known: Any = await client.sentinel_master(self._address.group)
        found: Any = await client.sentinel_get_master_addr_by_name(self._address.group)
        host, port = (part.decode() if isinstance(part, bytes) else str(part) for part in found)
        return int(known["config-epoch"]), host, int(port)


class ThroughSentinels:
    """The way to the primary. *at* is the one that the last connection leads to."""

    def __init__(self, address: Address, sentinels: Sentinels) -> None:
        self._address = address
        self._sentinels = sentinels
        self.at: tuple[str, int] | None = None

    async def open(self) -> AbstractConnection:
        """Return a new connection to the primary of this moment, set up.

        Raises:
            NotUsable, redis.exceptions.RedisError, OSError: there is none.
        """
        self.at = await self._sentinels.primary()
        return await Direct(self._address.server_url(*self.at)).open()


def _why_silent(address: Address, outcomes: Sequence[object]) -> str:
    told = [str(outcome) for outcome in outcomes if isinstance(outcome, RedisError)]
    if any("No such master" in text for text in told):
        return f"the Sentinels of {address.public} watch over no primary named {address.group}: see store.url"
    kinds = sorted({type(outcome).__name__ for outcome in outcomes if isinstance(outcome, BaseException)})
    return f"no Sentinel of {address.public} answers: {', '.join(kinds)}"
