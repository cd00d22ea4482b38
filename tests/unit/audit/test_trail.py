"""Journal and archive are one log: whatever was archived, every question has the answer it had before."""

import shutil
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from gateway.audit import query
from gateway.audit.encoding import encode
from gateway.audit.files import LogDamaged
from gateway.audit.manifest import archive_directory
from gateway.audit.query import ACCESS_COLUMNS, Question, accesses, ask, grouped
from gateway.audit.sql import DAY_MS, GROUPS
from gateway.vocabulary.events import AuditEvent, EventKind
from tests.people import CLERK_LEA, DR_MARTIN, NURSE_BEN
from tests.unit.audit.logs import NOW_MS, SALT, journal
from tests.unit.audit.made_archives import archive

JEANNE, JEANNE_OLD, PAUL, ANNE = (f"{kid}:{number:032x}" for kid, number in
                                 (("k2", 1), ("k1", 1), ("k2", 2), ("k2", 3)))  # fmt: skip
DAY = DAY_MS
LOGINS = (DR_MARTIN.login, NURSE_BEN.login, CLERK_LEA.login, None)
COUNTS = {"gw-1": 12, "gw-2": 9, "operator": 4}


def an_exchange(writer: int, number: int) -> AuditEvent:
    """One of many different events, always the same for the same numbers; they span four days."""
    mixed = writer * 7 + number * 5
    kind = (EventKind.ACCESS, EventKind.ACCESS, EventKind.WITHHELD, EventKind.REFUSED, EventKind.LOGIN_SEEN)[
        mixed % 5
    ]
    named = {
        EventKind.ACCESS: ((JEANNE,), (PAUL, JEANNE_OLD, PAUL), (ANNE, PAUL))[number % 3],
        EventKind.WITHHELD: (JEANNE, ANNE),
    }.get(kind, ())
    return AuditEvent(
        kind,
        NOW_MS + number * DAY // 3 + writer,
        account=LOGINS[mixed % 4],
        account_class=("ward", "heavy", None)[mixed % 3],
        establishment=(None, "590000001")[mixed % 2],
        realm="region",
        app=("demo", "bis")[number % 2],
        route=("record", "list")[mixed % 2],
        reason=("within-caps", "cap", None)[mixed % 3],
        control=("patients-24h", None)[mixed % 2],
        status=(200, 403)[number % 2],
        opened=(True, False, None)[number % 3],
        rows=number if named else None,
        bytes=mixed * 100 if named else None,
        patients=named,
        categories=("identite.nom", "nir") if named else (),
        request_id=f"r{writer}-{number}",
        reference="REF" if kind is EventKind.WITHHELD else None,
        detail=(("note", "x"),) if number % 4 == 0 else (),
    )


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trail")
    for writer, (name, count) in enumerate(COUNTS.items()):
        log = journal(place / name)
        log.open()
        for number in range(count):
            log.commit([encode(an_exchange(writer, number), seq=log.size, salt=SALT)])
            if number % 3 == 2:
                log.rotate()
        log.close()
    return place


QUESTIONS = [
    Question(),
    Question(newest=True, limit=7),
    Question(accounts=(DR_MARTIN.login,)),
    Question(classes=("ward",)),
    Question(patients=(JEANNE, JEANNE_OLD)),
    Question(patients=(ANNE,), newest=True, limit=2),
    Question(patients=(JEANNE,), outcomes=("cap", "patients-24h")),
    Question(patients=(PAUL,), accounts=(NURSE_BEN.login, CLERK_LEA.login), from_ms=NOW_MS + DAY),
    Question(patients=("k2:" + "f" * 32,)),
    Question(apps=("bis",), routes=("list",)),
    Question(establishments=("590000001",), kinds=("access", "withheld")),
    Question(decisions=("withhold", "refuse")),
    Question(kinds=("access",), decisions=("withhold",)),
    Question(reference="REF", request_id="r0-2"),
    Question(realm="other"),
    Question(from_ms=NOW_MS + DAY, to_ms=NOW_MS + 2 * DAY),
]

Answer = list[dict[str, Any]]


GROUPINGS = [(), ("account",), ("day", "kind"), ("patient", "app"), ("control", "writer"), ("hour", "opened")]


def answers(places: Path, question: Question, grouping: tuple[str, ...]) -> tuple[Answer, Answer, Answer]:
    return (
        list(ask(places, question)),
        list(accesses(places, question)),
        grouped(places, question, grouping),
    )


@pytest.fixture(scope="module")
def archived(journals: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same trail archived in part, unevenly, and whole."""
    places = []
    for upto in ((5, 9, 2), (12, 9, 4)):
        place = tmp_path_factory.mktemp("archived")
        shutil.copytree(journals, place, dirs_exist_ok=True)
        archive(place, dict(zip(COUNTS, upto, strict=True)))
        places.append(place)
    return places


@pytest.mark.parametrize(("question", "grouping"), zip(QUESTIONS, cycle(GROUPINGS), strict=False), ids=str)
def test_what_was_archived_changes_no_answer(
    journals: Path, archived: list[Path], question: Question, grouping: tuple[str, ...]
) -> None:
    expected = answers(journals, question, grouping)
    for place in archived:
        assert answers(place, question, grouping) == expected


def expected_accesses(journals: Path, patients: set[str]) -> Answer:
    found = [
        {"patient": patient, **{name: event[name] for name in ACCESS_COLUMNS if name in event}}
        for event in ask(journals, Question())
        for patient in sorted(set(event.get("patients", ())))
        if not patients or patient in patients
    ]
    return sorted(found, key=lambda row: (row["at_ms"], row["writer"], row["seq"], row["patient"]))


@pytest.mark.parametrize("patients", [(), (JEANNE,), (PAUL, ANNE)])
def test_an_access_is_one_row_per_event_and_patient(journals: Path, patients: tuple[str, ...]) -> None:
    found = list(accesses(journals, Question(patients=patients)))
    assert found == expected_accesses(journals, set(patients))
    assert len(found) > 5


@pytest.mark.parametrize("column", [name for name in GROUPS if name not in {"day", "hour", "patient"}])
def test_groups_count_what_an_answer_tells(journals: Path, column: str) -> None:
    told: dict[Any, dict[str, Any]] = {}
    for event in ask(journals, Question()):
        group = told.setdefault(event.get(column), {"events": 0, "patients": set(), "rows": 0, "bytes": 0})
        group["events"] += 1
        group["patients"] |= set(event.get("patients", ()))
        group["rows"] += event.get("rows", 0)
        group["bytes"] += event.get("bytes", 0)
    expected = [
        {**({column: value} if value is not None else {}), **group, "patients": len(group["patients"])}
        for value, group in told.items()
    ]
    found = grouped(journals, Question(), (column,), by="events")
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert [row["events"] for row in found] == sorted((row["events"] for row in found), reverse=True)


def test_the_top_is_a_part_of_the_whole(journals: Path) -> None:
    whole = grouped(journals, Question(), ("account",), by="bytes")
    assert grouped(journals, Question(limit=2), ("account",), by="bytes") == whole[:2]


@pytest.mark.parametrize(
    ("columns", "by"), [(("salt",), "events"), (("account; drop",), "events"), ((), "salt")]
)
def test_nothing_else_can_be_grouped_by(journals: Path, columns: tuple[str, ...], by: str) -> None:
    with pytest.raises(ValueError, match="give "):
        grouped(journals, Question(), columns, by=by)


def test_several_nodes_are_one_log(journals: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(journals / "gw-1", here / "gw-1")
    for name in ("gw-2", "operator"):
        shutil.copytree(journals / name, there / name)
    archive(there, {"gw-2": 6, "operator": 4})
    assert list(ask([here, there], Question())) == list(ask(journals, Question()))


def test_one_name_for_two_writers_is_refused(journals: Path, tmp_path: Path) -> None:
    shutil.copytree(journals / "gw-1", tmp_path / "gw-1")
    with pytest.raises(LogDamaged, match="'gw-1'"):
        list(ask([journals, tmp_path], Question()))


def test_a_file_that_compaction_took_away_is_asked_for_once_more(
    journals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(journals, tmp_path, dirs_exist_ok=True)
    archive(tmp_path, {"gw-1": 9})
    events = archive_directory(tmp_path) / "events"
    moved = tmp_path / "archive" / "elsewhere"
    events.rename(moved)

    calls = []
    real = query.open_embedded

    def open_and_count(places: Any, floors: Any = None) -> Any:
        calls.append(1)
        if len(calls) == 2:
            moved.rename(events)
        return real(places, floors)

    monkeypatch.setattr(query, "open_embedded", open_and_count)
    assert list(ask(tmp_path, Question())) == list(ask(journals, Question()))
