"""Correlation, anomalies and decoys (L01 to L08), against whoever is let in by password and code."""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.vocabulary.identity import Standing
from tests.attacks.factor import about, crowd, crowded
from tests.people import Person
from tests.stand import Browser, Stand, form_token

pytestmark = pytest.mark.asyncio(loop_scope="module")


ROOT = Path(__file__).parents[2]
ACT_WITHIN_S = 2.0


def _low(config: dict[str, Any]) -> None:
    """Caps out of the way: what is asked for here comes from signals alone."""
    config["realms"]["region"]["classes"] = {
        "free": {"patients_10min": 5_000, "patients_1h": 5_000, "patients_24h": 5_000, "requests_10s": 5_000}
    }


@asynccontextmanager
async def watching(gate: Stand) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``ecluse audit watch`` beside the gateway, from the moment it watches."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "audit", "watch", "--config", str(gate.folder / "ecluse.yaml")),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"watch_began" not in (told := await process.stderr.readline()):
            assert told, "the watcher ended"
    # Its first look is where it begins: what was written before is nobody's business.
    await asyncio.sleep(0.5)
    try:
        yield process
    finally:
        process.terminate()
        await process.communicate()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with crowded(tmp_path_factory.mktemp("signals"), _low) as running, watching(running):
        yield running


async def let_in(gate: Stand, person: Person) -> Browser:
    await gate.enrol(person, "free")
    # The code of the step before: that of this step is still good afterwards.
    return await gate.log_in(person, code=gate.code(person, -1))


async def until_challenged(gate: Stand, browser: Browser, path: str) -> float:
    """Ask for *path* until a code is asked for instead of it; return how long that took, in seconds."""
    began_s = time.monotonic()
    while (await browser.get(path)).status == 200:
        assert time.monotonic() - began_s < 10, "never asked"
        await asyncio.sleep(0.05)
    return time.monotonic() - began_s


@pytest.fixture(scope="module")
def people() -> Iterator[Person]:
    return crowd()


@pytest.mark.parametrize(
    ("numbers", "walk"),
    [
        (range(1001, 1011), "ascending"),
        (range(1010, 1000, -1), "descending"),
        (range(1001, 1071, 7), "strided"),
        ((1003, 1001, 1004, 1002, 1007, 1005, 1008, 1006, 1009, 1010), "block"),
    ],
)
async def test_l03_the_log_tells_a_walk_and_no_number(
    gate: Stand, people: Iterator[Person], numbers: range, walk: str
) -> None:
    """L03 A thief opens numbers in a row: the entries tell that and how many, and neither number nor distance."""
    person = next(people)
    browser = await gate.log_in(person)
    for number in numbers:
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    accesses = await about(gate, "access", person)
    assert [entry.get("detail") for entry in accesses[:7]] == [None] * 7
    assert [entry["detail"] for entry in accesses[7:]] == [
        {"walk": walk, "walked": str(count)} for count in (8, 9, 10)
    ]


async def test_l03_honest_work_adds_nothing_to_the_log(gate: Stand, people: Iterator[Person]) -> None:
    """L03 The same patients again, and patients without order: the entries tell no walk."""
    person = next(people)
    browser = await gate.log_in(person)
    for number in (1001, 1002, 1001, 1002, 1400, 2999, 1873, 1201, 1650, 2222, 1099, 1001):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    assert [entry.get("detail") for entry in await about(gate, "access", person)] == [None] * 12


async def test_l03_who_walks_is_asked_for_a_code_within_two_seconds(
    gate: Stand, people: Iterator[Person]
) -> None:
    """L03 Eight new patients along their numbers: two seconds later nothing more is shown before a fresh code."""
    person = next(people)
    browser = await let_in(gate, person)
    for number in range(1001, 1009):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    assert await until_challenged(gate, browser, "/dossiers/1008") < ACT_WITHIN_S
    challenged = await browser.get("/dossiers/1009")
    assert challenged.status == 303
    assert "/.ecluse/step-up" in (challenged.header("location") or "")
    assert (await browser.get("/")).status == 200
    signalled = await about(gate, "signalled", person, writer="operator")
    assert [(entry["rule"], entry["detail"]["patients"]) for entry in signalled] == [("enumeration", "8")]
    (demanded,) = await about(gate, "code-demanded", person, writer="operator")
    assert demanded["detail"] == {"act": "ask", "outcome": "done", "score": "60", "signals": "enumeration"}


async def test_l03_a_shuffled_block_is_no_hiding_place(gate: Stand, people: Iterator[Person]) -> None:
    """L03 Numbers of one block, in no order at all."""
    person = next(people)
    browser = await let_in(gate, person)
    block = random.Random(1).sample(range(2001, 2060), 24)
    for number in block:
        assert (await browser.get(f"/dossiers/{number}")).status in {200, 303}
    await until_challenged(gate, browser, f"/dossiers/{block[0]}")


async def test_l03_records_faster_than_they_are_read(gate: Stand, people: Iterator[Person]) -> None:
    """L03 Patients without order, one after the other, as fast as they come."""
    person = next(people)
    browser = await let_in(gate, person)
    chosen = random.Random(9).sample(range(1001, 3001), 21)
    for number in chosen:
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    await until_challenged(gate, browser, f"/dossiers/{chosen[0]}")
    signalled = await about(gate, "signalled", person, writer="operator")
    assert "pace" in {entry["rule"] for entry in signalled}


async def test_l03_a_code_lets_the_honest_go_on(gate: Stand, people: Iterator[Person]) -> None:
    """L03 Whoever gives the code and a reason goes on with the next number, and is not asked again at once."""
    person = next(people)
    browser = await let_in(gate, person)
    for number in range(1001, 1009):
        await browser.get(f"/dossiers/{number}")
    await until_challenged(gate, browser, "/dossiers/1008")
    asked = await browser.get("/dossiers/1009")
    page = await browser.get(asked.header("location") or "")
    given = await browser.post(
        "/.ecluse/step-up",
        {"token": form_token(page), "code": gate.code(person), "need": "care", "words": ""},
    )
    assert given.status == 303, given.text[:500]
    for number in range(1009, 1015):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
        await asyncio.sleep(0.2)
    assert len(await about(gate, "code-demanded", person, writer="operator")) == 1


async def test_l05_many_behind_one_address_are_left_in_peace(gate: Stand, people: Iterator[Person]) -> None:
    """L05 A shift begins: forty people behind one address open some patients each, all at once. Nobody is asked."""
    shift = [next(people) for _ in range(40)]
    for person in shift:
        await gate.enrol(person, "free")

    async def work(person: Person, seed: int) -> None:
        browser = await gate.log_in(person)
        for number in random.Random(seed).sample(range(1001, 3001), 6):
            assert (await browser.get(f"/dossiers/{number}")).status == 200

    for first in range(0, 40, 8):
        await asyncio.gather(*(work(person, first + n) for n, person in enumerate(shift[first : first + 8])))
    await asyncio.sleep(ACT_WITHIN_S)
    logins = {person.login for person in shift}
    for kind in ("signalled", "code-demanded", "account-locked"):
        assert [e for e in await gate.events(kind, "operator") if e["account"] in logins] == []


async def test_l08_no_signal_ever_raises_a_cap(gate: Stand, people: Iterator[Person]) -> None:
    """L08 The watcher changes nothing of an account but that it owes a code: class, standing and caps stay."""
    person = next(people)
    browser = await let_in(gate, person)
    before = await gate.services.accounts.get(gate.ref(person.login).id)
    for number in range(1001, 1009):
        await browser.get(f"/dossiers/{number}")
    await until_challenged(gate, browser, "/dossiers/1008")
    after = await gate.services.accounts.get(gate.ref(person.login).id)
    assert before is not None
    assert after is not None
    assert (after.account_class, after.standing) == (before.account_class, Standing.ACTIVE)
    assert after.owes_why == "enumeration"
