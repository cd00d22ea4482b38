"""A fresh code within an open session: who is asked, what pays, and where it leads on (F09 and more)."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.accounts.store import Changed
from tests.attacks.factor import (
    PEOPLE,
    STEP_UP,
    about,
    give,
    is_specific,
    log_in_early,
    silent,
    time_stands,
)
from tests.people import Person
from tests.stand import Browser, MiniApp, Stand, form_token, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _doors(config: dict[str, Any]) -> None:
    for route in config["apps"]["parcours"]["routes"]:
        if route["name"] == "directory":
            route["step_up"] = "always"
    config["realms"] = {"region": {"failures": {"free": 3, "first_delay_s": 60}}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with stand(tmp_path_factory.mktemp("step-up"), MiniApp(PEOPLE), _doors) as running:
        yield running


@pytest.fixture(autouse=True)
def _within_a_step(gate: Stand) -> Iterator[None]:
    with time_stands(gate):
        yield


async def owing(gate: Stand, person: Person) -> Browser:
    """Log *person* in, and let the account owe a fresh code."""
    browser = await log_in_early(gate, person)
    changed = await gate.services.accounts.owe(gate.ref(person.login).id, "new-device", 3_600)
    assert isinstance(changed, Changed)
    return browser


async def test_a_fresh_code_and_it_goes_on_where_it_was(gate: Stand, person: Person) -> None:
    browser = await owing(gate, person)
    before = browser.cookies["__Host-ecluse"]
    with silent(gate):
        asked = await browser.get("/dossiers/1001?onglet=2")
        where = asked.header("location") or ""
        assert asked.status == 303
        assert where.startswith(f"{STEP_UP}?to=v1.")
        assert "1001" not in where
        given = await give(gate, browser, where, gate.code(person))
    assert (given.status, given.header("location")) == (303, "/dossiers/1001?onglet=2")
    assert browser.cookies["__Host-ecluse"] != before
    assert (await browser.get("/dossiers/1001")).status == 200
    [told] = await about(gate, "step-up-asked", person)
    assert told["reason"] == "step-up-owed"
    assert told["detail"] == {"why": "new-device"}
    assert is_specific(told, person)
    [told] = await about(gate, "step-up-given", person)
    assert told["detail"]["need"] == "care"
    assert told["detail"]["by"] == "code"
    # The id from before is dead: whoever copied the cookie has nothing.
    browser.cookies["__Host-ecluse"] = before
    assert (await browser.get("/dossiers/1001")).status == 303


async def test_one_session_pays_for_itself_alone(gate: Stand, person: Person) -> None:
    thief = await log_in_early(gate, person)
    second = await gate.log_in(person)
    await gate.services.accounts.owe(gate.ref(person.login).id, "new-network", 3_600)
    for browser in (thief, second):
        assert (await browser.get("/dossiers/1001")).status == 303
    # Only whoever holds the factor pays; the other goes on owing.
    await gate.services.sessions.step_up(gate.ref(person.login).id, await session_of(gate, second), "f" * 32)
    assert (await thief.get("/dossiers/1001")).status == 303
    assert (await thief.get("/")).status == 200


async def session_of(gate: Stand, browser: Browser) -> str:
    """Return the id of the session that *browser* shows."""
    now_s = gate.services.clock.now_ms() // 1000
    return gate.services.tokens.read(browser.cookies["__Host-ecluse"], "parcours", now_s).session_id


async def test_a_program_is_told_where_a_person_goes_on(gate: Stand, person: Person) -> None:
    browser = await owing(gate, person)
    with silent(gate):
        browser.accept = "application/json"
        got = await browser.get("/api/dossiers")
    assert got.status == 401
    assert got.header("content-type") == "application/problem+json"
    said = got.json()
    assert said["type"] == "urn:ecluse:problem:step-up-owed"
    assert said["prompt"].startswith(f"{STEP_UP}?to=")


async def test_what_was_posted_is_said_not_to_have_been_carried_out(gate: Stand, person: Person) -> None:
    browser = await owing(gate, person)
    with silent(gate):
        got = await browser.post("/dossiers/1001", {"etat": "clos"})
    assert got.status == 401
    assert "n’a pas été exécutée" in got.text
    assert f'href="{STEP_UP}"' in got.text


@pytest.mark.parametrize(
    "to",
    [
        "//evil.example",
        "https://evil.example/",
        "/dossiers/1001",
        "v1.k.AAAA.BBBB",
        "",
        "<script>",
    ],
)
async def test_nobody_else_chooses_where_it_leads(gate: Stand, people: Iterator[Person], to: str) -> None:
    person = next(people)
    browser = await owing(gate, person)
    page = await browser.get(STEP_UP)
    form = {"code": gate.code(person), "need": "care", "to": to, "token": form_token(page)}
    got = await browser.post(STEP_UP, form)
    assert (got.status, got.header("location")) == (303, "/")


async def test_a_way_back_is_for_its_own_account(gate: Stand, people: Iterator[Person]) -> None:
    first, second = next(people), next(people)
    where = (await (await owing(gate, first)).get("/dossiers/1001")).header("location") or ""
    other = await owing(gate, second)
    got = await give(gate, other, where, gate.code(second))
    assert (got.status, got.header("location")) == (303, "/")


async def test_wrong_codes_spend_the_budget_of_the_login(gate: Stand, person: Person) -> None:
    browser = await owing(gate, person)
    statuses = [(await give(gate, browser, STEP_UP, "000000")).status for _ in range(4)]
    assert statuses == [403, 403, 403, 429]
    assert (await browser.get("/dossiers/1001")).status == 303
    account = await gate.services.accounts.get(gate.ref(person.login).id)
    assert account is not None
    assert account.failures == 3
    assert len(await about(gate, "code-refused", person)) == 4
    assert await about(gate, "step-up-given", person) == []


async def test_the_code_of_the_login_does_not_serve_twice(gate: Stand, person: Person) -> None:
    browser = await owing(gate, person)
    assert (await give(gate, browser, STEP_UP, gate.code(person, -1))).status == 403
    assert (await browser.get("/dossiers/1001")).status == 303


@pytest.mark.parametrize(
    ("need", "words", "status"),
    [
        ("", "", 422),
        ("curiosity", "", 422),
        ("vital-emergency", "", 422),
        ("other", "  ", 422),
        ("other", "dossier 2690549588157", 422),
        ("care", "appeler 01 99 00 12 34", 422),
        ("care", "voir jean@exemple.example", 422),
        ("care", "lit 12, étage 3", 303),
        ("other", "relève de nuit", 303),
    ],
)
async def test_a_reason_is_one_of_a_few_and_names_nobody(
    gate: Stand, people: Iterator[Person], need: str, words: str, status: int
) -> None:
    person = next(people)
    browser = await owing(gate, person)
    got = await give(gate, browser, STEP_UP, gate.code(person), need, words)
    assert got.status == status
    # What was not taken has spent no try and no code.
    assert await about(gate, "code-refused", person) == []
    told = await about(gate, "step-up-given", person)
    assert [entry["detail"].get("words", "") for entry in told] == ([words] if status == 303 else [])


async def test_f09_a_door_that_always_wants_a_fresh_code(gate: Stand, person: Person) -> None:
    """F09 A stolen session changes the password: such a door wants a fresh code, and any other opens."""
    browser = await log_in_early(gate, person)
    assert (await browser.get("/dossiers/1001")).status == 200
    with silent(gate):
        asked = await browser.get("/annuaire")
        posted = await browser.post("/annuaire", {"mot-de-passe": "nouveau"})
    assert (asked.status, posted.status) == (303, 401)
    given = await give(gate, browser, asked.header("location") or "", gate.code(person))
    assert given.header("location") == "/annuaire"
    assert (await browser.get("/annuaire")).status == 200


async def test_the_page_is_for_open_sessions_only(gate: Stand, person: Person) -> None:
    stranger = gate.browser()
    assert (await stranger.get(STEP_UP)).status == 303
    pending = gate.browser()
    await gate.enrol(person)
    await gate.password_only(person, pending)
    assert (await pending.get(STEP_UP)).status == 303
    browser = await gate.log_in(person)
    del browser.cookies["sid"]
    assert (await browser.get(STEP_UP)).status == 303
