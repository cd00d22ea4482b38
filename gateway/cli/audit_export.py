"""``ecluse audit export``: the events of a question, in a form that another system reads."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from gateway import __version__
from gateway.audit.drafts import text_draft
from gateway.audit.export.facts import DOCUMENTATION_PEN, Observer
from gateway.audit.export.formats import FORMATS, texts
from gateway.audit.query import Question
from gateway.cli import EXIT_DONE, config_option
from gateway.cli.audit_consult import consult_options, open_consultation, reading
from gateway.cli.audit_query import query
from gateway.cli.progress import progress
from gateway.configuration import Loaded

_PROGRESS_EVERY = 1_000
_FILTERS = (Question.__dataclass_fields__.keys() | {"system"}) - {"newest", "limit"}


def observer_of(loaded: Loaded | None) -> Observer:
    """Return who tells, as the configuration has it; this machine alone without one."""
    host = socket.gethostname()
    if loaded is None:
        return Observer(host, version=__version__)
    return Observer(
        host,
        site=loaded.policy.body.name,
        version=__version__,
        enterprise_id=loaded.settings.enterprise_id,
        addresses={name: app.hosts[0] for name, app in loaded.policy.apps.items() if app.hosts},
    )


@click.command(
    epilog="Example:  ecluse audit export --format fhir --from 7d -o week.ndjson --reason 'ARR, monthly feed'"
)
@click.option(
    "--format", "form_name", type=click.Choice(list(FORMATS)), required=True, help="Form of each event."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    show_default=True,
    help="File to write, whole or not at all; - is standard output.",
)
@click.option(
    "--enterprise-id",
    type=click.IntRange(1, 2**32 - 1),
    help="IANA enterprise number of syslog's structured data, in place of audit.enterprise_id.",
)
@consult_options
@config_option
def export(
    form_name: str,
    output: str,
    enterprise_id: int | None,
    patients: tuple[str, ...],
    system: str | None,
    why: str | None,
    audit_dir: Path | None,
    keys_dir: Path | None,
    is_copy: bool,
    config_path: str,
    **filters: Any,
) -> int:
    """Write events in another system's form, one a line: for each of their patients, or once without patients.

    The consultation itself is recorded.
    """
    consultation = open_consultation(audit_dir, keys_dir, config_path, is_copy=is_copy)
    question = Question(patients=consultation.resolve(patients, system), **filters)
    consultation.record("export", why, question, format=form_name)
    observer = observer_of(consultation.loaded)
    if enterprise_id is not None:
        observer = Observer(observer.host, observer.site, observer.version, enterprise_id, observer.addresses)
    form, events, lines = FORMATS[form_name], 0, 0
    with reading(consultation), _written(output) as out, progress("events") as begin:
        advance = begin("exporting")
        for event in consultation.ask(question):
            events += 1
            for text in texts(event, form, observer):
                lines += 1
                out.write(f"{text}\n")
            if not events % _PROGRESS_EVERY:
                advance(events)
    if form_name == "syslog" and observer.enterprise_id == DOCUMENTATION_PEN:
        click.echo(
            f"enterprise number {DOCUMENTATION_PEN} is the one for examples: set audit.enterprise_id",
            err=True,
        )
    click.echo(f"{events} events, {lines} lines", err=True)
    return EXIT_DONE


# The filters are those of query, so that both mean the same.
export.params[1:1] = [param for param in query.params if param.name in _FILTERS]


@contextmanager
def _written(output: str) -> Iterator[TextIO]:
    if output == "-":
        yield sys.stdout
        return
    # It names professionals and what they looked at: for its owner's eyes.
    with text_draft(Path(output)) as file:
        yield file
