"""``ecluse audit purge``: drop what is older than the retention, on record, so that the log still verifies."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.escrow import DIRECTORY as ESCROW
from gateway.audit.escrow import files_before, forget
from gateway.audit.files import LogDamaged
from gateway.audit.keeper import ArchiveInUse, archive_lock
from gateway.audit.manifest import ManifestDamaged
from gateway.audit.operator import local_user, operator_log
from gateway.audit.parquet import CannotArchive
from gateway.audit.purges import justify, purge_event
from gateway.audit.retention import Due, before, drop, find_due
from gateway.audit.sealed import NotAsSigned
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.clock import SystemClock
from gateway.configuration import Settings
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import Keys

_LOCK_WAIT_S = 60.0
_DAY_CHARS = len("2026-09-14")


@click.command("purge", epilog="Example:  ecluse audit purge --reason 'yearly, register entry 12'")
@click.option("--dry-run", is_flag=True, help="Tell what would go; drop and record nothing.")
@click.option("--reason", "why", help="Why you do it: recorded, with the retention and its justification.")
@config_option
@json_option
def purge(dry_run: bool, why: str | None, config_path: str, as_json: bool) -> int:
    """Drop entries older than `audit.retention_days`, from journal and archive. There is no way back.

    Whole segments only, oldest first. Leaf hashes and checkpoints stay: `ecluse audit verify` and proofs made
    before hold as they did. 0 done, 1 refused because a log is not what was signed, 2 nothing could be done.
    """
    if not dry_run and not (why or "").strip():
        raise click.UsageError("A purge is recorded with its reason: give --reason TEXT, or --dry-run.")
    settings = load_or_exit(config_path).settings
    keys = keys_or_exit(settings)
    try:
        # Held from the first look to the last deletion: the keeper waits.
        with archive_lock(settings.audit_dir, _LOCK_WAIT_S):
            outcome = _purge(settings, keys, why or "", dry_run=dry_run)
    except (NotAsSigned, LogDamaged) as error:
        fail(f"nothing was purged: {error}", EXIT_REFUSED)
    except (ArchiveInUse, AuditUnavailable, CannotArchive, ManifestDamaged, OSError) as error:
        fail(f"the purge is not finished: {error}", EXIT_FAULT)
    click.echo(msgspec.json.encode(outcome).decode() if as_json else _told(outcome))
    return EXIT_DONE


def _purge(settings: Settings, keys: Keys, why: str, *, dry_run: bool) -> dict[str, Any]:
    now_ms = SystemClock().now_ms()
    retention = justify(settings.retention_days, settings.retention_reason)
    before_ms, older_than = before(now_ms, settings.retention_days)
    verifiers = files.verifier_keys(keys.checkpoint, LOG_NAME)
    due = find_due(settings.audit_dir, verifiers, before_ms)
    outcome: dict[str, Any] = {
        "dry_run": dry_run,
        "older_than": older_than,
        "retention": retention,
        "logs": [asdict(item.purge) for item in due if item.segments],
    }
    # What turns pseudonyms back is kept no longer than what they stand in.
    escrowed = files_before(settings.audit_dir / ESCROW, older_than[:_DAY_CHARS])
    outcome["escrow_files"] = len(escrowed)
    if (due or escrowed) and not dry_run:
        _record(settings, keys, due, escrowed, now_ms, why, older_than, retention)
        outcome["dropped"] = asdict(drop(settings.audit_dir, due))
        forget(escrowed)
    return outcome


def _record(
    settings: Settings,
    keys: Keys,
    due: list[Due],
    escrowed: list[Path],
    now_ms: int,
    why: str,
    older_than: str,
    retention: str,
) -> None:
    # Signed when it is closed, and only then believed by whoever verifies.
    with operator_log(settings.audit_dir, LOG_NAME, keys.checkpoint, node=settings.audit_node) as log:
        for item in due:
            log.record(
                purge_event(item.purge, now_ms, local_user(), why, older_than=older_than, retention=retention)
            )
        if escrowed:
            detail = (
                ("escrow_files", str(len(escrowed))),
                ("older_than", older_than),
                ("retention", retention),
                ("reason", why),
            )
            log.record(AuditEvent(EventKind.AUDIT_PURGED, now_ms, operator=local_user(), detail=detail))


def _told(outcome: dict[str, Any]) -> str:
    lines = [f"Older than {outcome['older_than']} ({outcome['retention']}):"]
    lines += [
        f"  {each['writer']}: entries {each['first']} to {each['up_to'] - 1}, {each['segments']} segments, "
        f"{each['size_bytes']} bytes"
        for each in outcome["logs"]
    ] or ["  nothing"]
    if outcome["escrow_files"]:
        lines.append(f"  escrow: {outcome['escrow_files']} files")
    if "dropped" in outcome:
        dropped = outcome["dropped"]
        lines.append(
            f"Dropped {dropped['entries']} entries, and {dropped['rows']} rows of the archive. Leaf hashes and "
            "checkpoints stay."
        )
    elif outcome["logs"] or outcome["escrow_files"]:
        lines.append("Nothing was dropped: --dry-run.")
    return "\n".join(lines)
