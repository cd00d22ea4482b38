"""How ``ecluse audit`` shows events and verdicts: nothing an event holds reaches a terminal or a spreadsheet raw."""

import csv
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.audit.columns import COLUMNS
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
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def print_table(events: list[dict[str, Any]], limit: int) -> None:
    """Print *events*, the first *limit* of them, as a table."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    shown = [name for name in _TABLE if any(name in event for event in events)]
    for name in shown:
        table.add_column(name, overflow="fold")
    for event in events[:limit]:
        table.add_row(*(Text(visible(_cell(event.get(name)))) for name in shown))
    console = Console()
    if events:
        console.print(table)
    more = len(events) > limit
    said = f"{min(len(events), limit)} events" + (", and more: use --limit, --json or --csv" if more else "")
    click.echo(said, err=True)


def print_csv(events: Iterable[dict[str, Any]]) -> None:
    """Print *events* as CSV with every column."""
    names = ["writer", *(name for name in COLUMNS if name not in {"salt", "v"})]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for event in events:
        writer.writerow([_harmless(_cell(event.get(name))) for name in names])


def _harmless(text: str) -> str:
    # Spreadsheets run cells that begin so; an apostrophe makes them text (OWASP, CSV injection).
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


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
