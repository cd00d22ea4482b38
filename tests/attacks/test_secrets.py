"""A person's whole day, then every byte on disk, in the logs, in the metrics and on the wire (N, M06, F10)."""

import asyncio
import base64
import contextlib
import gzip
import hashlib
import hmac
import io
import json
import tarfile
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyrage
import pytest
import pytest_asyncio
import zstandard
from prometheus_client import generate_latest
from selectolax.lexbor import LexborHTMLParser

from gateway import telemetry
from gateway.assembly.services import open_services
from gateway.audit.export.formats import FORMATS
from gateway.cli import main
from gateway.cli.serve import reload
from gateway.configuration import KeysRefused, init_keys, load
from gateway.configuration.faults import ConfigurationFaults
from gateway.engine import factor_pages
from gateway.sessions import forms
from gateway.valkey.marker import KeysDisagree
from tests.attacks.auditor import rfc3339
from tests.attacks.canaries import columns, dressed, holds, members
from tests.attacks.factor import ask_store, show_invitation, shown_secret, time_stands, type_code
from tests.people import DR_MARTIN, Person
from tests.stand import Browser, Got, MiniApp, Said, Seen, Stand, form_token, stand, write_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "Canari-Mot-De-Passe-7731"
LOOSE_PASSWORD = "canari-tape-au-mauvais-endroit-88"
BEARER = "canari.porteur.jeton0000000000000000"
PATIENT_ID = "770018823455101"
PATIENT_NAME = "CANARINOM"
FIRST_NAME = "Canariprenom"
NIR = "2 69 05 49 588 157 80"
PHONE = "01 99 00 11 22"
MAIL = "canari.courriel@exemple.example"
PERSON = Person("agnes.canari", PASSWORD)
STORE_PASSWORD = "canari-magasin-4411-secret"
SAFE, DEPUTY = (pyrage.x25519.Identity.generate() for _ in range(2))
RECIPIENTS = ("-r", str(SAFE.to_public()), "-r", str(DEPUTY.to_public()))


class CanaryApp(MiniApp):
    """The app in miniature, whose every secret is long enough to be looked for byte by byte."""

    def __init__(self) -> None:
        super().__init__((PERSON,))

    def __call__(self, seen: Seen) -> Said:
        user = self.sessions.get(seen.cookies.get("sid", ""))
        if user is None or seen.path in {"/login", "/logout", "/"}:
            said = super().__call__(seen)
            renamed = tuple((name, self._long(name, value)) for name, value in said.headers)
            return Said(said.status, said.body, renamed, said.type)
        if seen.path == f"/dossiers/{PATIENT_ID}":
            return Said(body=f"<main>{FIRST_NAME} {PATIENT_NAME}, NIR {NIR}</main>")
        if seen.path == "/dossiers":
            return Said(body=f'<table><tr data-id="{PATIENT_ID}"><td>{PATIENT_NAME}</td></tr></table>')
        if seen.path == "/api/dossiers":
            return Said(body=json.dumps({"items": [{"id": PATIENT_ID, "nom": PATIENT_NAME}]}), type=_JSON)
        if seen.path == "/export.csv":
            return Said(body=f"id;nom\n{PATIENT_ID};{PATIENT_NAME}", type="text/csv")
        if seen.path == "/annuaire":
            return Said(body=f"{FIRST_NAME} {PATIENT_NAME} {PHONE} {MAIL} {NIR}")
        return Said(404, f"pas de dossier {seen.path} pour {PATIENT_NAME}")

    def _long(self, name: str, value: str) -> str:
        if name != "Set-Cookie" or not value.startswith("sid="):
            return value
        short = value.removeprefix("sid=").partition(";")[0]
        long = f"canaricookie{short}{'0' * 24}"
        if short in self.sessions:
            self.sessions[long] = self.sessions.pop(short)
        return value.replace(short, long)


_JSON = "application/json"


@dataclass
class Day:
    """What was said and kept in a day: *canaries* by name, *answers* as they left, *traces* by place."""

    canaries: dict[str, str] = field(default_factory=dict)
    answers: list[tuple[str, Got]] = field(default_factory=list)
    traces: dict[str, bytes] = field(default_factory=dict)
    upstream: bytes = b""
    cookies: list[str] = field(default_factory=list)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def day(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Day]:
    """Live the day once; the tests look at it from all sides."""
    found, spoken, patch = Day(), io.StringIO(), pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("day")
    usual = Browser._exchange

    async def noted(browser: Browser, message: bytes, method: str) -> Got:
        got = await usual(browser, message, method)
        found.answers.append((message.split(b" ")[1].decode("latin-1"), got))
        found.cookies += [value for value in got.set_cookies().values() if len(value) > 20]
        return got

    patch.setattr(Browser, "_exchange", noted)
    telemetry.configure(spoken)
    try:
        async with stand(folder, CanaryApp(), _with_escrow) as gate:
            await _live(gate, found)
            found.upstream = bytes(gate.app.bytes)
        # The gateway has stopped, and its last day with it: the keeper makes the archive of that.
        code, said = await asyncio.to_thread(
            _command, ["audit", "keep", "--once", "--config", str(folder / "ecluse.yaml")]
        )
        assert code == 0, said
        found.traces["output of audit keep"] = said.encode()
        found.traces["metrics"] = generate_latest(telemetry.REGISTRY)
        found.traces["logs"] = spoken.getvalue().encode()
        # Everything that was written, but for the keys, which are secrets by their nature.
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            if not file.is_relative_to(folder / "keys"):
                found.traces[str(file.relative_to(folder))] = file.read_bytes()
            if file.suffix == ".parquet":
                for name, values in columns(file).items():
                    found.traces[f"{file.relative_to(folder)}, column {name}"] = values
        opened = pyrage.decrypt((folder / "backup.age").read_bytes(), [DEPUTY])
        for name, content in members(opened).items():
            if not name.startswith("keys/"):
                found.traces[f"in the backup: {name}"] = content
        yield found
    finally:
        patch.undo()
        telemetry.configure()


def _with_escrow(config: dict[str, Any]) -> None:
    config["audit"]["escrow"] = {"recipients": [str(SAFE.to_public())]}


async def _live(gate: Stand, day: Day) -> None:
    browser = await _morning(gate, day)
    for path in (
        *(f"/dossiers/{PATIENT_ID}", "/dossiers", "/api/dossiers", "/export.csv", "/annuaire", "/"),
        *("/dossiers/0", f"/nulle-part/{PATIENT_ID}?nom={PATIENT_NAME}", "/.ecluse/", "/.ecluse/sessions"),
    ):
        await browser.get(path, Referer=f"https://parcours.example/dossiers/{PATIENT_ID}?nom={PATIENT_NAME}")
    await browser.post(f"/dossiers/{PATIENT_ID}", {"note": PATIENT_NAME})
    await browser.get("/dossiers", Authorization=f"Bearer {BEARER}")
    basic = base64.b64encode(f"{PERSON.login}:{PASSWORD}".encode()).decode()
    await browser.get("/dossiers", Authorization=f"Basic {basic}")
    day.canaries["basic"] = basic
    await _slips(gate, day)
    with time_stands(gate, after_s=90):
        again = await gate.password_only(PERSON)
        page = await again.get("/.ecluse/recovery")
        form = {"code": day.canaries["recovery code"], "token": form_token(page)}
        await again.post("/.ecluse/recovery", form)
        await again.get("/.ecluse/continue")
        await again.get("/logout")
    with time_stands(gate, after_s=150):
        await gate.log_in(PERSON)
    await _faults(gate)
    with time_stands(gate, after_s=86_400):
        # The first event of another day ends the segment, so that the keeper may have it.
        assert (await browser.get("/dossiers")).status == 303
    async with asyncio.timeout(10):
        while len(list((gate.folder / "audit" / "gateway").glob("*.jsonl"))) < 2:
            await asyncio.sleep(0.05)
    await _operate(gate, day)
    await gate.settled()
    day.canaries |= {
        "store password": STORE_PASSWORD,
        "password": PASSWORD,
        "password as name": LOOSE_PASSWORD,
        "bearer": BEARER,
        "patient id": PATIENT_ID,
        "patient name": PATIENT_NAME,
        "first name": FIRST_NAME,
        "nir": NIR,
        "nir, bare": NIR.replace(" ", ""),
        "phone": PHONE,
        "mail": MAIL,
        "app cookie": "canaricookie",
    }


async def _morning(gate: Stand, day: Day) -> Browser:
    """Enrol through the pages, wrong steps among the right ones."""
    await gate.invite(PERSON)
    day.canaries["invitation"] = gate.secrets["invitation:" + PERSON.login]
    browser = await gate.password_only(PERSON)
    await show_invitation(gate, browser, "AAAA-BBBB-CCCC-DDDD")
    await show_invitation(gate, browser, day.canaries["invitation"])
    page = await browser.get("/.ecluse/enrol")
    secret = gate.secrets[PERSON.login] = shown_secret(page)
    day.canaries["totp secret"] = secret
    await type_code(browser, "000000", "enrol")
    code = gate.code(PERSON)
    day.canaries["code"] = code
    got = await type_code(browser, code, "enrol")
    codes = [node.text().strip() for node in LexborHTMLParser(got.text).css("main code")]
    day.canaries["recovery code"], day.canaries["recovery code, kept"] = codes[0], codes[1]
    await browser.get("/.ecluse/continue")
    return browser


async def _slips(gate: Stand, day: Day) -> None:
    """Do what people in a hurry do, and what attackers do with what they have."""
    clumsy = gate.browser()
    await clumsy.get("/login")
    await clumsy.post("/login", {"user": PERSON.login, "password": LOOSE_PASSWORD})
    await clumsy.post("/login", {"user": LOOSE_PASSWORD, "password": PERSON.login})
    await clumsy.get(f"/login?user={PERSON.login}&password={PASSWORD}")
    await clumsy.get(f"/dossiers/{PATIENT_ID}", Accept="application/json")
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        await clumsy.request("GET", "/a/../b", headers={"Authorization": f"Bearer {BEARER}"})
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        await clumsy.request(f"GET{PASSWORD[:4].upper()}", f"/x?{PASSWORD}")
    pending = await gate.password_only(PERSON)
    for typed in (PASSWORD, day.canaries["recovery code, kept"], day.canaries["code"]):
        await type_code(pending, typed)
    stolen = {name: value for name, value in pending.cookies.items() if name == "sid"}
    await clumsy.request("GET", "/dossiers", cookies={"__Host-ecluse": "canari" * 9, **stolen})


async def _faults(gate: Stand) -> None:
    """Make our own code fail while it holds secrets: a fault's message may quote them."""
    browser = await gate.password_only(PERSON)
    page = await browser.get("/.ecluse/code")
    patch = pytest.MonkeyPatch()

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"{PASSWORD} {PATIENT_NAME} {gate.secrets[PERSON.login]}")

    with patch.context() as fault:
        fault.setattr(factor_pages.verification, "verify_code", fail)
        got = await browser.post("/.ecluse/code", {"code": "123456", "token": form_token(page)})
    assert got.status == 503


async def _operate(gate: Stand, day: Day) -> None:
    """Do an operator's work while all this stands in memory and store, and keep what the commands say."""
    # A scope is made of what is two seconds old and signed.
    await gate.settled()
    until_ms = gate.services.clock.now_ms()
    await asyncio.sleep(2.1)
    period = ("--from", rfc3339(until_ms - 3_600_000), "--to", rfc3339(until_ms))
    for words in (
        ("account", "list"),
        ("account", "show", PERSON.login, "--json"),
        ("account", "sessions", PERSON.login),
        ("account", "lock", PERSON.login, "--reason", "canary"),
        ("audit", "query", "--csv", "--reason", "canary"),
        ("audit", "query", "--patient", PATIENT_ID, "--system", "parcours", "--json", "--reason", "canary"),
        ("audit", "verify"),
        ("store", "status", "--json"),
        ("config", "check"),
        ("keys", "show"),
        *(
            (
                "breach",
                "scope",
                "--accounts",
                PERSON.login,
                *period,
                f"--{form}",
                *("-o", str(gate.folder / f"scope.{form}"), "--reason", "canary"),
            )
            for form in ("json", "html", "csv")
        ),
        *(
            (
                "audit",
                "export",
                "--format",
                form,
                "-o",
                str(gate.folder / f"export.{form}"),
                "--reason",
                "canary",
            )
            for form in FORMATS
        ),
        ("keys", "rotate", "pseudonyms", "--reason", "canary"),
        ("backup", "-o", str(gate.folder / "backup.age"), *RECIPIENTS, "--with-keys"),
    ):
        code, said = await asyncio.to_thread(_command, [*words, "--config", str(gate.folder / "ecluse.yaml")])
        assert code == 0, (words, said)
        assert said, words
        day.traces[f"output of {' '.join(words[:2])} {len(day.traces)}"] = said.encode()
    path = gate.folder / "ecluse.yaml"
    good = path.read_text()
    assert await reload(gate.services, gate.master, gate.loaded.settings)
    path.write_text(good.replace("url: embedded", f"url: redis://:{STORE_PASSWORD}@127.0.0.1:1"))
    assert not await reload(gate.services, gate.master, gate.loaded.settings)
    path.write_text(good)
    # The store's own files, as its rewriting and a snapshot leave them; unpacked, so that all can be read.
    await ask_store(gate, "CONFIG", "SET", "rdbcompression", "no")
    await ask_store(gate, "SAVE")
    await ask_store(gate, "BGREWRITEAOF")
    while b"aof_rewrite_in_progress:1" in await ask_store(gate, "INFO", "persistence"):
        await asyncio.sleep(0.05)


def _command(words: list[str]) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(words)
        except SystemExit as left:
            return int(left.code or 0), said.getvalue()
    raise AssertionError("unreachable")


_SHOWN_BY_THE_APP = {"patient id", "patient name", "first name", "nir", "phone", "mail", "nir, bare"}


async def test_m06_f10_nothing_that_opens_or_names_is_kept(day: Day) -> None:
    """M06 F10 N01 Password, codes, secrets, cookies, tokens, names, numbers: nowhere in state, log or metrics."""
    for wanted in (
        "aof",
        "dump.rdb",
        "reload.json",
        "operator/",
        "escrow/",
        "backup.age",
        *("archive/events/", "archive/accesses/", ", column detail", ", column patient"),
        *(f"scope.{form}" for form in ("json", "html", "csv")),
        *(f"export.{form}" for form in FORMATS),
        "in the backup: accounts/",
        "in the backup: audit/gateway/",
        "in the backup: config/",
        "metrics",
        "output of account",
    ):
        assert any(wanted in name for name in day.traces), (wanted, list(day.traces))
    assert b"store.url" in day.traces["state/reload.json"]
    assert b"login-failed" in b"".join(data for name, data in day.traces.items() if name.endswith(".jsonl"))
    assert b"hook_failed" in day.traces["logs"]
    found = [
        (canary, place)
        for canary, text in day.canaries.items()
        for place, data in day.traces.items()
        if _holds(data, text, canary)
    ]
    assert found == []


def _holds(data: bytes, text: str, canary: str) -> bool:
    if canary == "code":
        # Six digits stand in many numbers by chance: a code is looked for as a value of its own, or hashed.
        spellings = {spelling for spelling in dressed(text) if len(spelling) > 2 * len(text)}
        spellings |= {b'"%s"' % text.encode(), b"\n%s\r" % text.encode(), b" %s " % text.encode()}
    else:
        spellings = dressed(text)
    if canary == "totp secret":
        raw = base64.b32decode(text)
        spellings |= {raw, raw.hex().encode(), base64.b64encode(raw), hashlib.sha256(raw).digest()}
    return holds(data, spellings)


@pytest.mark.parametrize(
    "hidden",
    [
        NIR.encode(),
        b"x" + base64.b64encode(b"..." + NIR.encode() + b"."),
        b"x" + base64.urlsafe_b64encode(b"?" + NIR.encode() + b"????"),
        NIR.encode().hex().upper().encode(),
        b"nir=2+69+05+49+588+157+80&",
        b"nir=2%2069%2005%2049%20588%20157%2080",
        b"269054958815780",
        NIR.encode("utf-16-le"),
        b"\0\0" + gzip.compress(b"nir: " + NIR.encode(), mtime=0) + b"tail",
        zlib.compress(NIR.encode() * 3),
        zstandard.compress(NIR.encode()),
        hashlib.sha256(b"269054958815780").hexdigest().encode(),
        base64.b64encode(hashlib.md5(NIR.encode(), usedforsecurity=False).digest()),
    ],
)
async def test_m06_the_search_itself_finds_what_is_hidden(hidden: bytes) -> None:
    """A search that finds nothing proves something only if it finds what is there."""
    assert _holds(b"before" + hidden + b"after", NIR, "nir")
    assert not _holds(b"before" + hidden + b"after", MAIL, "mail")


async def test_m06_what_was_looked_into_holds_the_day(day: Day) -> None:
    """M06 Archive, scope, exports and backup tell who saw whom, by login and pseudonym: they are not empty."""
    (patient,) = {
        patient
        for place, data in day.traces.items()
        if place.startswith("audit/gateway/") and place.endswith(".jsonl")
        for line in data.splitlines()
        for patient in json.loads(line).get("patients", ())
    }
    for place, words in (
        ("accesses/", (patient, PERSON.login)),
        ("column patient", (patient,)),
        ("column account", (PERSON.login,)),
        *((f"scope.{form}", (patient, PERSON.login)) for form in ("json", "html", "csv")),
        *((f"export.{form}", (patient, PERSON.login)) for form in FORMATS if form != "ans"),
        ("export.ans", (PERSON.login,)),
        ("in the backup: audit/gateway/", (patient, PERSON.login)),
        ("in the backup: accounts/", (PERSON.login,)),
    ):
        data = b"".join(data for name, data in day.traces.items() if place in name)
        assert [word for word in words if word.encode() not in data] == [], place


async def test_m06_the_search_looks_into_every_column_and_every_member(tmp_path: Path) -> None:
    """A number in any kind of column, whatever its compression, and in any file of a backup is found."""
    path = tmp_path / "hiding.parquet"
    with duckdb.connect() as engine:
        engine.sql(
            "select $nir as plain, [$nir, 'x'] as list, map {'k': $nir} as pairs, {'deep': [$nir]} as record, "
            "$nir::blob as raw, 7 as number, 'nothing' as clean from range(3000)",
            params={"nir": NIR},
        ).write_parquet(str(path), compression="zstd")
    found = {name: _holds(values, NIR, "nir") for name, values in columns(path).items()}
    names = ("plain", "list", "pairs", "record", "raw")
    assert found == {**dict.fromkeys(names, True), "number": False, "clean": False}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in (("audit/a", b"..." + NIR.encode()), ("audit/b", b"...")):
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    held = members(zstandard.compress(packed.getvalue()))
    assert {name: _holds(content, NIR, "nir") for name, content in held.items()} == {
        "audit/a": True,
        "audit/b": False,
    }


async def test_m06_who_holds_the_escrows_identity_and_no_other_learns_who_it_was(day: Day) -> None:
    """M06 The same day's escrow: nothing in clear for the gateway, the patient's number for the officer."""
    entries = [
        json.loads(line)
        for place, data in day.traces.items()
        if place.startswith("audit/gateway/") and place.endswith(".jsonl")
        for line in data.splitlines()
    ]
    seen = {patient for entry in entries for patient in entry.get("patients", ())}
    blocks = [
        b"-----BEGIN" + block
        for place, data in day.traces.items()
        if place.startswith("audit/escrow/")
        for block in data.split(b"-----BEGIN")[1:]
    ]
    plain = b"".join(pyrage.decrypt(block, [SAFE]) for block in blocks)
    told = [json.loads(line) for line in plain.splitlines()]
    assert {(system, clear_id) for _, system, clear_id in told} == {("parcours", PATIENT_ID)}
    assert {pseudonym for pseudonym, _, _ in told} == seen
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(blocks[0], [DEPUTY])


async def test_m06_no_cookie_and_no_token_is_kept(day: Day) -> None:
    """M06 The cookies that this day's browsers got, ours and the app's, whole or by their signature."""
    assert len(day.cookies) >= 6
    found = []
    for value in set(day.cookies):
        pieces = [value] + [piece for piece in value.split(".") if len(piece) >= 40]
        signature = pieces[-1]
        for place, data in day.traces.items():
            if value.encode() in data or (value.count(".") == 2 and signature.encode() in data):
                found.append((value[:12], place))
    assert found == []


async def test_m06_our_secrets_stand_on_their_own_page_alone(day: Day) -> None:
    """M06 Secret, recovery codes, password and code: of all answers of the day, on the one page that shows them."""
    pages: dict[str, set[str]] = {}
    for canary in (
        *("password", "password as name", "invitation", "totp secret", "recovery code", "bearer", "basic"),
        "app cookie",
    ):
        text = day.canaries[canary].encode()
        pages[canary] = {path.partition("?")[0] for path, got in day.answers if text in got.body}
    assert pages.pop("recovery code") == {"/.ecluse/enrol"}
    # Groups of four make the words of the secret differ; the link holds it in one piece.
    assert pages.pop("totp secret") == {"/.ecluse/enrol"}
    assert set().union(*pages.values()) == set()


async def test_m06_patients_stand_in_answers_of_the_app_alone(day: Day) -> None:
    """M06 No refusal, redirect or page of ours repeats a patient's number or name."""
    for path, got in day.answers:
        ours = path.startswith("/.ecluse/") or got.status in {303, 429, 503} or "problem" in got.text[:300]
        if ours:
            for canary in ("patient name", "first name", "nir", "mail"):
                assert day.canaries[canary].encode() not in got.raw, (path, canary)


async def test_f10_the_app_gets_nothing_of_the_factor(day: Day) -> None:
    """F10 The app's own logs are as good a place to lose a secret as ours: it hears of none."""
    for canary in ("invitation", "totp secret", "recovery code", "recovery code, kept", "basic", "bearer"):
        assert day.canaries[canary].encode() not in day.upstream, canary
    assert b"__Host-ecluse" not in day.upstream
    assert b"code=" + day.canaries["code"].encode() not in day.upstream
    assert PASSWORD.encode() in day.upstream


async def test_m06_the_log_still_tells_who_and_which(day: Day) -> None:
    """The honest neighbour: the same day, the same log, and everything an auditor needs stands in it."""
    journals = [
        data for name, data in day.traces.items() if name.startswith("audit/") and name.endswith(".jsonl")
    ]
    lines = b"".join(journals).splitlines()
    entries = [json.loads(line) for line in lines]
    accesses = [entry for entry in entries if entry["kind"] == "access" and entry.get("patients")]
    assert {entry["account"] for entry in accesses} == {PERSON.login}
    assert len({patient for entry in accesses for patient in entry["patients"]}) == 1
    failed = [entry for entry in entries if entry["kind"] == "login-failed"]
    # A known name is told; one that nobody knows, which may be a password, by a keyed hash.
    assert [entry.get("account") for entry in failed][:2] == [PERSON.login, None]
    assert len(failed[1]["detail"]["account_id"]) == 32


async def test_n01_a_factor_at_rest_is_sealed(tmp_path: Path) -> None:
    """N01 The store holds a sealed secret that names its key, and the key is not in the store."""
    async with stand(tmp_path) as gate:
        secret = await gate.enrol(DR_MARTIN)
        key = f"ecluse:{{{gate.ref(DR_MARTIN.login).id}}}:account"
        kept = await ask_store(gate, "HGET", key, "secret")
        assert secret.encode() not in kept
        assert base64.b32decode(secret) not in kept
        ring = gate.services.keys.sealing
        assert ring.current.encode() in kept
        for name in await ask_store(gate, "KEYS", "*"):
            if (await ask_store(gate, "TYPE", name)) == b"string":
                assert base64.b64encode(ring.key()) not in (await ask_store(gate, "GET", name))


async def test_n02_other_keys_refuse_to_start_and_enrol_nobody_again(tmp_path: Path) -> None:
    """N02 The keys of a backup, or of the wrong site: the gateway does not start, and no factor is lost."""
    async with stand(tmp_path) as gate:
        await gate.enrol(DR_MARTIN)
    (tmp_path / "keys").rename(tmp_path / "right")
    init_keys(tmp_path / "keys")
    loaded = load(tmp_path / "ecluse.yaml")
    with pytest.raises(KeysDisagree):
        async with open_services(loaded):
            pass
    for file in (tmp_path / "keys").iterdir():
        file.unlink()
    (tmp_path / "keys").rmdir()
    (tmp_path / "right").rename(tmp_path / "keys")
    async with open_services(load(tmp_path / "ecluse.yaml")) as services:
        accounts = await services.accounts.list()
        assert [account.has_secret for account in accounts] == [True]


def _short(ring: dict[str, Any]) -> None:
    ring["keys"][ring["current"]] = base64.b64encode(b"k" * 16).decode()


def _example(ring: dict[str, Any]) -> None:
    ring["keys"][ring["current"]] = base64.b64encode(bytes(range(32))).decode()


def _words(ring: dict[str, Any]) -> None:
    ring["keys"][ring["current"]] = base64.b64encode(b"changeme-changeme-changeme-12345").decode()


@pytest.mark.parametrize("spoil", [_short, _example, _words])
@pytest.mark.parametrize("purpose", ["session", "sealing"])
async def test_n03_weak_keys_refuse_to_start(tmp_path: Path, purpose: str, spoil: Any) -> None:
    """N03 PyJWT only warns of a short key: ours is an error, and its message quotes no key."""
    loaded = load(write_config(tmp_path, 9))
    file = tmp_path / "keys" / f"{purpose}.json"
    ring = json.loads(file.read_text())
    spoil(ring)
    file.write_text(json.dumps(ring))
    with pytest.raises(KeysRefused) as caught:
        async with open_services(loaded):
            pass
    assert str(file) in str(caught.value)
    assert ring["keys"][ring["current"]] not in str(caught.value)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(("name", "mode"), [("session.json", 0o644), ("session.json", 0o640), (".", 0o755)])
async def test_n03_keys_that_others_can_read_refuse_to_start(tmp_path: Path, name: str, mode: int) -> None:
    """N03 The mend stands in the message."""
    loaded = load(write_config(tmp_path, 9))
    (tmp_path / "keys" / name).chmod(mode)
    with pytest.raises(KeysRefused, match="chmod"):
        async with open_services(loaded):
            pass


@pytest.mark.parametrize(
    "words",
    [
        {"ssl_insecure": True},
        {"verify": False},
        {"secret": "changeme"},
        {"mitm": {"ssl_insecure": True}},
    ],
    ids=["insecure", "verify", "secret", "nested"],
)
async def test_n05_there_is_no_word_to_make_it_insecure(tmp_path: Path, words: dict[str, Any]) -> None:
    """N05 What mitmproxy could be told to leave out is no key of ours, on the gateway or on an app."""

    def loosen(config: dict[str, Any]) -> None:
        config["gateway"] |= words
        config["apps"]["parcours"] |= words

    with pytest.raises(ConfigurationFaults) as caught:
        load(write_config(tmp_path, 9, loosen))
    assert str(caught.value).count(next(iter(words))) >= 2


@pytest.fixture
def compared() -> Iterator[list[tuple[object, object]]]:
    """Everything that was compared in constant time."""
    seen: list[tuple[object, object]] = []
    usual = hmac.compare_digest
    patch = pytest.MonkeyPatch()

    def noted(left: Any, right: Any) -> bool:
        seen.append((left, right))
        return usual(left, right)

    patch.setattr(hmac, "compare_digest", noted)
    yield seen
    patch.undo()


async def test_n06_codes_and_tokens_are_compared_in_constant_time(
    tmp_path: Path, compared: list[tuple[object, object]]
) -> None:
    """N06 A comparison that stops at the first difference tells how much was right."""
    async with stand(tmp_path) as gate:
        await gate.enrol(DR_MARTIN)
        browser = await gate.password_only(DR_MARTIN)
        page = await browser.get("/.ecluse/code")
        token = form_token(page)
        compared.clear()
        await browser.post("/.ecluse/code", {"code": "123456", "token": token})
        texts = [value for pair in compared for value in pair]
        assert texts.count("123456") == 2
        assert token.partition(".")[2] in texts
        ring = gate.services.keys.session
        assert not forms.is_form_token(ring, "0" * 32, "code", token)
