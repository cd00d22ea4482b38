"""``ecluse audit ship``: send the log to the collector of the configuration, for as long as it grows."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway import telemetry
from gateway.audit import files
from gateway.audit.export.facts import DOCUMENTATION_PEN
from gateway.audit.export.formats import FORMATS, messages
from gateway.audit.files import LogDamaged
from gateway.audit.query import Question
from gateway.audit.shipping.cursors import Cursors, ShippingRefused
from gateway.audit.shipping.link import DatagramLink, Link, StreamLink, trusting
from gateway.audit.shipping.shipper import Render, Shipper
from gateway.audit.shipping.spool import Spool
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.audit_consult import Consultation
from gateway.cli.audit_export import observer_of
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.cli.metrics import metrics_port_option, metrics_served
from gateway.configuration import Collector, Loaded, Settings


@click.command(epilog="Example:  ecluse audit ship --metrics-port 9108")
@click.option(
    "--once", is_flag=True, help="Send what is there, wait until it has arrived, leave; 1 when it has not."
)
@click.option("--status", is_flag=True, help="Only tell what the collector has of each log.")
@click.option("--from-start", is_flag=True, help="Send everything again, as to a new collector.")
@metrics_port_option
@click.option(
    "--reason", "why", default="audit.collector", show_default=True, help="Why: recorded at each start."
)
@config_option
@json_option
def ship(
    once: bool,
    status: bool,
    from_start: bool,
    metrics_port: int | None,
    why: str,
    config_path: str,
    as_json: bool,
) -> int:
    """Send the log of this node to audit.collector as it grows, until it is stopped.

    The journal is the spool: what could not be sent, or may not have arrived, is sent again from the last
    confirmed event on, in order. Each start is recorded.
    """
    loaded = load_or_exit(config_path)
    settings = loaded.settings
    collector = settings.collector
    if collector is None:
        fail("there is no audit.collector in the configuration: write its url", EXIT_FAULT)
    if status:
        return _status(settings.audit_dir, Cursors(settings.cursors_dir), as_json=as_json)
    keys = keys_or_exit(settings)
    telemetry.configure()
    cursors = Cursors(settings.cursors_dir)
    try:
        cursors.open()
        consultation = Consultation(settings.audit_dirs, keys, settings.audit_node)
        consultation.record("ship", why, Question(), collector=collector.url, format=collector.form)
        if from_start:
            cursors.forget()
        _warn(collector, loaded)
        stopping = threading.Event()
        shipper = Shipper(
            settings.audit_dir,
            cursors,
            _connector(collector),
            _renderer(collector, loaded),
            now_s=time.monotonic,
            wait=lambda seconds: not stopping.wait(seconds),
        )
        arrived = asyncio.run(_run(shipper, settings, metrics_port, stopping, once=once))
    except (ShippingRefused, LogDamaged) as error:
        fail(str(error), EXIT_FAULT)
    except OSError as error:
        fail(f"the log cannot be sent: {error}", EXIT_FAULT)
    finally:
        cursors.close()
    return EXIT_REFUSED if once and not arrived else EXIT_DONE


async def _run(
    shipper: Shipper, settings: Settings, metrics_port: int | None, stopping: threading.Event, *, once: bool
) -> bool:
    """Ship in a thread beside the metrics until a signal sets *stopping*; return whether all of it has arrived."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with metrics_served(settings, metrics_port, lambda: not stopping.is_set()):
        return await asyncio.to_thread(shipper.run, once=once)


def _renderer(collector: Collector, loaded: Loaded) -> Render:
    observer, form = observer_of(loaded), FORMATS[collector.form]

    def render(event: Mapping[str, Any]) -> list[str]:
        return list(messages(event, form, observer))

    return render


def _connector(collector: Collector) -> Callable[[], Link]:
    if collector.scheme == "udp":
        return lambda: DatagramLink(collector.host, collector.port)
    context = None
    if collector.scheme == "tls":
        context = trusting(collector.ca_file, collector.certificate, collector.key)
    return lambda: StreamLink(collector.host, collector.port, context)


def _warn(collector: Collector, loaded: Loaded) -> None:
    if collector.scheme != "tls":
        telemetry.log().warning("collector_in_clear", scheme=collector.scheme)
    if loaded.settings.enterprise_id == DOCUMENTATION_PEN:
        telemetry.log().warning("enterprise_number_for_examples", enterprise_id=DOCUMENTATION_PEN)


def _status(audit_dir: Path, cursors: Cursors, *, as_json: bool) -> int:
    try:
        known = cursors.load()
        spools = [Spool(each, known.get(each.name, 0)) for each in files.log_directories(audit_dir)]
        told = [
            {"writer": spool.writer, "arrived": spool.kept, "signed": signed, "backlog": signed - spool.kept}
            for spool in spools
            for signed in (spool.signed(),)
        ]
    except (OSError, LogDamaged, ShippingRefused) as error:
        fail(str(error), EXIT_FAULT)
    for row in told:
        if as_json:
            click.echo(msgspec.json.encode(row).decode())
        else:
            click.echo(
                f"{row['writer']}: {row['arrived']} of {row['signed']} arrived, {row['backlog']} to send"
            )
    return EXIT_DONE
