"""Who the primary of the site's slot is, asked of the nodes of a Cluster."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from redis.asyncio import Redis

from gateway.valkey.address import Address
from gateway.valkey.link import NotUsable
from gateway.valkey.primary import Finder, Heard, Primary, hang_up, kinds_of
from gateway.valkey.slot import SLOT

_LEARNED_MOST = 8
_EPOCH_FIELD, _FIRST_SLOT_FIELD = 6, 8

Place = tuple[str, int]


class Nodes(Finder):
    """Nodes of one Cluster: those that the address names, and those that they named last."""

    called = "nodes"
    in_cluster = True

    def __init__(self, address: Address, timeout_s: float) -> None:
        super().__init__(address, timeout_s)
        self._known = {place: self._client(address.server_url(*place)) for place in address.seeds}

    def _clients(self) -> Sequence["Redis"]:
        return list(self._known.values())

    async def _ask(self, client: "Redis") -> Heard:
        # As two words: a name that redis-py knows would be read by it, and without what it does not expect.
        nodes: Any = await client.execute_command("CLUSTER", "NODES")  # type: ignore[no-untyped-call]
        # The place is asked after the epoch: what is told under an epoch is at least as new as it.
        slots: Any = await client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
        asked = str(client.connection_pool.connection_kwargs["host"])
        epoch, (primary, places) = epoch_of(nodes.decode()), read_slots(slots, asked)
        return Heard(epoch, primary, places)

    async def _learn(self, heard: Heard) -> None:
        kept = dict.fromkeys([*self._address.seeds, *heard.places])
        gone = [self._known.pop(place) for place in [*self._known] if place not in kept]
        for place in kept:
            if place not in self._known:
                self._known[place] = self._client(self._address.server_url(*place))
        for client in gone:
            await hang_up(client)

    def _why_silent(self, outcomes: Sequence[object]) -> str:
        for outcome in outcomes:
            if isinstance(outcome, NotUsable):
                return f"the Cluster of {self._address.public} {outcome}"
            if "cluster support disabled" in str(outcome):
                return f"the server at {self._address.public} is no node of a Cluster: write redis:// in store.url"
        return f"no node of {self._address.public} answers: {kinds_of(outcomes)}"


def epoch_of(nodes: str) -> int:
    """Return the configuration epoch of whoever owns the site's slot, by an answer to CLUSTER NODES.

    Raises:
        NotUsable: nobody owns it.
    """
    for line in nodes.splitlines():
        fields = line.split(" ")
        if any(first <= SLOT <= last for first, last in _ranges(fields[_FIRST_SLOT_FIELD:])):
            return int(fields[_EPOCH_FIELD])
    raise NotUsable(f"has no primary for the site's keys (slot {SLOT})")


def _ranges(fields: Iterable[str]) -> Iterator[tuple[int, int]]:
    for field in fields:
        # [93-<-node]: on its way from or to another; who owns it stands elsewhere.
        if not field.startswith("["):
            first, _, last = field.partition("-")
            yield int(first), int(last or first)


def read_slots(slots: Sequence[Any], asked: str) -> tuple[Primary, tuple[Place, ...]]:
    """Return the primary of the site's slot and whom to ask from now on, by an answer to CLUSTER SLOTS.

    *asked* is the host that answered: it stands for a node that does not know its own address.

    Raises:
        NotUsable: nobody owns the slot, or nobody knows where the owner is.
    """
    ours, others = [], []
    for first, last, primary, *replicas in slots:
        if first <= SLOT <= last:
            ours = [primary, *replicas]
        else:
            others.append(primary)
    if not ours:
        raise NotUsable(f"has no primary for the site's keys (slot {SLOT})")
    at = _place(ours[0], asked)
    if at is None:
        raise NotUsable(
            "does not tell where its primary is: set cluster-announce-hostname or cluster-announce-ip"
        )
    places = [_place(node, asked) for node in (*ours, *others)]
    known = tuple(dict.fromkeys(place for place in places if place is not None))
    return Primary(*at, ours[0][2].decode()), known[:_LEARNED_MOST]


def _place(node: Sequence[Any], asked: str) -> Place | None:
    host = node[0].decode() if node[0] is not None else ""
    return None if host == "?" else (host or asked, int(node[1]))
