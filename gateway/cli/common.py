"""What commands share that needs neither store nor log: options, times, tables."""

import csv
import io
import json
from datetime import UTC, datetime

import click

from gateway.audit.cells import cell_text
from gateway.cli import EXIT_DONE

Row = dict[str, str | int | None]

realm_option = click.option("--realm", "realm_name", help="The realm; not needed when there is only one.")
reason_option = click.option("--reason", required=True, help="Why; it stands in the audit log.")


def time_text(at_ms: int | None) -> str | None:
    """Return Unix milliseconds as UTC, to the second."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def show_rows(rows: list[Row], code: int = EXIT_DONE, *, as_csv: bool, as_json: bool) -> int:
    """Print *rows* as a table, CSV or JSON, and return *code*."""
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return code
    if not rows:
        click.echo("none", err=True)
        return code
    # A login may begin like a formula, and the codes go into a spreadsheet for the mailing.
    shown = cell_text if as_csv else str
    table = [
        list(rows[0]),
        *(["-" if value is None else shown(str(value)) for value in row.values()] for row in rows),
    ]
    if as_csv:
        text = io.StringIO()
        csv.writer(text).writerows(table)
        click.echo(text.getvalue(), nl=False)
        return code
    widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return code
