"""A site in one slot of a Cluster: its primary killed or frozen under load, its slot moved to another node."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts.store import AccountStore, Changed
from gateway.valkey.client import StoreUnavailable
from gateway.vocabulary.identity import Standing
from tests.end_to_end.failing_over import (
    PATIENCE_S,
    Opener,
    account,
    asking,
    enrolled,
    lose_the_primary,
    opener,
    serve_again,
    until,
)
from tests.stores.clustered import Clustered, clustered
from tests.stores.replicated import PASSWORD
from tests.stores.replicated import until as awaited
from tests.stores.servers import eventually

ON_ITS_WAY = "is being moved"


@pytest.fixture(scope="module")
def running() -> Iterator[Clustered]:
    with clustered() as site:
        yield site


@pytest.fixture
def site(running: Clustered) -> Clustered:
    """The five of them, all well."""
    running.settle()
    return running


@pytest.fixture
async def opened(site: Clustered, tmp_path: Path) -> AsyncIterator[Opener]:
    """How a test opens stores; each is a node with a memory of its own."""
    async with opener(site.url, tmp_path) as open_:
        yield open_


async def test_the_primary_killed_under_load(site: Clustered, opened: Opener) -> None:
    """K19 No code twice, no cap passed by more than was in flight, no lock lost, no call twice; then served again."""
    await lose_the_primary(site, [await opened(), await opened()])


async def test_a_primary_that_froze_is_left(site: Clustered, opened: Opener) -> None:
    """K19 Nobody asks it any more, even who waited for its answer; back again, it follows the new one."""
    # It would wait for its answer longer than this test does.
    patient = await opened(timeout_ms=60_000)
    old = site.primary()
    assert await patient.call("count", ["ecluse:test:frozen"], confirmed=True) == 1
    old.send(signal.SIGSTOP)
    try:
        await asyncio.to_thread(awaited, lambda: site.primary() is not old, "nobody takes over")
        await eventually(lambda: patient.call("count", ["ecluse:test:frozen"]), PATIENCE_S)
    finally:
        old.send(signal.SIGCONT)
    site.settle()
    assert old in site.replicas()
    assert await patient.call("count", ["ecluse:test:frozen"], confirmed=True) >= 3
    replica = f"redis://:{PASSWORD}@127.0.0.1:{old.port}"
    with pytest.raises(StoreUnavailable, match="is a node of a Cluster"):
        await opened(replica)


async def test_a_gateway_serves_again_by_itself(site: Clustered, opened: Opener, tmp_path: Path) -> None:
    """K07 Through the door: refused while there is no primary, said so to the probe, then the same session goes on.

    Another node on the same store charges the same account, and locks it: both hold here.
    """
    (tmp_path / "pw").write_text(PASSWORD)
    (tmp_path / "pw").chmod(0o600)

    def in_a_cluster(config: dict[str, Any]) -> None:
        config["store"] = {"url": site.address, "password_file": "pw"}

    await serve_again(site, tmp_path, in_a_cluster, opened)


async def test_a_slot_on_its_way_is_refused_whole_and_served_where_it_arrives(
    site: Clustered, opened: Opener
) -> None:
    """K19 Half of a site decides nothing; what a code, a lock or a cap was before is what it is afterwards."""
    # Its new owner has no replica that could confirm.
    store = await opened(replicas=0)
    accounts = AccountStore(store)
    for number in (1, 2):
        await enrolled(store, number)
    assert await accounts.accept_step(account(1), 7, epoch=0)
    assert await store.call("count", ["ecluse:test:moved"]) == 1
    source, target = site.primary(), site.nodes[0]
    assert target.ask("FUNCTION", "LIST") == []

    site.begin_move(target)
    # The account is still there, its list of sessions is nowhere: a lock begun here would break off in the middle.
    with pytest.raises(StoreUnavailable, match=ON_ITS_WAY):
        await accounts.lock(account(2), "stolen")
    await until(lambda: not store.ready)
    site.move_keys(target, f"{{ecluse}}:{{{account(1)}}}:account")
    for work in (
        accounts.accept_step(account(1), 7, epoch=0),
        store.call("count", ["ecluse:test:moved"]),
        store.execute("GET", "ecluse:test:moved"),
        opened(replicas=0),
    ):
        with pytest.raises(StoreUnavailable, match=ON_ITS_WAY):
            await work
    site.move_keys(target)
    site.end_move(target)
    await until(lambda: store.ready)

    assert await accounts.accept_step(account(1), 7, epoch=0) is False
    assert await store.call("count", ["ecluse:test:moved"]) == 2
    found = await accounts.get(account(2))
    assert found is not None
    assert found.standing is Standing.ACTIVE
    assert isinstance(await accounts.lock(account(2), "stolen"), Changed)

    # Back again, by a server that goes on serving until all is there.
    counted = tried = 0
    over = asyncio.Event()

    async def count() -> None:
        nonlocal counted, tried
        while not over.is_set():
            tried += 1
            if await asking(store.call("count", ["ecluse:test:moved"])) is not None:
                counted += 1
            await asyncio.sleep(0.002)

    load = [asyncio.create_task(count()) for _ in range(4)]
    await until(lambda: counted > 20)
    site.move_at_once(source)
    await asyncio.to_thread(awaited, lambda: site.primary() is source, "the slot does not arrive")
    reached = counted
    await until(lambda: counted > reached + 20)
    # An orderly change, as when servers are renewed one by one.
    heir = site.replicas()[0]
    await asyncio.to_thread(heir.ask, "CLUSTER", "FAILOVER")
    await asyncio.to_thread(awaited, lambda: site.primary() is heir, "the replica does not take over")
    reached = counted
    await until(lambda: counted > reached + 20)
    over.set()
    await asyncio.gather(*load)
    await asyncio.to_thread(site.settle)
    await until(lambda: store.ready)
    total = int(await store.execute("GET", "ecluse:test:moved")) - 2
    print(f"{tried} calls, {tried - counted} refused")
    assert counted <= total <= tried
    assert await accounts.accept_step(account(1), 7, epoch=0) is False
    found = await accounts.get(account(2))
    assert found is not None
    assert found.standing is Standing.LOCKED
