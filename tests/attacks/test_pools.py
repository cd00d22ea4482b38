"""Ten accounts are one thief: what all who share a device may see together (L05, L06, K10)."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.sessions import device
from gateway.vocabulary.keys import KeyRing
from tests.attacks.factor import about, crowded, operate, time_stands
from tests.people import Person
from tests.stand import Browser, Stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEP_MS = 30_000
ON_A_DEVICE, IN_A_CLUSTER, HERE = 12, 15, 30
BREAKER = {"mode": "observe", "patients_1h": None, "patients_24h": HERE}


def _pools(config: dict[str, Any]) -> None:
    nothing = {"patients_10min": None, "patients_1h": None, "patients_7d": None}
    config["realms"]["region"] = {"classes": {"ward": {"soft_share": 1}}}
    config["pools"] = {
        "device": {**nothing, "patients_24h": ON_A_DEVICE},
        "cluster": {**nothing, "patients_24h": IN_A_CLUSTER},
        "site": BREAKER,
        "least_accounts": 0,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with crowded(tmp_path_factory.mktemp("pools"), _pools) as running:
        yield running


async def arrive(gate: Stand, person: Person, known: Browser | None = None) -> Browser:
    """Log *person* in with a fresh browser, or with the device of *known*."""
    browser = gate.browser()
    if known is not None:
        browser.cookies[device.COOKIE] = known.cookies[device.COOKIE]
    if person.login not in gate.secrets:
        await gate.enrol(person, "ward")
    return await gate.log_in(person, browser)


async def take(browser: Browser, first: int, count: int) -> list[int]:
    """Open *count* records from *first* on and return which of them came."""
    opened = []
    for number in range(first, first + count):
        got = await browser.get(f"/dossiers/{number}")
        assert got.status in {200, 429}, got.text[:300]
        assert (f"NOM{number}".encode() in got.raw) is (got.status == 200)
        opened += [number] if got.status == 200 else []
    return opened


async def test_l06_accounts_on_one_device_stop_together(gate: Stand, people: Iterator[Person]) -> None:
    """L06 Four stolen accounts on one device, each far below its own cap: the device's count stops them."""
    taken: list[int] = []
    known: Browser | None = None
    thieves = [next(people) for _ in range(4)]
    with time_stands(gate) as clock:
        for number, person in enumerate(thieves):
            known = await arrive(gate, person, known)
            taken += await take(known, 1001 + 10 * number, 5)
        clock.advance(STEP_MS)
        # The honest owner of the last account, at her own PC: the thief's device is full, and she is not there.
        owner = await arrive(gate, thieves[3])
        assert await take(owner, 1001, 1) == [1001]
    assert len(taken) == ON_A_DEVICE
    [withheld, *_] = await about(gate, "withheld", thieves[2])
    assert (withheld["control"], withheld["status"]) == ("device-patients-24h", 429)


async def test_l06_what_a_device_tied_stays_tied_elsewhere(gate: Stand, people: Iterator[Person]) -> None:
    """L06 Accounts that met on one device go on from one device each: they are one cluster."""
    first, second = next(people), next(people)
    with time_stands(gate) as clock:
        await arrive(gate, second, await arrive(gate, first))
        clock.advance(STEP_MS)
        taken = await take(await arrive(gate, first), 1101, 9)
        taken += await take(await arrive(gate, second), 1201, 9)
    assert len(taken) == IN_A_CLUSTER
    [withheld, *_] = await about(gate, "withheld", second)
    assert withheld["control"] == "cluster-patients-24h"


async def test_l06_who_drops_the_cookie_is_a_new_device_and_the_log_says_so(
    gate: Stand, people: Iterator[Person]
) -> None:
    """L06 A thief drops, forges or doubles the cookie: a new device each time, and the account's caps stay."""
    person = next(people)
    other = device.issue(KeyRing("session", "k", {"k": b"F" * 32}), "5a" * 16, 1_790_000_000)
    with time_stands(gate) as clock:
        shown = [None, other, "5a" * 16]
        for cookie in shown:
            browser = gate.browser()
            if cookie is not None:
                browser.cookies[device.COOKIE] = cookie
            if person.login not in gate.secrets:
                await gate.enrol(person, "ward")
            await gate.log_in(person, browser)
            assert browser.cookies[device.COOKIE] not in shown
            clock.advance(STEP_MS)
        again = await arrive(gate, person, browser)
        assert await take(again, 1301, 1) == [1301]
    opened = [entry["detail"] for entry in await about(gate, "session-opened", person)]
    assert [one["device_new"] for one in opened] == ["true", "true", "true", "false"]
    assert len({one["device"] for one in opened}) == 3
    assert opened[3]["device"] == opened[2]["device"]
    [access] = await about(gate, "access", person)
    assert access["detail"]["device"] == opened[3]["device"]


async def test_the_device_is_nobodys_key(gate: Stand, people: Iterator[Person]) -> None:
    """The cookie opens nothing, goes to no app, tells nothing of who has it, and is not in the log."""
    person = next(people)
    browser = await arrive(gate, person)
    cookie = browser.cookies[device.COOKIE]
    await browser.get("/dossiers/1401")
    assert all(cookie not in (seen.header("cookie") or "") for seen in gate.app.seen)
    stranger = gate.browser()
    stranger.cookies[device.COOKIE] = cookie
    assert (await stranger.get("/dossiers/1401")).status == 303
    named = device.read(gate.services.keys.session, cookie, gate.services.clock.now_ms() // 1000)
    journal = b"".join(
        file.read_bytes() for file in (gate.loaded.settings.audit_dir / "gateway").glob("*.jsonl")
    )
    assert named.encode() not in journal
    assert cookie.encode() not in journal


async def test_l05_a_whole_house_behind_one_address_is_left_in_peace(
    gate: Stand, people: Iterator[Person]
) -> None:
    """L05 Forty people, one address, one browser make, a device each: nobody is stopped, whatever all see together."""
    for number in range(40):
        browser = await arrive(gate, next(people))
        assert len(await take(browser, 1500 + number, 2)) == 2


async def test_the_breaker_of_the_site_tells_near_and_over_once_and_stops_nobody(
    gate: Stand, people: Iterator[Person]
) -> None:
    """The circuit breaker alarms when everybody together is over, and withholds nothing as it is set."""
    for number in range(4):
        browser = await arrive(gate, next(people))
        assert len(await take(browser, 2001 + 10 * number, 10)) == 10
    for kind in ("near-limit", "would"):
        assert len(await about(gate, kind, control="site-patients-24h")) == 1


async def test_limits_show_tells_what_all_together_used(
    gate: Stand, people: Iterator[Person], capfd: pytest.CaptureFixture[str]
) -> None:
    """An operator sees the devices of an account, who shares them, and what is used of each pool."""
    first, second = next(people), next(people)
    with time_stands(gate):
        known = await arrive(gate, first)
        assert len(await take(known, 2101, 4)) == 4
        assert len(await take(await arrive(gate, second, known), 2201, 3)) == 3
    capfd.readouterr()
    assert await operate(gate, "limits", "show", second.login, "--json") == 0
    told = json.loads(capfd.readouterr().out)
    [on_device] = told["shared"]["devices"]
    [opened] = [entry["detail"] for entry in await about(gate, "session-opened", second)]
    assert (on_device["device"], on_device["accounts"]) == (opened["device"], 2)
    assert told["shared"]["cluster"]["logins"] == sorted([first.login, second.login])
    for limits in (on_device["limits"], told["shared"]["cluster"]["limits"]):
        assert [(row["used"], row["soft"]) for row in limits] == [(7, None)]
    assert on_device["limits"][0]["hard"] == ON_A_DEVICE
    assert told["limits"][1]["used"] == 3
    assert told["shared"]["site"]["limits"][0]["used"] >= 7
    assert await operate(gate, "limits", "show", second.login) == 0
    assert f"device {opened['device']}, last login" in capfd.readouterr().out


async def test_the_strict_posture_halves_what_a_device_may_see(gate: Stand, people: Iterator[Person]) -> None:
    """One command lowers the pools with every other cap, and gives them back."""
    person = next(people)
    with time_stands(gate) as clock:
        browser = await arrive(gate, person)
        assert await operate(gate, "posture", "strict", "--reason", "ticket 4711") == 0
        try:
            clock.advance(STEP_MS)
            browser = await arrive(gate, person, browser)
            assert len(await take(browser, 2301, 9)) == ON_A_DEVICE // 2
        finally:
            assert await operate(gate, "posture", "normal", "--reason", "ticket 4711 is over") == 0
        assert len(await take(browser, 2301, 9)) == 9
