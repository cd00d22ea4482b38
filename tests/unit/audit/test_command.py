"""``ecluse audit`` as auditors use it."""

import csv
import errno
import io
import json
import os
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME, verifier_of
from gateway.audit.encoding import decode, encode
from gateway.audit.query import pseudonyms
from gateway.audit.segments import Journal
from gateway.cli import main
from gateway.cli.audit_consult import moment
from gateway.configuration import init_keys, load_keys
from gateway.demo.configuration import write_configuration
from gateway.vocabulary.events import AuditEvent, EventKind
from tests.people import DR_MARTIN, NURSE_BEN
from tests.unit.audit.logs import NOW_MS, SALT
from tests.unit.audit.made_archives import archive

SYSTEM = "urn:oid:1.2.250.1.999"
HOSTILE = "=cmd|'/c calc'!A1\x1b[31m\u202e[bold]x[/bold]"


@pytest.fixture(scope="module")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("keys") / "keys"
    init_keys(place)
    return place


@pytest.fixture
def audit_dir(tmp_path: Path, keys_dir: Path) -> Path:
    keys = load_keys(keys_dir)
    place = tmp_path / "audit"
    log = Journal(place / "gw-1", LOG_NAME, keys.checkpoint, segment_bytes=64_000_000)
    log.open()
    patient = pseudonyms(keys.pseudonyms, SYSTEM, "4711")[0]
    for event in (
        AuditEvent(EventKind.ACCESS, NOW_MS, account=DR_MARTIN.login, patients=(patient,), opened=True),
        AuditEvent(EventKind.REFUSED, NOW_MS + 1, account=NURSE_BEN.login, reason="cap", client=HOSTILE),
    ):
        log.commit([encode(event, seq=log.size, salt=SALT)])
    log.close()
    return place


@dataclass(frozen=True)
class Ran:
    exit_code: int
    stdout: str
    stderr: str


def run(*arguments: str | Path) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main(["audit", *map(str, arguments)])
    return Ran(int(left.value.code or 0), out.getvalue(), err.getvalue())


def consultations(audit_dir: Path) -> list[dict[str, object]]:
    return [decode(line) for line in files.read_lines(files.segment_path(audit_dir / "operator", 0))]


def test_a_patient_is_found_by_the_id_in_clear_which_is_written_nowhere(
    audit_dir: Path, keys_dir: Path
) -> None:
    found = run(
        "query", "--audit-dir", audit_dir, "--keys-dir", keys_dir, "--reason", "art. 15",
        "--patient", "4711", "--system", SYSTEM, "--json",
    )  # fmt: skip
    assert found.exit_code == 0, found.stderr
    # The consultation names the patient too, and so comes with the answer.
    answers = [json.loads(line) for line in found.stdout.splitlines()]
    assert [(answer["kind"], answer.get("account")) for answer in answers] == [
        ("access", DR_MARTIN.login),
        ("audit-queried", None),
    ]
    (told,) = consultations(audit_dir)
    assert told["kind"] == "audit-queried"
    assert told["detail"] == {"act": "query", "reason": "art. 15"}
    assert told["operator"]
    assert all(b"4711" not in path.read_bytes() for path in (audit_dir / "operator").iterdir())


@pytest.mark.parametrize("shape", [(), ("--csv",), ("--json",)])
def test_hostile_values_reach_no_terminal_and_no_spreadsheet(audit_dir: Path, shape: tuple[str, ...]) -> None:
    found = run("query", "--audit-dir", audit_dir, "--copy", "--account", NURSE_BEN.login, *shape)
    assert found.exit_code == 0, found.stderr
    assert all(char.isprintable() or char == "\n" for char in found.stdout)
    if shape == ("--csv",):
        (row,) = csv.DictReader(io.StringIO(found.stdout))
        assert row["client"].startswith("'=cmd")
    elif not shape:
        # Markup of the table's library is shown, not obeyed.
        assert "[bold]" in "".join(found.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("query", "--copy"), "--audit-dir"),
        (("query", "--audit-dir", "AUDIT"), "--keys-dir"),
        (("query", "--audit-dir", "AUDIT", "--keys-dir", "KEYS"), "--reason"),
        (("follow", "--audit-dir", "AUDIT", "--keys-dir", "KEYS"), "--reason"),
        (("query", "--audit-dir", "AUDIT", "--copy", "--patient", "4711"), "--system"),
        (("query", "--audit-dir", "AUDIT", "--copy", "--patient", "4711", "--system", "x"), "--keys-dir"),
        (("query", "--audit-dir", "AUDIT", "--copy", "--from", "yesterday"), "moment"),
        (("query", "--audit-dir", "AUDIT", "--copy", "--kind", "nonsense"), "nonsense"),
        (("query", "--audit-dir", "AUDIT", "--copy", "--columns", "salt"), "salt"),
        (("query", "--audit-dir", "AUDIT", "--copy", "--columns", "patient,rule"), "rule"),
        (("query", "--audit-dir", "AUDIT", "--copy", "--columns", "at", "--group-by", "app"), "--columns"),
        (("query", "--audit-dir", "AUDIT", "--copy", "--group-by", "bytes"), "bytes"),
        (("query", "--audit-dir", "AUDIT", "--copy", "--top", "3"), "--group-by"),
        (("query", "--audit-dir", "AUDIT", "--copy", "-o", "answer.xlsx"), ".parquet"),
        (("query", "--audit-dir", "AUDIT", "--copy", "-o", "AUDIT/nowhere/a.csv"), "no folder"),
        (("patient", "4711", "--audit-dir", "AUDIT", "--copy"), "--system"),
        (("patient", "k1:0", "--audit-dir", "AUDIT", "--keys-dir", "KEYS"), "--reason"),
        (("patient", "k1:0", "--audit-dir", "AUDIT", "--copy", "--timezone", "Mars/Olympus"), "Mars"),
        (("account", "dr.martin", "--audit-dir", "AUDIT", "--keys-dir", "KEYS"), "--reason"),
        (("stats", "--audit-dir", "AUDIT", "--keys-dir", "KEYS"), "--reason"),
        (("verify", "AUDIT", "--key", "junk"), "--key"),
        (("verify", "KEYS", "--key", "VERIFIER"), "holds no audit log"),
    ],
)
def test_a_wrong_question_is_told_and_answers_nothing(
    audit_dir: Path, keys_dir: Path, arguments: tuple[str, ...], said: str
) -> None:
    places = {
        "AUDIT": str(audit_dir),
        "KEYS": str(keys_dir),
        "VERIFIER": verifier_of(LOG_NAME, bytes(32)).text(),
    }
    found = run(*(places.get(argument, argument) for argument in arguments))
    assert found.exit_code == 2
    assert said in found.stderr
    assert not (audit_dir / "operator").exists()


def test_no_answer_without_a_record(audit_dir: Path, keys_dir: Path) -> None:
    (audit_dir / "operator").write_bytes(b"")
    found = run("query", "--audit-dir", audit_dir, "--keys-dir", keys_dir, "--reason", "x", "--json")
    assert found.exit_code == 2
    assert found.stdout == ""
    assert "refused" in found.stderr


def test_columns_are_those_asked_for(audit_dir: Path) -> None:
    found = run("query", "--audit-dir", audit_dir, "--copy", "--columns", "account, kind,reason", "--csv")
    assert found.stdout == f"account,kind,reason\n{DR_MARTIN.login},access,\n{NURSE_BEN.login},refused,cap\n"
    each = run("query", "--audit-dir", audit_dir, "--copy", "--columns", "patient,account", "--json")
    (row,) = map(json.loads, each.stdout.splitlines())
    assert set(row) == {"patient", "account"}


def test_groups_are_counted_and_named(audit_dir: Path) -> None:
    found = run("query", "--audit-dir", audit_dir, "--copy", "--group-by", "day,account", "--csv")
    assert found.stdout.splitlines() == [
        "day,account,events,patients,rows,bytes",
        f"2026-09-21,{DR_MARTIN.login},1,1,0,0",
        f"2026-09-21,{NURSE_BEN.login},1,0,0,0",
    ]
    top = run("query", "--audit-dir", audit_dir, "--copy", "--group-by", "account", "--top", "1")
    assert DR_MARTIN.login in top.stdout
    assert NURSE_BEN.login not in top.stdout
    assert top.stderr == "1 groups\n"


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("more", [(), ("--columns", "at,patients"), ("--group-by", "account,hour")])
def test_an_answer_can_be_a_file_of_its_owner_only(
    audit_dir: Path, tmp_path: Path, ending: str, more: tuple[str, ...]
) -> None:
    path = tmp_path / f"it's an answer{ending}"
    found = run("query", "--audit-dir", audit_dir, "--copy", *more, "-o", path)
    assert (found.exit_code, found.stdout) == (0, ""), found.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    assert {one.name for one in tmp_path.iterdir()} == {path.name, "audit"}
    shown = run("query", "--audit-dir", audit_dir, "--copy", *more, "--json")
    expected = [json.loads(line) for line in shown.stdout.splitlines()]
    if ending == ".jsonl":
        assert [json.loads(line) for line in path.read_text().splitlines()] == expected
    elif ending == ".csv":
        assert len(list(csv.reader(path.read_text().splitlines()))) == len(expected) + 1
    else:
        relation = duckdb.read_parquet(str(path))
        names = relation.columns
        rows = [dict(zip(names, row, strict=True)) for row in relation.fetchall()]
        assert [{name: value for name, value in row.items() if value is not None} for row in rows] == expected


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_an_answer_that_cannot_be_written_leaves_the_file_of_before_and_nothing_else(
    audit_dir: Path, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"answer{ending}"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    found = run("query", "--audit-dir", audit_dir, "--copy", "-o", path)
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr == f"ecluse: {path} could not be written: No space left on device\n"
    assert path.read_text() == "old"
    assert {one.name for one in tmp_path.iterdir()} == {path.name, "audit"}


def test_the_id_in_clear_can_come_by_standard_input(
    audit_dir: Path, keys_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("4711\n\n"))
    found = run(
        "query", "--audit-dir", audit_dir, "--keys-dir", keys_dir, "--reason", "art. 15", "--patient", "-",
        "--system", SYSTEM, "--kind", "access", "--json",
    )  # fmt: skip
    assert [json.loads(line)["account"] for line in found.stdout.splitlines()] == [DR_MARTIN.login]


def test_a_patient_gets_an_answer_in_words_that_names_no_professional(
    audit_dir: Path, keys_dir: Path
) -> None:
    arguments = ("patient", "4711", "--system", SYSTEM, "--audit-dir", audit_dir, "--keys-dir", keys_dir)
    found = run(*arguments, "--reason", "art. 15")
    assert found.exit_code == 0, found.stderr
    french, english = found.stdout.split("-" * 72)
    assert "Votre dossier a été ouvert : 1 fois, par 1 personne." in french
    assert "21 septembre 2026, 16 h 13" in french
    assert "Your record was opened: once, by 1 person." in english
    assert DR_MARTIN.login not in found.stdout
    assert "4711" not in found.stdout
    # The question that was just recorded comes after the period; the one before is told.
    assert "Ce journal a été consulté" not in french
    again = run(*arguments, "--reason", "art. 15", "--names")
    assert "Ce journal a été consulté à votre sujet : 1 fois" in again.stdout
    assert f"professionnel n° 1, {DR_MARTIN.login}" in again.stdout
    told = consultations(audit_dir)
    assert [event["detail"]["act"] for event in told] == ["patient", "patient"]  # type: ignore[index]
    as_json = run(*arguments, "--reason", "art. 15", "--json")
    assert [json.loads(line)["kind"] for line in as_json.stdout.splitlines()] == [
        "access",
        "audit-queried",
        "audit-queried",
    ]


def test_a_person_has_a_timeline(audit_dir: Path) -> None:
    arguments = ("account", DR_MARTIN.login, "--audit-dir", audit_dir, "--copy", "--from", "2026-09-01")
    found = run(*arguments)
    assert f"{DR_MARTIN.login}: 1 events, 1 distinct patients" in found.stdout
    assert "2026-09-21" in found.stdout
    assert "1 opened" in found.stdout
    as_json = run(*arguments, "--json")
    assert [json.loads(line)["account"] for line in as_json.stdout.splitlines()] == [DR_MARTIN.login]
    nobody = run("account", "nobody", "--audit-dir", audit_dir, "--copy")
    assert nobody.stdout.startswith("nobody: 0 events")


def test_stats_are_bars_or_numbers(audit_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    period = ("--from", "2026-09-01", "--to", "2026-10-01")
    found = run("stats", "--audit-dir", audit_dir, "--copy", *period)
    assert found.exit_code == 0, found.stderr
    assert "█" in found.stdout
    assert "\x1b" not in found.stdout
    assert DR_MARTIN.login in found.stdout
    values = json.loads(run("stats", "--audit-dir", audit_dir, "--copy", *period, "--json").stdout)
    assert values["day"] == [{"day": "2026-09-21", "events": 2, "patients": 1, "rows": 0, "bytes": 0}]
    assert {row["kind"]: row["events"] for row in values["kind"]} == {"access": 1, "refused": 1}


def test_a_damaged_archive_is_told_and_answers_nothing(audit_dir: Path) -> None:
    manifest = archive(audit_dir, {"gw-1": 2})
    damaged = run("query", "--audit-dir", audit_dir, "--copy", "--json")
    assert len(damaged.stdout.splitlines()) == 2
    manifest.events[0].path.write_bytes(b"PAR1" + b"secret" * 40)
    damaged = run("query", "--audit-dir", audit_dir, "--copy", "--json")
    assert (damaged.exit_code, damaged.stdout) == (2, "")
    assert "cannot be read" in damaged.stderr
    assert "secret" not in damaged.stderr
    (manifest.events[0].path).unlink()
    missing = run("query", "--audit-dir", audit_dir, "--copy", "--json")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "cannot be read" in missing.stderr
    (audit_dir / "archive" / "manifest.json").write_text("{")
    broken = run("query", "--audit-dir", audit_dir, "--copy", "--json")
    assert broken.exit_code == 2
    assert "manifest" in broken.stderr


def verifier(keys_dir: Path) -> str:
    return verifier_of(LOG_NAME, load_keys(keys_dir).checkpoint.key()).text()


def test_verify_says_sound_and_leaves_with_0(audit_dir: Path, keys_dir: Path) -> None:
    found = run("verify", audit_dir, "--key", verifier(keys_dir))
    assert (found.exit_code, found.stdout) == (0, "sound   ecluse/gw-1: 2 entries, 2 signed\n")


def test_verify_names_the_bad_entry_and_leaves_with_1(audit_dir: Path, keys_dir: Path) -> None:
    path = files.segment_path(audit_dir / "gw-1", 0)
    path.write_bytes(path.read_bytes().replace(b'"cap"', b'"lap"'))
    found = run("verify", audit_dir / "gw-1", "--key", verifier(keys_dir))
    assert found.exit_code == 1
    assert "0000000000.jsonl, line 2: entry 1 was edited" in found.stdout
    as_json = run("verify", audit_dir, "--key", verifier(keys_dir), "--json")
    assert json.loads(as_json.stdout) == {
        "sound": False, "directory": str(audit_dir / "gw-1"), "file": str(path), "line": 2, "seq": 1,
        "what": "entry 1 was edited",
    }  # fmt: skip


def test_verify_misses_a_whole_log_of_which_a_checkpoint_was_kept(
    audit_dir: Path, keys_dir: Path, tmp_path: Path
) -> None:
    kept = shutil.copy(audit_dir / "gw-1" / "checkpoint", tmp_path / "kept")
    arguments = ("verify", audit_dir, "--key", verifier(keys_dir), "--against", kept)
    assert run(*arguments).exit_code == 0
    other = Journal(audit_dir / "gw-2", LOG_NAME, load_keys(keys_dir).checkpoint, segment_bytes=1)
    other.open()
    other.close()
    shutil.rmtree(audit_dir / "gw-1")
    found = run(*arguments)
    assert found.exit_code == 1
    assert "ecluse/gw-1" in found.stdout


def test_a_forged_kept_checkpoint_is_not_compared(audit_dir: Path, keys_dir: Path, tmp_path: Path) -> None:
    note = (audit_dir / "gw-1" / "checkpoint").read_bytes()
    (tmp_path / "kept").write_bytes(note.replace(b"\n2\n", b"\n1\n"))
    found = run("verify", audit_dir, "--key", verifier(keys_dir), "--against", tmp_path / "kept")
    assert found.exit_code == 2
    assert "altered" in found.stderr


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2026-09-14", 1_789_344_000_000),
        ("2026-09-14T08:30:00+02:00", 1_789_367_400_000),
        ("2026-09-14T06:30:00Z", 1_789_367_400_000),
    ],
)
def test_moments(text: str, at_ms: int) -> None:
    assert moment(text) == at_ms


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_of_another_node_without_a_log_is_no_answer(
    tmp_path: Path, keys_dir: Path, audit_dir: Path, there: bool
) -> None:
    """What is not mounted looks like a node on which nothing happened."""
    config = write_configuration(tmp_path, 8443, 8000)
    other = tmp_path / "of-b"
    if there:
        other.mkdir()
    text = config.read_text("utf-8").replace(
        f"audit: {{dir: {tmp_path}/audit}}",
        f"audit: {{dir: {audit_dir}, node: a, also: [{other}]}}",
    )
    config.write_text(text.replace(f"{tmp_path}/keys", str(keys_dir)), "utf-8")
    found = run("query", "--config", config, "--reason", "ticket 1432")
    assert (found.exit_code, found.stdout) == (2, "")
    assert f"audit.also: {other}" in found.stderr
    assert not (audit_dir / "operator.a").exists()
