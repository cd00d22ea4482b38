"""Three primaries of a Cluster, of which one owns the site's slot and has two replicas: real processes."""

import contextlib
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from gateway.valkey.embedded import find_server
from gateway.valkey.slot import SLOT
from tests.stores.replicated import PASSWORD, Node, free_port, online, until

SLOTS = ((0, 5_460), (5_461, 10_922), (10_923, 16_383))
NODE_TIMEOUT_MS = 1_500


def cluster_node(folder: Path, *options: str, password: str | None = None, binary: str = "") -> Node:
    """Return a server that can be one of a Cluster."""
    command = [binary or find_server(), "--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    command += ["--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--save", "", *options]
    return Node(folder, command, password)


class Clustered:
    """The five of them. *url* is what a gateway is told, *address* the same without password."""

    def __init__(self, folder: Path) -> None:
        options = (
            *("--requirepass", PASSWORD, "--masterauth", PASSWORD),
            *("--appendonly", "yes", "--repl-diskless-sync-delay", "0", "--maxmemory-policy", "noeviction"),
            *("--cluster-require-full-coverage", "no", "--cluster-allow-replica-migration", "no"),
            *("--cluster-replica-validity-factor", "0"),
        )
        self.nodes = [
            cluster_node(folder / f"node{number}", *options, password=PASSWORD) for number in range(5)
        ]
        self.shard = [self.nodes[2], *self.nodes[3:]]
        """The owner of the slot as they are set up, and its two replicas."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:3])
        self.address = f"cluster://{hosts}"
        self.url = f"cluster://:{PASSWORD}@{hosts}"

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.start()
        join(self.nodes, SLOTS)
        owner = identity(self.shard[0])
        for node in self.shard[1:]:
            until(lambda: owner in node.ask("CLUSTER", "NODES"), "a node does not know the others")  # noqa: B023
            node.ask("CLUSTER", "REPLICATE", owner)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.kill()

    def settle(self) -> None:
        """Bring everybody back, and wait until all agree that the owner of the slot has two replicas."""
        for node in self.nodes:
            if node.process is None or node.process.poll() is not None:
                node.start()
            node.send(signal.SIGCONT)
        until(self._settled, "the nodes do not settle")

    def _settled(self) -> bool:
        primary = self.primary()
        return (
            primary in self.shard
            and len(online(primary)) == 2
            and all("cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in self.nodes)
            and all(self._knows(node, primary) for node in self.nodes)
        )

    def _knows(self, node: Node, primary: Node) -> bool:
        found = owner_of(node.ask("CLUSTER", "NODES"))
        return found is not None and found[1] == identity(primary) and "fail" not in found[2]

    def primary(self) -> Node:
        """Return who owns the slot, by the newest that any of them knows."""
        found = []
        for node in self.nodes:
            with contextlib.suppress(redis.RedisError, OSError):
                found.append(owner_of(node.ask("CLUSTER", "NODES")))
        known = [one for one in found if one is not None]
        if not known:
            raise redis.ConnectionError("no node answers")
        port = max(known)[3]
        return next(node for node in self.nodes if node.port == port)

    def replicas(self) -> list[Node]:
        """Return the others of its shard."""
        primary = self.primary()
        return [node for node in self.shard if node is not primary]

    def begin_move(self, target: Node) -> None:
        """Let the owner give the slot away to *target*, key by key (`move_keys`) until `end_move`."""
        owner = self.primary()
        target.ask("CLUSTER", "SETSLOT", SLOT, "IMPORTING", identity(owner))
        owner.ask("CLUSTER", "SETSLOT", SLOT, "MIGRATING", identity(target))

    def move_keys(self, target: Node, *keys: str) -> None:
        """Move *keys*, or all that are left."""
        owner = self.primary()
        going = keys or owner.ask("CLUSTER", "GETKEYSINSLOT", SLOT, 1_000)
        where = ("127.0.0.1", target.port, "", 0, 5_000)
        assert owner.ask("MIGRATE", *where, "AUTH", PASSWORD, "KEYS", *going) == "OK"

    def end_move(self, target: Node) -> None:
        """Make *target* the owner."""
        owner = self.primary()
        for node in (target, owner):
            node.ask("CLUSTER", "SETSLOT", SLOT, "NODE", identity(target))

    def move_at_once(self, target: Node) -> None:
        """Have the owner give the slot away by itself: it goes on serving until all is there (Valkey 9)."""
        owner = self.primary()
        owner.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", SLOT, SLOT, "NODE", identity(target))


def join(nodes: list[Node], slots: tuple[tuple[int, int], ...]) -> None:
    """Make one Cluster of *nodes* that run; the first of them get the *slots*."""
    for node in nodes:
        until(lambda: node.ask("PING"), "a node does not start")  # noqa: B023
    for number, (node, (first, last)) in enumerate(zip(nodes, slots, strict=False), 1):
        node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", number)
    for node in nodes[1:]:
        _, bus = node.ask("CONFIG", "GET", "cluster-port")
        nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
    until(lambda: all(_whole(node, len(nodes)) for node in nodes), "the nodes do not become a Cluster")


def _whole(node: Node, count: int) -> bool:
    told = node.ask("CLUSTER", "INFO")
    return "cluster_state:ok" in told and f"cluster_known_nodes:{count}" in told


def identity(node: Node) -> str:
    """Return the id of *node* within its Cluster."""
    return str(node.ask("CLUSTER", "MYID"))


def owner_of(nodes: str) -> tuple[int, str, str, int] | None:
    """Return epoch, id, flags and port of the slot's owner by an answer to CLUSTER NODES."""
    for line in nodes.splitlines():
        id_, place, flags, _, _, _, epoch, _, *slots = line.split(" ")
        for first, _, last in (part.partition("-") for part in slots if not part.startswith("[")):
            if int(first) <= SLOT <= int(last or first):
                return int(epoch), id_, flags, int(place.partition("@")[0].rpartition(":")[2])
    return None


@contextmanager
def clustered() -> Iterator[Clustered]:
    """Run the five of them in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="ecluse-cl-") as name, Clustered(Path(name)) as running:
        running.settle()
        yield running
