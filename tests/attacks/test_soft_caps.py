"""Soft bounds: past them a fresh code and a reason, and the honest go on where they were (K05 to K16)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from selectolax.lexbor import LexborHTMLParser

from gateway.limits.store import usage
from gateway.vocabulary.limits import Control
from tests.attacks.factor import (
    PEOPLE,
    STEP_UP,
    about,
    ask_store,
    give,
    is_specific,
    log_in_early,
    time_stands,
)
from tests.attacks.test_caps import names_in
from tests.people import Person
from tests.stand import MiniApp, Stand, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLASSES: dict[str, dict[str, Any]] = {
    "ward": {"patients_10min": {"soft": 3, "hard": 8}},
    "bare": {"patients_10min": 8},
    "burst": {"requests_10s": {"soft": 6, "hard": 60}},
    "rows": {"rows_1h": {"soft": 5, "hard": 60}},
    "probes": {"probes_1h": {"soft": 2, "hard": 5}},
    "trial": {"mode": "soft", "patients_10min": {"soft": 3, "hard": 4}},
    "watched": {"mode": "observe", "patients_10min": {"soft": 2, "hard": 8}},
}


def _classes(config: dict[str, Any]) -> None:
    for written in CLASSES.values():
        if "requests_10s" not in written:
            written["requests_10s"] = {"soft": 10_000, "hard": 10_000}
    config["realms"] = {"region": {"classes": CLASSES}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with stand(tmp_path_factory.mktemp("soft"), MiniApp(PEOPLE), _classes) as running:
        yield running


@pytest.fixture(autouse=True)
def _within_a_step(gate: Stand) -> Iterator[None]:
    with time_stands(gate):
        yield


async def used(gate: Stand, person: Person, control: Control, account_class: str) -> float:
    """Return how much of *control* the person has used, in its own unit."""
    limits = gate.loaded.policy.realms["region"].classes[account_class]
    found = await usage(gate.services.store, gate.ref(person.login).id, limits)
    return next(one.used_milli / 1000 for one in found if one.control is control)


async def test_k01_past_the_soft_bound_a_code_is_wanted_and_then_the_hard_one_holds(
    gate: Stand, person: Person
) -> None:
    """K01 A thief's session alone opens three patients; whoever holds the factor opens eight, and no ninth."""
    browser = await log_in_early(gate, person, "ward")
    for number in range(1001, 1004):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    asked = await browser.get("/dossiers/1004")
    assert (asked.status, names_in(asked)) == (303, [])
    where = asked.header("location") or ""
    assert where.startswith(f"{STEP_UP}?to=")
    assert await used(gate, person, Control.PATIENTS_10MIN, "ward") == 3
    [told] = await about(gate, "step-up-asked", person)
    assert (told["reason"], told["control"], told["status"]) == ("step-up-owed", "patients-10min", 401)
    assert told["detail"] == {"why": "soft-bound", "withheld": "true"}
    assert is_specific(told, person)
    assert "patients" not in told
    given = await give(gate, browser, where, gate.code(person), "regulation")
    assert given.header("location") == "/dossiers/1004"
    for number in range(1004, 1009):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    stopped = await browser.get("/dossiers/1009")
    assert (stopped.status, names_in(stopped)) == (429, [])
    assert await about(gate, "withheld", person, reason="cap", control="patients-10min") != []


async def test_k05_below_and_above_the_soft_bound_the_same_patient_is_free(
    gate: Stand, person: Person
) -> None:
    """K05 A false question: whoever stands at the soft bound goes on looking at the patients of the day."""
    browser = await log_in_early(gate, person, "ward")
    for number in range(1001, 1004):
        await browser.get(f"/dossiers/{number}")
    for spelling in ["1001", "1002", "01003"] * 5:
        assert (await browser.get(f"/dossiers/{spelling}")).status == 200
    assert await about(gate, "step-up-asked", person) == []


async def test_k06_many_at_once_at_the_soft_bound(gate: Stand, person: Person) -> None:
    """K06 Check, then count, at the soft bound: of forty at once one leaves, the others are asked, none is counted."""
    browser = await log_in_early(gate, person, "ward")
    for number in (1001, 1002):
        assert (await browser.get(f"/dossiers/{number}")).status == 200

    async def take(number: int) -> int:
        other = gate.browser()
        other.cookies = dict(browser.cookies)
        return (await other.get(f"/dossiers/{number}")).status

    statuses = await asyncio.gather(*(take(number) for number in range(2000, 2040)))
    assert sorted(statuses) == [200] + [303] * 39
    assert await used(gate, person, Control.PATIENTS_10MIN, "ward") == 3


async def test_k08_a_burst_of_requests_is_asked_about_where_patients_are_named(
    gate: Stand, person: Person
) -> None:
    """K08 Past the soft bound of requests pages still open, records ask; each request was counted."""
    browser = await log_in_early(gate, person, "burst")
    for _ in range(8):
        assert (await browser.get("/")).status == 200
    before = len(gate.app.seen)
    asked = await browser.get("/dossiers/1001")
    assert asked.status == 303
    assert len(gate.app.seen) == before
    [told] = await about(gate, "step-up-asked", person)
    assert (told["control"], told["detail"]) == ("requests-10s", {"why": "soft-bound"})
    given = await give(gate, browser, asked.header("location") or "", gate.code(person))
    assert given.header("location") == "/dossiers/1001"
    assert (await browser.get("/dossiers/1001")).status == 200


async def test_k13_the_soft_bound_tells_no_figure(gate: Stand, person: Person) -> None:
    """K13 Neither the page nor the problem says how many patients, how many are left, or which bound it was."""
    browser = await log_in_early(gate, person, "rows")
    asked = await browser.get("/api/dossiers?start=1001&size=6")
    assert asked.status == 303
    page = await browser.get(asked.header("location") or "")
    main = LexborHTMLParser(page.text).css_first("main")
    assert main is not None
    shown = main.text()
    for word in ("rows", "lignes", "1h", "1001", "plafond", "reste"):
        assert word not in shown
    browser.accept = "application/json"
    got = await browser.get("/api/dossiers?start=1001&size=6")
    said = got.json()
    assert (got.status, said["type"]) == (401, "urn:ecluse:problem:step-up-owed")
    assert set(said) == {"type", "title", "status", "detail", "reference", "prompt"}
    assert names_in(got) == []


async def test_k13_near_is_told_of_the_hard_bound_alone(gate: Stand, person: Person) -> None:
    """K13 80 % of the hard bound is told once, as without a soft one."""
    browser = await log_in_early(gate, person, "ward")
    for number in range(1001, 1005):
        asked = await browser.get(f"/dossiers/{number}")
    await give(gate, browser, asked.header("location") or "", gate.code(person))
    for number in range(1004, 1009):
        await browser.get(f"/dossiers/{number}")
    assert len(await about(gate, "near-limit", person, control="patients-10min")) == 1


async def test_k14_a_bare_number_is_the_hard_bound_and_asks_at_half_of_it(
    gate: Stand, person: Person
) -> None:
    """K14 With ``patients_10min: 8`` a fifth patient is asked about."""
    browser = await log_in_early(gate, person, "bare")
    statuses = [(await browser.get(f"/dossiers/{number}")).status for number in range(1001, 1006)]
    assert statuses == [200] * 4 + [303]


async def test_k14_soft_mode_asks_and_refuses_nobody(gate: Stand, person: Person) -> None:
    """K14 In mode soft the hard bound is only told, once the code was given."""
    browser = await log_in_early(gate, person, "trial")
    for number in range(1001, 1005):
        asked = await browser.get(f"/dossiers/{number}")
    assert asked.status == 303
    await give(gate, browser, asked.header("location") or "", gate.code(person))
    for number in range(1004, 1009):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    told = await about(gate, "would", person, control="patients-10min")
    assert len(told) == 4
    assert all("reason" not in entry for entry in told)


async def test_k14_observed_soft_bounds_ask_nobody_and_are_told_once(gate: Stand, person: Person) -> None:
    """K14 In mode observe nothing is asked; that it would have been is told when the bound is passed."""
    browser = await log_in_early(gate, person, "watched")
    for number in range(1001, 1007):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    [told] = await about(gate, "would", person, control="patients-10min")
    assert told["reason"] == "step-up-owed"


async def test_k16_walking_through_numbers_that_do_not_exist_is_asked_about(
    gate: Stand, person: Person
) -> None:
    """K16 Two misses pass, the third is withheld with a question: no oracle of which numbers exist."""
    browser = await log_in_early(gate, person, "probes")
    statuses = [(await browser.get(f"/dossiers/{number}")).status for number in (1, 2, 3)]
    assert statuses == [404, 404, 303]
    assert await used(gate, person, Control.PROBES_1H, "probes") == 2
    assert (await browser.get("/dossiers/1001")).status == 200


async def test_what_was_posted_is_said_to_have_reached_the_app(gate: Stand, person: Person) -> None:
    browser = await log_in_early(gate, person, "ward")
    for number in range(1001, 1004):
        await browser.get(f"/dossiers/{number}")
    got = await browser.post("/dossiers/1004", {"etat": "clos"})
    assert (got.status, names_in(got)) == (401, [])
    assert gate.app.seen[-1].method == "POST"
    assert "a reçu votre demande" in got.text
    assert "n’a pas été exécutée" not in got.text


async def test_a_fresh_code_opens_one_session_alone(gate: Stand, person: Person) -> None:
    browser = await log_in_early(gate, person, "ward")
    thief = gate.browser()
    thief.cookies = dict(browser.cookies)
    for number in range(1001, 1005):
        asked = await browser.get(f"/dossiers/{number}")
    await give(gate, browser, asked.header("location") or "", gate.code(person))
    assert (await browser.get("/dossiers/1004")).status == 200
    # The copied cookie is of an id that is dead.
    assert names_in(await thief.get("/dossiers/1004")) == []


async def test_g13_a_new_factor_has_half_of_every_cap(gate: Stand, people: Iterator[Person]) -> None:
    """G13 A thief who enrols a factor of his own gets half: two patients before he is asked, four in all."""
    thief, colleague = next(people), next(people)
    realm = gate.loaded.policy.realms["region"]
    quarantined = replace(realm, quarantine_s=86_400)
    gate.services.policy = replace(gate.loaded.policy, realms={"region": quarantined})
    try:
        browser = await log_in_early(gate, thief, "bare")
        statuses = [(await browser.get(f"/dossiers/{number}")).status for number in (1001, 1002, 1003)]
        assert statuses == [200, 200, 303]
        asked = await browser.get("/dossiers/1003")
        await give(gate, browser, asked.header("location") or "", gate.code(thief))
        statuses = [(await browser.get(f"/dossiers/{number}")).status for number in (1003, 1004, 1005)]
        assert statuses == [200, 200, 429]
        # A factor of the day before yesterday has all of it.
        other = await log_in_early(gate, colleague, "bare")
        long_ago_ms = gate.services.clock.now_ms() - 2 * 86_400_000
        key = f"ecluse:{{{gate.ref(colleague.login).id}}}:account"
        await ask_store(gate, "HSET", key, "enrolled_ms", str(long_ago_ms))
        statuses = [(await other.get(f"/dossiers/{number}")).status for number in range(1001, 1006)]
        assert statuses == [200] * 4 + [303]
    finally:
        gate.services.policy = gate.loaded.policy
