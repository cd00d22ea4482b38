"""Questions to the trail: journals and archive of every writer as one log.

A view: only verify says whether what is read was signed. An event is read from the archive or from the
journal, whichever the manifest says; a question whose files are replaced under its hands is asked again once.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import duckdb

from gateway.audit import sql
from gateway.audit.cluster import Cluster
from gateway.audit.columns import ACCESS_COLUMNS, COLUMNS, EVENT_COLUMNS
from gateway.audit.embedded import Span, open_embedded
from gateway.audit.groups import same_patients, sort_groups, sum_groups
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
_EVENT_ORDER = ("at_ms", "writer", "seq")
_BATCH = 1_000


class _Engine(Protocol):
    """What answers statements: the files here, or the cluster."""

    def run(
        self, statement: sql.Statement, span: Span, needles: Sequence[str] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of *statement*."""
        ...


@dataclass(frozen=True, slots=True)
class _There:
    """The cluster as it was when *loaded* was told."""

    cluster: Cluster
    loaded: Mapping[str, int]

    def run(
        self,
        statement: sql.Statement,
        span: Span,  # noqa: ARG002 - the cluster finds its own way to the rows
        needles: Sequence[str] = (),  # noqa: ARG002
    ) -> Iterator[tuple[Any, ...]]:
        return self.cluster.run(statement, self.loaded)


_Told = Callable[[_Engine], Iterator[Row]]


def ask(places: Places, question: Question, *, cluster: Cluster | None = None) -> Iterator[Row]:
    """Yield the events that answer *question*, in order of time, then of writer and ``seq``.

    Each bears ``writer`` and its fields that are not empty. An unfinished last line of a live log is passed
    over. *cluster* holds the archive where audit.engine names one.

    Raises:
        LogDamaged, ManifestDamaged: a directory does not hold what it should; the message names the mend.
        OSError: a directory cannot be read.
        duckdb.Error: a file cannot be read.
        ClusterUnavailable: the cluster cannot be asked.
    """
    return _answer(places, question, cluster, lambda engine: _events(engine, question), _EVENT_ORDER)


def accesses(places: Places, question: Question, *, cluster: Cluster | None = None) -> Iterator[Row]:
    """Yield one row per event that answers *question* and patient it names, distinct within the event.

    Fields are those of ACCESS_COLUMNS that are not empty. Ordered by ``at_ms``, ``writer``, ``seq`` and
    ``patient``. When *question* names patients, only these are told.

    Raises: as ask does.
    """
    order = (*_EVENT_ORDER, "patient")
    return _answer(places, question, cluster, lambda engine: _accesses(engine, question), order)


def grouped(
    places: Places,
    question: Question,
    columns: Sequence[str],
    *,
    by: str = "patients",
    cluster: Cluster | None = None,
) -> list[Row]:
    """Return one row per value of *columns* (of sql.GROUPS): they, then events, patients, rows and bytes.

    Patients are distinct ones, rows and bytes sums. The greatest of *by* come first, *question.limit* bounds
    the rows. Without columns: one row, the whole.

    Raises:
        ValueError: a column that nothing can be grouped by.
        And as ask does.
    """
    names = (*columns, *sql.MEASURES)
    span, needles = _span(question), _needles(question)
    directories = _directories(places)
    if cluster is None:
        statement = sql.select_groups(question, columns, by=by)
        return [
            _row(row, names)
            for row in _here(directories, lambda engine: engine.run(statement, span, needles))
        ]
    there = _There(cluster, cluster.loaded())
    # Each place counts all its groups: which ones come first is known when both have.
    whole = replace(question, limit=None)
    statement = sql.select_groups(whole, columns, by=by)
    named = sql.select_named(whole, columns)
    here, pairs = _here(
        directories,
        lambda engine: (list(engine.run(asked, span, needles)) for asked in (statement, named)),
        there.loaded,
    )
    counted = list(there.run(statement, span))
    if "patient" in columns:
        ours = {tuple(row[: len(columns)]) for row in here}
        shared = [group for row in counted if (group := tuple(row[: len(columns)])) in ours]
    else:
        here, mine = same_patients(here, pairs, width=len(columns))
        shared = list(_shared(there, mine, whole, columns))
    told = sum_groups(counted, here, shared, width=len(columns))
    ranked = sort_groups(told, width=len(columns), by=by)
    return [_row(row, names) for row in ranked[: question.limit]]


def _shared(
    there: _There, mine: set[tuple[Any, ...]], question: Question, columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """Yield the groups of *mine*, columns and patient, once for each patient that the cluster has there too."""
    patients = sorted({row[-1] for row in mine})
    for begin in range(0, len(patients), _BATCH):
        asked = replace(question, patients=tuple(patients[begin : begin + _BATCH]))
        for row in there.run(sql.select_named(asked, columns), Span()):
            if tuple(row) in mine:
                yield tuple(row[:-1])


def _events(engine: _Engine, question: Question) -> Iterator[Row]:
    span, accounts, needles = _span(question), None, _needles(question)
    if question.patients:
        # Accesses are sorted by patient, events by account: first where the patient was named, then there.
        found = list(engine.run(sql.select_places(question), span, needles))
        if not found:
            return
        accounts = sorted({account for _, account in found}, key=lambda account: account or "")
        span = replace(
            span,
            moments=sorted({at_ms for at_ms, _ in found}),
            # An event without account can stand in any file.
            accounts=None if None in accounts else accounts,
        )
    found_events = engine.run(sql.select_events(question, accounts=accounts), span, needles)
    yield from _rows(found_events, tuple(EVENT_COLUMNS))


def _accesses(engine: _Engine, question: Question) -> Iterator[Row]:
    if question.patients and not sql.needs_events(question):
        span = _span(question)
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


def _span(question: Question) -> Span:
    return Span(
        question.from_ms,
        question.to_ms,
        accounts=sorted(question.accounts) or None,
        patients=sorted(question.patients) or None,
    )


def _needles(question: Question) -> tuple[str, ...]:
    """Return values of which one stands, letter for letter, in the journal's line of whatever answers."""
    for values in (question.patients, question.accounts):
        # What JSON writes otherwise than it is said cannot be searched for as text.
        if values and all(value.isprintable() and not {'"', "\\"} & {*value} for value in values):
            return values
    return (question.request_id,) if question.request_id and question.request_id.isalnum() else ()


def _rows(found: Iterator[tuple[Any, ...]], names: Sequence[str]) -> Iterator[Row]:
    return (_row(row, names) for row in found)


def _row(row: Sequence[Any], names: Sequence[str]) -> Row:
    return {
        name: value
        for name, value in zip(names, row, strict=True)
        if value is not None and value not in ([], {})
    }


def _answer(
    places: Places, question: Question, cluster: Cluster | None, told: _Told, order: Sequence[str]
) -> Iterator[Row]:
    directories = _directories(places)
    if cluster is None:
        yield from _here(directories, told)
        return
    loaded = cluster.loaded()
    parts = (told(_There(cluster, loaded)), _here(directories, told, loaded))
    key = itemgetter(*order)
    yield from islice(heapq.merge(*parts, key=key, reverse=question.newest), question.limit)


def _here[Item](
    directories: Sequence[Path],
    told: Callable[[_Engine], Iterator[Item]],
    floors: Mapping[str, int] | None = None,
) -> Iterator[Item]:
    begun = False
    try:
        with open_embedded(directories, floors) as engine:
            for row in told(engine):
                begun = True
                yield row
    except (FileNotFoundError, duckdb.IOException):
        # Compaction or purging has taken a file away since the manifest was read: the new one knows better.
        if begun:
            raise
        with open_embedded(directories, floors) as engine:
            yield from told(engine)


def _directories(places: Places) -> list[Path]:
    return [places] if isinstance(places, Path) else list(places)
