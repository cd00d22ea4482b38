"""The strict posture, a plan blanc, and caps that differ by app and hour: what a thief cannot make of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from gateway.alerts import Outbox
from gateway.cli.reloading import show_measures
from gateway.clock import FixedClock, spawn
from gateway.limits.in_force import MeasureStore
from gateway.telemetry import REGISTRY
from tests.attacks.factor import (
    PEOPLE,
    about,
    ask_store,
    give,
    is_specific,
    log_in_early,
    operate,
    silent,
    time_stands,
)
from tests.attacks.test_caps import names_in
from tests.people import Person
from tests.stand import PATIENCE_S, Browser, MiniApp, Stand, mini_config, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANNEX = "annexe.example"
LILLE, LENS = "590000001", "620000002"
LAVISH = {"requests_10s": 10_000, "soft_share": 1}


def _classes(config: dict[str, Any]) -> None:
    config["plan_blanc"] = {"times": 3, "ceiling": {"patients_10min": 7}}
    config["apps"]["annexe"] = {
        **mini_config(), "title": "Annexe", "hosts": [ANNEX], "upstream": config["apps"]["parcours"]["upstream"],
    }  # fmt: skip
    config["realms"] = {
        "region": {
            "classes": {
                "ward": {**LAVISH, "patients_10min": 4},
                "desk": {**LAVISH, "patients_10min": 2},
                "asked": {**LAVISH, "patients_10min": {"soft": 2, "hard": 4}},
                "two-apps": {**LAVISH, "patients_10min": 5},
                "office": {**LAVISH, "patients_10min": 5},
                "guard": {**LAVISH, "patients_10min": 2},
            },
            "caps": [
                {"name": "parcours", "class": "two-apps", "app": "parcours", "patients_10min": 3},
                {"name": "closed", "class": "office", "hours": "21:00-07:00", "patients_10min": 3},
                {"name": "on-call", "class": "guard", "hours": "21:00-07:00", "patients_10min": 4},
            ],
        }
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with stand(tmp_path_factory.mktemp("measures"), MiniApp(PEOPLE), _classes) as running:
        yield running


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _nothing_in_force(gate: Stand) -> AsyncIterator[None]:
    with time_stands(gate):
        yield
    await ask_store(gate, "DEL", "ecluse:measures")


async def works_for(gate: Stand, person: Person, establishment: str) -> None:
    key = f"ecluse:{{{gate.ref(person.login).id}}}:account"
    await ask_store(gate, "HSET", key, "establishment", establishment)


async def opened(browser: Browser, first: int, most: int = 12) -> int:
    """Open records from *first* on until one is withheld, and return how many left."""
    for count in range(most):
        got = await browser.get(f"/dossiers/{first + count}")
        if got.status != 200:
            assert (got.status, names_in(got)) == (429, [])
            return count
    return most


async def test_k01_strict_takes_hold_of_an_open_session_at_once(
    gate: Stand, person: Person, capfd: pytest.CaptureFixture[str]
) -> None:
    """K01 Passwords are being sold: one command, and the next record of a running session wants a code."""
    browser = await log_in_early(gate, person, "ward")
    assert (await browser.get("/dossiers/1001")).status == 200
    assert await operate(gate, "posture", "strict", "--reason", "passwords on sale") == 0
    with silent(gate):
        asked = await browser.get("/dossiers/1002")
    assert (asked.status, names_in(asked)) == (303, [])
    [told] = await about(gate, "step-up-asked", person)
    assert (told["reason"], told["detail"]) == ("step-up-owed", {"why": "posture"})
    assert is_specific(told, person)
    # Whoever has no code goes no further; who has it has half of the cap, and what was spent is spent.
    assert (await browser.get("/dossiers/1001")).status == 303
    given = await give(gate, browser, asked.header("location") or "", gate.code(person))
    assert given.header("location") == "/dossiers/1002"
    assert await opened(browser, 1002) == 1
    capfd.readouterr()
    assert await operate(gate, "limits", "show", person.login) == 0
    shown = capfd.readouterr().out
    assert "strict posture since" in shown
    assert [line.split()[3:] for line in shown.splitlines() if line.startswith("patients-10min")] == [
        ["2", "enforce", "class", "ward,", "strict"]
    ]
    assert await operate(gate, "posture", "show", "--json") == 0
    said = json.loads(capfd.readouterr().out)
    assert (said["posture"], said["reason"]) == ("strict", "passwords on sale")
    assert await operate(gate, "posture", "normal", "--reason", "changed") == 0
    assert await opened(browser, 1003) == 2


async def test_strict_is_recorded_and_told_and_so_is_its_end(gate: Stand) -> None:
    for word in ("strict", "strict", "normal", "normal"):
        assert await operate(gate, "posture", word, "--reason", f"{word} for the test") == 0
    entries = await about(gate, "posture-changed", writer="operator", reason="strict for the test")
    assert [entry["detail"] for entry in entries] == [{"posture": "strict"}] * 2
    [ended] = await about(gate, "posture-changed", writer="operator", reason="normal for the test")
    assert (ended["detail"], bool(ended["operator"])) == ({"posture": "normal"}, True)
    kept = Outbox(gate.loaded.settings.alerts_dir, lambda size: "0" * 2 * size).entries()
    assert {one.alert.done for one in kept if one.alert.rule == "posture"} == {"strict", "normal"}


async def test_what_is_in_force_stands_in_the_metrics_of_a_gateway_without_traffic(gate: Stand) -> None:
    await MeasureStore(gate.services.store).strict("test")
    await MeasureStore(gate.services.store).plan_blanc(LILLE, "test", 60)
    showing = spawn(show_measures(gate.services), "measures shown")
    try:
        async with asyncio.timeout(PATIENCE_S):
            while REGISTRY.get_sample_value("ecluse_plans_blancs") != 1:
                await asyncio.sleep(0.01)
        assert REGISTRY.get_sample_value("ecluse_posture_strict") == 1
    finally:
        showing.cancel()


async def test_strict_ends_what_is_idle_for_long(gate: Stand, person: Person) -> None:
    """A session that a thief kept for later is over, and stays over when the posture is normal again."""
    browser = await log_in_early(gate, person, "ward")
    base = f"ecluse:{{{gate.ref(person.login).id}}}"
    [member] = await ask_store(gate, "ZRANGE", f"{base}:sessions", "0", "-1")
    key = f"{base}:session:{member.decode().rpartition('/')[2]}"
    seconds, _ = await ask_store(gate, "TIME")
    await ask_store(gate, "HSET", key, "seen_ms", str((int(seconds) - 700) * 1000))
    assert await operate(gate, "posture", "strict", "--reason", "test") == 0
    assert (await browser.get("/dossiers/1001")).header("location") == "/login"
    assert await operate(gate, "posture", "normal", "--reason", "test") == 0
    assert (await browser.get("/dossiers/1001")).header("location") == "/login"


async def test_k15_a_plan_blanc_lifts_one_establishment_and_no_other(
    gate: Stand, people: Iterator[Person], capfd: pytest.CaptureFixture[str]
) -> None:
    """K15 A hospital in a mass-casualty event has more room, to the ceiling; a thief elsewhere has none of it."""
    nurse, thief, asked = next(people), next(people), next(people)
    browsers = [await log_in_early(gate, each, "ward") for each in (nurse, thief)]
    browsers.append(await log_in_early(gate, asked, "asked"))
    for each, establishment in ((nurse, LILLE), (thief, LENS), (asked, LILLE)):
        await works_for(gate, each, establishment)
    assert await opened(browsers[0], 1001) == 4
    assert await operate(gate, "plan-blanc", LILLE, "--reason", "train accident") == 0
    # Three times four is above the ceiling.
    assert await opened(browsers[0], 1005) == 3
    assert await opened(browsers[1], 1001) == 4
    # A stolen session without the factor is still asked, at the same share of the bound.
    for number in range(1001, 1004):
        assert (await browsers[2].get(f"/dossiers/{number}")).status == 200
    assert (await browsers[2].get("/dossiers/1004")).status == 303
    capfd.readouterr()
    assert await operate(gate, "limits", "show", nurse.login) == 0
    shown = capfd.readouterr().out
    assert f"plan blanc of {LILLE} until" in shown
    assert [line.split()[3:] for line in shown.splitlines() if line.startswith("patients-10min")] == [
        ["7", "enforce", "class", "ward,", "plan", "blanc"]
    ]
    assert await operate(gate, "plan-blanc", "--json") == 0
    [listed] = json.loads(capfd.readouterr().out)
    assert (listed["establishment"], listed["reason"]) == (LILLE, "train accident")
    [entry] = await about(gate, "plan-blanc", writer="operator", reason="train accident")
    assert (entry["establishment"], entry["detail"]) == (LILLE, {"act": "begin", "hours": "24"})
    kept = Outbox(gate.loaded.settings.alerts_dir, lambda size: "0" * 2 * size).entries()
    assert [one.alert.done for one in kept if one.alert.establishment == LILLE] == ["begin"]
    assert await operate(gate, "plan-blanc", LILLE, "--end", "--reason", "over") == 0
    assert await opened(browsers[0], 1009) == 0
    assert await operate(gate, "plan-blanc", LILLE, "--end", "--reason", "over") == 1


async def test_k15_a_plan_blanc_ends_by_itself_and_wants_an_establishment_that_is_there(
    gate: Stand, person: Person, capfd: pytest.CaptureFixture[str]
) -> None:
    """K15 Nobody has to remember the end, and a mistyped number lifts nobody unseen."""
    browser = await log_in_early(gate, person, "desk")
    await works_for(gate, person, LILLE)
    assert await operate(gate, "plan-blanc", "599999999", "--reason", "mistyped") == 1
    assert "no account is labelled with the establishment 599999999" in capfd.readouterr().err
    for words in (("--end",), (LILLE,), (LILLE, "--hours", "73", "--reason", "x")):
        assert await operate(gate, "plan-blanc", *words) == 2
    assert await about(gate, "plan-blanc", writer="operator", reason="mistyped") == []
    assert await operate(gate, "plan-blanc", LILLE, "--hours", "1", "--reason", "short") == 0
    assert await opened(browser, 1001, most=4) == 4
    seconds, _ = await ask_store(gate, "TIME")
    await ask_store(gate, "HSET", "ecluse:measures", f"until:{LILLE}", str(int(seconds) * 1000))
    # What is written past the functions holds within a tenth of a second.
    await asyncio.sleep(0.15)
    assert await opened(browser, 1005) == 0


async def test_k15_under_the_strict_posture_a_plan_blanc_gives_back_the_usual_and_no_more(
    gate: Stand, person: Person
) -> None:
    """K15 An attack during a mass-casualty event: its hospital works as on any day, a thief there has no more."""
    browser = await log_in_early(gate, person, "ward")
    await works_for(gate, person, LILLE)
    assert await operate(gate, "plan-blanc", LILLE, "--reason", "accident") == 0
    assert await operate(gate, "posture", "strict", "--reason", "attack") == 0
    asked = await browser.get("/dossiers/1001")
    assert asked.status == 303
    given = await give(gate, browser, asked.header("location") or "", gate.code(person))
    assert given.header("location") == "/dossiers/1001"
    assert await opened(browser, 1001) == 4


async def test_k10_changing_the_app_gains_nothing(
    gate: Stand, person: Person, capfd: pytest.CaptureFixture[str]
) -> None:
    """K10 Apps may have bounds of their own; what was seen is one count, so the second app begins where one stands."""
    browser = await log_in_early(gate, person, "two-apps")
    assert await opened(browser, 1001) == 3
    with time_stands(gate) as clock:
        clock.advance(30_000)
        other = await gate.log_in(person, gate.browser(host=ANNEX), code=gate.code(person))
    assert await opened(other, 1004) == 2
    assert await opened(browser, 1006) == 0
    capfd.readouterr()
    assert await operate(gate, "limits", "show", person.login, "--app", "parcours") == 0
    out = capfd.readouterr().out
    assert [line.split() for line in out.splitlines() if line.startswith("patients-10min")] == [
        ["patients-10min", "5.0", "-", "3", "enforce", "rule", "parcours"]
    ]
    assert await operate(gate, "limits", "show", person.login) == 0
    out = capfd.readouterr().out
    assert "other bounds hold at parcours: --app parcours" in out
    assert ["5", "enforce", "class", "two-apps"] in [line.split()[3:] for line in out.splitlines()]
    assert await operate(gate, "limits", "show", person.login, "--app", "nulle-part") == 2


def _evening(gate: Stand) -> FixedClock:
    """Set the gateway's clock to five to nine in the evening of today, in Paris."""
    today = datetime.fromtimestamp(gate.services.clock.now_ms() / 1000, ZoneInfo("Europe/Paris"))
    evening = today.replace(hour=20, minute=55, second=15, microsecond=0)
    if evening > today + timedelta(hours=6):
        evening -= timedelta(days=1)
    clock = FixedClock(round(evening.timestamp() * 1000))
    gate.services.clock = clock
    return clock


@pytest.mark.parametrize(
    ("account_class", "by_day", "then", "by_night"), [("office", 5, 0, 3), ("guard", 2, 2, 4)]
)
async def test_k09_waiting_for_the_night_gains_nothing(
    gate: Stand, people: Iterator[Person], account_class: str, by_day: int, then: int, by_night: int
) -> None:
    """K09 When the hours change so do the bounds, and never the count: a thief has the greater of both, once."""
    first, second = next(people), next(people)
    clock = _evening(gate)
    browser = await log_in_early(gate, first, account_class)
    assert await opened(browser, 1001) == by_day
    clock.advance(600_000)
    assert await opened(browser, 1001 + by_day) == then
    other = await log_in_early(gate, second, account_class)
    assert await opened(other, 1001) == by_night
    # And back: by day the night is not forgotten.
    clock.advance(-600_000)
    assert await opened(other, 1001 + by_night) == max(0, by_day - by_night)
