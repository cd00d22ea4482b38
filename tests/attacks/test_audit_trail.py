"""What the log says of an attack, and what an attack may write into it (M01 to M05)."""

import asyncio
import errno
import json
import os
import random
import shutil
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyotp
import pytest
import pytest_asyncio

from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.files import verifier_keys
from gateway.audit.verify import Broken, Verified, verify_log
from tests.attacks.factor import (
    PEOPLE,
    about,
    at_enrolment,
    crowd,
    crowded,
    is_specific,
    shown_secret,
    type_code,
)
from tests.people import Person
from tests.stand import Browser, MiniApp, Stand, form_token, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORGED = '","account":"agent00","kind":"access'
_OUTCOMES = {"access", "withheld", "refused", "challenged", "sighted"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with crowded(tmp_path_factory.mktemp("trail")) as running:
        yield running


async def journal(gate: Stand) -> bytes:
    """Return every byte of the journal, settled."""
    await gate.settled()
    folder = gate.loaded.settings.audit_dir / "gateway"
    return b"".join(file.read_bytes() for file in sorted(folder.glob("*.jsonl")))


def is_safe(raw: bytes) -> bool:
    """Tell whether each line is one JSON object, and nothing of it acts on a terminal or a spreadsheet."""
    assert raw.endswith(b"\n")
    for line in raw.split(b"\n")[:-1]:
        assert isinstance(json.loads(line), dict)
        text = line.decode()
        if not text.isprintable():
            return False
    return True


HOSTILE_TEXTS = {
    "crlf": 'x\r\n{"v":1,"kind":"access"}',
    "ansi": "\x1b[2J\x1b[1;31mrouge",
    "nul": "a\x00b",
    "quote": FORGED,
    "backslash": "\\u000a\\",
    "bidirectional": "agent\u202egpj",
    "zero-width": "agent\u200b00",
    "line-separator": "a\u2028b",
    "formula": "=cmd|' /C calc'!A0",
    "long": "a" * 60_000,
}


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
async def test_m01_a_login_name_writes_no_line_of_its_own(gate: Stand, name: str) -> None:
    """M01 The one text in the log that an attacker without any account chooses freely."""
    before = len(await gate.events())
    attacker = gate.browser()
    await attacker.get("/login")
    got = await attacker.post("/login", {"user": HOSTILE_TEXTS[name], "password": "x"})
    assert got.status in {200, 400, 403, 413}
    entries = (await gate.events())[before:]
    told = [entry for entry in entries if entry["kind"] != "gap"]
    assert [entry["kind"] for entry in told] in (["login-failed"], ["refused"])
    assert is_specific(told[0])
    assert all(len(str(value)) <= 600 for value in told[0].values())
    assert is_safe(await journal(gate))


@pytest.mark.parametrize("name", ["ansi", "quote", "backslash", "formula", "long"])
@pytest.mark.parametrize("place", ["path", "query", "agent", "method", "cookie", "forwarded"])
async def test_m01_a_request_writes_no_line_of_its_own(gate: Stand, name: str, place: str) -> None:
    """M01 The address, the browser's name, the method: refused or left out, never quoted raw."""
    text = HOSTILE_TEXTS[name][:6_000].encode().replace(b" ", b"+").decode("latin-1")
    before = len(await gate.events())
    method, path, headers = "GET", "/dossiers/1001", {}
    match place:
        case "path":
            path = "/dossiers/" + text
        case "query":
            path += "?q=" + text
        case "agent":
            headers = {"User-Agent": text}
        case "method":
            method = text
        case "cookie":
            headers = {"Cookie": f"sid={text}"}
        case _:
            headers = {"X-Forwarded-For": text}
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    lines = [f"{method} {path} HTTP/1.1", "Host: parcours.example", "Accept: text/html"]
    lines += [f"{key}: {value}" for key, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    status = int((await reader.readline()).split(b" ")[1])
    writer.close()
    assert status in {303, 400, 401, 403, 404, 405, 414, 431}
    entries = [entry for entry in (await gate.events())[before:] if entry["kind"] != "gap"]
    assert len(entries) <= 1
    if entries:
        assert entries[0]["kind"] in {"refused", "challenged"}
        assert "account" not in entries[0]
        told = {key: value for key, value in entries[0].items() if key != "method"}
        assert text[:12] not in json.dumps(told)
        assert len(entries[0].get("method", "")) <= 24
    assert is_safe(await journal(gate))


async def test_m01_a_patient_id_stands_nowhere(gate: Stand, person: Person) -> None:
    """M01 Whatever stands where the id is, the log holds a pseudonym or nothing."""
    browser = await gate.log_in(person)
    for spelled in ("1001", "%31001", "%1b%5b31m", "x%22%7d", "%e2%80%ae1001"):
        await browser.get(f"/dossiers/{spelled}")
    [access] = [entry for entry in await about(gate, "access", person) if entry["status"] == 200][:1]
    assert all(len(patient.partition(":")[2]) == 32 for patient in access["patients"])
    assert is_safe(await journal(gate))


async def test_m02_a_days_log_verifies_and_a_changed_one_does_not(tmp_path: Path) -> None:
    """M02 Edit, delete, reorder, truncate, put an old copy back: each is named, from the files alone."""
    async with crowded(tmp_path) as gate:
        person = next(crowd())
        browser = await gate.log_in(person)
        folder = gate.loaded.settings.audit_dir / "gateway"
        for number in range(1001, 1006):
            assert (await browser.get(f"/dossiers/{number}")).status == 200
        await browser.get("/admin/x")
        await gate.settled()
        keys = verifier_keys(gate.services.keys.checkpoint, LOG_NAME)
    found = verify_log(folder, keys)
    assert isinstance(found, Verified)
    assert found.signed == found.size >= 8
    [entries] = sorted(folder.glob("*.jsonl"))
    lines = entries.read_bytes().splitlines(keepends=True)
    assert sum(b'"kind":"access"' in line for line in lines) == 5
    at = next(at for at, line in enumerate(lines) if b'"kind":"access"' in line)
    damages = {
        "edited": [*lines[:at], lines[at].replace(person.login.encode(), b"agent99"), *lines[at + 1 :]],
        "deleted": [*lines[:at], *lines[at + 1 :]],
        "swapped": [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
        "cut": lines[:-1],
        "doubled": [*lines[: at + 1], lines[at], *lines[at + 1 :]],
    }
    for name, changed in damages.items():
        copy = tmp_path / name / "gateway"
        shutil.copytree(folder, copy)
        (copy / entries.name).write_bytes(b"".join(changed))
        assert isinstance(verify_log(copy, keys), Broken), name


async def test_m03_a_disk_that_refuses_withholds_records(
    gate: Stand, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M03 The disk is full: no record leaves, nobody logs in, and what needs no log is still served."""
    browser = await gate.log_in(person)
    assert (await browser.get("/dossiers/1001")).status == 200
    before = len(await about(gate, "access", person))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        patch.setattr(os, "fsync", full)
        for _ in range(3):
            got = await browser.get("/dossiers/1002")
            assert got.status == 503
            assert b"NOM1002" not in got.raw
            assert got.header("retry-after") is not None
        listing = await browser.get("/api/dossiers?size=5", Accept="application/json")
        assert (listing.status, b" NOM" in listing.raw) == (503, False)
        assert (await browser.get("/annuaire")).status == 503
        unsafe = await browser.post("/dossiers/1003", {"note": "x"})
        assert unsafe.status == 503
        assert gate.app.seen[-1].path != "/dossiers/1003"
        stranger = gate.browser()
        await stranger.get("/login")
        got = await stranger.post("/login", {"user": person.login, "password": person.password})
        assert got.status == 503
        assert "sid" not in got.set_cookies()
        assert (await browser.get("/static/style.css")).status == 200
        assert (await browser.get("/")).status == 200
    async with asyncio.timeout(10):
        while (await browser.get("/dossiers/1001")).status != 200:
            await asyncio.sleep(0.2)
    after = await about(gate, "access", person)
    assert len(after) > before
    gaps = [entry for entry in await gate.events("gap") if "lost" in entry.get("detail", {})]
    assert gaps
    assert int(gaps[-1]["detail"]["lost"]) >= 4


async def test_m03_a_factor_that_cannot_be_told_is_not_kept(
    gate: Stand, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M03 The disk fills up between the invitation and the first code: no factor that the log knows nothing of."""
    browser, page = await at_enrolment(gate, person)
    code = pyotp.TOTP(shown_secret(page)).now()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        patch.setattr(os, "fsync", full)
        got = await browser.post("/.ecluse/enrol", {"code": code, "token": form_token(page)})
        assert got.status == 503
        assert "__Host-ecluse" not in got.set_cookies()
    account = await gate.services.accounts.get(gate.ref(person.login).id)
    assert account is not None
    assert (account.has_secret, account.standing.value) == (False, "invited")
    async with asyncio.timeout(10):
        while not gate.services.audit.healthy:
            await browser.get("/admin/x")
            await asyncio.sleep(0.2)
    assert await about(gate, "enrolled", person) == []
    # The honest neighbour: invited again, the person enrols as ever.
    again, page = await at_enrolment(gate, person)
    code = pyotp.TOTP(shown_secret(page)).now()
    assert (await again.post("/.ecluse/enrol", {"code": code, "token": form_token(page)})).status == 200
    assert len(await about(gate, "enrolled", person)) == 1


async def test_m04_the_record_waits_for_its_entry(
    gate: Stand, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M04 kill -9 after the answer left and before the entry is durable loses the entry: so it never leaves first."""
    browser = await gate.log_in(person)
    await gate.settled()
    held, reached, real = threading.Event(), threading.Event(), os.fdatasync

    def slow(handle: int) -> None:
        reached.set()
        held.wait(5)
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", slow)
        asked = asyncio.ensure_future(browser.get("/dossiers/1234"))
        try:
            await asyncio.to_thread(reached.wait, 5)
            done, _ = await asyncio.wait([asked], timeout=0.2)
            assert not done
            assert gate.app.seen[-1].path == "/dossiers/1234"
        finally:
            held.set()
        got = await asked
    assert (got.status, b"NOM1234" in got.raw) == (200, True)


async def _something(kind: str, browser: Browser, program: Browser, chance: random.Random) -> int:
    """Make one exchange of *kind* and return its status."""
    number = chance.randrange(1001, 1020)
    match kind:
        case "record":
            return (await browser.get(f"/dossiers/{number}")).status
        case "listing":
            return (await program.get(f"/api/dossiers?start={number}&size=3")).status
        case "export":
            return (await browser.get("/export.csv")).status
        case "missing":
            return (await browser.get("/dossiers/1")).status
        case "head":
            return (await browser.request("HEAD", f"/dossiers/{number}")).status
        case "sighted":
            return (await browser.get("/annuaire")).status
        case "blocked":
            return (await browser.get("/admin/x")).status
        case "alias":
            return (await browser.get("/dossiers/../dossiers/1001")).status
        case "stranger":
            return (await browser.request("GET", f"/dossiers/{number}", cookies={})).status
        case _:
            foreign = {**browser.cookies, "sid": "ailleurs"}
            return (await browser.request("GET", f"/dossiers/{number}", cookies=foreign)).status


async def test_m05_exactly_one_outcome_for_each_exchange(gate: Stand, person: Person) -> None:
    """M05 Allowed, probed, refused, challenged: one outcome with an id of its own, never none, never two."""
    browser = await gate.log_in(person)
    program = gate.browser(accept="application/json")
    program.cookies = browser.cookies
    already = len(await gate.events())
    at = len(gate.app.seen)
    chance = random.Random(20261122)
    kinds = [
        *("record", "listing", "export", "missing", "head", "sighted", "blocked", "alias", "stranger"),
        "foreign",
    ]
    asked = [chance.choice(kinds) for _ in range(45)]
    for kind in asked:
        await _something(kind, browser, program, chance)
    entries = [entry for entry in (await gate.events())[already:] if entry["kind"] in _OUTCOMES]
    assert len(entries) == len({entry["request_id"] for entry in entries}) == len(asked)
    told = Counter(entry["kind"] for entry in entries)
    served = Counter(asked)
    assert told["access"] == sum(served[kind] for kind in ("record", "listing", "export", "missing", "head"))
    assert told["sighted"] == served["sighted"]
    assert told["refused"] == served["blocked"] + served["alias"]
    assert told["challenged"] == served["stranger"] + served["foreign"]
    # Everything the app was asked, beside public and plain pages, is an access in the log.
    upstream = Counter(seen.path.split("/")[1] for seen in gate.app.seen[at:])
    assert sum(upstream.values()) == told["access"] + told["sighted"]
    for entry in entries:
        assert is_specific(entry, person if entry["kind"] in {"access", "sighted"} else None)
        assert entry["policy_id"] == gate.loaded.policy.policy_id


async def test_m05_an_unsafe_method_is_told_before_and_after(gate: Stand, person: Person) -> None:
    """M05 A write on a record is in the log before the app hears of it, with the id of its outcome."""
    browser = await gate.log_in(person)
    got = await browser.post("/dossiers/1001", {"note": "x"})
    assert got.status == 200
    [sent] = await about(gate, "unsafe-sent", person)
    [access] = await about(gate, "access", person)
    assert sent["request_id"] == access["request_id"]
    assert sent["seq"] < access["seq"]
    assert is_specific(sent, person)


async def test_m05_every_step_of_a_login_is_told_once(gate: Stand, person: Person) -> None:
    """M05 Wrong password, wrong code, code, logout: the life of a session can be read from the log."""
    await gate.enrol(person)
    browser = gate.browser()
    await browser.get("/login")
    await browser.post("/login", {"user": person.login, "password": "faux"})
    await gate.password_only(person, browser)
    await type_code(browser, "000000")
    await type_code(browser, gate.code(person))
    await browser.get("/logout")
    kinds = [entry["kind"] for entry in await gate.events() if entry.get("account") == person.login]
    assert kinds == [
        *("login-failed", "login-seen", "code-refused", "code-accepted", "session-opened", "logout"),
    ]
    opened = (await about(gate, "session-opened", person))[0]
    logout = (await about(gate, "logout", person))[0]
    assert opened["detail"]["session"] == logout["session"]


async def test_m05_an_aborted_answer_is_told(tmp_path: Path) -> None:
    """M05 The app breaks off in the middle of a record: nothing of it leaves, and the log says so."""

    class _Breaking(MiniApp):
        def __call__(self, seen: Any) -> Any:
            said = super().__call__(seen)
            if seen.path == "/dossiers/1003":
                said = type(said)(
                    raw=b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 900\r\n\r\nNOM1003"
                )
            return said

    async with stand(tmp_path, _Breaking(PEOPLE)) as gate:
        person = next(crowd())
        browser = await gate.log_in(person)
        got = await browser.get("/dossiers/1003")
        assert got.status == 502
        assert b"NOM1003" not in got.raw
        told = [entry for entry in await gate.events() if entry["kind"] in _OUTCOMES]
        assert [(entry["kind"], entry["reason"]) for entry in told] == [("withheld", "upstream-down")]
        assert is_specific(told[0], person)
        assert (await browser.get("/dossiers/1001")).status == 200
