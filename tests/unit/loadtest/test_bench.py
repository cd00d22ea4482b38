"""The benchmarks' own reckoning: turns, ratios, what counts as dearer, and what is written into the page."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import disclosure
from gateway.configuration import load
from gateway.demo.configuration import write_configuration
from gateway.vocabulary.messages import RequestFacts
from gateway.vocabulary.records import RecordsSeen
from loadtest.bench import told
from loadtest.bench.answers import PATIENTS, cases
from loadtest.bench.regression import FIGURES, judge
from loadtest.bench.rounds import Run, ratio, summed, take_turns


def _run(per_second: float, failed: int = 0) -> Run:
    wrong = ["503 closed"] * failed
    return {
        "right": 9,
        "failed": failed,
        "wrong": wrong,
        "per_second": per_second,
        "median_ms": 1.0,
        "p99_ms": 2.0,
    }


def test_sides_take_turns_and_the_first_changes() -> None:
    order: list[str] = []

    def side(name: str) -> Run:
        order.append(name)
        return _run(1.0)

    take_turns({"a": lambda: side("a"), "b": lambda: side("b")}, 3)
    assert order == ["b", "a", "a", "b", "b", "a"]


def test_ratios_are_of_rounds_so_that_a_slow_moment_of_the_machine_does_not_count() -> None:
    ours, theirs = [_run(100), _run(10), _run(90)], [_run(50), _run(5), _run(90)]
    assert ratio(ours, theirs) == 2.0


def test_wrong_answers_of_every_side_are_counted() -> None:
    found = summed({"a": [_run(1.0), _run(3.0, failed=2)], "b": [_run(5.0, failed=1)]})
    assert (found["failed"], found["a"]["per_second"]) == (3, 2.0)
    assert found["wrong"] == ["503 closed"] * 3


@pytest.mark.parametrize(
    ("now", "faults"),
    [(100, 0), (50, 0), (115, 0), (116, 1), (200, 1), (None, 1)],
)
def test_over_fifteen_per_cent_more_instructions_is_a_fault_and_so_is_a_missing_count(
    now: int | None, faults: int
) -> None:
    counted = {"other": 100} | ({"request": now} if now is not None else {})
    found = judge(counted, {"request": 100, "other": 100})
    assert len(found) == faults
    assert all("request" in fault for fault in found)


def test_what_is_written_down_names_every_counted_phase() -> None:
    written = json.loads(FIGURES.read_text("utf-8"))
    assert written
    for phases in written.values():
        assert set(phases) == {"request", "response_json_50", "response_html_50"}
        assert all(count > 100_000 for count in phases.values())


def test_the_answers_name_as_many_patients_as_they_say(tmp_path: Path) -> None:
    app = load(write_configuration(tmp_path, 8_443, 8_444)).policy.apps["parcours"]
    routes = {"json": "api-dossiers", "html": "dossiers"}
    for case in cases():
        form, _, patients = case.name.partition("_")
        (route,) = (one for one in app.routes if one.name == routes[form])
        assert route.extraction is not None
        path, _, query = case.target.partition("?")
        asked = RequestFacts("0", 0, "http", "GET", "localhost", 80, path, query, (), "127.0.0.1", 1)
        seen = disclosure.read(route.extraction, asked, {}, case.response)
        assert isinstance(seen, RecordsSeen)
        assert len(seen.ids) == int(patients)
    assert len(cases()) == 2 * len(PATIENTS)


def _figures() -> dict[str, Any]:
    side = {"per_second": 1_234.5, "median_ms": 1.5, "p99_ms": 9.5, "rounds": [1_234.5]}
    return {
        "edge": {
            "edge": side,
            "constant": side,
            "edge_vs_constant": 0.61,
            "absent": {"lemonldap": "the package"},
        },
        "workers": {
            "competing": {
                "alone_per_second": 900.0,
                "one_per_second": 880.0,
                "two_per_second": 1_300.0,
                "two_over_one": 1.48,
            },
            "held": None,
        },
        "latency": {"failed": 1, "error": "OSError: no port"},
    }


def test_the_last_line_has_every_ratio_and_null_for_what_was_not_measured() -> None:
    assert told.summary(_figures()) == {
        "inspect_vs_bare": None,
        "edge_vs_lemonldap": None,
        "edge_vs_traefik": None,
        "edge_vs_constant": 0.61,
        "two_workers": 1.48,
        "added_p99_ms": None,
    }


def test_tables_stand_between_the_marks_and_say_what_is_missing(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# Title\n\n{told.BEGIN}\n\nold\n\n{told.END}\n\n## Kept\n", "utf-8")
    told.write(_figures(), tmp_path)
    told.write(_figures(), tmp_path)
    text = page.read_text("utf-8")
    assert text.startswith("# Title\n")
    assert text.endswith("## Kept\n")
    assert text.count(told.BEGIN) == text.count(told.END) == 1
    assert "old" not in text
    assert "| our check, four people |" in text
    assert "lemonldap, for want of the package" in text
    assert "OSError: no port" in text
    picture = (tmp_path / "performance.svg").read_text("utf-8")
    assert picture.count("<rect") == 1 + 2 + 2


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "performance.md").write_text("# Title\n", "utf-8")
    with pytest.raises(ValueError, match="no place for the figures"):
        told.write(_figures(), tmp_path)
