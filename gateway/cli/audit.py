"""``ecluse audit``: the commands of auditors, each in a file of its own."""

from typing import Final

import click

from gateway.cli import LazyGroup, Listed

_COMMANDS: Final[Listed] = {
    "verify": (
        "gateway.cli.audit_verify:verify",
        "Check journals from their files alone; name the first bad entry of each.",
    ),
    "query": (
        "gateway.cli.audit_query:query",
        "Ask the trail: who saw whom, when, through which app.",
    ),
    "patient": (
        "gateway.cli.audit_patient:patient",
        "Tell who saw the record of ID, when, through which app and which data: a letter in French and English.",
    ),
    "account": (
        "gateway.cli.audit_account:account",
        "Tell what LOGIN did: distinct patients a day, then each event.",
    ),
    "stats": (
        "gateway.cli.audit_stats:stats",
        "Count events and distinct patients by time, kind, app and account.",
    ),
    "follow": (
        "gateway.cli.audit_follow:follow_command",
        "Show events as they are written, until Ctrl-C.",
    ),
    "load": (
        "gateway.cli.audit_load:load",
        "Load what this node has archived since the last load into the ClickHouse of audit.engine.",
    ),
    "keep": (
        "gateway.cli.audit_keep:keep_command",
        "Archive ended segments of the journal as Parquet and merge them by month.",
    ),
    "watch": (
        "gateway.cli.audit_watch:watch",
        "Watch the log for what looks wrong; ask the account for a fresh code, and lock it when that did not help.",
    ),
    "purge": (
        "gateway.cli.audit_purge:purge",
        "Drop entries older than `audit.retention_days`, from journal and archive.",
    ),
    "prove": (
        "gateway.cli.audit_prove:prove",
        "Write the proof that EVENT stands in the log: WRITER:SEQ, a request id, or a reference shown on a page.",
    ),
    "publish": (
        "gateway.cli.audit_publish:publish",
        "Have checkpoints cosigned by audit.witnesses, and bring them to audit.publish, until SIGTERM.",
    ),
    "checkpoint": (
        "gateway.cli.audit_checkpoint:exchange",
        "Exchange checkpoints with a witness by files, where no network leads to it.",
    ),
    "stamp": (
        "gateway.cli.audit_stamp:stamp_command",
        "Stamp the last checkpoint of every log, and keep stamp and checkpoint beside the log, under stamps/.",
    ),
    "export": (
        "gateway.cli.audit_export:export",
        "Write events in another system's form, one a line: for each of their patients, or once without patients.",
    ),
    "ship": (
        "gateway.cli.audit_ship:ship",
        "Send the log of this node to audit.collector as it grows, until it is stopped.",
    ),
    "identify": (
        "gateway.cli.audit_identify:identify",
        "Turn pseudonyms back into patients' ids.",
    ),
}


@click.group(
    cls=LazyGroup,
    listed=_COMMANDS,
    epilog="Example:  ecluse audit query --account dr.martin --from 24h --reason 'ticket 1432'",
)
def audit() -> None:
    """Query, follow and verify the audit log."""
