"""Many patients through a session that is right in every other way (K01 to K18)."""

import asyncio
import gzip
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote, unquote

import pytest
import pytest_asyncio
from selectolax.lexbor import LexborHTMLParser

from gateway.disclosure import pseudonym
from gateway.limits.store import usage
from gateway.lookups import RevealQuestion, reveal
from gateway.valkey.client import Store
from gateway.valkey.library import product_sources
from gateway.vocabulary.limits import Charge, Control, Exhausted, Spent
from tests.attacks.factor import PEOPLE, about, ask_store, is_specific, time_stands
from tests.people import Person
from tests.stand import Browser, Got, MiniApp, Said, Seen, Stand, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECOND = "admissions.example"
CLASSES: dict[str, dict[str, Any]] = {
    "ten": {"patients_10min": 10},
    "seventeen": {"patients_1h": 17},
    "crowded": {"patients_10min": 40, "requests_10s": 1_000},
    "rows": {"rows_1h": 50},
    "bytes": {"bytes_1h": 400},
    "exports": {"exports_24h": 2},
    "probes": {"probes_1h": 3},
    "sightings": {"sightings_1h": 7},
    "burst": {"requests_10s": 50},
    "watched": {"patients_10min": 3, "mode": "observe"},
    "half": {"patients_10min": {"hard": 3, "mode": "observe"}, "exports_24h": 1},
}
for _class in CLASSES.values():
    # These are about the hard bounds; tests/attacks/test_soft_caps.py is about the soft ones.
    _class["soft_share"] = 1


class OddApp(MiniApp):
    """The app in miniature, with answers that a counter may stumble over: ``?as=`` names the way."""

    def __call__(self, seen: Seen) -> Said:
        said = super().__call__(seen)
        query = dict(piece.partition("=")[::2] for piece in seen.query.split("&") if piece)
        body = said.body if isinstance(said.body, bytes) else said.body.encode()
        if seen.path == "/annuaire" and "page" in query:
            page = query["page"]
            return Said(body=f"contact{page}@exemple.example, 01 99 00 1{page} 22")
        if seen.path.startswith(("/documents", "/telechargements")):
            size = int(query.get("size", "200"))
            data, kind = (b"NOM1001 " * size)[:size], unquote(query.get("type", "application/pdf"))
            if query.get("as") == "chunks":
                head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
                return Said(raw=head.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (size, data))
            return Said(body=data, type=kind)
        match query.get("as"):
            case "gzip":
                return Said(
                    body=gzip.compress(body, mtime=0), type=said.type, headers=(("Content-Encoding", "gzip"),)
                )
            case "broken":
                return Said(body=body[:-2], type=said.type)
            case "html":
                return Said(body=f"<ul><li>{body.decode()}</ul>")
            case "bytes":
                return Said(body=body, type="application/octet-stream")
            case "untyped":
                return Said(body=body, type="")
            case "false-gzip":
                return Said(body=body, type=said.type, headers=(("Content-Encoding", "gzip"),))
            case "nameless":
                return Said(body=json.dumps({"items": [{"nom": "NOM1001"}]}), type=said.type)
            case "endless":
                return Said(body=body[:-1] + b" " * 4_100_000 + body[-1:], type=said.type)
            case "redirect" | "error" | "forbidden":
                status = {"redirect": 302, "error": 500, "forbidden": 403}[query["as"]]
                return Said(status, body, type=said.type, headers=(("Location", "/"),))
        return said


def _classes(config: dict[str, Any]) -> None:
    config["realms"] = {"region": {"classes": CLASSES, "names": {"email_domains": ["chu.example"]}}}
    config["store"]["timeout_ms"] = 800
    config["apps"]["parcours"]["routes"] += [
        {"name": "documents", "kind": "page", "path": "/documents"},
        {"name": "downloads", "kind": "page", "path": "/telechargements", "stream": True},
    ]
    config["apps"]["admissions"] = {**config["apps"]["parcours"], "hosts": [SECOND], "title": "Admissions"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    aliases = tuple(Person(f"{each.login.upper()}@chu.example", each.password) for each in PEOPLE)
    async with stand(tmp_path_factory.mktemp("caps"), OddApp((*PEOPLE, *aliases)), _classes) as running:
        yield running


async def member(gate: Stand, person: Person, account_class: str, browser: Browser | None = None) -> Browser:
    """Return the browser of *person*, enrolled in *account_class* and logged in."""
    if person.login not in gate.secrets:
        await gate.enrol(person, account_class)
    return await gate.log_in(person, browser)


async def used(gate: Stand, person: Person, control: Control, account_class: str) -> float:
    """Return how much of *control* the person has used, in its own unit."""
    limits = gate.loaded.policy.realms["region"].classes[account_class]
    found = await usage(gate.services.store, gate.ref(person.login).id, limits)
    return next(one.used_milli / 1000 for one in found if one.control is control)


def names_in(got: Got) -> list[str]:
    """Return the patients' names that reached the client, in headers or body."""
    return re.findall(rb" NOM\d+", got.raw)


async def test_k01_a_stolen_account_stops_at_its_cap(gate: Stand, person: Person) -> None:
    """K01 A thief with password and code walks through the records: the eleventh patient is not shown."""
    browser = await member(gate, person, "ten")
    for number in range(1001, 1011):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    for number in (1011, 1500, 2999):
        got = await browser.get(f"/dossiers/{number}")
        assert got.status == 429
        assert names_in(got) == []
    accesses = await about(gate, "access", person)
    assert len({entry["patients"][0] for entry in accesses}) == 10
    withheld = await about(gate, "withheld", person, reason="cap", control="patients-10min", status=429)
    assert len(withheld) == 3
    assert all(is_specific(entry, person) for entry in withheld)
    assert all("patients" not in entry for entry in withheld)


async def test_k01_two_stolen_accounts_have_a_cap_each(gate: Stand, people: Iterator[Person]) -> None:
    """K01 One account at its cap does not stop the colleague who did nothing."""
    thief, colleague = next(people), next(people)
    browser = await member(gate, thief, "ten")
    for number in range(1001, 1012):
        got = await browser.get(f"/dossiers/{number}")
    assert got.status == 429
    assert (await (await member(gate, colleague, "ten")).get("/dossiers/1011")).status == 200


async def test_k03_a_page_counts_whom_it_shows(gate: Stand, person: Person) -> None:
    """K03 One search answering 50 identities is 50 patients, where a request counter sees one request."""
    browser = await member(gate, person, "ten")
    got = await browser.get("/api/dossiers?start=1001&size=50")
    assert (got.status, len(got.json()["items"])) == (200, 50)
    [access] = await about(gate, "access", person)
    assert len(set(access["patients"])) == 50
    assert (access["rows"], access["opened"]) == (50, False)
    assert await used(gate, person, Control.PATIENTS_10MIN, "ten") == 10


async def test_k03_the_page_that_would_cross_is_withheld_whole(gate: Stand, person: Person) -> None:
    """K03 51 listed patients weigh more than ten opened: nobody of them is shown, nobody is counted."""
    browser = await member(gate, person, "ten")
    got = await browser.get("/api/dossiers?start=1001&size=51", Accept="text/html")
    assert got.status == 429
    assert names_in(got) == []
    assert gate.app.seen[-1].query == "start=1001&size=51"
    for control in (Control.PATIENTS_10MIN, Control.ROWS_1H, Control.BYTES_1H):
        assert await used(gate, person, control, "ten") == 0
    assert await about(gate, "access", person) == []
    # The honest neighbour: the ten records that the person came for still open.
    for number in range(1001, 1011):
        assert (await browser.get(f"/dossiers/{number}")).status == 200


async def test_k03_opening_a_listed_patient_costs_the_rest(gate: Stand, person: Person) -> None:
    """K03 Listed 0.2, opened 1: a list of 10 (2), then 8 of them opened (0.8 each), is 8.4 of 10."""
    browser = await member(gate, person, "ten")
    assert (await browser.get("/api/dossiers?start=1001&size=10")).status == 200
    assert await used(gate, person, Control.PATIENTS_10MIN, "ten") == pytest.approx(2)
    for number in range(1001, 1009):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    assert await used(gate, person, Control.PATIENTS_10MIN, "ten") == pytest.approx(8.4)
    assert (await browser.get("/api/dossiers?start=1001&size=10")).status == 200
    assert await used(gate, person, Control.PATIENTS_10MIN, "ten") == pytest.approx(8.4)
    assert (await browser.get("/dossiers/1100")).status == 200
    assert (await browser.get("/dossiers/1101")).status == 429


async def test_k05_the_same_patient_again_is_free(gate: Stand, person: Person) -> None:
    """K05 A false block: fifty looks at one record are one patient, also at the cap and by another spelling."""
    browser = await member(gate, person, "ten")
    for number in range(1001, 1011):
        await browser.get(f"/dossiers/{number}")
    for spelling in ["1001"] * 30 + ["01001", "0001001"]:
        assert (await browser.get(f"/dossiers/{spelling}")).status == 200
    assert await used(gate, person, Control.PATIENTS_10MIN, "ten") == 10
    assert len({entry["patients"][0] for entry in await about(gate, "access", person)}) == 10


async def test_k06_two_hundred_at_once_at_the_last_place(gate: Stand, person: Person) -> None:
    """K06 Check, then count: two hundred parallel requests all see 39 of 40. Ours charges before it releases."""
    browser = await member(gate, person, "crowded")
    for number in range(1001, 1040):
        assert (await browser.get(f"/dossiers/{number}")).status == 200

    async def walk(numbers: range) -> list[Got]:
        other = gate.browser()
        other.cookies = dict(browser.cookies)
        return [await other.get(f"/dossiers/{number}") for number in numbers]

    walks = await asyncio.gather(*(walk(range(start, start + 5)) for start in range(2000, 2200, 5)))
    answers = [got for some in walks for got in some]
    assert sorted(got.status for got in answers) == [200] + [429] * 199
    assert sum(len(names_in(got)) > 0 for got in answers) == 1
    assert await used(gate, person, Control.PATIENTS_10MIN, "crowded") == 40
    accesses = await about(gate, "access", person)
    assert len({entry["patients"][0] for entry in accesses}) == len(accesses) == 40
    assert len(await about(gate, "withheld", person, control="patients-10min")) == 199


async def test_k07_two_nodes_share_one_counter(gate: Stand, person: Person) -> None:
    """K07 Another gateway on the same store charged nine patients; here one more opens, and no eleventh."""
    browser = await member(gate, person, "ten")
    limits = gate.loaded.policy.realms["region"].classes["ten"]
    other = await Store.open(
        f"unix://{gate.loaded.settings.state_dir / 'store' / 'valkey.sock'}",
        libraries=product_sources(),
        state_dir=gate.loaded.settings.state_dir,
    )
    try:
        keys = gate.services.keys
        members = tuple(pseudonym(keys, "parcours", str(number)).member for number in range(1001, 1010))
        question = RevealQuestion(gate.ref(person.login).id, None, limits, Charge(opened=members))
        assert isinstance((await reveal(other, question)).spend, Spent)
        assert (await browser.get("/dossiers/1500")).status == 200
        assert (await browser.get("/dossiers/1001")).status == 200
        assert (await browser.get("/dossiers/1501")).status == 429
        more = RevealQuestion(gate.ref(person.login).id, None, limits, Charge(opened=(b"\x00" * 8,)))
        assert isinstance((await reveal(other, more)).spend, Exhausted)
    finally:
        await other.close()


async def test_k08_no_second_burst_at_the_edge_of_a_window(gate: Stand, person: Person) -> None:
    """K08 After a full burst a fixed window gives the whole burst again; ours gives one request each 0.2 s."""
    browser = await member(gate, person, "burst")
    before, began = len(gate.app.seen), time.monotonic()
    answers = [await browser.get("/") for _ in range(120)]
    took_s = time.monotonic() - began
    passed = [got for got in answers if got.status == 200]
    assert [got.status for got in answers[:40]] == [200] * 40
    assert len(passed) <= 50 + took_s * 5 + 1
    assert len(gate.app.seen) - before == len(passed)
    refused = [got for got in answers if got.status == 429]
    assert len(refused) == 120 - len(passed) > 0
    assert all(1 <= int(got.header("retry-after") or "0") <= 10 for got in refused)
    told = await about(gate, "refused", person, reason="limit", control="requests-10s")
    assert len(told) == len(refused)
    assert told[-1]["reference"] in refused[-1].text
    assert is_specific(told[-1], person)


async def test_k10_a_name_spelled_otherwise_has_the_same_cap(gate: Stand, person: Person) -> None:
    """K10 CVE-2025-24806: the app takes the login in capitals and with a domain; the cap must not."""
    browser = await member(gate, person, "ten")
    for number in range(1001, 1011):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    with time_stands(gate, after_s=60):
        alias = Person(f"{person.login.upper()}@chu.example", person.password)
        gate.secrets[alias.login] = gate.secrets[person.login]
        again = await gate.log_in(alias)
        assert (await again.get("/dossiers/1011")).status == 429
        assert (await again.get("/dossiers/1001")).status == 200
    [withheld] = await about(gate, "withheld", person)
    assert is_specific(withheld, person)


async def test_k10_a_second_app_of_the_realm_has_the_same_cap(gate: Stand, person: Person) -> None:
    """K10 Another host, another session, another device: one person, one count; a known patient stays free."""
    browser = await member(gate, person, "ten")
    for number in range(1001, 1011):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    with time_stands(gate, after_s=60):
        elsewhere = await gate.log_in(person, gate.browser(host=SECOND))
        assert (await elsewhere.get("/dossiers/1011")).status == 429
        assert (await elsewhere.get("/dossiers/1001")).status == 200


async def test_k11_what_would_make_an_answer_partial_is_not_asked(gate: Stand, person: Person) -> None:
    """K11 Range, conditions and codings stay here, so that the whole answer is counted."""
    browser = await member(gate, person, "ten")
    got = await browser.get(
        "/api/dossiers?size=5",
        Range="bytes=0-10",
        If_None_Match='"x"',
        If_Modified_Since="Thu, 01 Jan 2026 00:00:00 GMT",
        Accept_Encoding="gzip, br, zstd",
    )
    assert got.status == 200
    seen = gate.app.seen[-1]
    for name in ("range", "if-none-match", "if-modified-since"):
        assert seen.header(name) is None
    assert seen.header("accept-encoding") == "identity"
    assert len((await about(gate, "access", person))[0]["patients"]) == 5


async def test_k11_a_coded_answer_is_counted_decoded(gate: Stand, person: Person) -> None:
    """K11 An app that compresses whatever it was asked: bytes and patients of what the reader will see."""
    browser = await member(gate, person, "ten")
    got = await browser.get("/api/dossiers?size=40&as=gzip")
    assert got.status == 200
    plain = gzip.decompress(got.body) if got.header("content-encoding") else got.body
    assert len(json.loads(plain)["items"]) == 40
    [access] = await about(gate, "access", person)
    assert len(access["patients"]) == 40
    assert access["bytes"] == len(plain)
    assert (await browser.get("/api/dossiers?start=1500&size=40&as=gzip")).status == 429


async def test_k11_head_tells_nothing_for_nothing(gate: Stand, person: Person) -> None:
    """K11 HEAD on a record tells by its status whether somebody exists: a probe, and counted as one."""
    browser = await member(gate, person, "probes")
    statuses = [(await browser.request("HEAD", f"/dossiers/{number}")).status for number in range(1001, 1006)]
    assert statuses == [200, 200, 200, 429, 429]
    assert (await browser.get("/dossiers/1001")).status == 200


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("broken", "malformed"),
        ("html", "wrong-type"),
        ("bytes", "wrong-type"),
        ("untyped", "wrong-type"),
        ("false-gzip", "bad-encoding"),
        ("nameless", "no-id"),
        ("endless", "too-large"),
    ],
)
async def test_k12_what_cannot_be_read_does_not_leave(
    gate: Stand, person: Person, way: str, why: str
) -> None:
    """K12 A parser that fails counts nothing, and a naive gateway lets the answer go: never free."""
    browser = await member(gate, person, "ten")
    got = await browser.get(f"/api/dossiers?size=5&as={way}")
    assert got.status == 502
    assert names_in(got) == []
    [withheld] = await about(gate, "withheld", person, reason="uninspectable")
    assert withheld["detail"]["why"] == why
    assert withheld["reference"] in got.text
    assert is_specific(withheld, person)
    # The honest neighbour: the same list, readable.
    assert (await browser.get("/api/dossiers?size=5")).status == 200


async def test_k12_saving_a_form_leads_back_with_its_cookies(gate: Stand, person: Person) -> None:
    """The honest neighbour: what was typed is saved, the app redirects and sets a cookie, and gets it back."""
    usual = gate.app.handler

    def saves(seen: Seen) -> Said:
        if seen.method == "POST" and seen.path == "/dossiers/1001":
            cookie = ("Set-Cookie", "flash=enregistre; Path=/; HttpOnly")
            return Said(
                302, "<p>saved</p>", headers=(("Location", "/dossiers/1001"), cookie, ("X-Kept", "1"))
            )
        answer = usual(seen)
        assert isinstance(answer, Said)
        return answer

    browser = await member(gate, person, "ten")
    gate.app.handler = saves
    try:
        for _ in range(5):
            got = await browser.post("/dossiers/1001", {"note": "x"})
            assert (got.status, got.header("location"), got.body) == (302, "/dossiers/1001", b"")
            assert got.header("x-kept") == "1"
            assert (await browser.get("/dossiers/1001")).status == 200
            assert gate.app.seen[-1].cookies["flash"] == "enregistre"
    finally:
        gate.app.handler = usual
    assert await used(gate, person, Control.PROBES_1H, "ten") == 0
    assert await used(gate, person, Control.PATIENTS_1H, "ten") == 1


@pytest.mark.parametrize("way", ["error", "forbidden"])
async def test_k12_a_status_that_says_no_with_a_body_that_says_all(
    gate: Stand, person: Person, way: str
) -> None:
    """K12 An app that lists inside its error page: the list counts as a list, by ids and not by its status."""
    browser = await member(gate, person, "ten")
    got = await browser.get(f"/api/dossiers?size=51&as={way}")
    assert got.status == 429
    assert names_in(got) == []
    shown = await browser.get(f"/api/dossiers?size=3&as={way}")
    assert shown.status in {403, 500}
    [access] = await about(gate, "access", person)
    assert len(access["patients"]) == 3


async def test_k12_a_redirect_leaves_without_its_body(gate: Stand, person: Person) -> None:
    """K12 An app that goes on after its redirect (CWE-698) sends the record along; browsers never show it."""
    browser = await member(gate, person, "ten")
    for path in ("/api/dossiers?size=51&as=redirect", "/dossiers/1001?as=redirect"):
        got = await browser.get(path)
        assert (got.status, got.header("location")) == (302, "/")
        assert (got.body, names_in(got)) == (b"", [])
    accesses = await about(gate, "access", person, status=302)
    assert [entry["reason"] for entry in accesses] == ["reveals-nobody"] * 2
    assert all("patients" not in entry for entry in accesses)


async def test_k13_the_page_of_a_cap(gate: Stand, person: Person) -> None:
    """K13 Says what to do and which reference to quote; neither count nor bound, which would help a thief."""
    browser = await member(gate, person, "seventeen")
    for number in range(1001, 1018):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    got = await browser.get("/dossiers/1018", Accept_Language="fr")
    assert got.status == 429
    assert got.header("content-language") == "fr"
    assert got.header("cache-control") == "no-store"
    assert got.header("server") is None
    assert 1 <= int(got.header("retry-after") or "0") <= 3_601
    page = LexborHTMLParser(got.text)
    reference = page.css_first(".reference bdi")
    assert reference is not None
    [withheld] = await about(gate, "withheld", person)
    assert withheld["reference"] == reference.text() == withheld["request_id"][:8]
    shown = page.css_first("main")
    assert shown is not None
    text = shown.text().replace(reference.text(), "")
    assert "17" not in text
    assert "patients-1h" not in got.text
    assert "1018" not in text


async def test_k13_programs_get_problem_details(gate: Stand, person: Person) -> None:
    """K13 RFC 9457 for what asks for JSON: type, reference, when to come back; no count."""
    browser = await member(gate, person, "seventeen")
    program = gate.browser(accept="application/json")
    program.cookies = browser.cookies
    got = await program.get("/api/dossiers?size=100")
    assert (got.status, got.header("content-type")) == (429, "application/problem+json")
    told = got.json()
    assert set(told) == {"type", "title", "status", "detail", "reference", "retry_after_s"}
    assert told["type"] == "urn:ecluse:problem:cap"
    assert told["retry_after_s"] == int(got.header("retry-after") or "0") >= 1
    [withheld] = await about(gate, "withheld", person)
    assert withheld["reference"] == told["reference"]
    assert "17" not in told["detail"] + told["title"]
    assert withheld["control"] == "patients-1h"


async def test_k13_a_cap_that_comes_near_is_told_once(gate: Stand, person: Person) -> None:
    """K13 At 80 % the log says so, before anybody is stopped, and does not say it again at 90 %."""
    browser = await member(gate, person, "ten")
    for number in range(1001, 1011):
        await browser.get(f"/dossiers/{number}")
        near = await about(gate, "near-limit", person)
        assert len(near) == (number >= 1008)
    assert near[0]["control"] == "patients-10min"
    assert is_specific(near[0], person)


async def test_k14_observed_limits_change_nothing(gate: Stand, person: Person) -> None:
    """K14 Observe mode: the same decisions in the log as ``would``, and the person notices nothing."""
    browser = await member(gate, person, "watched")
    for number in range(1001, 1009):
        got = await browser.get(f"/dossiers/{number}")
        assert got.status == 200
        assert len(names_in(got)) == 1
    would = await about(gate, "would", person, control="patients-10min")
    assert len(would) == 5
    assert is_specific(would[0], person)
    accesses = {entry["request_id"] for entry in await about(gate, "access", person)}
    assert {entry["request_id"] for entry in would} < accesses
    assert await about(gate, "withheld", person) == []


async def test_k14_one_observed_limit_leaves_the_others_in_force(gate: Stand, person: Person) -> None:
    """K14 A limit set to observe does not open the one beside it, and what is refused is charged nowhere."""
    browser = await member(gate, person, "half")
    assert (await browser.get("/export.csv")).status == 200
    got = await browser.get("/export.csv")
    assert got.status == 429
    assert names_in(got) == []
    [withheld] = await about(gate, "withheld", person)
    assert withheld["control"] == "exports-24h"


async def test_k04_exports_are_few_and_counted_by_what_they_hold(gate: Stand, person: Person) -> None:
    """K04 A CSV of thirty is thirty patients, an export, and after the second there is no third."""
    browser = await member(gate, person, "exports")
    for _ in range(2):
        assert len(names_in(await browser.get("/export.csv"))) == 30
    got = await browser.get("/export.csv")
    assert (got.status, names_in(got)) == (429, [])
    accesses = await about(gate, "access", person)
    assert [len(entry["patients"]) for entry in accesses] == [30, 30]
    assert [entry["route_kind"] for entry in accesses] == ["export", "export"]


async def test_k04_rows_count_again_each_time(gate: Stand, person: Person) -> None:
    """K04 Autocompletion and paging over the same twenty: free in patients, not in rows."""
    browser = await member(gate, person, "rows")
    statuses = [(await browser.get("/dossiers")).status for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    [first, _] = await about(gate, "withheld", person)
    assert first["control"] == "rows-1h"
    # The honest neighbour: a record of the list still opens.
    assert (await browser.get("/dossiers/1001")).status == 200


async def test_k04_bytes_are_bounded(gate: Stand, person: Person) -> None:
    """K04 The last bound, for answers whose patients a route names too few of."""
    browser = await member(gate, person, "bytes")
    got = await browser.get("/api/dossiers?size=30")
    assert got.status == 429
    [withheld] = await about(gate, "withheld", person)
    assert withheld["control"] == "bytes-1h"
    assert (await browser.get("/dossiers/1001")).status == 200


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("application/pdf", 200),
        ("application/pdf", 300_000),
        ("application/octet-stream", 200),
        ("application/zip", 200_000),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", 200),
        ("application/PDF; name=x", 200),
        ("x", 200),
    ],
)
async def test_k04_a_document_on_a_page_nobody_mapped(
    gate: Stand, person: Person, kind: str, size: int
) -> None:
    """K04 K12 Naively a PDF or an archive on a plain page leaves uncounted, letter after letter."""
    browser = await member(gate, person, "ten")
    got = await browser.get(f"/documents?size={size}&type={quote(kind, safe='')}")
    assert (got.status, names_in(got)) == (502, [])
    [withheld] = await about(gate, "withheld", person)
    assert (withheld["reason"], withheld["route"], withheld["detail"]) == (
        "uninspectable", "documents", {"why": "wrong-type"},
    )  # fmt: skip
    assert is_specific(withheld, person)


@pytest.mark.parametrize(
    "kind", ["image/png", "font/woff2", "text/css", "application/javascript", "image/x-icon"]
)
async def test_k04_what_pages_are_made_of_passes(gate: Stand, person: Person, kind: str) -> None:
    """The honest neighbour: images, fonts, styles and scripts, small and large; an empty answer of any type."""
    browser = await member(gate, person, "ten")
    for size in (200, 300_000):
        got = await browser.get(f"/documents?size={size}&type={quote(kind, safe='')}")
        assert (got.status, len(got.body)) == (200, size)
    assert (await browser.get("/documents?size=0")).status == 200
    assert (await browser.request("HEAD", "/documents")).status == 200
    assert await about(gate, "withheld", person) == []


@pytest.mark.parametrize("told", [True, False], ids=["length", "chunks"])
async def test_k04_documents_that_are_said_to_leave_cost_their_bytes(
    gate: Stand, person: Person, told: bool
) -> None:
    """K04 ``stream: true`` lets documents leave, recorded, and charged before; what would cross the cap stays."""
    browser = await member(gate, person, "bytes")
    chunks = "" if told else "&as=chunks"
    got = await browser.get(f"/telechargements?size=300{chunks}")
    assert (got.status, len(got.body)) == (200, 300)
    assert await used(gate, person, Control.BYTES_1H, "bytes") == 300
    [access] = await about(gate, "access", person)
    assert (access["route"], access["bytes"], access.get("patients")) == ("downloads", 300, None)
    for _ in range(3):
        got = await browser.get(f"/telechargements?size=300{chunks}")
        assert (got.status, names_in(got)) == (429, [])
    assert (await browser.get("/telechargements?size=70000")).status == 429
    withheld = await about(gate, "withheld", person)
    assert {entry["control"] for entry in withheld} == {"bytes-1h"}
    assert len(withheld) == 4


async def test_k04_personal_data_on_a_page_nobody_mapped(gate: Stand, person: Person) -> None:
    """K04 A plain page that shows others' telephone and address each time it is turned: seven pieces an hour."""
    browser = await member(gate, person, "sightings")
    answers = [await browser.get(f"/annuaire?page={page}") for page in range(1, 6)]
    assert [got.status for got in answers] == [200, 200, 200, 429, 429]
    assert b"@exemple.example" not in answers[-1].raw
    sighted = await about(gate, "sighted", person)
    assert [entry["detail"] | {"device": "-"} for entry in sighted] == [
        {"device": "-", "nirs": "0", "phones": "1", "emails": "1"}
    ] * 3
    [withheld, _] = await about(gate, "withheld", person)
    assert withheld["control"] == "sightings-1h"
    # What was withheld was not shown, and is not free the next time; what was shown is.
    assert (await browser.get("/annuaire?page=4")).status == 429
    assert (await browser.get("/annuaire?page=3")).status == 200
    assert (await browser.get("/")).status == 200


async def test_k04_the_number_at_the_foot_of_every_page_stops_nobody(gate: Stand, person: Person) -> None:
    """K04 A false block: the help desk's number, thirty pages long, is one piece of data; each page is told."""
    browser = await member(gate, person, "sightings")
    for _ in range(30):
        assert (await browser.get("/annuaire")).status == 200
    assert len(await about(gate, "sighted", person)) == 30
    assert await used(gate, person, Control.SIGHTINGS_1H, "sightings") == 3


async def test_k16_walking_through_numbers_that_do_not_exist(gate: Stand, person: Person) -> None:
    """K16 Answers that refuse name nobody, but they tell who exists: counted as probes."""
    browser = await member(gate, person, "probes")
    statuses = [(await browser.get(f"/dossiers/{number}")).status for number in range(1, 6)]
    assert statuses == [404, 404, 404, 429, 429]
    assert await used(gate, person, Control.PATIENTS_24H, "probes") == 0
    probes = [entry for entry in await about(gate, "access", person) if entry.get("detail")]
    assert [entry["detail"]["probe"] for entry in probes] == ["true"] * 3
    assert all("patients" not in entry for entry in probes)
    withheld = await about(gate, "withheld", person, control="probes-1h")
    assert len(withheld) == 2
    # The honest neighbour: real patients of the same person still open.
    assert (await browser.get("/dossiers/1001")).status == 200


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410])
async def test_k16_every_way_of_saying_no_is_a_probe(gate: Stand, person: Person, status: int) -> None:
    """K16 An app that calls the number malformed answers the same question as one that does not find it."""
    usual = gate.app.handler

    def says_no(seen: Seen) -> Said:
        if seen.path.startswith("/dossiers/"):
            return Said(status, "non", headers=(("Location", "/"),))
        answer = usual(seen)
        assert isinstance(answer, Said)
        return answer

    browser = await member(gate, person, "probes")
    gate.app.handler = says_no
    try:
        statuses = [(await browser.get(f"/dossiers/{number}")).status for number in range(1, 6)]
    finally:
        gate.app.handler = usual
    assert statuses == [status] * 3 + [429] * 2


async def test_k17_a_store_that_hangs_holds_nobody_for_long(gate: Stand, person: Person) -> None:
    """K17 Slower than 800 ms is down: 503 for records, at once for the next, and service again afterwards."""
    browser = await member(gate, person, "ten")
    before = len(gate.app.seen)
    await ask_store(gate, "CLIENT", "PAUSE", "2500", "ALL")
    began = time.monotonic()
    got = await browser.get("/dossiers/1001")
    took_s = time.monotonic() - began
    assert (got.status, names_in(got)) == (503, [])
    assert 0.5 < took_s < 2
    assert got.header("retry-after") is not None
    began = time.monotonic()
    assert (await browser.get("/dossiers/1002")).status == 503
    assert time.monotonic() - began < 0.5
    assert len(gate.app.seen) == before
    async with asyncio.timeout(10):
        while (await browser.get("/dossiers/1001")).status != 200:
            await asyncio.sleep(0.1)
    refused = [entry for entry in await gate.events("refused") if entry["reason"] == "store-down"]
    assert len(refused) >= 2
    assert refused[0]["client"] == "127.0.0.1"


async def test_k18_random_ids_fill_no_memory(gate: Stand, person: Person) -> None:
    """K18 Ids made up, and pages withheld, leave nothing in the store: what was not shown is not kept."""
    browser = await member(gate, person, "ten")
    for number in range(20):
        assert (await browser.get(f"/dossiers/x{number:030}")).status == 404
    for start in range(1001, 1601, 100):
        assert (await browser.get(f"/api/dossiers?start={start}&size=100")).status == 429
    stem = f"ecluse:{{{gate.ref(person.login).id}}}"
    assert await ask_store(gate, "ZCARD", f"{stem}:patients") == 0
    assert await ask_store(gate, "ZCARD", f"{stem}:opened") == 0
    assert (await browser.get("/dossiers/1001")).status == 200
    [member_kept] = await ask_store(gate, "ZRANGE", f"{stem}:patients", "0", "-1")
    assert len(member_kept) == 8
    assert await ask_store(gate, "PTTL", f"{stem}:patients") > 604_800_000
