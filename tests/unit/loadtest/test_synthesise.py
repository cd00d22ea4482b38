"""A synthesised trail is one that auditors can ask: the same each time, sorted, listed, with a real journal."""

import shutil
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.columns import ACCESS_COLUMNS, EVENT_COLUMNS
from gateway.audit.files import verifier_keys
from gateway.audit.manifest import read_manifest
from gateway.audit.query import Question, accesses, ask, grouped
from gateway.audit.verify import Verified, verify_log
from loadtest.audit_curve import draw
from loadtest.bench_audit import measure
from loadtest.synthesise import EVENTS_A_DAY, JOURNAL, RING, months, synthesise

EVENTS, TAIL = 4_000, 60


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trail") / "audit"
    synthesise(place, EVENTS, TAIL, memory="500MB")
    return place


def test_it_holds_what_was_asked_for(trail: Path) -> None:
    (whole,) = grouped(trail, Question(), ())
    assert whole["events"] == EVENTS + TAIL
    kinds = {row["kind"]: row["events"] for row in grouped(trail, Question(), ("kind",))}
    assert 0.5 < kinds["access"] / EVENTS < 0.6
    log = verify_log(trail / JOURNAL, verifier_keys(RING, LOG_NAME))
    assert isinstance(log, Verified)
    assert log.size == TAIL


def test_the_archive_has_the_keepers_columns_and_order(trail: Path) -> None:
    manifest = read_manifest(trail)
    for files, columns, key in (
        (manifest.events, EVENT_COLUMNS, "account"),
        (manifest.accesses, ACCESS_COLUMNS, "patient"),
    ):
        for file in files:
            found = duckdb.read_parquet(str(file.path))
            assert dict(zip(found.columns, map(str, found.types), strict=True)) == columns
            rows = duckdb.sql(f"select {key}, at_ms, writer, seq from '{file.path}'").fetchall()  # noqa: S608
            assert rows == sorted(rows)
            assert (file.least, file.most, file.rows) == (rows[0][0], rows[-1][0], len(rows))


def test_a_lookup_finds_what_a_scan_finds(trail: Path) -> None:
    every = list(ask(trail, Question()))
    (often,) = grouped(trail, Question(limit=1), ("patient",), by="events")
    expected = [event for event in every if often["patient"] in event.get("patients", ())]
    assert len(list(accesses(trail, Question(patients=(often["patient"],))))) == len(expected) > 1
    busy = every[0]["account"]
    assert list(ask(trail, Question(accounts=(busy,)))) == [
        one for one in every if one.get("account") == busy
    ]


def test_the_same_size_is_the_same_trail(trail: Path, tmp_path: Path) -> None:
    synthesise(tmp_path / "again", EVENTS, 0, memory="500MB")
    copy = tmp_path / "copy"
    shutil.copytree(trail / "archive", copy / "archive")
    assert list(ask(copy, Question())) == list(ask(tmp_path / "again", Question()))


@pytest.mark.parametrize("events", [1, EVENTS_A_DAY, 40 * EVENTS_A_DAY, 100_000_000])
def test_months_follow_each_other_and_leave_nothing_out(events: int) -> None:
    found = list(months(events))
    assert (found[0][1], found[-1][0], found[-1][2]) == (0, "2026-12", events)
    assert all(before[2] == after[1] and before[0] < after[0] for before, after in pairwise(found))


def test_the_figures_and_their_picture(trail: Path) -> None:
    told = measure(trail, EVENTS, (0.3,))
    assert told["top20_day_rows"] == [20]
    assert 0 < told["patient_warm_s"] <= told["patient_warm_worst_s"]
    assert 20 < told["rss_mb"] < 700
    picture = draw([told, {**told, "events": 10 * EVENTS}])
    assert picture.count("<polyline") == 6
    assert picture.endswith("</svg>\n")
