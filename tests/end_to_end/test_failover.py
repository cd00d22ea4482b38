"""Three servers behind three Sentinels, with the primary killed, frozen, cut off or emptied under load."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts.store import AccountStore, Attempt, Changed
from gateway.cli.store import read_status
from gateway.lookups import RevealQuestion, reveal
from gateway.policy.policy import FailureBudget
from gateway.valkey import marker
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.vocabulary.limits import Charge, Spent
from tests.end_to_end.failing_over import (
    PATIENCE_S,
    WARD,
    Opener,
    account,
    enrolled,
    lose_the_primary,
    opener,
    serve_again,
    until,
)
from tests.stores.replicated import PASSWORD, SENTINEL_PASSWORD, Replicated, replicated
from tests.stores.servers import eventually


@pytest.fixture(scope="module")
def running() -> Iterator[Replicated]:
    with replicated() as site:
        yield site


@pytest.fixture
def site(running: Replicated) -> Replicated:
    """The six of them, all well."""
    running.settle()
    return running


@pytest.fixture
async def opened(site: Replicated, tmp_path: Path) -> AsyncIterator[Opener]:
    """How a test opens stores; each is a node with a memory of its own."""
    async with opener(site.url, tmp_path) as open_:
        yield open_


async def test_the_primary_killed_under_load(site: Replicated, opened: Opener) -> None:
    """K19 No code twice, no cap passed by more than was in flight, no lock lost, no call twice; then served again."""
    await lose_the_primary(site, [await opened(), await opened()])


async def test_what_no_replica_has_is_not_done(site: Replicated, opened: Opener) -> None:
    """K19 A primary without replicas takes a code, then dies: with nobody to confirm it, the code opens nothing.

    With ``replicas: 0`` the same code is accepted a second time: that is what the confirmation is for.
    """
    store, careless = await opened(), await opened(replicas=0)
    careful, naive = AccountStore(store), AccountStore(careless)
    for number in (1, 2, 3):
        await enrolled(store, number)
    assert await careful.accept_step(account(1), 7, epoch=0)
    primary = site.primary()
    assert [fault[:44] for fault in (await read_status(store, "")).faults] == [
        "a primary that is cut off from its replicas "
    ]
    primary.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    assert (await read_status(store, "")).faults == ()
    primary.ask("CONFIG", "SET", "min-replicas-to-write", "0")
    site.cut(primary)
    assert "0 replicas follow the primary, and store.replicas asks for 1" in str(await read_status(store, ""))
    try:
        assert await naive.accept_step(account(2), 8, epoch=0)
        for change in (
            careful.accept_step(account(1), 8, epoch=0),
            careful.lock(account(3), "stolen"),
            # Nothing is left to write here; what it found is not confirmed either.
            careful.accept_step(account(1), 8, epoch=0),
        ):
            with pytest.raises(StoreUnavailable, match="did it, but fewer than 1 replicas confirmed"):
                await change
        # What need not be confirmed goes on, and a metric tells.
        spent = await reveal(store, RevealQuestion(account(2), None, WARD, Charge(opened=(b"8" * 8,))))
        assert isinstance(spent.spend, Spent)
        assert (store.ready, store.confirms, careless.confirms) == (True, False, True)
        # Who tries in vain meanwhile is not locked by it.
        for _ in range(60):
            with pytest.raises(StoreUnavailable, match="too few replicas to confirm anything"):
                await careful.begin_attempt(account(1), FailureBudget())
        assert isinstance(await naive.begin_attempt(account(1), FailureBudget()), Attempt)
        primary.kill()
    finally:
        site.mend()
    await until(lambda: careless.ready and site.primary() is not primary)
    site.follow()
    await until(lambda: store.confirms)
    assert await naive.accept_step(account(2), 8, epoch=0)
    assert await careful.accept_step(account(1), 8, epoch=0)
    assert isinstance(await careful.lock(account(3), "stolen"), Changed)


async def test_a_primary_that_was_replaced_is_left_though_it_lives(site: Replicated, opened: Opener) -> None:
    """K19 Split brain: the old primary comes back believing in itself. Nobody asks it, even who waited for it."""
    # It would wait for its answer longer than this test does.
    patient = await opened(timeout_ms=60_000)
    old = site.primary()
    assert await patient.call("count", ["ecluse:test:split"]) == 1
    await patient.execute("WAIT", 2, 500)
    old.send(signal.SIGSTOP)
    try:
        await until(lambda: site.primary() is not old)
        new = site.primary()
        await eventually(lambda: patient.call("count", ["ecluse:test:split"]), PATIENCE_S)
    finally:
        old.send(signal.SIGCONT)
    assert old.role == "master"
    before = int(old.ask("GET", "ecluse:test:split"))
    quick = await opened()
    for store in (patient, quick, patient):
        await store.call("count", ["ecluse:test:split"])
    assert int(old.ask("GET", "ecluse:test:split")) == before
    assert int(new.ask("GET", "ecluse:test:split")) >= 5
    # The Sentinels would take ten seconds to convince it.
    old.kill()
    # A replica is no store, whoever names it.
    replica = next(server for server in site.replicas() if server is not old)
    with pytest.raises(StoreUnavailable, match="is a replica"):
        await opened(f"redis://:{PASSWORD}@127.0.0.1:{replica.port}")


async def test_a_store_emptied_before_a_failover_is_refused_after_it(
    site: Replicated, opened: Opener
) -> None:
    """A10 The new primary has what the old one had: nothing."""
    store = await opened()
    await store.execute("FLUSHALL")
    await store.execute("WAIT", 2, 500)
    site.primary().kill()
    with pytest.raises(StoreEmptied):
        await eventually(lambda: store.call("count", ["ecluse:test:count"]), PATIENCE_S)
    assert not store.ready
    await eventually(lambda: marker.adopt(store, store.store_id), PATIENCE_S)
    await until(lambda: store.ready)
    # The other replica may still be on its way to the new primary: until then it is done and not confirmed.
    await eventually(lambda: store.call("count", ["ecluse:test:count"], confirmed=True), PATIENCE_S)


async def test_a_gateway_serves_again_by_itself(site: Replicated, opened: Opener, tmp_path: Path) -> None:
    """K07 Through the door: refused while there is no primary, said so to the probe, then the same session goes on.

    Another node on the same store charges the same account, and locks it: both hold here.
    """
    for name, password in (("pw", PASSWORD), ("spw", SENTINEL_PASSWORD)):
        (tmp_path / name).write_text(password)
        (tmp_path / name).chmod(0o600)

    def behind_sentinels(config: dict[str, Any]) -> None:
        config["store"] = {"url": site.address, "password_file": "pw", "sentinel_password_file": "spw"}

    await serve_again(site, tmp_path, behind_sentinels, opened)


async def test_sentinels_that_cannot_be_asked(site: Replicated, opened: Opener) -> None:
    """One that is gone costs nothing; another group, another password, and none at all are told apart."""
    site.sentinels[0].kill()
    # With as few rights as docs/operations.md names.
    site.primary().ask(
        *["ACL", "SETUSER", "gate", "on", ">Tr0ubador", "~ecluse:*", "+@all", "-@dangerous", "+info"]
    )
    store = await opened(site.url.replace(f":{PASSWORD}@", "gate:Tr0ubador@"))
    accounts = AccountStore(store)
    await enrolled(store, 5)
    assert await accounts.accept_step(account(5), 3, epoch=0)
    assert isinstance(await accounts.lock(account(5), "stolen"), Changed)
    assert (await read_status(store, "")).identity == "ours"
    assert await store.call("count", ["ecluse:test:sentinels"], confirmed=True) == 1
    for url, words in (
        (site.url.replace("/ecluse?", "/other?"), "watch over no primary named other"),
        (site.url.replace("sentinel_password=", "sentinel_password=x"), "no Sentinel of .* answers: Authent"),
        (site.url.replace(PASSWORD, "wrong"), "failed: AuthenticationError"),
        (
            f"redis://:{SENTINEL_PASSWORD}@127.0.0.1:{site.sentinels[1].port}",
            "is a Sentinel: write sentinel",
        ),
    ):
        with pytest.raises(StoreUnavailable, match=words) as refused:
            await opened(url)
        assert "Ecluse-de" not in str(refused.value)
    for sentinel in site.sentinels:
        sentinel.kill()
    # Who is connected stays so; who comes new is refused.
    await asyncio.sleep(1.2)
    assert await store.call("count", ["ecluse:test:sentinels"], confirmed=True) == 2
    with pytest.raises(StoreUnavailable, match="no Sentinel"):
        await opened()
