"""Correlation, anomalies and decoys (L01 to L08), against whoever is let in by password and code."""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.sessions import device
from gateway.vocabulary.identity import Standing
from tests.attacks.factor import about, crowded, operate, time_stands
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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_call() -> AsyncIterator[tuple[int, list[dict[str, Any]]]]:
    """Whoever is on call: takes documents by POST, and gives its port and what it got."""
    got: list[dict[str, Any]] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        got.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], got
    server.close()


@pytest.fixture
def alerts_got(on_call: tuple[int, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return on_call[1]


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
async def gate(
    tmp_path_factory: pytest.TempPathFactory, on_call: tuple[int, list[dict[str, Any]]]
) -> AsyncIterator[Stand]:
    def changes(config: dict[str, Any]) -> None:
        _low(config)
        # A device is usual from its second login on: eight take as many steps of a code.
        config["signals"] = {"new_device": {"known_logins": 1}}
        config["alerts"] = {
            "webhook": {"url": f"http://127.0.0.1:{on_call[0]}/ecluse", "names": True},
            "at_most_per_hour": 500,
        }

    async with crowded(tmp_path_factory.mktemp("signals"), changes) as running, watching(running):
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


async def walks_of(gate: Stand, person: Person) -> list[dict[str, str]]:
    """Return what each access of *person* tells beside the device."""
    return [
        {name: word for name, word in entry["detail"].items() if name != "device"}
        for entry in await about(gate, "access", person)
    ]


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
    statuses = [(await browser.get(f"/dossiers/{number}")).status for number in numbers]
    # From the eighth on the watcher may ask for a code at any moment.
    assert statuses[:8] == [200] * 8
    assert set(statuses) <= {200, 303}
    walks = await walks_of(gate, person)
    told = [{}] * 7 + [{"walk": walk, "walked": str(count)} for count in (8, 9, 10)]
    assert walks == told[: statuses.count(200)]


async def test_l03_honest_work_adds_nothing_to_the_log(gate: Stand, people: Iterator[Person]) -> None:
    """L03 The same patients again, and patients without order: the entries tell no walk."""
    person = next(people)
    browser = await gate.log_in(person)
    for number in (1001, 1002, 1001, 1002, 1400, 2999, 1873, 1201, 1650, 2222, 1099, 1001):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    assert await walks_of(gate, person) == [{}] * 12


async def test_l03_who_walks_is_asked_for_a_code(gate: Stand, people: Iterator[Person]) -> None:
    """L03 Eight new patients along their numbers: nothing more is shown before a fresh code."""
    person = next(people)
    browser = await let_in(gate, person)
    for number in range(1001, 1009):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    await until_challenged(gate, browser, "/dossiers/1008")
    challenged = await browser.get("/dossiers/1009")
    assert challenged.status == 303
    assert "/.ecluse/step-up" in (challenged.header("location") or "")
    assert (await browser.get("/")).status == 200
    signalled = await recorded(gate, "signalled", person)
    assert [(entry["rule"], entry["detail"]["patients"]) for entry in signalled] == [("enumeration", "8")]
    (demanded,) = await recorded(gate, "code-demanded", person)
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
    signalled = await recorded(gate, "signalled", person)
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


async def test_l04_a_browser_never_seen_is_told_and_the_usual_one_is_not(
    gate: Stand, people: Iterator[Person]
) -> None:
    """L04 A thief with password and code comes from another browser: recorded; the code was given just now."""
    person = next(people)
    with time_stands(gate) as clock:
        usual = await let_in(gate, person)
        for cookie in (usual.cookies[device.COOKIE], None):
            clock.advance(30_000)
            browser = gate.browser()
            if cookie is not None:
                browser.cookies[device.COOKIE] = cookie
            await gate.log_in(person, browser)
    (signalled,) = await recorded(gate, "signalled", person)
    assert (signalled["rule"], signalled["detail"]["known"], signalled["detail"]["logins"]) == (
        "new-device",
        "1",
        "2",
    )
    last = (await about(gate, "session-opened", person))[-1]
    assert last["detail"]["device_new"] == "true"
    assert signalled["detail"]["event"] == f"gateway:{last['seq']}"
    assert await about(gate, "code-demanded", person, writer="operator") == []


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


async def recorded(gate: Stand, kind: str, person: Person, **fields: Any) -> list[dict[str, Any]]:
    """Return what the watcher recorded about *person*: done first, recorded then, so it is waited for."""
    async with asyncio.timeout(10):
        while not (found := await about(gate, kind, person, writer="operator", **fields)):
            await asyncio.sleep(0.05)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoy(gate: Stand) -> str:
    """Make a record a decoy, and return its number once the watcher knows it."""
    number = "1007"
    assert await operate(gate, "canary", "add", "parcours", number, "--reason", "register 12") == 0
    await asyncio.sleep(1.0)
    return number


async def until_locked(gate: Stand, person: Person) -> float:
    began_s = time.monotonic()
    while True:
        account = await gate.services.accounts.get(gate.ref(person.login).id)
        assert account is not None
        if account.standing is Standing.LOCKED:
            return time.monotonic() - began_s
        assert time.monotonic() - began_s < 10, "never locked"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("path", ["/dossiers/1007", "/dossiers/01007", "/export.csv"])
async def test_l01_a_decoy_that_is_opened_or_exported_locks_the_account(
    gate: Stand, people: Iterator[Person], decoy: str, path: str
) -> None:
    """L01 Opening a decoy, by any spelling of its number, or taking it along in an export, locks the account."""
    person = next(people)
    browser = await let_in(gate, person)
    assert (await browser.get(path)).status == 200
    await until_locked(gate, person)
    assert (await browser.get("/dossiers/1001")).status in {303, 401, 403}
    (told,) = await recorded(gate, "signalled", person, rule="canary")
    assert told["reason"] == ("A decoy was exported." if path == "/export.csv" else "A decoy was opened.")
    (locked,) = await recorded(gate, "account-locked", person)
    assert locked["reason"] == "a decoy was opened or exported"


async def test_l01_an_account_is_locked_within_two_seconds(
    gate: Stand, people: Iterator[Person], decoy: str
) -> None:
    """L01 From the moment a decoy has left, which is after its entry is durable, until the account is locked."""
    took_s = []
    for _ in range(5):
        person = next(people)
        browser = await let_in(gate, person)
        assert (await browser.get("/dossiers/1007")).status == 200
        took_s.append(await until_locked(gate, person))
    # The middle one: a machine that is busy with other things for a second is not what is tried.
    assert sorted(took_s)[2] < ACT_WITHIN_S, took_s
    print("locked after", [round(each, 2) for each in took_s])


async def test_l01_a_decoy_in_an_honest_list_is_nothing(
    gate: Stand, people: Iterator[Person], decoy: str
) -> None:
    """L01 A list that shows the decoy among others neither locks nor tells."""
    person = next(people)
    browser = await let_in(gate, person)
    page = await browser.get("/dossiers")
    assert f'data-id="{decoy}"' in page.text
    await asyncio.sleep(ACT_WITHIN_S)
    account = await gate.services.accounts.get(gate.ref(person.login).id)
    assert account is not None
    assert account.standing is Standing.ACTIVE
    assert await about(gate, "signalled", person, writer="operator") == []


async def test_l02_nothing_tells_which_record_is_a_decoy(
    gate: Stand, people: Iterator[Person], decoy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """L02 The page, the log of commands, the list of decoys and the files: the decoy is named and marked nowhere."""
    browser = await let_in(gate, next(people))
    # The decoy last: whoever has opened it is locked within moments.
    other, page = await browser.get("/dossiers/1008"), await browser.get("/dossiers/1007")
    assert page.text.replace("1007", "1008") == other.text
    assert {name for name, _ in page.headers} == {name for name, _ in other.headers}
    assert await operate(gate, "canary", "list") == 0
    listed = capsys.readouterr().out
    assert "register 12" in listed
    assert decoy not in listed
    folder = gate.folder / "state" / "canaries"
    assert folder.stat().st_mode & 0o077 == 0
    assert (
        decoy.encode() not in (folder / "canaries.json").read_bytes().replace(b"at_ms", b"").split(b'"by"')[0]
    )
    set_ = await gate.events("canary-changed", "operator")
    assert [(entry["app"], entry["detail"]) for entry in set_] == [("parcours", {"act": "add"})]
    assert "patients" not in set_[0]


async def test_l02_decoys_are_set_and_removed_with_a_reason_and_clear_faults(
    gate: Stand, decoy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """L02 What cannot be a decoy is refused with the mend; one that was removed is a record like any other."""
    for words, code, said in (
        (("add", "nowhere", "5"), 2, "there is no app 'nowhere': one of parcours"),
        (("add", "parcours", " "), 2, "no number of a patient"),
        (("add", "parcours", "5", "--system", "ins"), 2, "--system 'ins' is none of this app's"),
        (("add", "parcours", decoy), 1, "a decoy already"),
        (("remove", "ffffffff"), 1, "there is no decoy ffffffff"),
    ):
        assert await operate(gate, "canary", *words, "--reason", "test") == code, words
        assert said in capsys.readouterr().err
    assert await operate(gate, "canary", "add", "parcours", "2999", "--reason", "second", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert await operate(gate, "canary", "remove", made["id"], "--reason", "gone") == 0


async def test_l01_somebody_is_told_at_once_and_says_what_came_of_it(
    gate: Stand,
    people: Iterator[Person],
    decoy: str,
    alerts_got: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """L01 The alert of a decoy reaches whoever is on call, names no patient, and is acknowledged on record."""
    person = next(people)
    browser = await let_in(gate, person)
    assert (await browser.get("/dossiers/1007")).status == 200
    await until_locked(gate, person)
    async with asyncio.timeout(10):
        while not (mine := [each for each in alerts_got if each.get("account") == person.login]):
            await asyncio.sleep(0.05)
    (told,) = mine
    assert (told["rule"], told["done"], told["fr"]) == ("canary", "lock", "Un dossier leurre a été ouvert.")
    assert decoy not in json.dumps(
        {name: text for name, text in told.items() if name not in {"id", "at_ms", "next"}}
    )
    assert await operate(gate, "alerts", "list", "--id", told["id"]) == 0
    assert told["next"] in capsys.readouterr().out
    assert await operate(gate, "alerts", "ack", told["id"], "--reason", "trap worked") == 0
    (recorded,) = await about(gate, "alert-acknowledged", person, writer="operator")
    assert (recorded["reference"], recorded["reason"]) == (told["id"], "trap worked")
    capsys.readouterr()
    assert await operate(gate, "alerts", "list", "--open") == 0
    assert told["id"] not in capsys.readouterr().out
    assert await operate(gate, "alerts", "ack", "ffffffff", "--reason", "no such") == 1
    assert await operate(gate, "alerts", "test") == 0
    assert "webhook: taken" in capsys.readouterr().out
