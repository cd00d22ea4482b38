"""``ecluse audit patient``: the answer to a patient who asks who saw the record (GDPR art. 15)."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from gateway.audit.disclosures import disclosures
from gateway.audit.query import Question
from gateway.cli import EXIT_DONE, config_option, json_option
from gateway.cli.audit_consult import consult_options, flowing, open_consultation, period_options, reading
from gateway.cli.audit_letter import letter
from gateway.cli.audit_output import print_json
from gateway.clock import SystemClock


def _zone(_context: click.Context, _option: click.Parameter, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise click.BadParameter(
            f"{name!r} is no time zone this machine knows: install tzdata, or give UTC"
        ) from None


@click.command(
    epilog="Example:  ecluse audit patient 4711 --system urn:oid:1.2.250.1.999 --reason 'art. 15, demande 2026-118'"
)
@click.argument("patient_id", metavar="ID")
@click.option("--system", help="Numbering of the id, as the routes name it. Without: ID is a pseudonym.")
@period_options()
@click.option(
    "--names", "with_names", is_flag=True, help="Name the professionals by login. Weigh their rights first."
)
@click.option("--timezone", "zone", default="Europe/Paris", show_default=True, callback=_zone)
@consult_options
@config_option
@json_option
def patient(
    patient_id: str,
    system: str | None,
    from_ms: int | None,
    to_ms: int | None,
    with_names: bool,
    zone: ZoneInfo,
    as_json: bool,
    why: str | None,
    audit_dir: Path | None,
    keys_dir: Path | None,
    is_copy: bool,
    config_path: str,
) -> int:
    """Tell who saw the record of ID, when, through which app and which data: a letter in French and English.

    ID is - to read it from standard input, so that it stands in no list of processes. With --json: every access.
    """
    consultation = open_consultation(audit_dir, keys_dir, config_path, is_copy=is_copy)
    # This consultation itself comes after the moment up to which it tells.
    until_ms = to_ms if to_ms is not None else SystemClock().now_ms()
    question = Question(patients=consultation.resolve([patient_id], system), from_ms=from_ms, to_ms=until_ms)
    consultation.record("patient", why, question, names=with_names)
    with reading(consultation):
        rows = flowing(consultation.accesses(question))
        if as_json:
            print_json(rows)
            return EXIT_DONE
        told = disclosures(rows, zone)
    since = datetime.fromtimestamp(from_ms / 1000, UTC).astimezone(zone) if from_ms is not None else None
    until = datetime.fromtimestamp(until_ms / 1000, UTC).astimezone(zone)
    click.echo(
        letter(
            told, since=since, until=until, zone=zone.key, titles=consultation.titles, with_names=with_names
        ),
        nl=False,
    )
    return EXIT_DONE
