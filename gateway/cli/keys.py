"""``ecluse keys``: make the gateway's keys, replace and drop them, seal anew, show their public parts."""

import base64
import json
import secrets
from pathlib import Path

import click

from gateway.audit.checkpoint import LOG_NAME, verifier_of
from gateway.audit.files import verifier_keys
from gateway.audit.operator import local_user, operator_log
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.common import reason_option
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.clock import SystemClock
from gateway.configuration import KeysRefused, Loaded, init_keys, public_key, rotate_key
from gateway.configuration.keys import DROPPED, PURPOSES, ROTATED, drop_key, prepared
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import KeyRing


@click.group(epilog="Example:  ecluse keys init --dir /etc/ecluse/keys")
def keys() -> None:
    """Make the gateway's keys, replace and drop them, show their public parts."""


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
    old = {
        purpose: [kid for kid in getattr(rings, purpose).keys if kid != current[purpose]]
        for purpose in PURPOSES
    }
    if as_json:
        told = {
            "current": current,
            "audit_verifier_key": verifier,
            "audit_verifier_keys_before": earlier,
            "others": old,
            "assertion_public_key": assertion,
        }
        click.echo(json.dumps(told))
        return EXIT_DONE
    for purpose, kid in current.items():
        others = f"  (also {', '.join(old[purpose])})" if old[purpose] else ""
        click.echo(f"{purpose:<22}{kid}{others}")
    click.echo(f"{'audit verifier key':<22}{verifier}")
    for key in earlier:
        click.echo(f"{'  before it':<22}{key}")
    click.echo(f"{'assertion public key':<22}{assertion} (Ed25519)")
    return EXIT_DONE


_THEN = {
    "session": "Cookies of before stay good until they end; after a leak, drop the old key.",
    "binding": "Everybody has to log in again: sessions are tied to the applications' cookies under the new key.",
    "sealing": "Then run 'ecluse keys reseal', so that nothing needs the old key any more.",
    "pseudonyms": "Patients get other pseudonyms in the log from then on; queries look for both.",
    "assertion": "Applications read the new public key from jwks.json, where the old one stays until it is dropped.",
    "checkpoint": "Give auditors the new verifier key of 'ecluse keys show'; they keep the old one for the past.",
}


@keys.command(epilog='Example:  ecluse keys rotate sealing --reason "yearly, ticket 4711"')
@click.argument("purpose", type=click.Choice(ROTATED))
@click.option(
    "--prepare",
    is_flag=True,
    help="Only put the new key into the ring, for every node to know before it is used.",
)
@reason_option
@config_option
@json_option
def rotate(purpose: str, prepare: bool, reason: str, config_path: str, as_json: bool) -> int:
    """Make a new key the current one of its ring; the old ones stay, so that what they made is still good.

    Every gateway takes it up at its next start. With several nodes, --prepare first, copy the file to every
    node and restart them; then rotate, copy and restart again: no node meets what it cannot read.
    """
    loaded = load_or_exit(config_path)
    held: KeyRing = getattr(keys_or_exit(loaded.settings), purpose)
    waiting = prepared(held)
    if prepare and waiting is not None:
        fail(
            f"{purpose} has a prepared key already, {waiting}: run 'ecluse keys rotate {purpose}'",
            EXIT_REFUSED,
        )
    kid = waiting or secrets.token_hex(4)
    act = "prepare" if prepare else "rotate"
    _record(loaded, act, reason, ("purpose", purpose), ("kid", kid), ("before", held.current))
    try:
        rotate_key(loaded.settings.keys_dir, purpose, kid, make_current=not prepare)
    except KeysRefused as error:
        fail(str(error), EXIT_FAULT)
    file = loaded.settings.keys_dir / f"{purpose}.json"
    if as_json:
        current = held.current if prepare else kid
        click.echo(json.dumps({"purpose": purpose, "kid": kid, "current": current, "file": str(file)}))
    else:
        click.echo(f"{purpose}: {kid} is {'prepared' if prepare else 'the current key'}.")
        click.echo(f"Copy {file} to every node and to your safe, then restart each gateway.", err=True)
        if not prepare:
            click.echo(_THEN[purpose], err=True)
    return EXIT_DONE


@keys.command(epilog='Example:  ecluse keys drop session 1a2b3c4d --reason "leaked with a backup"')
@click.argument("purpose", type=click.Choice(DROPPED))
@click.argument("kid")
@reason_option
@config_option
@json_option
def drop(purpose: str, kid: str, reason: str, config_path: str, as_json: bool) -> int:
    """Take an old key out of its ring: what it made is worth nothing from the next start on.

    A key of sealing is refused as long as a second factor is sealed with it. Keys of pseudonyms, names and
    checkpoints stay: without them the log could neither be asked nor verified.
    """
    loaded = load_or_exit(config_path)
    held: KeyRing = getattr(keys_or_exit(loaded.settings), purpose)
    if kid not in held.keys or kid == held.current:
        why = "the current key" if kid == held.current else "no key"
        fail(f"{kid} is {why} of {purpose}: its old keys are {_old(held) or 'none'}", EXIT_REFUSED)
    if purpose == "sealing":
        from gateway.cli.keys_factors import count_under  # noqa: PLC0415 - it brings the store and the engine

        count = count_under(kid, config_path)
        if count:
            fail(
                f"{count} second factors are sealed with {kid}: run 'ecluse keys reseal' first", EXIT_REFUSED
            )
    _record(loaded, "drop", reason, ("purpose", purpose), ("kid", kid))
    try:
        drop_key(loaded.settings.keys_dir, purpose, kid)
    except KeysRefused as error:
        fail(str(error), EXIT_FAULT)
    file = loaded.settings.keys_dir / f"{purpose}.json"
    if as_json:
        click.echo(json.dumps({"purpose": purpose, "dropped": kid, "file": str(file)}))
    else:
        click.echo(f"{purpose}: {kid} is dropped.")
        click.echo(f"Copy {file} to every node, then restart each gateway.", err=True)
    return EXIT_DONE


@keys.command(epilog='Example:  ecluse keys reseal --reason "yearly, ticket 4711"')
@reason_option
@config_option
@json_option
def reseal(reason: str, config_path: str, as_json: bool) -> int:
    """Seal every second factor with the current key; nobody notices, and it can be run again at any time.

    Leaves with 1 when some could not be opened: those people have to be reset and invited again.
    """
    from gateway.cli.keys_factors import seal_anew  # noqa: PLC0415 - it brings the store and the engine

    done, broken = seal_anew(
        config_path, lambda policy_id, kid: _event(policy_id, "reseal", reason, ("kid", kid))
    )
    if as_json:
        click.echo(json.dumps({"resealed": done, "broken": broken}))
    else:
        click.echo(f"{done} second factors were sealed anew.")
    for login in broken:
        click.echo(
            f"ecluse: the second factor of {login} cannot be opened with any key of the ring", err=True
        )
    return EXIT_REFUSED if broken else EXIT_DONE


def _old(ring: KeyRing) -> str:
    return ", ".join(kid for kid in ring.keys if kid not in {ring.current, prepared(ring)})


def _event(policy_id: str, act: str, reason: str, *detail: tuple[str, str]) -> AuditEvent:
    return AuditEvent(
        EventKind.KEYS_MADE,
        SystemClock().now_ms(),
        operator=local_user(),
        reason=reason,
        policy_id=policy_id,
        detail=(("act", act), *detail),
    )


def _record(loaded: Loaded, act: str, reason: str, *detail: tuple[str, str]) -> None:
    """Record what is about to be done with a key; leave with 2 when the log cannot take it."""
    held = keys_or_exit(loaded.settings)
    try:
        settings = loaded.settings
        with operator_log(settings.audit_dir, LOG_NAME, held.checkpoint, node=settings.audit_node) as log:
            log.record(_event(loaded.policy.policy_id, act, reason, *detail))
    except AuditUnavailable as error:
        fail(str(error), EXIT_FAULT)
