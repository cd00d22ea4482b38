"""``ecluse audit stats``: how much was seen, when and by whom, as bars in the terminal."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.audit.query import Question
from gateway.audit.sql import DAY_MS
from gateway.cli import EXIT_DONE, config_option, json_option
from gateway.cli.audit_chart import print_bars
from gateway.cli.audit_consult import consult_options, open_consultation, patiently, period_options, reading
from gateway.cli.audit_output import told_moment
from gateway.clock import SystemClock

_BY_HOUR_UP_TO = 3 * DAY_MS


@click.command(epilog="Example:  ecluse audit stats --from 7d --app viatrajectoire --reason 'weekly review'")
@click.option("--account", "accounts", multiple=True, help="Canonical login.")
@click.option("--class", "classes", multiple=True, help="Class of the account.")
@click.option("--app", "apps", multiple=True)
@click.option("--establishment", "establishments", multiple=True)
@period_options("7d")
@click.option(
    "--top", type=click.IntRange(min=1), default=10, show_default=True, help="Accounts and apps shown."
)
@consult_options
@config_option
@json_option
def stats(
    top: int,
    as_json: bool,
    why: str | None,
    audit_dir: Path | None,
    keys_dir: Path | None,
    is_copy: bool,
    config_path: str,
    **filters: Any,
) -> int:
    """Count events and distinct patients by time, kind, app and account. The consultation itself is recorded."""
    consultation = open_consultation(audit_dir, keys_dir, config_path, is_copy=is_copy)
    question = Question(**filters)
    consultation.record("stats", why, question)
    until_ms = question.to_ms or SystemClock().now_ms()
    step = "hour" if until_ms - (question.from_ms or 0) <= _BY_HOUR_UP_TO else "day"

    def count(column: str, by: str = "events", limit: int | None = None) -> list[dict[str, Any]]:
        return consultation.grouped(replace(question, limit=limit), (column,), by)

    with reading(consultation):
        answer = patiently(
            lambda: {
                step: [told_moment(row) for row in sorted(count(step), key=lambda row: row[step])],
                "kind": count("kind"),
                "app": count("app", limit=top),
                "account": count("account", "patients", top),
            }
        )
    if as_json:
        click.echo(msgspec.json.encode({"asked": asdict(question), **answer}).decode())
        return EXIT_DONE
    print_bars(f"Events by {step} (UTC)", _bars(answer[step], step, "events"))
    print_bars(f"Distinct patients by {step} (UTC)", _bars(answer[step], step, "patients"), style="magenta")
    print_bars("Events by kind", _bars(answer["kind"], "kind", "events"))
    print_bars("Events by app", _bars(answer["app"], "app", "events"))
    print_bars(
        "Accounts by distinct patients", _bars(answer["account"], "account", "patients"), style="magenta"
    )
    return EXIT_DONE


def _bars(rows: list[dict[str, Any]], column: str, measure: str) -> list[tuple[str, int]]:
    return [(str(row.get(column, "–")), row[measure]) for row in rows]
