"""Past a hard bound in an emergency: few, for a while, under a name, and looked at afterwards (K15)."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from selectolax.lexbor import LexborHTMLParser

from tests.attacks.factor import PEOPLE, about, give, is_specific, log_in_early, operate, time_stands
from tests.attacks.test_caps import names_in
from tests.people import Person
from tests.stand import Browser, Got, MiniApp, Stand, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAVISH = {"requests_10s": 10_000, "soft_share": 1}


def _classes(config: dict[str, Any]) -> None:
    glass = {"break_glass": True, "break_glass_patients": 2, "break_glass_per_24h": 2}
    config["realms"] = {
        "region": {
            "classes": {
                "ward": {**LAVISH, "patients_10min": 2, **glass},
                "desk": {**LAVISH, "patients_10min": 2},
                "rows": {**LAVISH, "rows_1h": 3, **glass},
            }
        }
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with stand(tmp_path_factory.mktemp("glass"), MiniApp(PEOPLE), _classes) as running:
        yield running


@pytest.fixture(autouse=True)
def _within_a_step(gate: Stand) -> Iterator[None]:
    with time_stands(gate):
        yield


def way(got: Got) -> str | None:
    """Return where the page of a hard bound leads past it, None when it does not."""
    links = LexborHTMLParser(got.text).css("main a.button")
    return next(
        (str(a.attributes["href"]) for a in links if "break-glass" in str(a.attributes["href"])), None
    )


async def stopped(browser: Browser) -> Got:
    """Walk to the hard bound of two patients, and return the page that stops."""
    for number in (1001, 1002):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    got = await browser.get("/dossiers/1003")
    assert (got.status, names_in(got)) == (429, [])
    return got


async def test_k15_a_few_patients_more_under_a_name(gate: Stand, person: Person) -> None:
    """K15 A nurse at her cap in an emergency: reason and code, two patients more, and no third."""
    browser = await log_in_early(gate, person, "ward")
    where = way(await stopped(browser))
    assert where is not None
    given = await give(gate, browser, where, gate.code(person), "vital-emergency")
    assert (given.status, given.header("location")) == (303, "/dossiers/1003")
    statuses = [(await browser.get(f"/dossiers/{number}")).status for number in (1003, 1004, 1005)]
    assert statuses == [200, 200, 429]
    [told] = await about(gate, "break-glass", person)
    assert told["detail"]["need"] == "vital-emergency"
    assert (told["detail"]["patients"], told["detail"]["for_s"]) == ("2", "3600")
    assert len(told["reference"]) == 8
    assert is_specific(told, person)


async def test_k15_twice_a_day_and_no_more(gate: Stand, person: Person) -> None:
    """K15 The third emergency of a day is for the support to judge, before any code is looked at."""
    browser = await log_in_early(gate, person, "ward")
    where = way(await stopped(browser))
    assert where is not None
    with time_stands(gate) as clock:
        for turn in (0, 1):
            clock.advance(30_000 * turn)
            assert (await give(gate, browser, where, gate.code(person), "mass-casualty")).status == 303
        refused = await browser.get(where)
    assert refused.status == 429
    assert len(await about(gate, "break-glass", person)) == 2
    assert len(await about(gate, "refused", person, reason="break-glass-spent")) == 1
    # Both add up.
    statuses = [(await browser.get(f"/dossiers/{number}")).status for number in range(1003, 1008)]
    assert statuses == [200] * 4 + [429]


async def test_k15_a_class_without_it_has_no_way_past(gate: Stand, person: Person) -> None:
    """K15 Where the class does not allow it the page offers nothing, and its address gives nothing."""
    browser = await log_in_early(gate, person, "desk")
    assert way(await stopped(browser)) is None
    assert (await browser.get("/.ecluse/break-glass")).status == 429
    assert await about(gate, "break-glass", person) == []


async def test_k15_a_thief_without_the_factor_breaks_nothing(gate: Stand, person: Person) -> None:
    """K15 A stolen session guesses codes: refused, out of the one budget, and no patient more."""
    browser = await log_in_early(gate, person, "ward")
    where = way(await stopped(browser))
    assert where is not None
    for code in ("000000", gate.code(person, -1)):
        assert (await give(gate, browser, where, code, "vital-emergency")).status == 403
    assert (await give(gate, browser, where, gate.code(person), "care")).status == 422
    assert (await browser.get("/dossiers/1003")).status == 429
    assert await about(gate, "break-glass", person) == []


async def test_k15_only_bounds_on_patients_are_passed(gate: Stand, person: Person) -> None:
    """K15 At the bound on rows the page offers no emergency access."""
    browser = await log_in_early(gate, person, "rows")
    got = await browser.get("/api/dossiers?start=1001&size=4")
    assert got.status == 429
    assert way(got) is None


async def test_k15_it_is_reviewed_and_closed_once(
    gate: Stand, person: Person, capfd: pytest.CaptureFixture[str]
) -> None:
    """K15 Every emergency access stands in the queue until somebody judged it."""
    browser = await log_in_early(gate, person, "ward")
    where = way(await stopped(browser)) or ""
    await give(gate, browser, where, gate.code(person), "other", "relève")
    [told] = await about(gate, "break-glass", person)
    reference = told["reference"]
    assert await operate(gate, "limits", "reviews", "--reason", "revue") == 0
    [line] = [line for line in capfd.readouterr().out.splitlines() if reference in line]
    assert person.login in line
    assert "open" in line.split()
    closing = ("limits", "reviews", "--reason", "service appelé", "--close", reference)
    assert await operate(gate, *closing) == 2
    assert await operate(gate, *closing, "--verdict", "justified") == 0
    [review] = await about(gate, "break-glass-reviewed", person, writer="operator")
    assert (review["reference"], review["detail"]["verdict"]) == (reference, "justified")
    assert await operate(gate, *closing, "--verdict", "unjustified") == 1
    assert len(await about(gate, "break-glass-reviewed", person, writer="operator")) == 1
    capfd.readouterr()
    await operate(gate, "limits", "reviews", "--reason", "revue")
    assert reference not in capfd.readouterr().out
    assert (
        await operate(gate, "limits", "reviews", "--reason", "x", "--close", "0", "--verdict", "unclear") == 1
    )


async def test_limits_show_tells_what_holds_and_what_is_used(
    gate: Stand, person: Person, capfd: pytest.CaptureFixture[str]
) -> None:
    browser = await log_in_early(gate, person, "ward")
    where = way(await stopped(browser)) or ""
    assert await operate(gate, "limits", "show", person.login) == 0
    out = capfd.readouterr().out
    assert "class ward, from the account" in out
    assert [line.split() for line in out.splitlines() if line.startswith("patients-10min")] == [
        ["patients-10min", "2.0", "-", "2", "enforce", "class", "ward"]
    ]
    assert "still allowed 2 times" in out
    await give(gate, browser, where, gate.code(person), "regulation")
    assert await operate(gate, "limits", "show", person.login) == 0
    out = capfd.readouterr().out
    assert "break-glass open until" in out
    assert [line.split()[3] for line in out.splitlines() if line.startswith("patients-10min")] == ["4"]
    assert await operate(gate, "limits", "show", "personne") == 1
    assert await operate(gate, "account", "show", person.login) == 0
    assert "glass_times" in capfd.readouterr().out
