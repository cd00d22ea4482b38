"""What ``ecluse posture`` and ``ecluse plan-blanc`` share: entries in the log, and telling somebody at once."""

import click

from gateway.alerts import OutboxRefused
from gateway.assembly.office import Office
from gateway.audit.operator import local_user
from gateway.cli.alerts import channels_of, outbox_of
from gateway.vocabulary.alerts import Alert
from gateway.vocabulary.events import AuditEvent, EventKind


def event_of(
    office: Office,
    kind: EventKind,
    reason: str,
    *detail: tuple[str, str],
    establishment: str | None = None,
) -> AuditEvent:
    """Return the entry of a measure that an operator takes."""
    return AuditEvent(
        kind,
        office.clock.now_ms(),
        establishment=establishment,
        operator=local_user(),
        reason=reason,
        policy_id=office.policy.policy_id,
        detail=detail,
    )


def tell(office: Office, alert: Alert) -> bool:
    """Raise *alert*; say it loudly when it cannot be kept: the measure is in force all the same."""
    try:
        outbox_of(office.settings).raise_(alert, [channel.name for channel in channels_of(office.settings)])
    except OutboxRefused as refused:
        click.echo(f"ecluse: it is in force, but NOBODY WAS TOLD: {refused}", err=True)
        return False
    return True
