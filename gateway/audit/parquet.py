"""Parquet files, written and merged with DuckDB: bounded memory, whole and durable before they bear their name."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from gateway.audit import files
from gateway.audit.archive import piece_path
from gateway.audit.columns import ACCESS_COLUMNS, COLUMNS, EVENT_COLUMNS
from gateway.audit.fragments import literal, quoted, read_json, read_parquet
from gateway.audit.manifest import ACCESSES, EVENTS, File
from gateway.audit.sealed import Sealed

ROW_GROUP_ROWS = 20_480
"""Small enough that the least and greatest value of a group tell a reader to pass over it."""

MEMORY_MB = (160, 512, 2_048)
"""What the engine may take for a segment. More than the first only for one full of long lists."""

MERGE_MEMORY_MB = (256, 512, 2_048)
PART_BYTES = 24_000_000
"""A merge makes a part of so many bytes of its sources: what it sorts at once is bounded, not the month; and who
looks for one patient or account opens one part of a month, whose own index is small."""

_SAMPLE_ROWS = 20_000

_ORDERS = {EVENTS: "account, at_ms, writer, seq", ACCESSES: "patient, at_ms, writer, seq"}
_FORMAT = f"(format parquet, compression zstd, row_group_size {ROW_GROUP_ROWS}, use_tmp_file false)"
_DAY_MS = 86_400_000


class CannotArchive(Exception):
    """The engine did not make of the entries what it should. The message names the file, never its content."""


def write_pieces(archive: Path, spill: Path, segment: Sealed) -> dict[str, list[File]]:
    """Write the pieces of *segment*, by dataset and day, into *archive*; they are durable on return.

    The same segment always gives files of the same names and rows. *spill* is a folder for what does not
    fit into memory.

    Raises:
        CannotArchive: the engine cannot read the segment, or did not write all of it.
        OSError: the disk refused.
    """

    def work(engine: duckdb.DuckDBPyConnection) -> dict[str, list[File]]:
        days = _load(engine, segment)
        pieces: dict[str, list[File]] = {EVENTS: [], ACCESSES: []}
        for day, count, named, first, last in days:
            for dataset, rows in ((EVENTS, count), (ACCESSES, named)):
                if not rows:
                    continue
                path = piece_path(archive, dataset, day, segment.writer, first, last)
                select = f"{_selects(dataset)} where at_ms // {_DAY_MS} = {day}"
                pieces[dataset].append(_write(engine, select, dataset, path, rows))
        return pieces

    return _with_engine(spill, segment.path, MEMORY_MB, work)


def merge(
    sources: Sequence[File],
    dataset: str,
    spill: Path,
    target: Callable[[int], Path],
    without: Mapping[str, int] | None = None,
) -> list[File]:
    """Write the rows of *sources* into files of about PART_BYTES, sorted through all of them; durable on return.

    *target* gives where part 0, 1… stands. *without* leaves out rows of a writer whose ``seq`` is below its
    number; nothing is written when nothing remains.

    Raises:
        CannotArchive: a source cannot be read, or rows were lost on the way.
        OSError: the disk refused.
    """

    def work(engine: duckdb.DuckDBPyConnection) -> list[File]:
        engine.execute("create temp table gone (writer varchar, below bigint)")
        for writer, below in (without or {}).items():
            engine.execute("insert into gone values (?, ?)", [writer, below])
        engine.execute(
            f"create temp view source as select part.* from {read_parquet([item.path for item in sources])} part "  # noqa: S608 - ours
            "anti join gone on part.writer = gone.writer and part.seq < gone.below"
        )
        (total,) = _one(engine, "select count(*) from source")
        if without is None and total != sum(item.rows for item in sources):
            raise CannotArchive(
                f"{target(0)}: the files to merge hold {total} rows, not what the manifest says"
            )
        made: list[File] = []
        for condition in _ranges(engine, dataset, sum(item.bytes for item in sources)):
            (rows,) = _one(engine, f"select count(*) from source where {condition}")  # noqa: S608
            if rows:
                select = f"select * from source where {condition}"  # noqa: S608
                made.append(_write(engine, select, dataset, target(len(made)), rows))
        if sum(item.rows for item in made) != total:
            raise CannotArchive(f"{target(0)}: the merged files do not hold every row once")
        return made

    return _with_engine(spill, target(0), MERGE_MEMORY_MB, work)


def _ranges(engine: duckdb.DuckDBPyConnection, dataset: str, size_bytes: int) -> list[str]:
    """Return conditions that cut the source into ranges of about PART_BYTES, in the order of *dataset*."""
    count = -(-size_bytes // PART_BYTES)
    if count <= 1:
        return ["true"]
    key = _ORDERS[dataset].split(",")[0]
    found = engine.execute(
        f"select {key}, at_ms from source using sample reservoir({_SAMPLE_ROWS} rows) repeatable (1)"  # noqa: S608
    ).fetchall()
    # Rows without key stand last, as the engine sorts them.
    found.sort(key=lambda row: (row[0] is None, row[0] or "", row[1]))
    bounds = [found[len(found) * part // count] for part in range(1, count)]
    before = [_is_before(key, *bound) for bound in dict.fromkeys(bounds)]
    return [
        " and ".join((f"not ({low})", high))
        for low, high in zip(["false", *before], [*before, "true"], strict=True)
    ]


def _is_before(key: str, value: str | None, at_ms: int) -> str:
    """Return the condition that a row stands before that of *value* and *at_ms*; never null."""
    if value is None:
        return f"({key} is not null or at_ms < {at_ms})"
    bound = literal(value)
    return f"({key} is not null and ({key} < {bound} or ({key} = {bound} and at_ms < {at_ms})))"


def _load(engine: duckdb.DuckDBPyConnection, segment: Sealed) -> list[tuple[int, int, int, int, int]]:
    """Read *segment* into a table; return day, events, rows of accesses, first and last ``seq`` of each day."""
    shown = quoted(name for name in EVENT_COLUMNS if name != "writer")
    engine.execute(
        # Only names and types of our own stand in these texts, and the file's name, quoted.
        f"create temp table entry as select $writer as writer, {shown} from "  # noqa: S608
        f"{read_json([segment.path], COLUMNS)}",
        {"writer": segment.writer},
    )
    found = _one(engine, "select count(at_ms), count(distinct seq), min(seq), max(seq) from entry")
    count = segment.end - segment.start
    if found != (count, count, segment.start, segment.end - 1):
        raise CannotArchive(f"{segment.path}: the engine did not read every entry once")
    return engine.execute(
        f"select at_ms // {_DAY_MS} as day, count(*), "  # noqa: S608
        "coalesce(sum(len(list_distinct(patients))), 0)::bigint, min(seq), max(seq) "
        "from entry group by day order by day"
    ).fetchall()


def _selects(dataset: str) -> str:
    if dataset == EVENTS:
        return "select * from entry"
    shown = quoted(name for name in ACCESS_COLUMNS if name != "patient")
    return f"select unnest(list_distinct(patients)) as patient, {shown} from entry"  # noqa: S608


def _write(engine: duckdb.DuckDBPyConnection, select: str, dataset: str, path: Path, rows: int) -> File:
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    engine.execute(f"copy ({select} order by {_ORDERS[dataset]}) to {literal(str(draft))} {_FORMAT}")
    source = read_parquet([draft])
    key = _ORDERS[dataset].split(",")[0]
    written, first_ms, last_ms, least, most = engine.execute(
        f"select count(*), min(at_ms), max(at_ms), min({key}), max({key}) from {source}"  # noqa: S608
    ).fetchall()[0]
    if written != rows:
        raise CannotArchive(f"{path}: {written} rows were written of {rows}")
    seqs = engine.execute(f"select writer, min(seq), max(seq) from {source} group by writer").fetchall()  # noqa: S608
    draft.chmod(files.FILE_MODE)
    with draft.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
    draft.replace(path)
    files.sync_directory(path.parent)
    bounds = {name: (first, last) for name, first, last in seqs}
    return File(path, rows, size, first_ms, last_ms, digest, bounds, least, most)


def _with_engine[Made](
    spill: Path,
    about: Path,
    memories_mb: Sequence[int],
    work: Callable[[duckdb.DuckDBPyConnection], Made],
) -> Made:
    for memory_mb in memories_mb:
        try:
            with _engine(spill, memory_mb) as engine:
                return work(engine)
        except duckdb.OutOfMemoryException:
            continue
        except duckdb.IOException as error:
            # Nearly always the disk; what the engine says names files, not what stands in them.
            raise OSError(f"{about}: {str(error).splitlines()[0]}") from error
        except duckdb.Error as error:
            # Its words may repeat an entry.
            raise CannotArchive(f"{about}: the engine refuses ({type(error).__name__})") from None
    raise CannotArchive(f"{about}: does not fit into {memories_mb[-1]} MB; make audit.segment_bytes smaller")


@contextmanager
def _engine(spill: Path, memory_mb: int) -> Iterator[duckdb.DuckDBPyConnection]:
    settings: dict[str, str | bool | int | float | list[str]] = {
        # One thread: the gateway beside us needs the others.
        "threads": 1,
        "memory_limit": f"{memory_mb}MB",
        "temp_directory": str(spill),
        "preserve_insertion_order": "false",
        "allow_unsigned_extensions": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    with duckdb.connect(config=settings) as engine:
        # It would be written onto our standard output, into the midst of JSON.
        engine.execute("set enable_progress_bar = false")
        yield engine


def _one(engine: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, ...]:
    found = engine.execute(sql).fetchone()
    return found if found is not None else ()
