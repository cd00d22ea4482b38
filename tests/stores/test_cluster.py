"""A Cluster of three real nodes carries a site whole in one slot; one of its nodes alone is refused, with the mend."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
from ruamel.yaml import YAML

from gateway.backup import accounts as backed_up
from gateway.cli.store import read_status
from gateway.configuration import init_keys
from gateway.limits.links import links_of
from gateway.limits.store import usage
from gateway.sessions.store import Link, SessionStore
from gateway.valkey import marker
from gateway.valkey.client import Store, StoreEmptied, StoreUnavailable
from gateway.valkey.embedded import find_server
from gateway.valkey.library import compose, product_sources
from gateway.valkey.slot import SLOT, TAGGED
from gateway.vocabulary.identity import Stage
from tests.people import DR_MARTIN, NURSE_BEN
from tests.stores.clustered import SLOTS, cluster_node, join, owner_of
from tests.stores.replicated import Node, until
from tests.stores.test_accounts import (
    accounts,
    test_a_locked_account_has_no_session_and_gets_none,
    test_a_recovery_code_works_once_and_shares_the_budget,
    test_from_invitation_to_first_login,
    test_g03_guessing_invitations_is_stopped_for_everybody,
    test_g10_of_two_enrolments_at_once_exactly_one_wins,
    test_h03_parallel_submissions_of_one_code_open_once,
    test_h06_the_last_failure_locks_and_ends_every_session,
)
from tests.stores.test_backup import LIMITS, peopled, ref
from tests.stores.test_lookups import (
    test_a_charge_is_spent_once_per_patient,
    test_an_emptied_store_answers_nothing,
    test_fifty_at_once_never_pass_the_bound,
    test_the_jar_follows_the_app_s_cookies,
)
from tests.stores.test_measures import (
    test_a_plan_blanc_raises_one_establishment_and_ends_by_itself,
    test_measures_hold_for_accounts_that_are_counted_together,
)
from tests.stores.test_sessions import (
    RULES,
    sessions,
    test_at_most_two_full_sessions_an_app_and_the_oldest_goes,
    test_doors,
    test_every_function_refuses_an_emptied_store,
    test_j01_each_step_up_has_a_new_id_and_the_old_one_is_dead,
    test_proving_an_invitation_gives_time_to_enrol,
)

CONFIGS = Path(__file__).parents[1] / "configs"
REFUSED = "is a node of a Cluster, .* with store.url cluster://h1:6379"

__all__ = (
    # The store's own suite, through a Cluster.
    "accounts",
    "sessions",
    "test_a_charge_is_spent_once_per_patient",
    "test_a_locked_account_has_no_session_and_gets_none",
    "test_a_plan_blanc_raises_one_establishment_and_ends_by_itself",
    "test_a_recovery_code_works_once_and_shares_the_budget",
    "test_an_emptied_store_answers_nothing",
    "test_at_most_two_full_sessions_an_app_and_the_oldest_goes",
    "test_doors",
    "test_every_function_refuses_an_emptied_store",
    "test_fifty_at_once_never_pass_the_bound",
    "test_from_invitation_to_first_login",
    "test_g03_guessing_invitations_is_stopped_for_everybody",
    "test_g10_of_two_enrolments_at_once_exactly_one_wins",
    "test_h03_parallel_submissions_of_one_code_open_once",
    "test_h06_the_last_failure_locks_and_ends_every_session",
    "test_j01_each_step_up_has_a_new_id_and_the_old_one_is_dead",
    "test_measures_hold_for_accounts_that_are_counted_together",
    "test_proving_an_invitation_gives_time_to_enrol",
    "test_the_jar_follows_the_app_s_cookies",
)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    folder = tmp_path_factory.mktemp("cluster")
    made = [cluster_node(folder / str(number)) for number in range(3)]
    try:
        for node in made:
            node.start()
        join(made, SLOTS)
        yield made
    finally:
        for node in made:
            node.kill()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A server that is no node of any Cluster."""
    server = Node(tmp_path_factory.mktemp("single") / "server", [find_server(), "--save", ""])
    server.start()
    try:
        until(lambda: server.ask("PING"), "the server does not start")
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def owner(nodes: list[Node]) -> Node:
    """Whoever has the site's slot."""
    found = owner_of(nodes[0].ask("CLUSTER", "NODES"))
    assert found is not None
    return next(node for node in nodes if node.port == found[3])


@pytest.fixture
def store_url(nodes: list[Node]) -> str:
    """A Cluster by two nodes that do not have the slot."""
    return f"cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}"


@pytest.fixture
async def store(nodes: list[Node], store_url: str, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty one, as a gateway sees it after its first start."""
    for node in nodes:
        node.ask("FLUSHALL")
    state = tmp_path / "state"
    opened = await Store.open(store_url, libraries=product_sources(), state_dir=state, timeout_ms=8_000)
    yield opened
    await opened.close()


async def test_a_site_lies_whole_in_one_slot(
    store: Store, sessions: SessionStore, nodes: list[Node], owner: Node
) -> None:
    """Whatever makes keys makes them there: each function, the marker, a restored backup."""
    await test_measures_hold_for_accounts_that_are_counted_together(store)
    await store.execute("FLUSHALL")
    assert await marker.adopt(store, store.store_id)
    await test_g03_guessing_invitations_is_stopped_for_everybody(store)
    await peopled(store)
    for person in (DR_MARTIN, NURSE_BEN):
        link = Link("d" * 16, 10, 60_000)
        await sessions.open(ref(person.login).id, "parcours", Stage.FULL, RULES, link=link)
    linked = await links_of(store, ref(NURSE_BEN.login).id, 60)
    assert (len(linked.accounts), linked.devices[0].label) == (2, "d" * 16)
    await store.confirm()
    keys = {str(key) for node in nodes for key in node.ask("KEYS", "*")}
    assert {str(key) for key in owner.ask("KEYS", "*")} == keys
    assert all(key.startswith(TAGGED) for key in keys)
    assert len(keys) > 10
    assert {owner.ask("CLUSTER", "KEYSLOT", key) for key in keys} == {SLOT}
    assert not [node for node in nodes if node is not owner and node.ask("FUNCTION", "LIST")]
    status = await read_status(store, "")
    assert (status.identity, status.accounts) == ("ours", int(owner.ask("SCARD", f"{TAGGED}accounts")))


async def test_what_one_server_kept_is_kept_by_a_cluster(store: Store, single: Node, tmp_path: Path) -> None:
    """A backup names no hash tags: it goes from one kind of store into another, and back."""
    plain = await Store.open(
        f"redis://127.0.0.1:{single.port}", libraries=product_sources(), state_dir=tmp_path / "plain"
    )
    try:
        await peopled(plain)
        ids = await backed_up.account_ids(plain)
        content = await backed_up.file_of(plain, ids, with_caps=True)
        before = await usage(plain, ref(DR_MARTIN.login).id, LIMITS)
    finally:
        await plain.close()
    kept = backed_up.parse("x", content.splitlines())
    assert await backed_up.load(store, kept) == 2
    assert await backed_up.account_ids(store) == ids
    again = backed_up.parse("x", (await backed_up.file_of(store, ids, with_caps=True)).splitlines())
    assert {(one.key, one.type) for one in again} == {(one.key, one.type) for one in kept}
    assert await usage(store, ref(DR_MARTIN.login).id, LIMITS) == before


async def test_a_user_with_few_rights_is_enough(store: Store, nodes: list[Node], store_url: str) -> None:
    """Those that docs/operations.md names."""
    for node in nodes:
        node.ask("ACL", "SETUSER", "gate", "on", ">Tr0ubador", "~{ecluse}:*", "+@all", "-@dangerous", "+info")
    url = store_url.replace("://", "://gate:Tr0ubador@")
    gate = await Store.open(url, libraries=[*product_sources(), "-- another text"], state_dir=None)
    try:
        assert (gate.address, gate.store_id) == (store_url, store.store_id)
        assert (await read_status(gate, "")).identity == "ours"
    finally:
        await gate.close()
    with pytest.raises(StoreUnavailable, match=r"no node of cluster://.* answers: AuthenticationError"):
        await Store.open(url.replace("Tr0ub", "Tr1ub"), libraries=product_sources(), state_dir=None)


async def test_an_emptied_cluster_is_refused_until_adopted(store: Store) -> None:
    """A10"""
    await store.execute("FLUSHALL")
    with pytest.raises(StoreEmptied):
        await store.call("ecluse_account_ids")
    assert not store.ready
    assert await marker.adopt(store, store.store_id)
    assert await store.call("ecluse_account_ids") == []


def test_without_a_tag_one_decision_touches_several_slots(nodes: list[Node]) -> None:
    """Why: the marker and an account would lie on different nodes, and a function may touch one."""
    library = compose(product_sources())
    nodes[0].ask("FUNCTION", "LOAD", "REPLACE", library.source)
    keys = ("ecluse:store", "ecluse:{" + "0" * 32 + "}:account")
    try:
        with pytest.raises(redis.ResponseError, match="same slot"):
            nodes[0].ask("FCALL", library.wire_name("ecluse_account_get"), 2, *keys, "0" * 32)
    finally:
        nodes[0].ask("FUNCTION", "FLUSH")


async def test_what_is_no_cluster_and_a_node_alone_are_refused(
    nodes: list[Node], single: Node, tmp_path: Path
) -> None:
    for url, words in (
        *((f"redis://127.0.0.1:{node.port}", REFUSED) for node in nodes),
        (f"cluster://127.0.0.1:{single.port}", "is no node of a Cluster: write redis:// in store.url"),
    ):
        with pytest.raises(StoreUnavailable, match=words):
            await Store.open(url, libraries=product_sources(), state_dir=tmp_path)
    assert not (tmp_path / "store-id").exists()


def test_a_gateway_does_not_start_on_one_node_of_a_cluster(nodes: list[Node], tmp_path: Path) -> None:
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
