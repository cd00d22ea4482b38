"""Who the primary is, asked of the Sentinels that watch over it; and whom to ask at an address."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.valkey.address import Address
from gateway.valkey.cluster import Nodes
from gateway.valkey.primary import Finder, Heard, Primary, kinds_of


class Sentinels(Finder):
    """Those that watch over the store's servers."""

    called = "Sentinels"

    def __init__(self, address: Address, timeout_s: float) -> None:
        super().__init__(address, timeout_s)
        self._asked = [self._client(url) for url in address.sentinel_urls()]

    def _clients(self) -> Sequence["Redis"]:
        return self._asked

    async def _ask(self, client: "Redis") -> Heard:
        # The address is asked after the epoch: what is told under an epoch is at least as new as it.
        known: Any = await client.sentinel_master(self._address.group)
        found: Any = await client.sentinel_get_master_addr_by_name(self._address.group)
        host, port = (part.decode() if isinstance(part, bytes) else str(part) for part in found)
        return Heard(int(known["config-epoch"]), Primary(host, int(port), f"{host}:{port}"))

    def _why_silent(self, outcomes: Sequence[object]) -> str:
        told = [str(outcome) for outcome in outcomes if isinstance(outcome, RedisError)]
        if any("No such master" in text for text in told):
            return (
                f"the Sentinels of {self._address.public} watch over no primary named {self._address.group}: "
                "see store.url"
            )
        return f"no Sentinel of {self._address.public} answers: {kinds_of(outcomes)}"


def finder_of(address: Address, timeout_s: float) -> Finder | None:
    """Return who knows the primary behind *address*; None where the address is that of the server itself."""
    if address.seeds:
        return Nodes(address, timeout_s)
    return Sentinels(address, timeout_s) if address.sentinels else None
