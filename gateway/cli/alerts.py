"""``ecluse alerts``: what was raised, whether it arrived, who has looked at it."""

import secrets
import socket

import click
import msgspec

from gateway.alerts import Channel, Kept, MailChannel, Outbox, OutboxRefused, SyslogChannel, WebhookChannel
from gateway.alerts.words import next_command
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.operator import local_user, operator_log
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.common import reason_option, time_text
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.clock import SystemClock
from gateway.configuration import Settings
from gateway.vocabulary.alerts import Alert
from gateway.vocabulary.events import AuditEvent, EventKind

TEST = "test"


def outbox_of(settings: Settings) -> Outbox:
    """Return the alerts of this node."""
    return Outbox(
        settings.alerts_dir,
        secrets.token_hex,
        again_after_s=settings.alerts.again_after_s,
        at_most_per_hour=settings.alerts.at_most_per_hour,
    )


def channels_of(settings: Settings) -> tuple[Channel, ...]:
    """Return where alerts go, as the configuration says."""
    found: list[Channel] = []
    if (mail := settings.alerts.mail) is not None:
        found.append(
            MailChannel(
                mail.host, mail.port, mail.security, mail.sender, mail.recipients,
                mail.user, mail.password, mail.ca_file, mail.names,
            )
        )  # fmt: skip
    if (webhook := settings.alerts.webhook) is not None:
        found.append(WebhookChannel(webhook.url, webhook.secret, webhook.ca_file, webhook.names))
    if (syslog := settings.alerts.syslog) is not None:
        found.append(
            SyslogChannel(
                syslog.scheme, syslog.host, syslog.port, socket.gethostname(), syslog.ca_file, syslog.names
            )
        )
    return tuple(found)


@click.group(epilog="Example:  ecluse alerts list --open")
def alerts() -> None:
    """List alerts, try where they go, note that somebody has looked at them."""


@alerts.command("list", epilog="Example:  ecluse alerts list --open")
@click.option("--open", "only_open", is_flag=True, help="Those nobody has acknowledged.")
@click.option("--id", "id_", help="One alert.")
@config_option
@json_option
def list_(only_open: bool, id_: str | None, config_path: str, *, as_json: bool) -> int:
    """List the alerts of this node, newest last, each with the command to run next."""
    kept = _entries(outbox_of(load_or_exit(config_path).settings))
    if id_ is not None and not any(one.id == id_ for one in kept):
        fail(f"there is no alert {id_}", EXIT_REFUSED)
    for one in kept:
        if (id_ is None or one.id == id_) and not (only_open and one.acknowledged_ms):
            click.echo(msgspec.json.encode(one).decode() if as_json else _told(one))
    return EXIT_DONE


@alerts.command(epilog="Example:  ecluse alerts test")
@config_option
def test(config_path: str) -> int:
    """Send a test alert to every channel of the configuration, and tell what each answered."""
    settings = load_or_exit(config_path).settings
    channels, clock = channels_of(settings), SystemClock()
    if not channels:
        fail("alerts goes nowhere: write alerts.mail, alerts.webhook or alerts.syslog", EXIT_FAULT)
    alert = Alert(TEST, "", "", secrets.token_hex(4), clock.now_ms(), "Ceci est un essai.", "This is a test.")
    kept, code = Kept("test", alert, last_ms=alert.at_ms), EXIT_DONE
    for channel in channels:
        try:
            channel.send(kept, clock.now_ms())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the operator wants to see
            click.echo(f"{channel.name}: NOT TAKEN: {type(error).__name__}: {error}")
            code = EXIT_REFUSED
        else:
            click.echo(f"{channel.name}: taken")
    return code


@alerts.command(epilog='Example:  ecluse alerts ack 1f2e3d4c --reason "called the ward, honest"')
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@reason_option
@config_option
def ack(ids: tuple[str, ...], reason: str, config_path: str) -> int:
    """Note that somebody has looked at alerts, and what came of it. It is recorded."""
    loaded = load_or_exit(config_path)
    settings, keys, clock = loaded.settings, keys_or_exit(loaded.settings), SystemClock()
    outbox, ids = outbox_of(settings), tuple(dict.fromkeys(ids))
    known = {one.id: one for one in _entries(outbox)}
    if strange := [each for each in ids if each not in known]:
        fail(f"there is no alert {strange[0]}; nothing was changed", EXIT_REFUSED)
    try:
        with operator_log(settings.audit_dir, LOG_NAME, keys.checkpoint, node=settings.audit_node) as log:
            for each in ids:
                log.record(_event(known[each], reason, loaded.policy.policy_id, clock.now_ms()))
        outbox.acknowledge(ids, clock.now_ms(), by=local_user(), why=reason)
    except (AuditUnavailable, OutboxRefused) as error:
        fail(str(error), EXIT_FAULT)
    click.echo(f"{len(ids)} acknowledged")
    return EXIT_DONE


def _entries(outbox: Outbox) -> tuple[Kept, ...]:
    try:
        return outbox.entries()
    except OutboxRefused as refused:
        fail(str(refused), EXIT_FAULT)


def _event(one: Kept, reason: str, policy_id: str, now_ms: int) -> AuditEvent:
    return AuditEvent(
        EventKind.ALERT_ACKNOWLEDGED,
        now_ms,
        realm=one.alert.realm or None,
        account=one.alert.account or None,
        operator=local_user(),
        rule=one.alert.rule,
        reason=reason,
        policy_id=policy_id,
        reference=one.id,
    )


def _told(one: Kept) -> str:
    states = {
        name: "sent" if tried.sent_ms else tried.error or "waiting" for name, tried in one.tries.items()
    }
    arrived = ", ".join(f"{name}: {state}" for name, state in states.items())
    seen = (
        f"acknowledged by {one.acknowledged_by}: {one.why}"
        if one.acknowledged_ms
        else next_command(one, names=True)
    )
    who = f"{one.alert.account} ({one.alert.realm})" if one.alert.account else "-"
    lines = [
        f"{one.id}  {time_text(one.alert.at_ms)}  x{one.times}  {one.alert.rule}  {who}  {one.alert.done or '-'}",
        f"    {one.alert.english}",
        f"    {seen}",
        f"    {arrived or 'kept, not sent'}",
    ]
    return "\n".join(lines)
