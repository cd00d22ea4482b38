"""``ecluse config reload``: the running gateway reads its configuration again; weaker only when somebody accepts it."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.operator import local_user, operator_log
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_FAULT, config_option, fail, json_option
from gateway.cli.config_doors import open_doors, reload_doors, show_answers
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.clock import SystemClock
from gateway.configuration import Loaded, Settings
from gateway.configuration.in_force import InForceUnread, compare, detail, of_loaded, read_in_force
from gateway.policy.weakening import Change, weakenings
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.workers import acceptance


@click.command(name="reload", epilog="Example:  ecluse config reload")
@click.option("--wait-s", default=10.0, show_default=True, help="Longest wait for the gateway's answer.")
@click.option(
    "--accept-weakening",
    "accept",
    is_flag=True,
    help="Let this change weaken what is in force; who accepted it, and what, stands in the audit log.",
)
@config_option
@json_option
def reload_(wait_s: float, accept: bool, config_path: str, as_json: bool) -> int:
    """Have the running gateway read its configuration again, and the check of its edge, if one runs here.

    Each tells its answer. Exit code 0: in force; 1: refused, by one of them at least. One that weakens what is in
    force is refused, setting by setting: `ecluse config diff` tells beforehand.
    """
    loaded = load_or_exit(config_path)
    settings = loaded.settings
    doors = open_doors(settings)
    with _accepted(loaded) if accept else _unaccepted() as weaker:
        for change in weaker:
            click.echo(f"accepted: {change}", err=True)
        answers = reload_doors(doors, wait_s)
    return show_answers(answers, as_json=as_json)


@contextmanager
def _unaccepted() -> Iterator[tuple[Change, ...]]:
    yield ()


@contextmanager
def _accepted(loaded: Loaded) -> Iterator[tuple[Change, ...]]:
    """Record that this very change is accepted, leave word of it for one reload, and take that back afterwards."""
    settings, clock = loaded.settings, SystemClock()
    try:
        old, new = read_in_force(settings.in_force_file), of_loaded(loaded)
    except InForceUnread as error:
        fail(
            f"what the gateway has in force is not known, so nobody can accept a change of it: {error}",
            EXIT_FAULT,
        )
    weaker = weakenings(compare(old, new))
    if not weaker:
        yield ()
        return
    event = AuditEvent(
        kind=EventKind.CONFIG_WEAKENED,
        at_ms=clock.now_ms(),
        operator=local_user(),
        policy_id=old.policy.policy_id,
        detail=(
            ("act", "accept"),
            ("before", old.policy.policy_id),
            ("after", new.policy.policy_id),
            *detail(weaker),
        ),
    )
    _record(settings, event)
    path = settings.state_dir / acceptance.NAME
    try:
        # One that a killed command left behind was for another change.
        path.unlink(missing_ok=True)
        acceptance.leave(path, acceptance.Acceptance(old.id, new.id, local_user(), clock.now_ms()))
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}; run this as the gateway's user", EXIT_FAULT)
    try:
        yield weaker
    finally:
        path.unlink(missing_ok=True)


def _record(settings: Settings, event: AuditEvent) -> None:
    keys = keys_or_exit(settings)
    try:
        with operator_log(settings.audit_dir, LOG_NAME, keys.checkpoint, node=settings.audit_node) as log:
            log.record(event)
    except AuditUnavailable as error:
        fail(f"nothing was accepted, since it cannot be recorded: {error}", EXIT_FAULT)
