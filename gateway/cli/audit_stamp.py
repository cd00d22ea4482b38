"""``ecluse audit stamp``: have an authority say when a log's state was there."""

import asyncio
from pathlib import Path

import click

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.files import LogDamaged
from gateway.audit.proving import read_checkpoint
from gateway.audit.stamp import STAMPS, SUFFIX, StampFails, StampUnavailable, stamp
from gateway.audit.witness_client import Undelivered
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.audit_proof import say
from gateway.cli.loading import keys_or_exit, load_or_exit

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIGITS = 10


@click.command(
    "stamp", epilog="Example:  ecluse audit stamp --url https://tsa.example/ --roots tsa-roots.pem"
)
@click.option("--url", required=True, help="The time-stamping authority (RFC 3161 over HTTP).")
@click.option("--roots", required=True, type=_FILE, help="PEM file of the roots its signature must lead to.")
@click.option(
    "--ca-file", type=_FILE, help="PEM file of the authorities of its HTTPS certificate, if its own."
)
@config_option
@json_option
def stamp_command(url: str, roots: Path, ca_file: Path | None, config_path: str, as_json: bool) -> int:
    """Stamp the last checkpoint of every log, and keep stamp and checkpoint beside the log, under stamps/."""
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("write http:// or https://", param_hint="--url")
    settings = load_or_exit(config_path).settings
    keys = files.verifier_keys(keys_or_exit(settings).checkpoint, LOG_NAME)
    try:
        for log in files.log_directories(settings.audit_dir):
            note, signed = read_checkpoint(log / files.CHECKPOINT, keys)
            raw, said = asyncio.run(stamp(note, url, roots.read_bytes(), ca_file))
            files.make_directory(log / STAMPS)
            kept = log / STAMPS / f"{signed.size:0{_DIGITS}d}{SUFFIX}"
            # The checkpoint first: a stamp without what it stamps says nothing.
            files.replace_durably(kept.with_suffix(".checkpoint"), note)
            files.replace_durably(kept, raw)
            values = {"origin": signed.origin, "size": signed.size, "at": said.at, "file": str(kept)}
            say(values, f"{kept}: {signed.origin}, {signed.size} entries at {said.at}", as_json=as_json)
    except StampFails as error:
        fail(f"the authority's answer does not hold: {error}", EXIT_REFUSED)
    except (StampUnavailable, Undelivered, LogDamaged, OSError) as error:
        fail(str(error), EXIT_FAULT)
    return EXIT_DONE
