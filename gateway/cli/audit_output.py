"""How ``ecluse audit`` shows events and verdicts: nothing an event holds reaches a terminal or a spreadsheet raw."""

import csv
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.audit.cells import cell_text
from gateway.audit.columns import EVENT_COLUMNS
from gateway.audit.drafts import drafts, text_draft, text_file
from gateway.audit.embedded import to_parquet
from gateway.audit.encoding import visible
from gateway.audit.verify import Broken, Verified

_TABLE = (
    "at",
    "kind",
    "reason",
    "account",
    "operator",
    "app",
    "route",
    "status",
    "opened",
    "rows",
    "patients",
    "client",
)
_NUMBERS = frozenset({"status", "rows", "bytes", "events"})
ENDINGS = (".csv", ".jsonl", ".parquet")
"""Names of files that an answer can be written to."""

Row = dict[str, Any]


def print_table(
    rows: list[Row], limit: int | None, names: Sequence[str] = (), *, what: str = "events"
) -> None:
    """Print *rows*, the first *limit* of them, as a table of *names*; without names, of the usual columns."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    shown = names or [name for name in _TABLE if any(name in row for row in rows)]
    for name in shown:
        table.add_column(name, overflow="fold", justify="right" if name in _NUMBERS else "left")
    for row in rows[:limit]:
        table.add_row(*(Text(visible(_cell(row.get(name)))) for name in shown))
    console = Console()
    if rows:
        console.print(table)
    more = limit is not None and len(rows) > limit
    count = len(rows[:limit])
    click.echo(f"{count} {what}" + (", and more: use --limit, --json or --csv" if more else ""), err=True)


def print_csv(rows: Iterable[Row], names: Sequence[str] = ()) -> None:
    """Print *rows* as CSV of *names*; without names, of every column of an event."""
    _write_csv(sys.stdout, rows, names or tuple(EVENT_COLUMNS))


def print_json(rows: Iterable[Row], names: Sequence[str] = ()) -> None:
    """Print *rows* as JSON lines of *names*; without names, of what is in them."""
    for row in rows:
        click.echo(msgspec.json.encode(_chosen(row, names)).decode())


def write_file(path: Path, rows: Iterable[Row], columns: Mapping[str, str]) -> int:
    """Write *columns* (name and type) of *rows* to *path*, in the form its name ends with; return how many.

    Readable by its owner only; it stands there whole or not at all.

    Raises:
        NotWritten: it cannot be written.
    """
    names = tuple(columns)
    counted = _Counted(rows)
    if path.suffix == ".parquet":
        _write_parquet(path, counted, columns)
        return counted.count
    with text_draft(path) as file:
        if path.suffix == ".csv":
            _write_csv(file, counted, names)
        else:
            _write_lines(file, counted, names)
    return counted.count


def told_moment(row: Row) -> Row:
    """Return *row* of a count with its day or hour as people write it, in UTC."""
    written = dict(row)
    for name, form in (("day", "%Y-%m-%d"), ("hour", "%Y-%m-%dT%H:00Z")):
        if name in row:
            written[name] = datetime.fromtimestamp(row[name] / 1000, UTC).strftime(form)
    return written


class _Counted:
    """Rows that count themselves as they pass."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            yield row


def _chosen(row: Row, names: Sequence[str]) -> Row:
    return {name: row[name] for name in names if name in row} if names else row


def _write_csv(file: TextIO, rows: Iterable[Row], names: Sequence[str]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([cell_text(_cell(row.get(name))) for name in names])


def _write_lines(file: TextIO, rows: Iterable[Row], names: Sequence[str]) -> None:
    file.writelines(msgspec.json.encode(_chosen(row, names)).decode() + "\n" for row in rows)


def _write_parquet(path: Path, rows: Iterable[Row], columns: Mapping[str, str]) -> None:
    # The engine makes files that others may read: it works in a private folder.
    with drafts(path) as (draft,), tempfile.TemporaryDirectory(prefix=".ecluse-", dir=path.parent) as room:
        lines, made = Path(room) / "lines", Path(room) / "made"
        with text_file(lines, path) as file:
            _write_lines(file, rows, tuple(columns))
        to_parquet(lines, made, columns)
        made.replace(draft)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return " ".join(map(str, value))
        case dict():
            return " ".join(f"{name}={text}" for name, text in value.items())
        case _:
            return str(value)


def told(event: dict[str, Any]) -> str:
    """Return *event* in one line."""
    names = ("at", "kind", "reason", "account", "operator", "app", "route", "status", "patients", "reference")
    return " ".join(visible(_cell(event[name])) for name in names if name in event)


def verdict(result: Verified | Broken) -> str:
    """Return *result* in one line."""
    if isinstance(result, Broken):
        where = f"{result.file}" + (f", line {result.line}" if result.line is not None else "")
        return visible(f"BROKEN  {result.directory.name}: {where}: {result.what}", 2_000)
    said = f"sound   {result.origin}: {result.size} entries, {result.signed} signed"
    if result.exported is not None:
        said += f", holds the kept checkpoint of {result.exported}"
    if result.purged:
        said += f", entries 0 to {result.purged - 1} purged on record and proven by their leaf hashes"
    if result.torn_bytes:
        said += f", {result.torn_bytes} bytes of an unfinished entry at the end"
    if result.damaged_leaves:
        said += ", a .leaves file does not fit its entries"
    return visible(said, 2_000)


def verdict_values(result: Verified | Broken) -> dict[str, Any]:
    """Return *result* as plain values."""
    values = {name: getattr(result, name) for name in type(result).__slots__}
    told = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    return {"sound": isinstance(result, Verified), **told}
