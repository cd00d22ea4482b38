"""``ecluse canary``: decoys, patients whom nobody who works has a reason to open."""

import secrets
import sys

import click
import msgspec

from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.operator import local_user, operator_log
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.common import reason_option, time_text
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.clock import SystemClock
from gateway.configuration import Loaded
from gateway.disclosure.fold import fold_of
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import Keys
from gateway.vocabulary.records import Extraction
from gateway.watching import Canaries, CanariesRefused, Canary


@click.group(
    epilog='Example:  ecluse canary add parcours - --reason "decoy of the referent, register 12" < number.txt'
)
def canary() -> None:
    """Set, list and remove decoys: opening or exporting one locks the account and alarms."""


@canary.command(epilog='Example:  ecluse canary add parcours - --reason "register 12" < number.txt')
@click.argument("app")
@click.argument("patient")
@click.option(
    "--system", help="Numbering of the patient, as the routes name it; needed when the app has several."
)
@reason_option
@config_option
@json_option
def add(app: str, patient: str, system: str | None, reason: str, config_path: str, *, as_json: bool) -> int:
    """Make the record PATIENT of APP a decoy, once it was made in the application; - reads its number.

    What stands on a command line is seen by every user of the machine: give the number on standard input. It is
    kept sealed, and never shown again. The log records that a decoy was set, not which.
    """
    loaded, keys = _opened(config_path)
    typed = sys.stdin.readline().strip() if patient == "-" else patient
    extraction = _extraction(loaded, app, system)
    number = fold_of(extraction)(typed)
    if not number:
        fail("this is no number of a patient in that numbering: write it as the application does", EXIT_FAULT)
    _record(loaded, keys, "add", app, reason)
    try:
        made = _canaries(loaded, keys).add(
            app, extraction.system, number, by=local_user(), reason=reason, at_ms=SystemClock().now_ms()
        )
    except CanariesRefused as refused:
        fail(str(refused), EXIT_REFUSED)
    click.echo(
        _json(made) if as_json else f"{made.id}: a decoy of {app}; the watcher knows it within a second"
    )
    return EXIT_DONE


@canary.command("list", epilog="Example:  ecluse canary list --json")
@config_option
@json_option
def list_(config_path: str, *, as_json: bool) -> int:
    """List the decoys, without their numbers."""
    loaded, keys = _opened(config_path)
    try:
        kept = _canaries(loaded, keys).list()
    except CanariesRefused as refused:
        fail(str(refused), EXIT_FAULT)
    for each in kept:
        click.echo(
            _json(each)
            if as_json
            else f"{each.id}  {each.app}  {time_text(each.at_ms)}  {each.by}  {each.reason}"
        )
    return EXIT_DONE


@canary.command(epilog='Example:  ecluse canary remove 1f2e3d4c --reason "record deleted in the app"')
@click.argument("name", metavar="ID")
@reason_option
@config_option
def remove(name: str, reason: str, config_path: str) -> int:
    """Let the decoy ID be a record like any other."""
    loaded, keys = _opened(config_path)
    canaries = _canaries(loaded, keys)
    try:
        known = next((each for each in canaries.list() if each.id == name), None)
        if known is None:
            fail(f"there is no decoy {name}: see 'ecluse canary list'", EXIT_REFUSED)
        _record(loaded, keys, "remove", known.app, reason)
        canaries.remove(name)
    except CanariesRefused as refused:
        fail(str(refused), EXIT_FAULT)
    click.echo(f"{name} is no decoy any more")
    return EXIT_DONE


def _opened(config_path: str) -> tuple[Loaded, Keys]:
    loaded = load_or_exit(config_path)
    return loaded, keys_or_exit(loaded.settings)


def _canaries(loaded: Loaded, keys: Keys) -> Canaries:
    return Canaries(loaded.settings.canaries_dir, keys, secrets.token_hex)


def _extraction(loaded: Loaded, name: str, system: str | None) -> Extraction:
    app = loaded.policy.apps.get(name)
    if app is None:
        fail(f"there is no app {name!r}: one of {', '.join(sorted(loaded.policy.apps))}", EXIT_FAULT)
    found = {
        route.extraction.system: route.extraction for route in app.routes if route.extraction is not None
    }
    if system is None and len(found) == 1:
        return next(iter(found.values()))
    if system is None or system not in found:
        said = "is needed" if system is None else f"{system!r} is none of this app's"
        fail(f"--system {said}: one of {', '.join(sorted(found))}", EXIT_FAULT)
    return found[system]


def _record(loaded: Loaded, keys: Keys, act: str, app: str, reason: str) -> None:
    settings = loaded.settings
    event = AuditEvent(
        EventKind.CANARY_CHANGED,
        SystemClock().now_ms(),
        operator=local_user(),
        app=app,
        reason=reason,
        policy_id=loaded.policy.policy_id,
        detail=(("act", act),),
    )
    try:
        with operator_log(settings.audit_dir, LOG_NAME, keys.checkpoint, node=settings.audit_node) as log:
            log.record(event)
    except AuditUnavailable as error:
        fail(f"it cannot be recorded, so nothing was changed: {error}", EXIT_FAULT)


def _json(one: Canary) -> str:
    told = {
        "id": one.id,
        "app": one.app,
        "system": one.system,
        "at_ms": one.at_ms,
        "by": one.by,
        "reason": one.reason,
    }
    return msgspec.json.encode(told).decode()
