"""``ecluse audit watch``: judge the log as it grows, and ask accounts for a code, or lock them."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import click
import prometheus_client

from gateway import telemetry
from gateway.assembly import Lookout, open_for_watcher
from gateway.audit.tail import Tail
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, config_option, fail
from gateway.cli.loading import load_or_exit
from gateway.configuration import ConfigurationFaults, KeysRefused, load
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.valkey.embedded import EmbeddedFailed
from gateway.valkey.marker import KeysDisagree, MarkerFileBroken
from gateway.watching import Deeds, Snapshot, SnapshotInUse, Watcher

POLL_S = 0.3
_REFUSED = (
    *(KeysRefused, KeysDisagree, MarkerFileBroken, EmbeddedFailed, StoreUnavailable, StoreEmptied),
    *(SnapshotInUse, AuditUnavailable, OSError),
)


@click.command("watch", epilog="Example:  ecluse audit watch --config /etc/ecluse/ecluse.yaml")
@click.option("--once", is_flag=True, help="Judge what was added since the last time, and leave.")
@click.option(
    "--metrics-port", type=click.IntRange(1, 65_535), help="Serve metrics on this port of 127.0.0.1."
)
@click.option(
    "--parent", type=click.IntRange(min=1), hidden=True, help="End with this process, which began us."
)
@config_option
def watch(once: bool, metrics_port: int | None, parent: int | None, config_path: str) -> int:
    """Watch the log for what looks wrong; ask the account for a fresh code, and lock it when that did not help.

    Reads the journals of every writer as they grow, never in the path of a request. What it has learned stands
    in gateway.state_dir, and survives a restart; what happened meanwhile is learned from, not acted on.
    `ecluse serve` runs it unless `signals.watcher` is off. It follows the gateway's reloads.
    """
    load_or_exit(config_path)
    telemetry.configure()
    if metrics_port is not None:
        prometheus_client.start_http_server(metrics_port, "127.0.0.1", telemetry.REGISTRY)
    try:
        asyncio.run(_run(Path(config_path), parent, once=once))
    except _REFUSED as error:
        fail(f"nobody watches the log: {error}", EXIT_FAULT)
    return EXIT_DONE


async def _run(config_path: Path, parent: int | None, *, once: bool) -> None:
    async with open_for_watcher(config_path) as lookout:
        settings = lookout.settings
        snapshot = Snapshot(settings.watch_dir)
        snapshot.open()
        try:
            memory = snapshot.load()
            watcher = Watcher(
                Tail(settings.audit_dirs, memory.places),
                memory,
                snapshot,
                Deeds(lookout.accounts, lookout.ref, operator=lookout.operator),
                lookout.record,
                settings.rules,
                lookout.clock,
            )
            if once:
                while await watcher.step():
                    pass
            else:
                telemetry.log().info("watch_began", accounts=len(memory.state.accounts))
                await _watch(watcher, lookout, _stop_asked(), parent)
            watcher.save()
        finally:
            snapshot.close()


async def _watch(watcher: Watcher, lookout: Lookout, stop: asyncio.Event, parent: int | None) -> None:
    reloaded = _reloads(lookout.settings.reload_file)
    while not stop.is_set() and (parent is None or os.getppid() == parent):
        if reloaded():
            _follow_reload(watcher, lookout)
        if not await watcher.step():
            try:
                async with asyncio.timeout(POLL_S):
                    await stop.wait()
            except TimeoutError:
                pass


def _stop_asked() -> asyncio.Event:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _reloads(path: Path) -> Callable[[], bool]:
    """Return a function that tells whether the gateway has reloaded its configuration since it was last asked."""

    def changed_ns() -> int:
        try:
            return path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    last_ns = changed_ns()

    def reloaded() -> bool:
        nonlocal last_ns
        before_ns, last_ns = last_ns, changed_ns()
        return last_ns != before_ns

    return reloaded


def _follow_reload(watcher: Watcher, lookout: Lookout) -> None:
    try:
        fresh = load(lookout.settings.config_path)
    except ConfigurationFaults as error:
        telemetry.log().error("watch_reload_refused", faults=len(error.faults))
        return
    lookout.policy = fresh.policy
    watcher.apply(fresh.settings.rules)
    telemetry.log().info("watch_reloaded", policy_id=fresh.policy.policy_id)
