"""Three servers behind three Sentinels, with the primary killed, frozen, cut off or emptied under load."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts.store import AccountStore, Attempt, Changed
from gateway.cli.reloading import is_ready
from gateway.cli.store import read_status
from gateway.disclosure import pseudonym
from gateway.lookups import RevealQuestion, reveal
from gateway.policy.policy import FailureBudget
from gateway.valkey import marker
from gateway.valkey.client import Store, StoreEmptied, StoreUnavailable
from gateway.valkey.library import product_sources
from gateway.vocabulary.identity import Standing
from gateway.vocabulary.limits import Charge, Control, Limit, LimitSet, Spent
from tests.people import DR_MARTIN
from tests.stand import MiniApp, stand
from tests.stores.replicated import PASSWORD, SENTINEL_PASSWORD, Replicated, replicated
from tests.stores.servers import eventually

PATIENCE_S = 30.0
CAP = 300
WARD = LimitSet("ward", (Limit(Control.PATIENTS_24H, CAP),))
OPENERS = 12
TYPISTS = 6
COUNT = """
redis.register_function('count', function(keys, args)
  local refused = guard(keys, args)
  if refused then return refused end
  return redis.call('INCR', keys[2])
end)
"""


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
async def opened(site: Replicated, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Store]]]:
    """How a test opens stores; each is a node with a memory of its own."""
    stores: list[Store] = []

    async def open_(url: str = site.url, replicas: int = 1, timeout_ms: int = 800) -> Store:
        store = await Store.open(
            url,
            libraries=[*product_sources(), COUNT],
            state_dir=tmp_path / str(len(stores)),
            replicas=replicas,
            timeout_ms=timeout_ms,
        )
        stores.append(store)
        return store

    yield open_
    for store in stores:
        await store.close()


def account(number: int) -> str:
    return f"{number:032x}"


async def enrolled(store: Store, number: int) -> None:
    """Put an active account there, as an enrolment leaves it."""
    key = f"ecluse:{{{account(number)}}}:account"
    await store.execute("DEL", key)
    fields = (
        "state",
        "active",
        "class",
        "ward",
        "login",
        f"nr.{number}",
        "epoch",
        "0",
        "secret",
        "v1.k.n.ct",
    )
    await store.execute("HSET", key, *fields, "last_step", "0")


async def asking(work: Awaitable[Any]) -> Any:
    """Return what *work* gives, None when the store is unavailable."""
    try:
        return await work
    except StoreUnavailable:
        return None


async def test_the_primary_killed_under_load(
    site: Replicated, opened: Callable[..., Awaitable[Store]]
) -> None:
    """K19 No code twice, no cap passed by more than was in flight, no lock lost, no call twice; then served again."""
    nodes = [await opened(), await opened()]
    accounts = [AccountStore(store) for store in nodes]
    for number in range(TYPISTS + 2):
        await enrolled(nodes[0], number)
    victim, locked = account(TYPISTS), account(TYPISTS + 1)
    accepted: list[tuple[int, int]] = []
    opened_patients: set[bytes] = set()
    counted, tried = 0, 0
    over = asyncio.Event()

    async def type_codes(number: int) -> None:
        step = 0
        while not over.is_set():
            step += 1
            if await asking(accounts[step % 2].accept_step(account(number), step, epoch=0)):
                accepted.append((number, step))
            await asyncio.sleep(0.005)

    async def open_patients(first: int) -> None:
        patient = first
        while not over.is_set():
            member = patient.to_bytes(8)
            question = RevealQuestion(victim, None, WARD, Charge(opened=(member,)))
            answer = await asking(reveal(nodes[patient % 2], question))
            if answer is not None and isinstance(answer.spend, Spent):
                opened_patients.add(member)
            patient += OPENERS
            await asyncio.sleep(0.05)

    async def count() -> None:
        nonlocal counted, tried
        while not over.is_set():
            tried += 1
            if await asking(nodes[tried % 2].call("count", ["ecluse:test:count"])) is not None:
                counted += 1
            await asyncio.sleep(0.002)

    load = [
        *(asyncio.create_task(type_codes(number)) for number in range(TYPISTS)),
        *(asyncio.create_task(open_patients(first)) for first in range(OPENERS)),
        asyncio.create_task(count()),
    ]
    await asyncio.sleep(0.5)
    assert all(store.ready for store in nodes)
    await accounts[0].lock(locked, "stolen")
    before_kill = len(accepted)
    site.primary().kill()
    killed_s = time.monotonic()
    await until(lambda: not any(store.ready for store in nodes))
    for store in nodes:
        await eventually(lambda: store.call("ecluse_fence", ["ecluse:fence"], confirmed=True), PATIENCE_S)  # noqa: B023
    resumed_s = time.monotonic() - killed_s
    await until(lambda: all(store.ready and store.confirms for store in nodes))
    # On through the new primary until the cap is met.
    await until(lambda: len(opened_patients) >= CAP - OPENERS)
    await asyncio.sleep(0.5)
    over.set()
    await asyncio.gather(*load)
    print(f"served again after {resumed_s:.1f} s; {len(accepted)} codes, {len(opened_patients)} patients")

    assert 0 < before_kill < len(accepted)
    replays = [await accounts[0].accept_step(account(number), step, epoch=0) for number, step in accepted]
    assert not any(replays)
    assert len(set(accepted)) == len(accepted)
    # Each opener had at most one patient under way when the primary fell.
    assert CAP - OPENERS <= len(opened_patients) <= CAP + OPENERS
    for store in accounts:
        found = await store.get(locked)
        assert found is not None
        assert found.standing is Standing.LOCKED
    total = int(await nodes[0].execute("GET", "ecluse:test:count"))
    assert counted - 1 <= total <= tried


async def until(ask: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not ask():
            await asyncio.sleep(0.01)


async def test_what_no_replica_has_is_not_done(
    site: Replicated, opened: Callable[..., Awaitable[Store]]
) -> None:
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


async def test_a_primary_that_was_replaced_is_left_though_it_lives(
    site: Replicated, opened: Callable[..., Awaitable[Store]]
) -> None:
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
    site: Replicated, opened: Callable[..., Awaitable[Store]]
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


async def test_a_gateway_serves_again_by_itself(
    site: Replicated, opened: Callable[..., Awaitable[Store]], tmp_path: Path
) -> None:
    """K07 Through the door: refused while there is no primary, said so to the probe, then the same session goes on.

    Another node on the same store charges the same account, and locks it: both hold here.
    """
    for name, password in (("pw", PASSWORD), ("spw", SENTINEL_PASSWORD)):
        (tmp_path / name).write_text(password)
        (tmp_path / name).chmod(0o600)

    def behind_sentinels(config: dict[str, Any]) -> None:
        config["store"] = {"url": site.address, "password_file": "pw", "sentinel_password_file": "spw"}
        config["realms"]["region"]["classes"]["ten"] = {"patients_24h": 10, "soft_share": 1}

    async with stand(tmp_path, MiniApp(), behind_sentinels) as gate:
        await gate.enrol(DR_MARTIN, "ten")
        browser = await gate.log_in(DR_MARTIN)
        assert is_ready(gate.services)
        assert gate.services.store.replicas == 1
        for number in range(1001, 1005):
            assert (await browser.get(f"/dossiers/{number}")).status == 200
        await gate.services.store.confirm()
        site.primary().kill()
        await until(lambda: not is_ready(gate.services))
        withheld = await browser.get("/dossiers/1005")
        assert withheld.status == 503
        assert "Patient1005" not in withheld.text
        assert (await browser.get("/static/app.css")).status == 200
        await until(lambda: is_ready(gate.services) and gate.services.store.confirms)
        assert (await browser.get("/dossiers/1001")).status == 200

        other, ref = await opened(), gate.ref(DR_MARTIN.login)
        limits = gate.loaded.policy.realms["region"].classes["ten"]
        members = tuple(pseudonym(gate.services.keys, "parcours", str(n)).member for n in range(2001, 2006))
        charged = await reveal(other, RevealQuestion(ref.id, None, limits, Charge(opened=members)))
        assert isinstance(charged.spend, Spent)
        assert (await browser.get("/dossiers/1006")).status == 200
        assert (await browser.get("/dossiers/1007")).status == 429
        assert isinstance(await AccountStore(other).lock(ref.id, "stolen"), Changed)
        assert (await browser.get("/dossiers/1001")).status in {303, 403}
        assert next(entry["reason"] for entry in await gate.events("refused")) == "store-down"


async def test_sentinels_that_cannot_be_asked(
    site: Replicated, opened: Callable[..., Awaitable[Store]]
) -> None:
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
