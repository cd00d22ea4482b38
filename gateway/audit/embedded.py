"""DuckDB inside the process that asks: the archive's Parquet files and the journals' newer lines as two tables."""

import re
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from gateway.audit.columns import ACCESS_COLUMNS, COLUMNS, EVENT_COLUMNS
from gateway.audit.files import LogDamaged
from gateway.audit.fragments import literal, quoted, read_json, read_parquet
from gateway.audit.manifest import File, Manifest, journal_parts, read_manifest
from gateway.audit.sql import Statement

THREADS: Final = 2
MEMORY: Final = "400MB"
"""What DuckDB may hold; a larger sort or count goes on in files of a private folder."""

_TABLES = {"events": EVENT_COLUMNS, "accesses": ACCESS_COLUMNS}
_BATCH = 1_000
_NEEDLES = 16
_PLACEHOLDER = re.compile(r"\{(\w+):\w+\}")


@dataclass(frozen=True, slots=True)
class Span:
    """Which files can hold the answer: by period (*from_ms* included, *to_ms* not), or by *moments*, sorted.

    *accounts* and *patients*, both sorted, are those whose events and accesses are wanted; None: everybody's.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    moments: Sequence[int] | None = None
    accounts: Sequence[str] | None = None
    patients: Sequence[str] | None = None

    def may_be_in(self, file: File, keys: Sequence[str] | None = None) -> bool:
        """Tell whether *file* can hold a row of this span, and of one of *keys*, by which its rows are sorted."""
        if keys is not None and file.least is not None and file.most is not None:
            nearest = bisect_left(keys, file.least)
            if nearest == len(keys) or keys[nearest] > file.most:
                return False
        if self.moments is not None:
            nearest = bisect_left(self.moments, file.first_ms)
            return nearest < len(self.moments) and self.moments[nearest] <= file.last_ms
        return (self.from_ms is None or file.last_ms >= self.from_ms) and (
            self.to_ms is None or file.first_ms < self.to_ms
        )


EVER: Final = Span()


@dataclass(frozen=True, slots=True)
class _Place:
    manifest: Manifest
    segments: Mapping[str, tuple[int, tuple[Path, ...]]]


class Embedded:
    """The trail of one moment: every manifest is taken once, when it is opened.

    *floors* says from which ``seq`` on each writer's events are wanted; a writer it does not name is wanted whole.
    """

    def __init__(
        self, engine: duckdb.DuckDBPyConnection, places: Sequence[Path], floors: Mapping[str, int], room: Path
    ) -> None:
        self.connection = engine
        self._floors = floors
        self._room = room
        self._places = [_look(place, floors) for place in places]
        seen: dict[str, Path] = {}
        for place, found in zip(places, self._places, strict=True):
            for writer in found.manifest.archived.keys() | found.segments.keys():
                if writer in seen:
                    raise LogDamaged(
                        f"{seen[writer]} and {place} both hold a writer {writer!r}: give each node its name, or "
                        "name one directory only"
                    )
                seen[writer] = place

    def run(self, statement: Statement, span: Span, needles: Sequence[str] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of *statement* over the files that can hold an event of *span*.

        *needles*: values of which one at least stands in every event that the answer rests on. Journals are
        then searched for them as text, which is far quicker than reading every entry.

        Raises:
            duckdb.Error: a file cannot be read, or the answer needs more room than there is.
            OSError: a journal cannot be read.
        """
        # Binding a table opens its first file: only those the text names.
        self.show(span, needles, [name for name in _TABLES if f"from {name}" in statement.text])
        found = self.connection.execute(_PLACEHOLDER.sub(r"$\1", statement.text), statement.values)
        while rows := found.fetchmany(_BATCH):
            yield from rows

    def show(
        self, span: Span = EVER, needles: Sequence[str] = (), names: Iterable[str] = ("events", "accesses")
    ) -> None:
        """Make the tables *names* of *connection* those of *span* and *needles*."""
        newer = self._newer(needles)
        for name in names:
            table = self._table(name, _TABLES[name], span, newer)
            self.connection.execute(f"create or replace temp view {name} as {table}")

    def _newer(self, needles: Sequence[str]) -> list[tuple[str, int, Sequence[Path]]]:
        """Return what is read of each journal: its writer, the first ``seq`` wanted, and the files."""
        found: list[tuple[str, int, Sequence[Path]]] = []
        for place in self._places:
            for writer, (least, paths) in place.segments.items():
                if not 0 < len(needles) <= _NEEDLES:
                    found.append((writer, least, paths))
                    continue
                sought = [needle.encode() for needle in needles]
                lines = [line for path in paths for line in _lines_with(path, sought)]
                if lines:
                    kept = self._room / f"{len(found)}.jsonl"
                    kept.write_bytes(b"".join(lines))
                    found.append((writer, least, [kept]))
        return found

    def _table(
        self,
        name: str,
        columns: Mapping[str, str],
        span: Span,
        newer: Sequence[tuple[str, int, Sequence[Path]]],
    ) -> str:
        parts = []
        shown = quoted(columns)
        for place in self._places:
            manifest = place.manifest
            listed, keys = (
                (manifest.events, span.accounts) if name == "events" else (manifest.accesses, span.patients)
            )
            if paths := [file.path for file in listed if self._wants(file) and span.may_be_in(file, keys)]:
                wanted = self._above_floors() if self._floors else ""
                parts.append(f"select {shown} from {read_parquet(paths)}{wanted}")
        parts += [_journal(name, columns, *each) for each in newer]
        if not parts:
            nothing = ", ".join(f'cast(null as {kind}) as "{column}"' for column, kind in columns.items())
            return f"select {nothing} where false"
        return " union all ".join(parts)

    def _wants(self, file: File) -> bool:
        return any(last >= self._floors.get(writer, 0) for writer, (_, last) in file.seqs.items())

    def _above_floors(self) -> str:
        known = ", ".join(literal(writer) for writer in self._floors)
        above = [f"(writer = {literal(writer)} and seq >= {floor})" for writer, floor in self._floors.items()]
        return f" where writer not in ({known}) or {' or '.join(above)}"


@contextmanager
def open_embedded(places: Sequence[Path], floors: Mapping[str, int] | None = None) -> Iterator[Embedded]:
    """Open the trail of *places*, the audit directories of one node or of several.

    Raises:
        LogDamaged: two places hold a writer of one name, or a file bears no segment's name.
        ManifestDamaged: a manifest cannot be read.
        OSError: a directory cannot be read.
    """
    with _connection() as (engine, room):
        yield Embedded(engine, places, floors or {}, room)


def to_parquet(lines: Path, path: Path, columns: Mapping[str, str]) -> None:
    """Write the JSON lines of *lines* to *path* as Parquet with *columns*, by name and type.

    Raises:
        duckdb.Error: a line does not fit, or the disk refused.
    """
    with _connection() as (engine, _):
        engine.execute(
            f"copy (select * from {read_json([lines], columns)}) to {literal(str(path))} "
            "(format parquet, compression zstd)"
        )


@contextmanager
def _connection() -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """Open an engine, and a private folder for what it and its caller put aside meanwhile."""
    with tempfile.TemporaryDirectory(prefix="ecluse-audit-") as room:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "threads": THREADS,
            "memory_limit": MEMORY,
            "temp_directory": room,
            "allow_unsigned_extensions": "false",
        }
        with duckdb.connect(config=settings) as engine:
            # Its own bar would be written onto standard output, into the midst of JSON.
            engine.execute(
                "set autoinstall_known_extensions = false; set autoload_known_extensions = false; "
                "set enable_progress_bar = false"
            )
            yield engine, Path(room)


def _look(place: Path, floors: Mapping[str, int]) -> _Place:
    # The manifest first: what is archived meanwhile is then read from the journal, where it still stands.
    manifest = read_manifest(place)
    parts: dict[str, list[tuple[Path, int]]] = {}
    for path, wanted in journal_parts(place, manifest):
        parts.setdefault(path.parent.name, []).append((path, wanted))
    segments = {}
    for writer, each in parts.items():
        floor = max(floors.get(writer, 0), each[0][1])
        ends = [int(path.stem) for path, _ in each[1:]]
        kept = [
            path for (path, _), end in zip(each, [*ends, None], strict=True) if end is None or end > floor
        ]
        segments[writer] = (floor, tuple(kept))
    return _Place(manifest, segments)


def _journal(name: str, columns: Mapping[str, str], writer: str, least: int, paths: Sequence[Path]) -> str:
    made = {"writer": f"cast({literal(writer)} as VARCHAR)", "patient": "unnest(list_distinct(patients))"}
    shown = ", ".join(f'{made.get(column, f'"{column}"')} as "{column}"' for column in columns)
    named = " and len(patients) > 0" if name == "accesses" else ""
    read = read_json(paths, COLUMNS, "ignore_errors=true")
    return f"select {shown} from {read} where at_ms is not null and seq >= {least}{named}"


def _lines_with(path: Path, needles: Sequence[bytes]) -> list[bytes]:
    """Return the whole lines of *path* in which one of *needles* stands, in order."""
    data = path.read_bytes()
    starts = set()
    for needle in needles:
        at = data.find(needle)
        while at >= 0:
            starts.add(data.rfind(b"\n", 0, at) + 1)
            end = data.find(b"\n", at)
            at = data.find(needle, end) if end >= 0 else -1
    lines = (data[start : data.find(b"\n", start) + 1] for start in sorted(starts))
    return [line for line in lines if line.endswith(b"\n")]
