"""``ecluse audit export`` as operators use it."""

import json
import stat
from pathlib import Path
from typing import get_args

import pytest

from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.encoding import decode, encode
from gateway.audit.export.formats import FORMATS
from gateway.audit.files import read_lines, segment_path
from gateway.audit.query import pseudonyms
from gateway.audit.segments import Journal
from gateway.cli.audit_export import export as export_command
from gateway.cli.audit_query import query
from gateway.configuration import init_keys, load_keys
from gateway.configuration.schema import CollectorSpec
from gateway.vocabulary.events import AuditEvent, EventKind
from tests.people import DR_MARTIN, NURSE_BEN
from tests.unit.audit.export.readers import READERS
from tests.unit.audit.logs import NOW_MS, SALT
from tests.unit.audit.test_command import Ran, run

SYSTEM = "urn:oid:1.2.250.1.999"


@pytest.fixture(scope="module")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("keys") / "keys"
    init_keys(place)
    return place


@pytest.fixture
def audit_dir(tmp_path: Path, keys_dir: Path) -> Path:
    keys = load_keys(keys_dir)
    place = tmp_path / "audit"
    log = Journal(place / "gateway", LOG_NAME, keys.checkpoint, segment_bytes=64_000_000)
    log.open()
    seen = tuple(pseudonyms(keys.pseudonyms, SYSTEM, clear)[0] for clear in ("4711", "4712", "4713"))
    where = {"app": "demo", "client": "192.0.2.44", "client_port": 5, "method": "GET"}
    for event in (
        AuditEvent(EventKind.ACCESS, NOW_MS, account=DR_MARTIN.login, patients=seen, opened=False, **where),
        AuditEvent(EventKind.REFUSED, NOW_MS + 1, account=NURSE_BEN.login, reason="x\r\n|=]", **where),
    ):
        log.commit([encode(event, seq=log.size, salt=SALT)])
    log.close()
    return place


def export(audit_dir: Path, keys_dir: Path, *options: str | Path) -> Ran:
    return run("export", "--audit-dir", audit_dir, "--keys-dir", keys_dir, "--reason", "ARR feed", *options)


@pytest.mark.parametrize(("form", "lines"), [("ans", 1), *((name, 4) for name in FORMATS if name != "ans")])
def test_each_patient_has_a_line_and_each_line_can_be_read(
    audit_dir: Path, keys_dir: Path, form: str, lines: int
) -> None:
    made = export(audit_dir, keys_dir, "--format", form, "--to", "2026-12-31", "--app", "demo")
    assert made.exit_code == 0, made.stderr
    found = made.stdout.splitlines()
    assert len(found) == lines
    for line in found:
        READERS[form](line)
    assert f"2 events, {lines} lines" in made.stderr


def test_the_export_is_recorded_with_its_reason_its_form_and_its_filters(
    audit_dir: Path, keys_dir: Path
) -> None:
    made = export(audit_dir, keys_dir, "--format", "ecs", "--patient", "4712", "--system", SYSTEM)
    assert made.exit_code == 0, made.stderr
    (told,) = [decode(line[:-1]) for line in read_lines(segment_path(audit_dir / "operator", 0))]
    assert (told["kind"], told["detail"]) == (
        "audit-queried",
        {"act": "export", "format": "ecs", "reason": "ARR feed"},
    )
    assert told["patients"] == list(pseudonyms(load_keys(keys_dir).pseudonyms, SYSTEM, "4712"))
    assert b"4712" not in segment_path(audit_dir / "operator", 0).read_bytes()
    filtered = export(
        audit_dir, keys_dir, "--format", "ecs", "--account", NURSE_BEN.login, "--from", "2026-01-01"
    )
    assert [json.loads(line)["event"]["action"] for line in filtered.stdout.splitlines()] == ["refused"]
    *_, last = read_lines(segment_path(audit_dir / "operator", 0))
    assert decode(last[:-1])["detail"]["accounts"] == NURSE_BEN.login


def test_a_file_is_for_its_owner_and_stands_whole_or_not_at_all(
    audit_dir: Path, keys_dir: Path, tmp_path: Path
) -> None:
    place = tmp_path / "out.ndjson"
    made = export(audit_dir, keys_dir, "--format", "fhir", "-o", place, "--app", "demo")
    assert (made.exit_code, made.stdout) == (0, ""), made.stderr
    assert len(place.read_text().splitlines()) == 4
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    before = place.read_bytes()
    segment_path(audit_dir / "gateway", 0).unlink()
    (audit_dir / "gateway" / "0.jsonl").mkdir()
    failed = export(audit_dir, keys_dir, "--format", "fhir", "-o", place)
    assert failed.exit_code == 2
    assert place.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"audit", place.name}
    nowhere = export(audit_dir, keys_dir, "--format", "fhir", "-o", tmp_path / "no" / "out")
    assert nowhere.exit_code == 2
    assert f"{tmp_path / 'no' / 'out'} could not be written: No such file or directory" in nowhere.stderr


def test_a_file_that_waits_under_a_name_of_ours_is_not_written(
    audit_dir: Path, keys_dir: Path, tmp_path: Path
) -> None:
    place, waiting = tmp_path / "out.ndjson", tmp_path / "out.ndjson.new"
    waiting.write_text("anybody's")
    waiting.chmod(0o666)
    made = export(audit_dir, keys_dir, "--format", "fhir", "-o", place, "--app", "demo")
    assert made.exit_code == 0, made.stderr
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert (waiting.read_text(), stat.S_IMODE(waiting.stat().st_mode)) == ("anybody's", 0o666)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--format", "ecs", "--audit-dir", "AUDIT", "--keys-dir", "KEYS"), "--reason"),
        (("--format", "ecs", "--audit-dir", "AUDIT"), "--keys-dir"),
        (("--format", "ecs", "--copy"), "--audit-dir"),
        (("--format", "gelf"), "gelf"),
        ((), "--format"),
        (("--format", "ecs", "--audit-dir", "AUDIT", "--copy", "--patient", "4711"), "--system"),
    ],
)
def test_a_wrong_question_is_told_and_exports_nothing(
    audit_dir: Path, keys_dir: Path, options: tuple[str, ...], said: str
) -> None:
    places = {"AUDIT": str(audit_dir), "KEYS": str(keys_dir)}
    made = run("export", *(places.get(option, option) for option in options))
    assert (made.exit_code, made.stdout) == (2, "")
    assert said in made.stderr
    assert not (audit_dir / "operator").exists()


def test_nothing_is_exported_that_could_not_be_recorded(audit_dir: Path, keys_dir: Path) -> None:
    (audit_dir / "operator").write_bytes(b"")
    made = export(audit_dir, keys_dir, "--format", "ecs")
    assert (made.exit_code, made.stdout) == (2, "")


def test_the_number_for_examples_is_told(audit_dir: Path, keys_dir: Path) -> None:
    assert "32473" in export(audit_dir, keys_dir, "--format", "syslog").stderr
    own = export(audit_dir, keys_dir, "--format", "syslog", "--enterprise-id", "64000")
    assert "32473" not in own.stderr
    assert "[ecluse@64000 " in own.stdout


def test_the_filters_are_those_of_query_and_the_formats_those_of_the_configuration() -> None:
    ours = {option for param in export_command.params for option in param.opts}
    theirs = {option for param in query.params for option in param.opts}
    assert {
        "--account",
        "--patient",
        "--system",
        "--app",
        "--kind",
        "--outcome",
        "--from",
        "--to",
    } <= ours & theirs
    assert set(get_args(CollectorSpec.model_fields["format"].annotation)) == set(FORMATS)
