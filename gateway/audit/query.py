"""Questions to the trail: journals and archive of every writer as one log.

A view: only verify says whether what is read was signed. An event is read from the archive or from the
journal, whichever the manifest says; a question whose files are replaced under its hands is asked again once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from gateway.audit import sql
from gateway.audit.columns import ACCESS_COLUMNS, COLUMNS, EVENT_COLUMNS
from gateway.audit.embedded import Embedded, Span, open_embedded
from gateway.audit.question import DECISIONS, Question, pseudonyms

__all__ = [
    "ACCESS_COLUMNS",
    "COLUMNS",
    "DECISIONS",
    "EVENT_COLUMNS",
    "Question",
    "accesses",
    "ask",
    "grouped",
    "pseudonyms",
]

Places = Path | Sequence[Path]
"""The audit directory of one node, or those of several."""

Row = dict[str, Any]


def ask(places: Places, question: Question) -> Iterator[Row]:
    """Yield the events that answer *question*, in order of time, then of writer and ``seq``.

    Each bears ``writer`` and its fields that are not empty. An unfinished last line of a live log is passed
    over.

    Raises:
        LogDamaged, ManifestDamaged: a directory does not hold what it should; the message names the mend.
        OSError: a directory cannot be read.
        duckdb.Error: a file cannot be read.
    """
    return _answer(places, lambda engine: _events(engine, question))


def accesses(places: Places, question: Question) -> Iterator[Row]:
    """Yield one row per event that answers *question* and patient it names, distinct within the event.

    Fields are those of ACCESS_COLUMNS that are not empty. Ordered by ``at_ms``, ``writer``, ``seq`` and
    ``patient``. When *question* names patients, only these are told.

    Raises: as ask does.
    """
    return _answer(places, lambda engine: _accesses(engine, question))


def grouped(places: Places, question: Question, columns: Sequence[str], *, by: str = "patients") -> list[Row]:
    """Return one row per value of *columns* (of sql.GROUPS): they, then events, patients, rows and bytes.

    Patients are distinct ones, rows and bytes sums. The greatest of *by* come first, *question.limit* bounds
    the rows. Without columns: one row, the whole.

    Raises:
        ValueError: a column that nothing can be grouped by.
        And as ask does.
    """
    names = (*columns, *sql.MEASURES)
    statement = sql.select_groups(question, columns, by=by)
    span = Span(question.from_ms, question.to_ms)
    return list(_answer(places, lambda engine: _rows(engine.run(statement, span, _needles(question)), names)))


def _events(engine: Embedded, question: Question) -> Iterator[Row]:
    span, accounts, needles = Span(question.from_ms, question.to_ms), None, _needles(question)
    if question.patients:
        # Accesses are sorted by patient, events by account: first where the patient was named, then there.
        found = list(engine.run(sql.select_places(question), span, needles))
        if not found:
            return
        span = Span(moments=sorted({at_ms for at_ms, _ in found}))
        accounts = sorted({account for _, account in found}, key=lambda account: account or "")
    found_events = engine.run(sql.select_events(question, accounts=accounts), span, needles)
    yield from _rows(found_events, tuple(EVENT_COLUMNS))


def _accesses(engine: Embedded, question: Question) -> Iterator[Row]:
    if question.patients and not sql.needs_events(question):
        span = Span(question.from_ms, question.to_ms)
        named = engine.run(sql.select_accesses(question), span, _needles(question))
        yield from _rows(named, tuple(ACCESS_COLUMNS))
        return
    found = _events(engine, replace(question, limit=None))
    yield from islice(_each_patient(found, question), question.limit)


def _each_patient(events: Iterator[Row], question: Question) -> Iterator[Row]:
    asked = set(question.patients)
    for event in events:
        named = set(event.get("patients", ()))
        kept = {name: event[name] for name in ACCESS_COLUMNS if name in event}
        for patient in sorted(named & asked if asked else named, reverse=question.newest):
            yield {"patient": patient, **kept}


def _needles(question: Question) -> tuple[str, ...]:
    """Return values of which one stands, letter for letter, in the journal's line of whatever answers."""
    for values in (question.patients, question.accounts):
        # What JSON writes otherwise than it is said cannot be searched for as text.
        if values and all(value.isprintable() and not {'"', "\\"} & {*value} for value in values):
            return values
    return (question.request_id,) if question.request_id and question.request_id.isalnum() else ()


def _rows(found: Iterator[tuple[Any, ...]], names: Sequence[str]) -> Iterator[Row]:
    for row in found:
        yield {
            name: value
            for name, value in zip(names, row, strict=True)
            if value is not None and value not in ([], {})
        }


def _answer(places: Places, told: Callable[[Embedded], Iterator[Row]]) -> Iterator[Row]:
    directories = [places] if isinstance(places, Path) else list(places)
    begun = False
    try:
        with open_embedded(directories) as engine:
            for row in told(engine):
                begun = True
                yield row
    except (FileNotFoundError, duckdb.IOException):
        # Compaction or purging has taken a file away since the manifest was read: the new one knows better.
        if begun:
            raise
        with open_embedded(directories) as engine:
            yield from told(engine)
