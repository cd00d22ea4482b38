"""What an auditor is told of a day with two thieves, held against what every client wrote down itself (M07 to M10)."""

import asyncio
import base64
import csv
import io
import json
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fhir.resources.R4B.auditevent import AuditEvent

from gateway.audit.operator import local_user
from gateway.cli.audit import audit
from gateway.cli.breach import breach
from tests.attacks.auditor import Client, Ran, Sight, arrive, ecluse, entries, named, rfc3339
from tests.attacks.factor import PEOPLE, operate, time_stands
from tests.people import Person
from tests.stand import PATIENTS, MiniApp, Said, Seen, Stand, stand
from tests.unit.audit.export.readers import READERS, read_cef, read_syslog

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
FIRST, SECOND, HONEST = PEOPLE[:3]
HOSTILE = Person('eve|x=1]"; user=root', "Saule-Pleureur-des-bois")
HOSTILE_REASON = 'égaré x]"|\\ suser=root\n<86>1 - - - - - - gotcha\r\x1b[31m\u202e{"a":1}'
NOBODY = "1999"
IDENTITY, RECORD = ("identite.nom", "identite.prenom"), ("contact.tel", "identite.age")


class _Hospital(MiniApp):
    """The app in miniature, with results of examinations beside its records."""

    def __call__(self, seen: Seen) -> Said:
        said = super().__call__(seen)
        if said.status == 404 and seen.path.startswith("/resultats/"):
            number = seen.path.rpartition("/")[2]
            return Said(body=f"<p>{PATIENTS[number]} : glycémie 1,2 g/l</p>")
        return said


class _Collector:
    """A collector that speaks RFC 6587: it keeps the frames, and whatever does not fit into one."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.loose = b""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        while found := re.match(rb"([1-9]\d{0,9}) ", data):
            end = found.end() + int(found[1])
            self.frames.append(data[found.end() : end])
            data = data[end:]
        self.loose += data
        writer.close()


@dataclass
class Day:
    """A running gateway after a day: who saw whom, and the period of the theft, half open."""

    gate: Stand
    clients: list[Client]
    from_ms: int
    to_ms: int
    collector: _Collector

    @property
    def folder(self) -> Path:
        return self.gate.folder

    def sights(self, *logins: str, always: bool = False) -> list[Sight]:
        """Return what *logins* (everybody, without) noted in the period, or ever."""
        return [
            sight
            for client in self.clients
            for sight in client.notes
            if (not logins or sight.login in logins) and (always or self.from_ms <= sight.at_ms < self.to_ms)
        ]

    async def scope(self, form: str, name: str) -> bytes:
        """Make the report on the two thieves and return it."""
        made = await ecluse(
            self.folder, "breach", "scope", "--accounts", f"{FIRST.login},{SECOND.login}",
            "--from", rfc3339(self.from_ms), "--to", rfc3339(self.to_ms), f"--{form}", "-o", self.folder / name,
            "--reason", "ticket 4711",
        )  # fmt: skip
        assert made.code == 0, made.err
        return (self.folder / name).read_bytes()


def _configured(port: int) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        config["audit"]["collector"] = {"url": f"tcp://127.0.0.1:{port}", "format": "cef"}
        routes = config["apps"]["parcours"]["routes"]
        for route in routes:
            if route["name"] == "record":
                route["categories"] = [*IDENTITY, *RECORD]
        results = {
            "name": "results",
            "kind": "record",
            "path": "/resultats/{id}",
            "patients": {"path": "id", "normalise": ["digits", "unpad"], "system": "parcours"},
            "categories": [*IDENTITY, "sante.biologie"],
            "sensitivity": "medical",
        }
        routes.append(results)

    return change


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def day(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Day]:
    """Live the day once, an hour ago, minute by minute."""
    collector = _Collector()
    async with await asyncio.start_server(collector.take, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        app = _Hospital((*PEOPLE, HOSTILE))
        async with stand(tmp_path_factory.mktemp("day"), app, _configured(port)) as gate:
            with time_stands(gate, after_s=-7_200) as clock:
                first, second, honest, hostile = [
                    await arrive(gate, person, clock) for person in (FIRST, SECOND, HONEST, HOSTILE)
                ]
                assert "NOM1400" in (await first.see("/dossiers/1400")).text
                from_ms = clock.now_ms()
                await _steal(first, second, honest, hostile)
                to_ms = clock.now_ms()
                assert "NOM1450" in (await second.see("/dossiers/1450")).text
            assert await operate(gate, "account", "lock", SECOND.login, "--reason", HOSTILE_REASON) == 0
            await gate.settled()
            yield Day(gate, [first, second, honest, hostile], from_ms, to_ms, collector)


async def _steal(first: Client, second: Client, honest: Client, hostile: Client) -> None:
    for path in (
        "/dossiers",
        "/dossiers/1001",
        "/dossiers/01001",
        "/dossiers/1030",
        "/api/dossiers?start=1031",
    ):
        assert (await first.see(path)).status == 200
    # What is refused, missing, or withheld because it would cross the cap, shows nobody.
    assert (await first.see("/api/dossiers?start=1500&size=400")).status == 429
    assert (await first.see("/dossiers/9")).status == 404
    assert (await first.see("/admin/x")).status == 403
    assert "NOM1005" in (await second.see("/dossiers/1005")).text
    assert (await second.see("/export.csv")).status == 200
    assert "glyc" in (await second.see("/resultats/1005")).text
    for path in ("/dossiers/1001", "/dossiers/1300", "/api/dossiers?start=1004&size=3"):
        assert (await honest.see(path)).status == 200
    assert (await hostile.see("/dossiers/1001")).status == 200


async def test_m07_the_scope_names_exactly_whom_the_thieves_saw(day: Day) -> None:
    """M07 Persons, ways, first and last time, fields, accounts and evidence: as the two thieves wrote them down."""
    listed = list(csv.DictReader(io.StringIO((await day.scope("csv", "persons.csv")).decode())))
    sights = day.sights(FIRST.login, SECOND.login)
    keys, journal = day.gate.services.keys, entries(day.gate.loaded.settings.audit_dir)
    seen = sorted({sight.patient for sight in sights})
    assert len(seen) >= 32
    assert {row["pseudonym"] for row in listed} == {named(keys, patient) for patient in seen}
    assert len(listed) == len(seen)
    rows = {row["pseudonym"]: row for row in listed}
    for patient in seen:
        mine, row = [sight for sight in sights if sight.patient == patient], rows[named(keys, patient)]
        ways = Counter(sight.how for sight in mine)
        assert {how: int(row[how]) for how in ("opened", "listed", "exported")} == {
            how: ways[how] for how in ("opened", "listed", "exported")
        }
        assert row["first"] == rfc3339(min(sight.at_ms for sight in mine))
        assert row["last"] == rfc3339(max(sight.at_ms for sight in mine))
        medical = any("resultats" in sight.path for sight in mine)
        opened = any(sight.path.startswith("/dossiers/") for sight in mine)
        fields = {*IDENTITY, *(RECORD if opened else ()), *(("sante.biologie",) if medical else ())}
        assert row["categories"].split() == sorted(fields)
        assert row["medical"] == ("yes" if medical else "no")
        assert row["accounts"].split() == sorted({sight.login for sight in mine})
        # Each piece of evidence is an entry that says so, and no entry that says so is left out.
        evidence = [(name, int(seq)) for name, seq in (one.split(":") for one in row["evidence"].split())]
        shown = sorted((sight.login, sight.at_ms) for sight in mine)
        assert sorted((journal[one]["account"], journal[one]["at_ms"]) for one in evidence) == shown
        assert all(named(keys, patient) in journal[one]["patients"] for one in evidence)
    # Persons who were only ever listed or exported are there, strangers of other accounts and moments are not.
    assert rows[named(keys, "1020")]["opened"] == "0"
    for stranger in ("1300", "1400", "1450", "1500", NOBODY):
        assert named(keys, stranger) not in rows


async def test_m07_the_same_question_gives_the_same_bytes_however_often(day: Day) -> None:
    """M07 Made twice while the log goes on: the same figures, which are the client's, under one signature."""
    once = await day.scope("json", "one.json")
    assert (await ecluse(day.folder, "audit", "query", "--reason", "meanwhile", "--limit", "1")).code == 0
    assert await day.scope("json", "two.json") == once
    notes = [(day.folder / f"{name}.json.sig").read_bytes() for name in ("one", "two")]
    assert notes[0] == notes[1]
    verified = await ecluse(day.folder, "breach", "verify", day.folder / "one.json", "--json")
    assert (verified.code, json.loads(verified.out)["journals_checked"]) == (0, True)
    found, sights = json.loads(once), day.sights(FIRST.login, SECOND.login)
    assert found["total"]["patients"] == len({sight.patient for sight in sights})
    assert found["total"]["rows"] == len(sights)
    assert found["total"]["answers"] == len({(sight.login, sight.at_ms) for sight in sights})
    assert found["medical"]["patients"] == 1
    assert found["events"][FIRST.login]["withheld"] == 1


async def test_m08_a_patient_is_told_who_saw_the_record(day: Day) -> None:
    """M08 Every access by anybody at any time, opened or listed, whatever spelling of the number was asked for."""
    for patient in ("1001", "1005", "1020", "1400", NOBODY):
        mine = [sight for sight in day.sights(always=True) if sight.patient == patient]
        asked = ("audit", "patient", patient, "--system", "parcours", "--reason", "art. 15")
        # The letter: in both languages, and naming professionals only where that is asked.
        letter = await ecluse(day.folder, *asked)
        assert letter.code == 0, letter.err
        for nothing in ("Aucun événement vous concernant", "No event about you"):
            assert (nothing in letter.out) is (not mine)
        assert [client.login for client in day.clients if client.login in letter.out] == []
        by_name = await ecluse(day.folder, *asked, "--names")
        assert {sight.login for sight in mine} == {
            client.login for client in day.clients if client.login in by_name.out
        }
        found = (await ecluse(day.folder, *asked, "--json")).rows()
        accesses = [row for row in found if row["kind"] == "access"]
        assert sorted((row["account"], row["at_ms"], row["opened"]) for row in accesses) == sorted(
            (sight.login, sight.at_ms, sight.how == "opened") for sight in mine
        )
        # Who asked this log about the patient is told as well, but for the asking itself.
        assert [row["kind"] for row in found if row not in accesses] == ["audit-queried"] * 2


async def test_m08_a_new_pseudonyms_key_hides_nobody(day: Day) -> None:
    """M08 What was recorded under the key of before is still told, and to the patient in person only."""
    asked = ("audit", "patient", "1001", "--system", "parcours", "--json", "--reason", "art. 15")

    async def accesses() -> list[dict[str, Any]]:
        return [row for row in (await ecluse(day.folder, *asked)).rows() if row["kind"] == "access"]

    before = await accesses()
    turned = await ecluse(day.folder, "keys", "rotate", "pseudonyms", "--reason", "yearly")
    assert turned.code == 0, turned.err
    assert before
    assert await accesses() == before


async def _exported(day: Day, form: str) -> list[str]:
    made = await ecluse(
        day.folder, "audit", "export", "--format", form, "-o", day.folder / f"all.{form}", "--reason", "feed"
    )
    assert made.code == 0, made.err
    # Split at line feeds alone: whatever else a reader may take for a line end is inside.
    return (day.folder / f"all.{form}").read_bytes().decode().removesuffix("\n").split("\n")


async def test_m09_every_access_is_a_patient_read_or_a_patient_query(day: Day) -> None:
    """M09 FHIR by IHE BALP: one resource for each patient an answer showed, read by somebody else's models."""
    resources = [
        AuditEvent.model_validate_json(line) and json.loads(line) for line in await _exported(day, "fhir")
    ]
    told = Counter()
    for one in resources:
        profile = one.get("meta", {}).get("profile", [""])[0].rpartition(".")[2]
        if profile not in {"PatientRead", "PatientQuery"}:
            continue
        interaction = one["subtype"][0]["code"]
        assert (profile, interaction, one["action"]) in {
            ("PatientRead", "read", "R"),
            ("PatientQuery", "search", "E"),
        }
        who = {agent["who"].get("identifier", {}).get("value"): agent for agent in one["agent"]}
        (login,) = [name for name in who if name is not None]
        assert [name for name, agent in who.items() if agent["requestor"]] == [login]
        assert {agent["network"]["address"] for agent in one["agent"] if "network" in agent} == {
            "127.0.0.1", "parcours.example",
        }  # fmt: skip
        entities = {entity["type"]["code"]: entity for entity in one["entity"]}
        assert entities["1"]["what"]["type"] == "Patient"
        assert len(entities["XrequestId"]["what"]["identifier"]["value"]) == 32
        if profile == "PatientQuery":
            assert base64.b64decode(entities["2"]["query"], validate=True).startswith(b"GET parcours/")
        patient = entities["1"]["what"]["identifier"]["value"]
        told[login, one["recorded"], patient, profile == "PatientRead"] += 1
    keys = day.gate.services.keys
    assert told == Counter(
        (sight.login, rfc3339(sight.at_ms), named(keys, sight.patient), sight.how == "opened")
        for sight in day.sights(always=True)
    )
    assert len({one["id"] for one in resources}) == len(resources)


@pytest.mark.parametrize("form", ["ecs", "syslog", "cef"])
async def test_m09_what_a_login_or_a_reason_says_stays_in_its_field(day: Day, form: str) -> None:
    """M09 A login and a reason that speak ECS, CEF and syslog: read back whole, and nothing else is read."""
    journal = entries(day.gate.loaded.settings.audit_dir)
    (locked,) = [entry for entry in journal.values() if entry["kind"] == "account-locked"]
    accesses = [entry for entry in journal.values() if entry.get("account") == HOSTILE.login]
    lines = await _exported(day, form)
    assert all(line.isprintable() for line in lines)
    told = [_fields(form, READERS[form](line)) for line in lines]
    assert sum(HOSTILE.login in one["names"] for one in told) == len(accesses) >= 4
    (reason,) = [one["reason"] for one in told if one["kind"] == "account-locked"]
    assert reason == locked["reason"]
    assert all(word in reason for word in ('x]"|', "suser=root", "<86>1", "\\u001b[31m", '{"a":1}'))
    # No event came from nowhere.
    kinds = Counter(one["kind"] for one in told)
    for kind in ("login-seen", "withheld", "refused", "account-locked"):
        assert kinds[kind] == sum(entry["kind"] == kind for entry in journal.values())


def _fields(form: str, found: Any) -> dict[str, Any]:
    """Return what a reader of *form* has for kind, reason and names of people."""
    if form == "ecs":
        user = found.get("user", {})
        names = {user.get("name"), user.get("target", {}).get("name")}
        return {"kind": found["event"]["action"], "reason": found["event"].get("reason"), "names": names}
    if form == "cef":
        values = found["told"]
        names = {values.get("suser"), values.get("duser")}
        return {"kind": found["header"][3], "reason": values.get("reason"), "names": names}
    values = dict(next(iter(found["data"].values())))
    names = {values.get("account"), values.get("operator")}
    return {"kind": found["kind"], "reason": values.get("reason"), "names": names}


async def test_m09_the_collector_gets_whole_frames_whatever_stands_in_them(day: Day) -> None:
    """M09 RFC 5424 in the frames of RFC 6587: as many as there are lines to tell, each read to its last byte."""
    command = [
        sys.executable,
        "-m",
        "gateway",
        "audit",
        "ship",
        "--once",
        "--config",
        str(day.folder / "ecluse.yaml"),
    ]
    shipping = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
    _, said = await shipping.communicate()
    assert shipping.returncode == 0, said.decode()
    assert day.collector.loose == b""
    texts = [read_syslog(frame.decode()) for frame in day.collector.frames]
    ids = [dict(next(iter(each["data"].values())))["id"] for each in texts]
    assert len(ids) == len(set(ids))
    shown = [read_cef(each["text"])["told"] for each in texts]
    signed = {one.split("/")[0] for one in ids}
    journal = entries(day.gate.loaded.settings.audit_dir)
    expected = sum(
        max(1, len(entry.get("patients", ())))
        for one, entry in journal.items()
        if f"{one[0]}:{one[1]}" in signed
    )
    assert len(shown) == expected
    # Everything that was there when shipping began has arrived: all of the gateway's, and of the operator's log.
    assert {f"gateway:{seq}" for writer, seq in journal if writer == "gateway"} <= signed
    assert sum(one.get("suser") == HOSTILE.login for one in shown) >= 4


@dataclass(frozen=True)
class Asking:
    """A command that reads entries: *kind* is what must be recorded, *why* the reason where it has one of its own."""

    words: tuple[str, ...]
    kind: str = "audit-queried"
    why: str | None = None
    in_a_process: bool = False


SCOPE = ("breach", "scope", "--accounts", FIRST.login, "--from", "2h", "--to", "FROM", "--csv", "-o", "OUT")
ASKINGS = {
    "query": Asking(("audit", "query", "--json")),
    "patient": Asking(("audit", "patient", "1001", "--system", "parcours")),
    "account": Asking(("audit", "account", FIRST.login, "--json")),
    "stats": Asking(("audit", "stats", "--json")),
    "follow": Asking(("audit", "follow", "--from-start", "--json"), in_a_process=True),
    "export": Asking(("audit", "export", "--format", "ecs")),
    "identify": Asking(
        ("audit", "identify", "PSEUDONYM", "--candidates", "INDEX", "--system", "parcours"),
        "audit-identified",
    ),
    "prove": Asking(("audit", "prove", "gateway:0", "-o", "OUT", "--with-entry"), "audit-proved"),
    "ship": Asking(("audit", "ship", "--once"), why="audit.collector", in_a_process=True),
    "scope": Asking(SCOPE),
}
SHOW_NO_ENTRY = {"verify", "keep", "purge", "publish", "stamp", "load", "checkpoint", "watch"}
"""Commands of the trail that tell how many entries there are, and what they hash to, at most."""


async def test_m10_no_command_that_reads_the_log_is_left_out() -> None:
    """M10 A command that is added to the trail is either recorded or shows nobody's doings: say which."""
    assert {*audit.listed, *breach.commands} == {*ASKINGS, *SHOW_NO_ENTRY}


def _words(day: Day, asking: Asking) -> list[str]:
    index = day.folder / "index.csv"
    index.write_text("1001\n1002\n")
    filled = {
        "OUT": str(day.folder / "out.file"),
        "FROM": "1h",
        "INDEX": str(index),
        "PSEUDONYM": named(day.gate.services.keys, "1001"),
    }
    return [filled.get(word, word) for word in asking.words]


async def _ask(day: Day, asking: Asking, *more: str) -> Ran:
    words = [*_words(day, asking), *more]
    if not asking.in_a_process:
        return await ecluse(day.folder, *words)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *words, "--config", str(day.folder / "ecluse.yaml"),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    said = b""
    if "follow" in words:
        said = await process.stdout.readline()
    ending = asyncio.ensure_future(process.communicate())
    if "follow" in words and said:
        process.send_signal(signal.SIGINT)
    out, err = await ending
    return Ran(process.returncode or 0, (said + out).decode(), err.decode())


def _operators(day: Day) -> list[dict[str, Any]]:
    journal = entries(day.gate.loaded.settings.audit_dir)
    return [entry for (writer, _), entry in sorted(journal.items()) if writer == "operator"]


@contextmanager
def _unwritable(log: Path) -> Iterator[None]:
    """Let nothing more be recorded in *log*."""
    signed = (log / "checkpoint").read_bytes()
    (log / "checkpoint").write_bytes(b"rubbish")
    try:
        yield
    finally:
        (log / "checkpoint").write_bytes(signed)


def _told_by(day: Day, ran: Ran) -> str:
    """Return all that a command gave away."""
    file = day.folder / "out.file"
    return ran.out + "".join(path.read_text() for path in (file, file.with_suffix(".jsonl")) if path.exists())


@pytest.mark.parametrize("name", ASKINGS)
async def test_m10_who_asks_the_log_stands_in_the_log(day: Day, name: str) -> None:
    """M10 Who, what and why, one entry for each question; without reason or record nothing is told."""
    asking, why = ASKINGS[name], f"ticket of {name}"
    for file in day.folder.glob("out.*"):
        file.unlink()
    before, frames = _operators(day), len(day.collector.frames)
    with _unwritable(day.gate.loaded.settings.audit_dir / "operator"):
        unrecorded = await _ask(day, asking, "--reason", why)
    assert unrecorded.code == 2, unrecorded
    unreasoned = None if asking.why else await _ask(day, asking)
    assert unreasoned is None or (unreasoned.code, "--reason" in unreasoned.err) == (2, True)
    for refused in (unrecorded, unreasoned):
        assert refused is None or _told_by(day, refused) == ""
    assert _operators(day) == before
    assert len(day.collector.frames) == frames
    answered = await _ask(day, asking, *(() if asking.why else ("--reason", why)))
    assert answered.code == 0, answered.err
    if name != "ship":
        assert _told_by(day, answered) != ""
    (recorded,) = _operators(day)[len(before) :]
    assert (recorded["kind"], recorded["operator"]) == (asking.kind, local_user())
    assert recorded["detail"]["reason"] == (asking.why or why)
    asked = json.dumps(recorded)
    assert "1001" not in asked
    for word in (FIRST.login, named(day.gate.services.keys, "1001")):
        assert (word in asked) is (word in asking.words or (name in {"patient", "identify"} and ":" in word))


async def test_m10_what_is_not_recorded_tells_of_nobody(day: Day) -> None:
    """M10 Verifying, archiving and shipping's state need no reason: they name no person and no patient."""
    before = _operators(day)
    keys = day.gate.services.keys
    canaries = [
        *(client.login for client in day.clients),
        named(keys, "1001"),
        "NOM1001",
        keys.pseudonyms.current,
    ]
    for words in (
        ("audit", "verify"),
        ("audit", "verify", "--json"),
        ("audit", "keep", "--once"),
        ("audit", "purge", "--dry-run"),
        ("audit", "ship", "--status"),
    ):
        ran = await ecluse(day.folder, *words)
        assert ran.code == 0, (words, ran)
        assert ran.out
        assert [canary for canary in canaries if canary in ran.out + ran.err] == []
    assert _operators(day) == before
