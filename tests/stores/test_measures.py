"""Measures in the store: read in the trips that are made anyhow, for one establishment or for all."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.limits.in_force import InForce, MeasureStore
from gateway.lookups import Entered, EnterQuestion, Revealed, RevealQuestion, enter, reveal
from gateway.valkey.client import Store, StoreEmptied
from gateway.valkey.embedded import Embedded
from gateway.valkey.library import product_sources
from gateway.vocabulary.identity import Stage
from gateway.vocabulary.limits import (
    NO_POOLS,
    Asked,
    Charge,
    Control,
    Exhausted,
    Limit,
    LimitSet,
    Pool,
    Pools,
    Spent,
)
from gateway.vocabulary.measures import MeasureRules, PlanBlancRule, StrictRule

LILLE, LENS = "590000001", "620000002"
CAP = Control.PATIENTS_1H
WARD = LimitSet("ward", (Limit(Control.REQUESTS, 50), Limit(CAP, 4)))
RULES = MeasureRules(
    StrictRule(500, idle_s=60, absolute_s=600), PlanBlancRule(2_000, frozenset({CAP}), ((CAP, 100),))
)
SESSION = "fedcba98"


def account_id(number: int) -> str:
    return f"{number:032x}"


async def now_ms(store: Store) -> int:
    seconds, micros = await store.execute("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def person(
    store: Store, number: int, establishment: str, *, created_s: int = 30, seen_s: int = 5, **session: str
) -> None:
    base, at_ms = f"ecluse:{{{account_id(number)}}}", await now_ms(store)
    known = ("state", "active", "class", "ward", "login", f"agent{number}", "epoch", "0", "secret", "-")
    await store.execute("HSET", f"{base}:account", *known, "establishment", establishment)
    fields = {
        "app": "dossier", "stage": "full", "epoch": "0", "created_ms": str(at_ms - created_s * 1000),
        "seen_ms": str(at_ms - seen_s * 1000),
    } | session  # fmt: skip
    await store.execute(
        "HSET", f"{base}:session:{SESSION}", *(part for pair in fields.items() for part in pair)
    )


async def ask(store: Store, number: int, *, rules: MeasureRules = RULES) -> Entered:
    question = EnterQuestion(
        account_id(number), SESSION, "dossier", (), 1_800_000, 43_200_000, 300_000, True, measures=rules
    )  # fmt: skip
    return await enter(store, question, lambda _class, _establishment: WARD, {})


async def open_(
    store: Store, number: int, *patients: int, limits: LimitSet = WARD, pools: Pools = NO_POOLS
) -> Revealed:
    members = tuple(patient.to_bytes(8, "big") for patient in patients)
    question = RevealQuestion(
        account_id(number), SESSION, limits, Charge(opened=members), measures=RULES, pools=pools
    )
    return await reveal(store, question)


async def opens(store: Store, number: int, most: int = 20) -> int:
    """Return how many patients one after the other leave before the hard bound."""
    for patient in range(most):
        if isinstance((await open_(store, number, patient)).spend, Exhausted):
            return patient
    return most


async def test_strict_holds_from_the_next_answer_on_and_normal_gives_back(store: Store) -> None:
    measures = MeasureStore(store)
    for number in (1, 2):
        await person(store, number, LILLE)
    assert (await open_(store, 1, 1)).spend == Spent()
    since_ms = await measures.strict("attack")
    assert await opens(store, 2) == 2
    # What was spent stays spent: one more, and not two.
    assert (await open_(store, 1, 2)).spend == Spent(near=(CAP,))
    assert isinstance((await open_(store, 1, 3)).spend, Exhausted)
    found = await measures.read()
    assert found == InForce(found.at_ms, since_ms, "attack", ())
    assert await measures.normal()
    assert not await measures.normal()
    assert isinstance((await open_(store, 1, 3)).spend, Spent)
    assert await opens(store, 2) == 4
    assert (await measures.read()).strict_since_ms is None


async def test_strict_asks_every_session_for_a_code_that_it_gives_once(store: Store) -> None:
    measures = MeasureStore(store)
    await person(store, 1, LILLE)
    assert (await ask(store, 1)).owes is None
    await measures.strict("attack")
    entered = await ask(store, 1)
    assert (entered.stage, entered.owes, entered.fresh) == (Stage.FULL, "posture", False)
    key = f"ecluse:{{{account_id(1)}}}:session:{SESSION}"
    await store.execute("HSET", key, "stepped_ms", str(await now_ms(store)))
    entered = await ask(store, 1)
    assert (entered.owes, entered.fresh) == (None, True)
    # A session that began under it has just given its code.
    await person(store, 2, LILLE, created_s=0, seen_s=0)
    await store.execute(
        "HSET", f"ecluse:{{{account_id(2)}}}:session:{SESSION}", "created_ms", str(await now_ms(store))
    )
    assert (await ask(store, 2)).owes is None
    # Whoever has no factor cannot be asked.
    await person(store, 3, LILLE)
    await store.execute("HDEL", f"ecluse:{{{account_id(3)}}}:account", "secret")
    assert (await ask(store, 3)).owes is None
    # Strict once more asks once more.
    await asyncio.sleep(0.002)
    await measures.strict("attack, again")
    assert (await ask(store, 1)).owes == "posture"
    await measures.normal()
    assert (await ask(store, 1)).owes is None


async def test_a_code_from_before_counts_for_no_soft_bound_under_strict(store: Store) -> None:
    soft = LimitSet("soft", (Limit(CAP, 9, soft=0),))
    given_ms = await now_ms(store)
    await person(store, 1, LILLE, stepped_ms=str(given_ms))
    assert (await open_(store, 1, 1, limits=soft)).spend == Spent()
    await asyncio.sleep(0.002)
    await MeasureStore(store).strict("attack")
    assert (await open_(store, 1, 2, limits=soft)).spend == Asked(CAP)


@pytest.mark.parametrize(
    ("created_s", "seen_s", "alive"), [(30, 55, True), (100, 65, False), (595, 5, True), (605, 5, False)]
)
async def test_strict_shortens_sessions_and_what_ended_stays_ended(
    store: Store, created_s: int, seen_s: int, alive: bool
) -> None:
    measures = MeasureStore(store)
    await measures.strict("attack")
    await person(store, 1, LILLE, created_s=created_s, seen_s=seen_s)
    entered = await ask(store, 1)
    assert (entered.stage is Stage.FULL, entered.expired) == (alive, not alive)
    await measures.normal()
    assert ((await ask(store, 1)).stage is Stage.FULL) == alive


async def test_strict_never_lengthens_a_session(store: Store) -> None:
    await MeasureStore(store).strict("attack")
    await person(store, 1, LILLE, seen_s=1_900, created_s=2_000)
    long = replace(RULES, strict=StrictRule(500, idle_s=100_000, absolute_s=100_000))
    assert (await ask(store, 1, rules=long)).expired


async def test_a_plan_blanc_raises_one_establishment_and_ends_by_itself(store: Store) -> None:
    measures = MeasureStore(store)
    for number, establishment in ((1, LILLE), (2, LENS), (3, "")):
        await person(store, number, establishment)
    until_ms = await measures.plan_blanc(LILLE, "accident", 3_600)
    assert abs(until_ms - await now_ms(store) - 3_600_000) < 60_000
    assert [await opens(store, number) for number in (1, 2, 3)] == [8, 4, 4]
    [plan] = (await measures.read()).plans
    assert (plan.establishment, plan.until_ms, plan.why) == (LILLE, until_ms, "accident")
    # As its end has passed: what was seen stays counted, and nobody new leaves.
    await store.execute("HSET", "ecluse:measures", f"until:{LILLE}", str(await now_ms(store)))
    assert (await measures.read()).plans == ()
    assert isinstance((await open_(store, 1, 50)).spend, Exhausted)
    assert (await open_(store, 1, 0, 1, 2)).spend == Spent()
    # The next one cleans up after it.
    await measures.plan_blanc(LENS, "other", 60)
    left = {field.decode() for field in await store.execute("HKEYS", "ecluse:measures")}
    assert left == {f"{word}:{LENS}" for word in ("until", "since", "why")}


async def test_a_plan_is_ended_by_hand_and_never_shortened_by_another(store: Store) -> None:
    measures = MeasureStore(store)
    await person(store, 1, LILLE)
    long_ms = await measures.plan_blanc(LILLE, "accident", 86_400)
    assert await measures.plan_blanc(LILLE, "short", 60) == long_ms
    assert await measures.end_plan_blanc(LILLE)
    assert not await measures.end_plan_blanc(LILLE)
    assert await opens(store, 1) == 4


async def test_under_both_nobody_has_more_than_usual(store: Store) -> None:
    measures = MeasureStore(store)
    for number, establishment in ((1, LILLE), (2, LENS)):
        await person(store, number, establishment)
    await measures.plan_blanc(LILLE, "accident", 3_600)
    await measures.strict("attack")
    assert [await opens(store, number) for number in (1, 2)] == [4, 2]


async def test_measures_of_a_store_that_came_back_empty_are_refused(store: Store) -> None:
    await store.execute("DEL", "ecluse:store")
    with pytest.raises(StoreEmptied):
        await MeasureStore(store).strict("attack")


async def test_strict_survives_a_restart_of_the_store(tmp_path: Path) -> None:
    async def opened(running: Embedded) -> Store:
        return await Store.open(
            running.url, libraries=product_sources(), state_dir=tmp_path, timeout_ms=8_000
        )

    first = await Embedded.start(tmp_path / "store")
    store = await opened(first)
    since_ms = await MeasureStore(store).strict("attack")
    await store.close()
    await first.stop()
    second = await Embedded.start(tmp_path / "store")
    try:
        store = await opened(second)
        assert (await MeasureStore(store).read()).strict_since_ms == since_ms
        await person(store, 1, LILLE)
        assert await opens(store, 1) == 2
        await store.close()
    finally:
        await second.stop()


async def test_measures_hold_for_accounts_that_are_counted_together(store: Store) -> None:
    """One establishment may open four patients: two while the posture is strict, eight under its plan blanc."""
    measures, house = MeasureStore(store), "750000009"
    roomy = LimitSet("ward", (Limit(Control.REQUESTS, 50), Limit(CAP, 500)))
    breaker = Pools({Pool.ESTABLISHMENT: (Limit(Control.ESTABLISHMENT_PATIENTS_24H, 4),)})
    people = range(900, 908)
    for number in people:
        await person(store, number, house)

    async def left() -> int:
        for at, number in enumerate(people):
            spend = (await open_(store, number, number, limits=roomy, pools=breaker)).spend
            if isinstance(spend, Exhausted):
                return at
        return len(people)

    await measures.strict("attack")
    assert await left() == 2
    await measures.normal()
    assert await left() == 4
    await measures.plan_blanc(house, "fire", 60)
    assert await left() == 8
    await measures.end_plan_blanc(house)
