"""Ways around the authenticator by the codes kept for its loss (I01 to I03)."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.attacks.factor import (
    about,
    ask_store,
    crowded,
    is_specific,
    recovery_codes,
    silent,
    time_stands,
    type_code,
)
from tests.people import Person
from tests.stand import Stand, form_token

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("cheap_hashes")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with crowded(tmp_path_factory.mktemp("recovery")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def enrolled(gate: Stand, people: Iterator[Person]) -> tuple[Person, list[str]]:
    """Somebody with ten recovery codes."""
    person = next(people)
    _, codes = await recovery_codes(gate, person)
    assert len(codes) == 10
    return person, codes


async def test_i01_a_recovery_code_serves_once(gate: Stand, enrolled: tuple[Person, list[str]]) -> None:
    """I01 The honest use, in whatever case and spacing, then the same code again."""
    person, codes = enrolled
    browser = await gate.password_only(person)
    got = await type_code(browser, codes[0].lower().replace("-", " "), "recovery")
    assert got.status == 200
    assert "9" in got.text
    assert (await browser.get("/.ecluse/continue")).status in {302, 303}
    assert (await browser.get("/dossiers/1001")).status == 200
    [used] = await about(gate, "recovery-used", person)
    assert is_specific(used, person)
    thief = await gate.password_only(person)
    with silent(gate):
        again = await type_code(thief, codes[0], "recovery")
        assert again.status == 403
        assert (await thief.get("/dossiers/1001")).status == 303
    assert len(await about(gate, "recovery-used", person)) == 1
    assert len(await about(gate, "code-refused", person)) == 1


async def test_i01_a_race_for_one_code_has_one_winner(
    gate: Stand, enrolled: tuple[Person, list[str]]
) -> None:
    """I01 Four at once with the same code, out of two sessions."""
    person, codes = enrolled
    posts = []
    for browser in [await gate.password_only(person) for _ in range(2)]:
        page = await browser.get("/.ecluse/recovery")
        for _ in range(2):
            other = gate.browser()
            other.cookies = dict(browser.cookies)
            posts.append(other.post("/.ecluse/recovery", {"code": codes[1], "token": form_token(page)}))
    answers = await asyncio.gather(*posts)
    assert [got.status for got in answers].count(200) == 1
    assert len(await about(gate, "recovery-used", person)) == 1
    account = await gate.services.accounts.get(gate.ref(person.login).id)
    assert account is not None
    assert account.recovery_left == 9


async def test_i01_guesses_share_the_budget_of_codes(gate: Stand, enrolled: tuple[Person, list[str]]) -> None:
    """I01 keycloak #46168: a second budget for recovery codes doubles the tries."""
    person, codes = enrolled
    with time_stands(gate, after_s=60):
        thief = await gate.password_only(person)
        bad = f"{(int(gate.code(person)) + 500_000) % 1_000_000:06}"
        guess = codes[2][:-1] + ("A" if codes[2][-1] != "A" else "B")
        with silent(gate):
            statuses = [(await type_code(thief, bad)).status for _ in range(3)]
            statuses += [(await type_code(thief, guess, "recovery")).status for _ in range(3)]
            assert statuses == [403] * 5 + [429]
            # The right one waits too, and is not spent by waiting.
            assert (await type_code(thief, codes[2], "recovery")).status == 429
    account = await gate.services.accounts.get(gate.ref(person.login).id)
    assert account is not None
    assert account.recovery_left == 10
    why = [entry["detail"]["why"] for entry in await about(gate, "code-refused", person)]
    assert why == ["wrong"] * 5 + ["delayed"] * 2


async def test_i01_another_persons_code_is_worth_nothing(gate: Stand, people: Iterator[Person]) -> None:
    """I01 The thief enrolled an account of his own and brings its recovery codes."""
    victim, thief = next(people), next(people)
    await gate.enrol(victim)
    _, codes = await recovery_codes(gate, thief)
    browser = await gate.password_only(victim)
    with silent(gate):
        assert (await type_code(browser, codes[0], "recovery")).status == 403
        assert (await browser.get("/dossiers/1001")).status == 303


@pytest.mark.parametrize("typed", ["", "A", "0" * 20, "1234", "é" * 20, "A" * 8_000, "%00"])
async def test_i01_what_is_no_recovery_code_is_refused(
    gate: Stand, people: Iterator[Person], typed: str
) -> None:
    """I01 Anything may be typed; nothing of it is a fault of ours."""
    person = next(people)
    await gate.enrol(person)
    browser = await gate.password_only(person)
    with silent(gate):
        assert (await type_code(browser, typed, "recovery")).status == 403
    assert await gate.events("fail-closed") == []


async def test_i02_only_hashes_are_kept(gate: Stand, enrolled: tuple[Person, list[str]]) -> None:
    """I02 Who reads the store finds argon2id, and of a code its selector, which is no part of the secret."""
    person, codes = enrolled
    key = f"ecluse:{{{gate.ref(person.login).id}}}:account"
    kept = (await ask_store(gate, "HGET", key, "recovery")).decode()
    assert kept.count("$argon2id$") == 10
    assert len(set(re.findall(r"\$argon2id\$[^\"]+", kept))) == 10
    for code in codes:
        assert code not in kept
        assert code.replace("-", "")[4:] not in kept


async def test_i02_the_codes_are_shown_once(gate: Stand, people: Iterator[Person]) -> None:
    """I02 Neither the next page, nor the enrolment asked for again, shows them a second time."""
    person = next(people)
    browser, codes = await recovery_codes(gate, person)
    for path in (
        "/.ecluse/enrol",
        "/.ecluse/recovery",
        "/.ecluse/continue",
        "/.ecluse/",
        "/.ecluse/sessions",
    ):
        got = await browser.get(path)
        assert not any(code in got.text for code in codes), path


async def test_i03_no_session_makes_new_codes(gate: Stand, enrolled: tuple[Person, list[str]]) -> None:
    """I03 A new set takes a new enrolment, which takes an operator: no form of this version makes one."""
    person, codes = enrolled
    pending = await gate.password_only(person)
    full = await gate.password_only(person)
    assert (await type_code(full, codes[3], "recovery")).status == 200
    key = f"ecluse:{{{gate.ref(person.login).id}}}:account"
    before = await ask_store(gate, "HGET", key, "recovery")
    with silent(gate):
        for browser in (pending, full):
            for name in ("recovery", "enrol", "recovery-codes", "codes"):
                for method in ("POST", "PUT", "PATCH"):
                    got: Any = await browser.request(
                        method,
                        f"/.ecluse/{name}",
                        body=b"regenerate=1",
                        headers={"Content-Type": "application/x-www-form-urlencoded"},
                    )
                    assert got.status in {403, 404, 405}, (method, name)
    assert await ask_store(gate, "HGET", key, "recovery") == before
