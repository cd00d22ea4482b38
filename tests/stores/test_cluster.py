"""A Cluster of three real nodes is refused, with the mend: one decision needs keys that it scatters."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis
from ruamel.yaml import YAML

from gateway.configuration import init_keys
from gateway.valkey.client import Store, StoreUnavailable
from gateway.valkey.embedded import find_server
from gateway.valkey.library import compose, product_sources
from tests.stores.replicated import Node, free_port, until

CONFIGS = Path(__file__).parents[1] / "configs"
SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))
REFUSED = "is a node of a Cluster, .* with store.url sentinel://h1:26379"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    folder = tmp_path_factory.mktemp("cluster")
    made = [
        Node(
            folder / str(number),
            [find_server(), "--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--save", ""],
        )
        for number in range(3)
    ]
    try:
        for node, (first, last) in zip(made, SLOTS, strict=True):
            node.start()
            until(partial(node.ask, "PING"), "a node does not start")
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for node in made[1:]:
            _, bus = node.ask("CONFIG", "GET", "cluster-port")
            made[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        until(lambda: all(_whole(node) for node in made), "the nodes do not become a Cluster")
        yield made
    finally:
        for node in made:
            node.kill()


def _whole(node: Node) -> bool:
    told = node.ask("CLUSTER", "INFO")
    return "cluster_state:ok" in told and "cluster_known_nodes:3" in told


def test_one_decision_touches_several_slots(nodes: list[Node]) -> None:
    """Why: the marker and an account lie on different nodes, and a function may touch one."""
    library = compose(product_sources())
    nodes[0].ask("FUNCTION", "LOAD", library.source)
    keys = ("ecluse:store", "ecluse:{" + "0" * 32 + "}:account")
    with pytest.raises(redis.ResponseError, match="same slot"):
        nodes[0].ask("FCALL", library.wire_name("ecluse_account_get"), 2, *keys, "0" * 32)


async def test_every_node_of_a_cluster_is_refused(nodes: list[Node], tmp_path: Path) -> None:
    for node in nodes:
        with pytest.raises(StoreUnavailable, match=REFUSED):
            await Store.open(
                f"redis://127.0.0.1:{node.port}", libraries=product_sources(), state_dir=tmp_path
            )
    assert not (tmp_path / "store-id").exists()


def test_a_gateway_does_not_start_on_a_cluster(nodes: list[Node], tmp_path: Path) -> None:
    init_keys(tmp_path / "keys")
    config = YAML(typ="safe").load(CONFIGS / "working_smallest.yml")
    config["gateway"].update(state_dir=str(tmp_path / "state"), keys_dir=str(tmp_path / "keys"))
    config["store"] = {"url": f"redis://127.0.0.1:{nodes[1].port}"}
    path = tmp_path / "ecluse.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(config, file)
    served = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--config", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert served.returncode == 2
    assert "the gateway does not start" in served.stderr
    assert "is a node of a Cluster" in served.stderr
