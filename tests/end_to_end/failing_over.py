"""A store whose primary falls under load, however it is replaced: what every way of failing over must keep."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from gateway.accounts.store import AccountStore, Changed
from gateway.cli.reloading import is_ready
from gateway.disclosure import pseudonym
from gateway.lookups import RevealQuestion, reveal
from gateway.valkey.client import Store, StoreUnavailable
from gateway.valkey.library import product_sources
from gateway.vocabulary.identity import Standing
from gateway.vocabulary.limits import Charge, Control, Limit, LimitSet, Spent
from tests.people import DR_MARTIN
from tests.stand import MiniApp, stand
from tests.stores.replicated import Node
from tests.stores.servers import eventually

PATIENCE_S = 30.0
TIMEOUT_MS = 4_000
"""A machine that is busy with other tests is not what they try: WAIT gets its share of this."""
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


Opener = Callable[..., Awaitable[Store]]


@asynccontextmanager
async def opener(url: str, folder: Path) -> AsyncIterator[Opener]:
    """Tell how a test opens stores at *url*; each is a node with a memory of its own."""
    stores: list[Store] = []

    async def open_(at: str = url, replicas: int = 1, timeout_ms: int = TIMEOUT_MS) -> Store:
        store = await Store.open(
            at,
            libraries=[*product_sources(), COUNT],
            state_dir=folder / str(len(stores)),
            replicas=replicas,
            timeout_ms=timeout_ms,
        )
        stores.append(store)
        return store

    yield open_
    for store in stores:
        await store.close()


class Site(Protocol):
    """Servers of which one is the primary."""

    def primary(self) -> Node:
        """Return it."""
        ...


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


async def until(ask: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not ask():
            await asyncio.sleep(0.01)


async def lose_the_primary(site: Site, nodes: Sequence[Store]) -> None:
    """Kill the primary while codes are typed, patients opened and calls counted through two *nodes*."""
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


async def serve_again(
    site: Site, tmp_path: Path, behind_it: Callable[[dict[str, Any]], None], opened: Opener
) -> None:
    """Kill the primary behind a whole gateway; *opened* gives another node on the same store."""

    def patiently(config: dict[str, Any]) -> None:
        behind_it(config)
        config["store"]["timeout_ms"] = TIMEOUT_MS
        config["realms"]["region"]["classes"]["ten"] = {"patients_24h": 10, "soft_share": 1}

    async with stand(tmp_path, MiniApp(), patiently) as gate:
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
