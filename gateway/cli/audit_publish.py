"""``ecluse audit publish``: bring the checkpoints off the machine."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from gateway import telemetry
from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME, CheckpointRefused
from gateway.audit.cosignature import parse_witness_key
from gateway.audit.encoding import visible
from gateway.audit.operator import operator_log
from gateway.audit.publish import Outcome, Publisher
from gateway.audit.targets import Directory, HttpsPut, S3Bucket, Target
from gateway.audit.witness_client import Witness
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.cli.metrics import metrics_port_option, metrics_served
from gateway.clock import SystemClock
from gateway.configuration import Settings
from gateway.configuration.settings import PublishSettings
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import Keys

_TRIES = 3
_FIRST_PAUSE_S = 1.0


@click.command(epilog="Example:  ecluse audit publish --once --json")
@click.option("--once", is_flag=True, help="Bring each log's checkpoint everywhere once, and leave.")
@metrics_port_option
@config_option
@json_option
def publish(once: bool, metrics_port: int | None, config_path: str, as_json: bool) -> int:
    """Have checkpoints cosigned by audit.witnesses, and bring them to audit.publish, until SIGTERM.

    A process of its own, beside the gateway. With --once: 0 all arrived, 1 a destination holds another past
    than the log, 2 one could not be reached.
    """
    telemetry.configure()
    settings = load_or_exit(config_path).settings
    if not settings.publish and not settings.witnesses:
        fail("nothing is to be done: name places under audit.publish or audit.witnesses", EXIT_FAULT)
    keys = keys_or_exit(settings)
    publisher = Publisher(
        settings.audit_dir,
        files.verifier_keys(keys.checkpoint, LOG_NAME),
        witnesses_of(settings),
        [target_of(each) for each in settings.publish],
        every_s=settings.publish_every_s,
        alarm=_Alarm(settings.audit_dir, keys, settings.audit_node),
    )
    try:
        if not once:
            asyncio.run(_run(publisher, settings, metrics_port))
            return EXIT_DONE
        outcomes = asyncio.run(_once(publisher))
    except OSError as error:
        fail(f"the logs in {settings.audit_dir} cannot be published: {error}", EXIT_FAULT)
    for outcome in outcomes:
        click.echo(msgspec.json.encode(outcome).decode() if as_json else _told(outcome))
    if any(outcome.is_alarm for outcome in outcomes):
        return EXIT_REFUSED
    return EXIT_FAULT if any(outcome.fault for outcome in outcomes) else EXIT_DONE


def witnesses_of(settings: Settings) -> list[Witness]:
    """Return the witnesses of the configuration; leave with 2 when a key of theirs is none."""
    try:
        return [Witness(each.url, parse_witness_key(each.key), each.ca_file) for each in settings.witnesses]
    except CheckpointRefused as error:
        fail(f"audit.witnesses: {error}", EXIT_FAULT)


def target_of(settings: PublishSettings) -> Target:
    """Return the place that *settings* name."""
    if settings.directory is not None:
        return Directory(settings.directory)
    if settings.url is not None:
        return HttpsPut(settings.url, settings.ca_file, settings.token)
    if settings.bucket is None:
        raise ValueError("no place is named: the configuration was not checked")
    return S3Bucket(
        settings.bucket,
        settings.prefix,
        settings.endpoint,
        settings.region,
        settings.access_key_id,
        settings.secret,
    )


class _Alarm:
    """Records that a destination holds another past than the log, for whoever reads the log later.

    Called with the outcome, it returns whether the record is durable and signed.
    """

    def __init__(self, audit_dir: Path, keys: Keys, node: str | None) -> None:
        self._audit_dir = audit_dir
        self._keys = keys
        self._node = node

    async def __call__(self, outcome: Outcome) -> bool:
        return await asyncio.to_thread(self._record, outcome)

    def _record(self, outcome: Outcome) -> bool:
        event = AuditEvent(
            EventKind.CHECKPOINT_CONTRADICTED,
            SystemClock().now_ms(),
            detail=(
                ("destination", outcome.destination),
                ("log", outcome.origin),
                ("size", str(outcome.size)),
                ("what", outcome.fault or ""),
            ),
        )
        try:
            with operator_log(self._audit_dir, LOG_NAME, self._keys.checkpoint, node=self._node) as log:
                log.record(event)
        except AuditUnavailable as error:
            # The alarm was told in the process's log and metrics already: publishing goes on.
            telemetry.log().error("alarm_not_recorded", what=str(error))
            return False
        return True


async def _once(publisher: Publisher) -> list[Outcome]:
    loop, clock = asyncio.get_running_loop(), SystemClock()
    last: dict[tuple[str, str], Outcome] = {}
    pause_s = _FIRST_PAUSE_S
    for attempt in range(_TRIES):
        outcomes = await publisher.round(loop.time(), clock.now_ms())
        last |= {(each.origin, each.destination): each for each in outcomes}
        if not any(each.fault and not each.is_alarm for each in last.values()):
            break
        if attempt + 1 < _TRIES:
            await asyncio.sleep(pause_s)
            pause_s *= 4
            publisher.hurry()
    return list(last.values())


async def _run(publisher: Publisher, settings: Settings, metrics_port: int | None) -> None:
    loop, clock, stop = asyncio.get_running_loop(), SystemClock(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with metrics_served(settings, metrics_port, lambda: publisher.is_well):
        telemetry.log().info("publisher_ready")
        while not stop.is_set():
            due_s = loop.time() + 60.0
            try:
                await publisher.round(loop.time(), clock.now_ms())
                due_s = publisher.next_due_s(loop.time())
            except OSError as error:
                telemetry.log().error("logs_unreadable", what=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(due_s - loop.time()):
                    await stop.wait()
    telemetry.log().info("publisher_stopped")


def _told(outcome: Outcome) -> str:
    if outcome.fault is None:
        return visible(f"taken   {outcome.origin}: {outcome.size} entries, by {outcome.destination}", 2_000)
    said = "ALARM  " if outcome.is_alarm else "FAILED "
    return visible(f"{said} {outcome.origin}, {outcome.destination}: {outcome.fault}", 2_000)
