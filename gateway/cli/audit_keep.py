"""``ecluse audit keep``: the keeper of the archive, once or for as long as it is left running."""

import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click
import msgspec

from gateway import telemetry
from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME, VerifierKey
from gateway.audit.files import LogDamaged
from gateway.audit.keeper import ArchiveInUse, Kept, keep
from gateway.audit.manifest import ManifestDamaged
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.cli.progress import progress
from gateway.clock import SystemClock

_REFUSED = (ArchiveInUse, ManifestDamaged, LogDamaged, OSError)
_NICENESS = 10


@click.command("keep", epilog="Example:  ecluse audit keep --once --config /etc/ecluse/ecluse.yaml")
@click.option("--once", is_flag=True, help="One pass, and tell what it did.")
@click.option(
    "--every", "every_s", type=click.IntRange(1, 86_400), default=60, show_default=True,
    help="Seconds between two passes.",
)  # fmt: skip
@config_option
@json_option
def keep_command(once: bool, every_s: int, config_path: str, as_json: bool) -> int:
    """Archive ended segments of the journal as Parquet and merge them by month. The journal stays.

    May be stopped at any moment, by any means. `ecluse serve` runs it unless `audit.keeper` is off. 0 all is
    archived, 1 a log was left out because it is not what was signed, 2 nothing could be done.
    """
    settings = load_or_exit(config_path).settings
    keys = list(files.verifier_keys(keys_or_exit(settings).checkpoint, LOG_NAME))
    if once:
        try:
            with progress() as begin:
                done = keep(settings.audit_dir, keys, SystemClock().now_ms(), begin("archived"))
        except _REFUSED as error:
            fail(str(error), EXIT_FAULT)
        click.echo(msgspec.json.encode(asdict(done)).decode() if as_json else _told(done))
        return EXIT_REFUSED if done.faults else EXIT_DONE
    telemetry.configure()
    # Nobody waits for the archive; somebody waits for the gateway.
    os.nice(_NICENESS)
    resting = threading.Event()
    run(settings.audit_dir, keys, lambda: not resting.wait(every_s))
    return EXIT_DONE


def run(audit_dir: Path, keys: list[VerifierKey], again: Callable[[], bool]) -> None:
    """Keep the archive, and log what was done, until *again* returns False after a pass."""
    while True:
        try:
            if audit_dir.is_dir():
                _log(keep(audit_dir, keys, SystemClock().now_ms()))
        except ArchiveInUse:
            telemetry.log().info("audit_keeper_waits")
        except _REFUSED as error:
            # A full disk, or somebody's hand in the folder: it is tried again, and told each time.
            telemetry.log().error("audit_keeper_failed", error=str(error))
        if not again():
            return


def _log(done: Kept) -> None:
    for fault in done.faults:
        telemetry.log().error("audit_not_archived", error=fault)
    if done.segments or done.merges:
        telemetry.log().info("audit_archived", segments=done.segments, events=done.events, merges=done.merges)


def _told(done: Kept) -> str:
    first = f"{done.segments} segments of {done.events} events archived, {done.merges} merges"
    faults = (f"NOT ARCHIVED  {fault}" for fault in done.faults)
    return "\n".join([f"{first}, {done.deleted} files deleted.", *faults])
