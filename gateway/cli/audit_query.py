"""``ecluse audit query``: which events, in which columns, counted by what; to the terminal or into a file."""

from pathlib import Path
from typing import Any

import click

from gateway.audit.query import ACCESS_COLUMNS, EVENT_COLUMNS, Question
from gateway.audit.question import DECISIONS
from gateway.audit.sql import GROUPS, MEASURES
from gateway.cli import EXIT_DONE, config_option, json_option
from gateway.cli.audit_consult import (
    consult_options,
    flowing,
    open_consultation,
    patiently,
    period_options,
    reading,
)
from gateway.cli.audit_output import ENDINGS, print_csv, print_json, print_table, told_moment, write_file
from gateway.vocabulary.events import EventKind

_TABLE_ROWS = 200
_KINDS = {**ACCESS_COLUMNS, **EVENT_COLUMNS}


def _names(allowed: tuple[str, ...]) -> Any:
    """Return the callback of an option that takes names of *allowed*, separated by commas."""

    def split(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...]:
        names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
        if strange := [name for name in names if name not in allowed]:
            raise click.BadParameter(f"{strange[0]!r} is none of {', '.join(allowed)}")
        return tuple(dict.fromkeys(names))

    return split


def _output(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path.suffix not in ENDINGS:
        raise click.BadParameter(f"{path}: the name ends with {', '.join(ENDINGS)}")
    if path is not None and not path.absolute().parent.is_dir():
        raise click.BadParameter(f"{path}: there is no folder {path.absolute().parent}")
    return path


@click.command(
    epilog="Example:  ecluse audit query --patient 4711 --system urn:oid:1.2.250.1.999 --from 7d --reason 'art. 15'"
)
@click.option("--account", "accounts", multiple=True, help="Canonical login.")
@click.option("--class", "classes", multiple=True, help="Class of the account.")
@click.option("--realm")
@click.option(
    "--patient", "patients", multiple=True, help="Pseudonym, or the id in clear with --system; - reads lines."
)
@click.option("--system", help="Numbering of the ids in clear, as the routes name it.")
@click.option("--app", "apps", multiple=True)
@click.option("--route", "routes", multiple=True, help="Name of the route.")
@click.option("--establishment", "establishments", multiple=True)
@click.option("--kind", "kinds", multiple=True, type=click.Choice([kind.value for kind in EventKind]))
@click.option("--decision", "decisions", multiple=True, type=click.Choice(list(DECISIONS)))
@click.option(
    "--outcome", "outcomes", multiple=True, help="Reason or control of the event, such as cap or code-owed."
)
@click.option("--request", "request_id", help="Request id.")
@click.option("--reference", help="Reference shown on a page.")
@period_options()
@click.option(
    "--columns",
    callback=_names(tuple(_KINDS)),
    help="Columns to show, such as at,account,route; with patient: one row per event and patient.",
)
@click.option(
    "--group-by", "groups", callback=_names(GROUPS), help="Count by these columns, such as account,day."
)
@click.option(
    "--by", type=click.Choice(MEASURES), default="patients", help="The greatest of these come first."
)
@click.option("--top", type=click.IntRange(min=1), help="The first so many groups.")
@click.option(
    "--limit", type=click.IntRange(min=1), help=f"At most so many events; a table shows {_TABLE_ROWS}."
)
@click.option("--newest", is_flag=True, help="The last ones first.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_output,
    help=f"Write a file ({', '.join(ENDINGS)}).",
)
@consult_options
@config_option
@json_option
def query(
    *,
    patients: tuple[str, ...],
    system: str | None,
    columns: tuple[str, ...],
    groups: tuple[str, ...],
    by: str,
    top: int | None,
    limit: int | None,
    output: Path | None,
    as_csv: bool,
    as_json: bool,
    why: str | None,
    audit_dir: Path | None,
    keys_dir: Path | None,
    is_copy: bool,
    config_path: str,
    **filters: Any,
) -> int:
    """Ask the trail: who saw whom, when, through which app. The consultation itself is recorded."""
    _fit(columns, groups, top)
    consultation = open_consultation(audit_dir, keys_dir, config_path, is_copy=is_copy)
    as_table = not (as_json or as_csv or output)
    most = limit if limit is not None else (_TABLE_ROWS + 1 if as_table and not groups else None)
    question = Question(patients=consultation.resolve(patients, system), limit=top or most, **filters)
    shape = {"columns": columns, "group_by": groups, "output": output.suffix if output else None}
    consultation.record("query", why, question, **shape)
    with reading(consultation):
        if groups:
            counted = patiently(lambda: consultation.grouped(question, groups, by))
            rows = iter([told_moment(row) for row in counted])
            kinds = {name: _KINDS.get(name, "VARCHAR") for name in groups} | dict.fromkeys(MEASURES, "BIGINT")
            names = tuple(kinds)
        else:
            wanted = consultation.accesses if "patient" in columns else consultation.ask
            rows = flowing(wanted(question))
            kinds = {name: _KINDS[name] for name in columns or EVENT_COLUMNS}
            names = columns
        if output is not None:
            click.echo(f"{patiently(lambda: write_file(output, rows, kinds))} rows in {output}", err=True)
        elif as_json:
            print_json(rows, names)
        elif as_csv:
            print_csv(rows, names)
        else:
            shown = limit or (_TABLE_ROWS if not groups else None)
            print_table(list(rows), shown, names, what="groups" if groups else "events")
    return EXIT_DONE


def _fit(columns: tuple[str, ...], groups: tuple[str, ...], top: int | None) -> None:
    if groups and columns:
        raise click.UsageError("--group-by shows what it counts by: leave --columns out.")
    if top and not groups:
        raise click.UsageError("--top takes the first groups of --group-by: give --group-by, or use --limit.")
    alone = [name for name in columns if name not in ACCESS_COLUMNS]
    if "patient" in columns and alone:
        raise click.UsageError(
            f"{alone[0]} is not told for each patient: leave it or patient out of --columns."
        )
