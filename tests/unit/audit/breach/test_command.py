"""``ecluse breach`` as a data-protection officer uses it, on real journals."""

import csv
import errno
import io
import json
import re
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gateway.audit import files
from gateway.audit.breach.letters import NEVER_ASKED
from gateway.audit.checkpoint import LOG_NAME, verifier_of
from gateway.audit.encoding import decode, encode
from gateway.audit.segments import Journal
from gateway.cli import breach, main
from gateway.configuration import init_keys, load_keys
from gateway.vocabulary.events import AuditEvent, EventKind
from tests.people import CLERK_LEA, DR_MARTIN, NURSE_BEN
from tests.unit.audit.logs import NOW_MS, SALT

FROM, TO = "2026-09-21T00:00:00Z", "2026-09-22T00:00:00Z"
JEANNE, PAUL, ROSE = (f"p1:{number:032x}" for number in (1, 2, 3))
IDENTITY = ("identite.age", "identite.nom", "identite.prenom")


@pytest.fixture(scope="module")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("keys") / "keys"
    init_keys(place)
    return place


def told(kind: EventKind, minute: int, login: str, *patients: str, **values: Any) -> AuditEvent:
    known: dict[str, Any] = {
        "account": login,
        "realm": "region",
        "app": "parcours",
        "client": "192.0.2.7",
        "establishment": "590000001",
        "policy_id": "pol-1",
        "patients": patients,
    }
    return AuditEvent(kind, NOW_MS + minute * 60_000, **(known | values))


RECORD = {"route": "dossier", "route_kind": "record", "opened": True, "rows": 1, "bytes": 900,
          "categories": (*IDENTITY, "contact.tel", "nir"), "sensitivity": "administrative"}  # fmt: skip
LISTING = {"route": "dossiers", "route_kind": "listing", "opened": False, "rows": 2, "bytes": 5_000,
           "categories": IDENTITY, "sensitivity": "administrative"}  # fmt: skip
GATEWAY = [
    told(EventKind.LOGIN_SEEN, 0, DR_MARTIN.login),
    told(EventKind.ACCESS, 1, DR_MARTIN.login, JEANNE, **RECORD),
    told(EventKind.ACCESS, 2, DR_MARTIN.login, JEANNE, PAUL, **LISTING),
    told(EventKind.ACCESS, 3, CLERK_LEA.login, ROSE, **RECORD),
    told(EventKind.SIGHTED, 4, DR_MARTIN.login, detail=(("nirs", "2"),)),
    told(EventKind.WITHHELD, 5, DR_MARTIN.login, reason="cap"),
]
OTHER = [told(EventKind.ACCESS, 120, NURSE_BEN.login, PAUL, **LISTING)]
OPERATOR = [told(EventKind.ACCOUNT_LOCKED, 180, DR_MARTIN.login, operator="root", reason="ticket <4711>")]


@pytest.fixture
def audit_dir(tmp_path: Path, keys_dir: Path) -> Path:
    keys = load_keys(keys_dir)
    for name, events in (("gateway", GATEWAY), ("gateway.n2", OTHER), ("operator", OPERATOR)):
        log = Journal(tmp_path / "audit" / name, LOG_NAME, keys.checkpoint, segment_bytes=64_000_000)
        log.open()
        for event in events:
            log.commit([encode(event, seq=log.size, salt=SALT)])
        log.close()
    return tmp_path / "audit"


@dataclass(frozen=True)
class Ran:
    exit_code: int
    stdout: str
    stderr: str


def run(*arguments: str | Path) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main(["breach", *map(str, arguments)])
    return Ran(int(left.value.code or 0), out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Office:
    """A DPO's desk: makes reports of two stolen accounts."""

    audit_dir: Path
    keys_dir: Path

    def scope(self, form: str, name: str, *more: str | Path) -> Ran:
        return run(
            "scope", "--accounts", f"{DR_MARTIN.login},{NURSE_BEN.login}", "--from", FROM, "--to", TO, f"--{form}",
            "-o", self.audit_dir.parent / name, "--audit-dir", self.audit_dir, "--keys-dir", self.keys_dir,
            "--reason", "ticket 4711", *more,
        )  # fmt: skip

    def read(self, name: str) -> bytes:
        return (self.audit_dir.parent / name).read_bytes()

    def verify(self, name: str, *more: str | Path) -> Ran:
        key = verifier_of(LOG_NAME, load_keys(self.keys_dir).checkpoint.key()).text()
        return run("verify", self.audit_dir.parent / name, "--key", key, *more)


def consultations(office: Office) -> list[dict[str, Any]]:
    log = office.audit_dir / "operator"
    return [
        decode(line)
        for start in files.segment_starts(log)
        for line in files.read_lines(files.segment_path(log, start))
    ]


@pytest.fixture
def office(audit_dir: Path, keys_dir: Path) -> Office:
    return Office(audit_dir, keys_dir)


def test_the_list_names_every_patient_once_with_how_and_by_which_entries(office: Office) -> None:
    made = office.scope("csv", "persons.csv")
    assert made.exit_code == 0, made.stderr
    jeanne, paul = csv.DictReader(io.StringIO(office.read("persons.csv").decode()))
    assert jeanne == {
        "pseudonym": JEANNE, "letter": "L1", "opened": "1", "listed": "1", "exported": "0",
        "first": "2026-09-21T14:14:20.000Z", "last": "2026-09-21T14:15:20.000Z",
        "categories": "contact.tel identite.age identite.nom identite.prenom nir", "medical": "no",
        "accounts": "dr.martin", "apps": "parcours", "establishments": "590000001", "answers_bytes": "5900",
        "evidence": "gateway:1 gateway:2",
    }  # fmt: skip
    assert (paul["pseudonym"], paul["letter"], paul["opened"], paul["listed"]) == (PAUL, "L2", "0", "2")
    assert paul["evidence"] == "gateway:2 gateway.n2:0"
    assert "2 patients (1 opened) in 3 answers; medical routes served 0" in made.stdout
    assert "stands on ecluse/gateway: first 6 entries" in made.stdout


@pytest.mark.parametrize("form", ["csv", "json", "html", "pdf"])
def test_a_report_whose_signature_cannot_be_written_leaves_both_of_before(
    office: Office, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = office.audit_dir.parent
    assert office.scope(form, "one").exit_code == 0
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in ("one", "one.sig")} == {0o600}
    before = office.read("one"), office.read("one.sig")

    def refuse(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        failed = office.scope(form, "one", "--notification", "complete")
    assert (failed.exit_code, "No space left" in failed.stderr) == (2, True), failed.stderr
    assert (office.read("one"), office.read("one.sig")) == before
    assert {path.name for path in folder.iterdir()} == {"audit", "one", "one.sig"}
    assert office.verify("one").exit_code == 0


def test_no_report_takes_its_place_where_its_signature_cannot(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = office.audit_dir.parent
    (folder / "one").write_text("old")
    (folder / "one.sig").mkdir()
    failed = office.scope("csv", "one")
    assert (failed.exit_code, "one.sig could not be written" in failed.stderr) == (2, True), failed.stderr
    (folder / "one.sig").rmdir()
    really = Path.replace

    def replace(draft: Path, place: Path) -> Path:
        if place.name == "one.sig":
            raise OSError(errno.EIO, "Input/output error")
        return really(draft, place)

    monkeypatch.setattr(Path, "replace", replace)
    failed = office.scope("csv", "one")
    assert (failed.exit_code, "one.sig could not be written" in failed.stderr) == (2, True), failed.stderr
    assert office.read("one") == b"old"
    assert {path.name for path in folder.iterdir()} == {"audit", "one"}


@pytest.mark.parametrize("form", ["csv", "json", "html", "pdf"])
def test_two_runs_give_the_same_bytes_although_the_logs_grew(office: Office, form: str) -> None:
    assert office.scope(form, "one").exit_code == 0
    keys = load_keys(office.keys_dir)
    log = Journal(office.audit_dir / "gateway", LOG_NAME, keys.checkpoint, segment_bytes=1)
    log.open()
    log.commit([encode(told(EventKind.ACCESS, 60 * 24, DR_MARTIN.login, ROSE), seq=log.size, salt=SALT)])
    log.close()
    assert office.scope(form, "two").exit_code == 0
    assert office.read("one") == office.read("two")
    assert office.read("one.sig") == office.read("two.sig")
    assert (office.audit_dir.parent / "one").stat().st_mode & 0o077 == 0


def test_each_report_is_recorded_with_its_reason_before_it_is_made(office: Office) -> None:
    office.scope("json", "scope.json")
    *_, last = consultations(office)
    assert last["kind"] == "audit-queried"
    assert last["operator"]
    assert last["detail"] == {
        "act": "breach scope", "reason": "ticket 4711", "accounts": "ben.infirmier, dr.martin", "form": "json",
        "from_ms": "1789948800000", "to_ms": "1790035200000",
    }  # fmt: skip


def test_the_json_holds_figures_patients_and_the_texts_of_the_forms(office: Office) -> None:
    office.scope("json", "scope.json", "--aware", "2026-09-21T20:00:00Z", "--notification", "complete")
    found = json.loads(office.read("scope.json"))
    assert found["form"] == "ecluse/breach-scope/1"
    assert [one["pseudonym"] for one in found["patients"]] == [JEANNE, PAUL]
    assert found["patients"][0]["evidence"] == ["gateway:1", "gateway:2"]
    assert (found["total"]["patients"], found["total"]["rows"], found["total"]["bytes"]) == (2, 5, 10_900)
    assert found["events"][DR_MARTIN.login] == {
        "access": 2, "account-locked": 1, "login-seen": 1, "sighted": 1, "withheld": 1,
    }  # fmt: skip
    assert found["sighted"] == {"answers": 1, "nirs": 2}
    assert {one["origin"]: (one["size"], one["last_evidence"]) for one in found["stands_on"]} == {
        "ecluse/gateway": (6, 2),
        "ecluse/gateway.n2": (1, 0),
        "ecluse/operator": (1, None),
    }
    text = found["texts"]["notification"]
    assert "Type de notification | complète" in text
    assert "Notification au plus tard | 24/09/2026 22:00:00 (UTC+02:00)" in text
    assert "Numéro de sécurité sociale (NIR) | oui" in text
    assert "Données de santé | non" in text
    assert "compte verrouillé dr.martin le 21/09/2026 19:13:20 (UTC+02:00) par root (ticket <4711>)" in text
    assert NEVER_ASKED in found["texts"]["letters"]
    assert "Lettre L2 (1\u00a0personne)" in found["texts"]["letters"]
    # Who holds nothing of a NIR is not told to watch it.
    first, second = found["texts"]["letters"].split("Lettre L2")
    assert ("ameli" in first, "ameli" in second) == (True, False)
    assert "article 33, paragraphe 5".upper() in found["texts"]["register"]
    assert "2 nirs" in found["texts"]["limits"]


def test_the_page_stands_alone_and_each_chart_has_words_and_a_table(office: Office) -> None:
    assert office.scope("html", "dossier.html").exit_code == 0
    text = office.read("dossier.html").decode()
    assert '<html lang="fr">' in text
    assert not re.search(r"<script|<link|<img|<iframe|url\(|@import|\son\w+=|javascript:", text)
    assert not re.search(r'(?:src|href)="(?!#)', text)
    pictures = re.findall(r"<svg role=\"img\" aria-labelledby=\"(\S+) (\S+)\".*?</svg>", text)
    assert len(pictures) == 2
    for title, description in pictures:
        assert re.search(rf'<title id="{title}">[^<]+</title><desc id="{description}">[^<]+</desc>', text)
    assert len(re.findall(r"</figure>\s*<div class=\"wide\"[^>]*>\s*<table>\s*<caption>", text)) == 2
    assert len(re.findall(r"<table>", text)) == len(re.findall(r"<caption>", text))
    assert len(set(re.findall(r'\bid="([^"]+)"', text))) == len(re.findall(r'\bid="([^"]+)"', text))
    # What came from the log is text, never markup.
    assert "ticket &lt;4711&gt;" in text
    assert "ticket <4711>" not in text
    assert "Aucune réponse d’une page déclarée médicale" in text
    assert JEANNE in text
    assert f"--from {FROM[:-1]}.000Z --to {TO[:-1]}.000Z --html" in text


def test_the_paper_says_what_the_page_says(office: Office) -> None:
    assert office.scope("pdf", "dossier.pdf").exit_code == 0
    raw = office.read("dossier.pdf")
    assert raw.startswith(b"%PDF-1.")
    assert b"/Lang (fr-FR)" in raw
    words = pdf_words(raw)
    for said in ("Notification à la CNIL", JEANNE.partition(":")[0], "Lettre L2"):
        assert said in words
    # Set in pieces, it is text all the same.
    assert "(ticket<4711>)" in words.replace(" ", "")


def pdf_words(raw: bytes) -> str:
    """Return the text that stands in the pages of a PDF of ours: cp1252 strings between parentheses."""
    import base64

    told = []
    for content in re.findall(rb"stream\r?\n(.*?)endstream", raw, re.DOTALL):
        body = zlib.decompress(base64.a85decode(content.strip().removesuffix(b"~>")))
        for piece in re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", body):
            plain = re.sub(
                rb"\\(\d{3}|.)",
                lambda found: bytes([int(found[1], 8)]) if len(found[1]) == 3 else found[1],
                piece,
            )
            told.append(plain.decode("cp1252"))
    return " ".join(told).replace("\u00a0", " ")


def test_without_its_library_paper_is_refused_and_the_mend_told(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "reportlab"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "reportlab", None)
    made = office.scope("pdf", "dossier.pdf")
    assert made.exit_code == 2
    assert "ecluse[pdf]" in made.stderr
    assert not list(office.audit_dir.parent.glob("*dossier.pdf*"))


def test_a_signature_holds_for_its_report_alone(office: Office) -> None:
    office.scope("csv", "persons.csv")
    sound = office.verify("persons.csv", "--audit-dir", office.audit_dir)
    assert sound.exit_code == 0, sound.stderr
    assert "stands on ecluse/gateway.n2, 1 entries" in sound.stdout
    alone = office.verify("persons.csv", "--json")
    assert json.loads(alone.stdout)["journals_checked"] is False
    report = office.audit_dir.parent / "persons.csv"
    report.write_bytes(report.read_bytes().replace(b"L2", b"L3"))
    altered = office.verify("persons.csv")
    assert (altered.exit_code, altered.stdout) == (1, "")
    assert "ALTERED" in altered.stderr


@pytest.mark.parametrize(
    ("old", "new"), [("bytes", "bites"), ("sha256 ", "sha256 0"), ("ecluse/gateway ", "ecluse/other ")]
)
def test_a_note_that_was_touched_is_refused(office: Office, old: str, new: str) -> None:
    office.scope("csv", "persons.csv")
    note = office.audit_dir.parent / "persons.csv.sig"
    note.write_text(note.read_text("utf-8").replace(old, new), encoding="utf-8")
    assert office.verify("persons.csv").exit_code == 1


def test_a_checkpoint_is_no_signature_of_a_report_nor_the_other_way_round(office: Office) -> None:
    office.scope("csv", "persons.csv")
    assert office.verify("persons.csv", "--sig", office.audit_dir / "gateway" / "checkpoint").exit_code == 1
    (office.audit_dir / "gateway" / "checkpoint").write_bytes(office.read("persons.csv.sig"))
    assert office.scope("csv", "again.csv").exit_code == 1


def test_a_report_outlives_no_rewritten_log(office: Office) -> None:
    office.scope("csv", "persons.csv")
    rewritten = office.audit_dir / "gateway.n2"
    for path in rewritten.iterdir():
        path.unlink()
    log = Journal(rewritten, LOG_NAME, load_keys(office.keys_dir).checkpoint, segment_bytes=64_000_000)
    log.open()
    log.commit([encode(told(EventKind.ACCESS, 120, NURSE_BEN.login, ROSE, **LISTING), seq=0, salt=SALT)])
    log.close()
    found = office.verify("persons.csv", "--audit-dir", office.audit_dir)
    assert found.exit_code == 1
    assert "first 1 entries are not those that were signed" in found.stderr


def test_an_earlier_report_fixes_what_is_looked_at(office: Office) -> None:
    office.scope("csv", "one.csv")
    keys = load_keys(office.keys_dir)
    log = Journal(office.audit_dir / "gateway", LOG_NAME, keys.checkpoint, segment_bytes=64_000_000)
    log.open()
    log.commit(
        [encode(told(EventKind.ACCESS, 200, DR_MARTIN.login, ROSE, **RECORD), seq=log.size, salt=SALT)]
    )
    log.close()
    office.scope("csv", "two.csv")
    office.scope("csv", "three.csv", "--as-of", office.audit_dir.parent / "one.csv.sig")
    assert ROSE in office.read("two.csv").decode()
    assert office.read("three.csv") == office.read("one.csv")


def test_an_altered_log_carries_no_report(office: Office) -> None:
    path = files.segment_path(office.audit_dir / "gateway", 0)
    path.write_bytes(path.read_bytes().replace(PAUL.encode(), ROSE.encode()))
    made = office.scope("csv", "persons.csv")
    assert made.exit_code == 1
    assert "ecluse audit verify" in made.stderr
    assert not (office.audit_dir.parent / "persons.csv").exists()


def test_other_accounts_of_the_same_addresses_are_a_lead(office: Office) -> None:
    office.scope("json", "scope.json", "--widen", "client")
    assert json.loads(office.read("scope.json"))["leads"] == [
        {"account": CLERK_LEA.login, "client": "192.0.2.7", "events": 1}
    ]
    office.scope("html", "dossier.html", "--widen", "client")
    assert "Piste, non constat" in office.read("dossier.html").decode()


def test_a_file_names_the_accounts_and_silent_ones_are_told(office: Office, tmp_path: Path) -> None:
    listed = tmp_path / "stolen.txt"
    listed.write_text(f"{DR_MARTIN.login}\nnobody\n", encoding="utf-8")
    made = run(
        "scope", "--file", listed, "--from", FROM, "--to", TO, "--csv", "-o", tmp_path / "p.csv", "--audit-dir",
        office.audit_dir, "--keys-dir", office.keys_dir, "--copy",
    )  # fmt: skip
    assert made.exit_code == 0, made.stderr
    assert "look at the spelling: nobody" in made.stderr
    assert [entry["kind"] for entry in consultations(office)] == ["account-locked"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--to", "2999-01-01"), "have passed"),
        (("--to", FROM), "after --from"),
        (("--reason", ""), "--reason"),
        (("--zone", "Nowhere/Land"), "--zone UTC"),
        (("--as-of", "KEYS/session.json"), "session.json"),
        (("--config", "/nowhere.yaml", "--accounts", ",", "--keys-dir", "/nowhere"), "/nowhere"),
    ],
)
def test_a_wrong_question_is_told_and_writes_nothing(
    office: Office, more: tuple[str, ...], said: str
) -> None:
    words = [word.replace("KEYS", str(office.keys_dir)) for word in more]
    made = office.scope("csv", "persons.csv", *words)
    assert made.exit_code == 2
    assert said in made.stderr
    assert not list(office.audit_dir.parent.glob("*persons*"))


def test_a_hostile_login_is_text_in_every_form(office: Office) -> None:
    hostile = "=cmd|'/c calc'!A1 </table><b>x"
    keys = load_keys(office.keys_dir)
    log = Journal(office.audit_dir / "gateway", LOG_NAME, keys.checkpoint, segment_bytes=64_000_000)
    log.open()
    log.commit([encode(told(EventKind.ACCESS, 6, hostile, ROSE, **RECORD), seq=log.size, salt=SALT)])
    log.close()
    for form in ("csv", "html", "pdf", "json"):
        assert office.scope(form, f"x.{form}", "--accounts", hostile).exit_code == 0
    (row,) = [row for row in csv.reader(io.StringIO(office.read("x.csv").decode())) if row[0] == ROSE]
    assert row[9].startswith("'=cmd")
    page = office.read("x.html").decode()
    assert "</table><b>" not in page
    assert hostile in json.loads(office.read("x.json"))["events"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (duckdb.ConversionException("could not read '4711 DUPONT'"), "engine refuses (ConversionException)"),
        (duckdb.OutOfMemoryException("failed to pin block of DUPONT"), "ask for a shorter period"),
        (duckdb.IOException("No files found: part.parquet\nand more"), "No files found: part.parquet"),
    ],
)
def test_what_the_engine_says_of_an_entry_is_not_repeated(
    office: Office, monkeypatch: pytest.MonkeyPatch, error: duckdb.Error, said: str
) -> None:
    def refusing(*_: object) -> Iterator[dict[str, Any]]:
        raise error

    monkeypatch.setattr(breach, "ask", refusing)
    refused = office.scope("csv", "persons.csv")
    assert refused.exit_code == 2
    assert said in refused.stderr
    assert "DUPONT" not in refused.stderr
    assert not (office.audit_dir.parent / "persons.csv").exists()


HERS, THIEFS = "0123456789abcdef", "fedcba9876543210"
ON_TWO_DEVICES = [
    told(EventKind.SESSION_OPENED, -3_000, DR_MARTIN.login, detail=(("device", HERS), ("session", "s1"))),
    told(EventKind.SESSION_OPENED, 0, DR_MARTIN.login, detail=(("device", THIEFS), ("session", "s2"))),
    told(EventKind.ACCESS, 1, DR_MARTIN.login, JEANNE, **RECORD, detail=(("device", HERS),)),
    told(EventKind.ACCESS, 2, DR_MARTIN.login, PAUL, **RECORD, detail=(("device", THIEFS),)),
    told(EventKind.SESSION_OPENED, 3, CLERK_LEA.login, detail=(("device", THIEFS), ("session", "s3"))),
    told(EventKind.ACCESS, 4, CLERK_LEA.login, ROSE, **RECORD, detail=(("device", THIEFS), ("walk", "up"))),
    told(EventKind.ACCESS, 5, NURSE_BEN.login, ROSE, **RECORD),
]


@pytest.mark.parametrize(
    ("asked", "people", "accounts"),
    [
        (("--devices", THIEFS), {PAUL, ROSE}, [DR_MARTIN.login, CLERK_LEA.login]),
        (("--devices", f"{THIEFS},{HERS}"), {JEANNE, PAUL, ROSE}, [DR_MARTIN.login, CLERK_LEA.login]),
        (("--accounts", DR_MARTIN.login, "--devices", THIEFS), {PAUL}, [DR_MARTIN.login]),
        (("--accounts", DR_MARTIN.login), {JEANNE, PAUL}, [DR_MARTIN.login]),
    ],
)  # fmt: skip
def test_only_what_was_shown_on_a_device(
    tmp_path: Path, keys_dir: Path, asked: tuple[str, ...], people: set[str], accounts: list[str]
) -> None:
    keys = load_keys(keys_dir)
    log = Journal(tmp_path / "audit" / "gateway", LOG_NAME, keys.checkpoint, segment_bytes=64_000_000)
    log.open()
    for event in ON_TWO_DEVICES:
        log.commit([encode(event, seq=log.size, salt=SALT)])
    log.close()
    made = run(
        "scope", *asked, "--from", FROM, "--to", TO, "--json", "-o", tmp_path / "scope.json",
        "--audit-dir", tmp_path / "audit", "--keys-dir", keys_dir, "--reason", "ticket 4711",
    )  # fmt: skip
    assert made.exit_code == 0, made.stderr
    found = json.loads((tmp_path / "scope.json").read_bytes())
    assert {row["pseudonym"] for row in found["patients"]} == people
    assert sorted(found["asked"]["accounts"]) == accounts
    assert all(
        CLERK_LEA.login not in row["accounts"] or row["pseudonym"] == ROSE for row in found["patients"]
    )


@pytest.mark.parametrize(
    ("devices", "code", "words"),
    [("not-a-device", 2, "16 hex digits"), ("ab" * 8, 1, "nobody logged in with")],
)
def test_a_device_that_is_none_or_nobodys_is_said(
    tmp_path: Path, keys_dir: Path, audit_dir: Path, devices: str, code: int, words: str
) -> None:
    made = run(
        "scope", "--devices", devices, "--from", FROM, "--to", TO, "--json", "-o", tmp_path / "scope.json",
        "--audit-dir", audit_dir, "--keys-dir", keys_dir, "--reason", "ticket 4711",
    )  # fmt: skip
    assert (made.exit_code, words in made.stderr) == (code, True), made.stderr
    assert not (tmp_path / "scope.json").exists()
