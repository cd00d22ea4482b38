"""``ecluse audit account``: what one person did, day by day, in order of time."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.audit.encoding import visible
from gateway.audit.query import Question
from gateway.audit.sql import DAY_MS
from gateway.cli import EXIT_DONE, config_option, json_option
from gateway.cli.audit_chart import print_bars
from gateway.cli.audit_consult import consult_options, flowing, open_consultation, period_options, reading
from gateway.cli.audit_output import print_json

_LINES = 1_000


@click.command(epilog="Example:  ecluse audit account dr.martin --from 7d --reason 'alert 118'")
@click.argument("login")
@click.option("--realm")
@period_options("7d")
@click.option("--limit", type=click.IntRange(min=1), default=_LINES, show_default=True, help="Lines shown.")
@consult_options
@config_option
@json_option
def account(
    login: str,
    realm: str | None,
    from_ms: int | None,
    to_ms: int | None,
    limit: int,
    as_json: bool,
    why: str | None,
    audit_dir: Path | None,
    keys_dir: Path | None,
    is_copy: bool,
    config_path: str,
) -> int:
    """Tell what LOGIN did: distinct patients a day, then each event. The consultation itself is recorded."""
    consultation = open_consultation(audit_dir, keys_dir, config_path, is_copy=is_copy)
    question = Question(accounts=(login,), realm=realm, from_ms=from_ms, to_ms=to_ms)
    consultation.record("account", why, question)
    with reading(consultation):
        events = flowing(consultation.ask(question))
        if as_json:
            print_json(events)
        else:
            _print(login, list(events), limit)
    return EXIT_DONE


def _print(login: str, events: list[dict[str, Any]], limit: int) -> None:
    console = Console()
    days: dict[int, set[str]] = {}
    for event in events:
        days.setdefault(event["at_ms"] // DAY_MS, set()).update(event.get("patients", ()))
    everybody = set[str]().union(*days.values())
    total_rows, total_bytes = (sum(event.get(name, 0) for event in events) for name in ("rows", "bytes"))
    console.print(
        Text(
            f"{visible(login)}: {len(events):,} events, {len(everybody):,} distinct patients, "
            f"{total_rows:,} rows, {total_bytes:,} bytes"
        )
    )
    if not events:
        return
    bars = [(_day(day * DAY_MS), len(patients)) for day, patients in days.items()]
    print_bars("Distinct patients by day (UTC)", bars, style="magenta")
    day = None
    table = Table(box=None, show_header=False, pad_edge=False)
    for event in events[:limit]:
        if (today := _day(event["at_ms"])) != day:
            day = today
            table.add_row(Text(f"\n{day}", style="bold"))
        seen = len(event.get("patients", ()))
        manner = {True: "opened", False: "listed"}.get(event.get("opened", ""), "") if seen else ""
        cells = (
            event.get("at", "")[11:19],
            event.get("kind", ""),
            event.get("app", ""),
            event.get("route", ""),
            f"{seen} {manner}" if seen else "",
            event.get("reason", ""),
            event.get("client", ""),
            event.get("session", ""),
        )
        table.add_row(*(Text(visible(cell)) for cell in cells))
    console.print(table)
    if len(events) > limit:
        click.echo(f"the first {limit} of {len(events)} events: use --limit or --json", err=True)


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")
