"""``ecluse keys``: make the gateway's keys, replace one, show their public parts."""

import base64
import json
import secrets
from pathlib import Path

import click

from gateway.audit.checkpoint import LOG_NAME, verifier_of
from gateway.audit.files import verifier_keys
from gateway.audit.operator import local_user, operator_log
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, config_option, fail, json_option
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.clock import SystemClock
from gateway.configuration import KeysRefused, init_keys, public_key, rotate_key
from gateway.configuration.keys import PURPOSES, ROTATED
from gateway.vocabulary.events import AuditEvent, EventKind


@click.group(epilog="Example:  ecluse keys init --dir /etc/ecluse/keys")
def keys() -> None:
    """Make the gateway's keys, replace one, show their public parts."""


@keys.command(epilog="Example:  ecluse keys init --dir /etc/ecluse/keys")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the keys; the configuration's keys_dir when left out.",
)
@config_option
@json_option
def init(directory: Path | None, config_path: str, as_json: bool) -> int:
    """Make every key, in files of mode 0600; nothing is ever overwritten."""
    where = directory if directory is not None else load_or_exit(config_path).settings.keys_dir
    try:
        made = init_keys(where)
    except KeysRefused as refused:
        fail(str(refused), EXIT_FAULT)
    if as_json:
        click.echo(json.dumps({"made": [str(path) for path in made]}))
    else:
        for path in made:
            click.echo(str(path))
        click.echo(
            "Back these files up apart from the store: without them every second factor is lost.", err=True
        )
    return EXIT_DONE


@keys.command(epilog="Example:  ecluse keys show --json")
@config_option
@json_option
def show(config_path: str, as_json: bool) -> int:
    """Show key ids and public keys, never a secret: the verifier key is what auditors keep."""
    rings = keys_or_exit(load_or_exit(config_path).settings)
    verifier = verifier_of(LOG_NAME, rings.checkpoint.key()).text()
    # Keys that have turned still verify what they signed: auditors keep them all.
    earlier = [key.text() for key in verifier_keys(rings.checkpoint, LOG_NAME) if key.text() != verifier]
    assertion = base64.b64encode(public_key(rings.assertion)).decode()
    current = {purpose: getattr(rings, purpose).current for purpose in PURPOSES}
    if as_json:
        told = {
            "current": current,
            "audit_verifier_key": verifier,
            "audit_verifier_keys_before": earlier,
            "assertion_public_key": assertion,
        }
        click.echo(json.dumps(told))
        return EXIT_DONE
    for purpose, kid in current.items():
        click.echo(f"{purpose:<22}{kid}")
    click.echo(f"{'audit verifier key':<22}{verifier}")
    for key in earlier:
        click.echo(f"{'  before it':<22}{key}")
    click.echo(f"{'assertion public key':<22}{assertion} (Ed25519)")
    return EXIT_DONE


@keys.command(epilog='Example:  ecluse keys rotate pseudonyms --reason "yearly, ticket 4711"')
@click.argument("purpose", type=click.Choice(ROTATED))
@click.option("--reason", required=True, help="Why; it stands in the audit log.")
@config_option
@json_option
def rotate(purpose: str, reason: str, config_path: str, as_json: bool) -> int:
    """Make a new key the current one of its ring; the old ones stay, so that what they made is still found.

    Every gateway takes it up at its next start: copy the file to the other nodes before. Patients in the log
    get other pseudonyms from then on, and queries look for both; what the caps count is not touched.
    """
    loaded = load_or_exit(config_path)
    held, kid = keys_or_exit(loaded.settings), secrets.token_hex(4)
    try:
        with operator_log(loaded.settings.audit_dir, LOG_NAME, held.checkpoint) as log:
            log.record(
                AuditEvent(
                    EventKind.KEYS_MADE,
                    SystemClock().now_ms(),
                    operator=local_user(),
                    reason=reason,
                    policy_id=loaded.policy.policy_id,
                    detail=(("purpose", purpose), ("kid", kid), ("before", getattr(held, purpose).current)),
                )
            )
            rotate_key(loaded.settings.keys_dir, purpose, kid)
    except (AuditUnavailable, KeysRefused) as error:
        fail(str(error), EXIT_FAULT)
    file = loaded.settings.keys_dir / f"{purpose}.json"
    if as_json:
        click.echo(json.dumps({"purpose": purpose, "current": kid, "file": str(file)}))
    else:
        click.echo(f"{purpose}: {kid} is the current key.")
        click.echo(f"Copy {file} to every node and to your safe, then restart each gateway.", err=True)
    return EXIT_DONE
