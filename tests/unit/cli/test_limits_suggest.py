"""``ecluse limits suggest`` over a real journal: table, JSON, page, and the record of the asking."""

import errno
import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.encoding import decode, encode
from gateway.audit.segments import Journal
from gateway.cli import main
from gateway.clock import SystemClock
from gateway.configuration import init_keys, load_keys
from gateway.demo.configuration import write_configuration
from gateway.vocabulary.events import AuditEvent, EventKind
from tests.people import DR_MARTIN, NURSE_BEN
from tests.unit.audit.logs import SALT

DAY_MS = 86_400_000
HOSTILE = "<script>alert(1)</script>\x1b[31m"


@pytest.fixture(scope="module")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("keys") / "keys"
    init_keys(place)
    return place


def access(at_ms: int, account: str, numbers: range, **more: Any) -> AuditEvent:
    return AuditEvent(
        EventKind.ACCESS,
        at_ms,
        realm="region",
        account=account,
        account_class="ward",
        patients=tuple(f"k1:{number:032x}" for number in numbers),
        **{"opened": True, "rows": 1, "bytes": 1_000, "route_kind": "record", **more},
    )


def events(now_ms: int) -> Iterator[AuditEvent]:
    """Two hundred quiet people, one who exceeds the ten minutes on one day of two, and one who exports."""
    start_ms = now_ms - 3 * DAY_MS
    # Before the period, inside its longest window.
    yield access(now_ms - 16 * DAY_MS, DR_MARTIN.login, range(9_000, 9_100), opened=False, rows=100)
    for number in range(200):
        yield access(start_ms, f"agent.{number}", range(number, number + 10))
    yield access(start_ms + 1, DR_MARTIN.login, range(2_000, 2_041))
    yield access(start_ms + 2, HOSTILE, range(60), opened=False, rows=60, route_kind="export")
    yield access(start_ms + 3, NURSE_BEN.login, range(0), status=404, detail=(("probe", "true"),))
    yield AuditEvent(
        EventKind.WITHHELD, start_ms + 4, realm="region", account=NURSE_BEN.login, account_class="ward",
        reason="cap", control="patients-24h",
    )  # fmt: skip
    yield AuditEvent(
        EventKind.WITHHELD, start_ms + 5, realm="region", account=HOSTILE, account_class="ward",
        reason="cap", control="exports-24h",
    )  # fmt: skip
    yield access(start_ms + DAY_MS, DR_MARTIN.login, range(2_000, 2_002))


@pytest.fixture
def audit_dir(tmp_path: Path, keys_dir: Path) -> Path:
    place = tmp_path / "audit"
    log = Journal(place / "gw-1", LOG_NAME, load_keys(keys_dir).checkpoint, segment_bytes=64_000_000)
    log.open()
    log.commit(
        [encode(event, seq=seq, salt=SALT) for seq, event in enumerate(events(SystemClock().now_ms()))]
    )
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
        main(["limits", "suggest", *map(str, arguments)])
    return Ran(int(left.value.code or 0), out.getvalue(), err.getvalue())


def controls(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (one,) = told["classes"]
    return {each["control"]: each for each in one["controls"]}


def test_caps_are_proposed_from_what_was_used(audit_dir: Path) -> None:
    ran = run("--audit-dir", audit_dir, "--copy", "--json", "--realm", "region")
    assert ran.exit_code == 0, ran.stderr
    told = json.loads(ran.stdout)
    found = controls(told)
    assert told["classes"][0]["accounts"] == 203
    ten = found["patients-10min"]
    assert (ten["account_days"], ten["p50"], ten["max"]) == (204, 10, 41)
    # The week before the period fills the longest window: 100 listed weigh 20.
    assert found["patients-7d"]["max"] == 41
    assert found["exports-24h"]["max"] == 1
    assert found["probes-1h"]["max"] == 1
    assert found["rows-1h"]["max"] == 60
    assert found["bytes-1h"]["p50"] == 1_000
    # 203 of 204 days are the 99.5th percentile: 12 listed and half as much again.
    assert (ten["p99_5"], ten["proposed"]) == (12, 20)
    assert ten["stopped_proposed"] == {"days": 1, "accounts": {DR_MARTIN.login: 1}}
    assert ten["present"] is None
    hostile, nurse = told["classes"][0]["withheld"]
    assert (hostile["control"], hostile["account"][:8]) == ("exports-24h", HOSTILE[:8])
    assert nurse == {"control": "patients-24h", "account": NURSE_BEN.login, "times": 1}


def test_the_table_and_the_page_show_no_raw_text_of_the_log(
    audit_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    page = tmp_path / "caps.html"
    ran = run("--audit-dir", audit_dir, "--copy", "--html", page, "--days", "30", "--realm", "region")
    assert ran.exit_code == 0, ran.stderr
    assert f"patients-10min proposed 30 stops {DR_MARTIN.login} on 1 day" in " ".join(ran.stdout.split())
    assert "\x1b" not in ran.stdout
    text = page.read_text("utf-8")
    assert page.stat().st_mode & 0o777 == 0o600
    assert "&lt;script&gt;alert(1)" in text
    assert "<script" not in text
    assert text.count("<svg") == 3
    assert "http://www.w3.org/2000/svg" in text
    assert "src=" not in text


def test_a_page_that_cannot_be_written_leaves_the_page_of_before_and_nothing_else(
    audit_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "caps.html"
    page.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    ran = run("--audit-dir", audit_dir, "--copy", "--html", page, "--days", "30", "--realm", "region")
    assert (ran.exit_code, "could not be written" in ran.stderr) == (2, True), ran.stderr
    assert page.read_text() == "old"
    assert {one.name for one in tmp_path.iterdir()} == {page.name, "audit"}


def test_the_asking_is_recorded_with_its_reason(audit_dir: Path, keys_dir: Path) -> None:
    assert run("--audit-dir", audit_dir, "--keys-dir", keys_dir).exit_code == 2
    ran = run("--audit-dir", audit_dir, "--keys-dir", keys_dir, "--reason", "two weeks of observe", "--json")
    assert ran.exit_code == 0, ran.stderr
    lines = files.read_lines(files.segment_path(audit_dir / "operator", 0))
    (entry,) = [decode(line) for line in lines]
    assert entry["kind"] == EventKind.AUDIT_QUERIED.value
    assert entry["detail"]["act"] == "limits suggest"
    assert entry["detail"]["reason"] == "two weeks of observe"
    assert entry["detail"]["days"] == "14"


def test_a_log_without_accesses_gives_no_proposal(tmp_path: Path, keys_dir: Path) -> None:
    log = Journal(tmp_path / "gw-1", LOG_NAME, load_keys(keys_dir).checkpoint, segment_bytes=64_000_000)
    log.open()
    log.commit([encode(AuditEvent(EventKind.STARTED, SystemClock().now_ms()), seq=0, salt=SALT)])
    log.close()
    ran = run("--audit-dir", tmp_path, "--copy")
    assert ran.exit_code == 1
    assert "nothing to propose from" in ran.stderr


def test_present_caps_come_from_the_configuration(audit_dir: Path, tmp_path: Path) -> None:
    config = write_configuration(tmp_path, 8443, 8000)
    init_keys(tmp_path / "keys")
    text = config.read_text("utf-8")
    config.write_text(
        text.replace("  demo:\n", "  region:\n    classes: {ward: {patients_10min: 40}}\n", 1), "utf-8"
    )
    app = tmp_path / "parcours.yaml"
    app.write_text(app.read_text("utf-8").replace("realm: demo", "realm: region"), "utf-8")
    assert audit_dir == tmp_path / "audit"
    ran = run("--config", config, "--json", "--reason", "review")
    assert ran.exit_code == 0, ran.stderr
    ten = controls(json.loads(ran.stdout))["patients-10min"]
    assert ten["present"] == 40
    assert ten["stopped_present"] == {"days": 1, "accounts": {DR_MARTIN.login: 1}}
