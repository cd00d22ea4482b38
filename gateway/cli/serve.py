"""A serving process without a supervisor: open the door, reload on SIGHUP, drain on SIGTERM."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any

from addons.guard import Guard
from addons.master import DoorSettings, GateMaster, PortRefusedError, SharedPort
from addons.wire import WireBounds
from gateway import telemetry
from gateway.assembly.services import note, open_services
from gateway.audit.writer import AuditUnavailable
from gateway.cli.reloading import (
    KEPT_OPEN,
    check_now,
    differing,
    freeze,
    is_ready,
    load_again,
    record_start,
    reload_now,
    show_measures,
)
from gateway.cli.serve_weaker import beginnings, keep, weigh
from gateway.clock import spawn
from gateway.configuration import KeysRefused, Loaded, Settings
from gateway.configuration.in_force import InForce, of_loaded
from gateway.engine import Engine
from gateway.engine.services import Services
from gateway.policy.policy import Policy
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.valkey.embedded import EmbeddedFailed
from gateway.valkey.marker import KeysDisagree, MarkerFileBroken
from gateway.vocabulary.events import EventKind
from gateway.workers import acceptance
from gateway.workers.acceptance import Acceptance
from gateway.workers.beside import node_processes
from gateway.workers.systemd import keep_watchdog, notify, notify_reloading

REFUSES_TO_START = (
    KeysRefused,
    KeysDisagree,
    MarkerFileBroken,
    EmbeddedFailed,
    StoreUnavailable,
    StoreEmptied,
    AuditUnavailable,
    PortRefusedError,
    ValueError,
)
"""What says by itself why a gateway does not start."""


def door_settings(settings: Settings, policy: Policy) -> DoorSettings:
    """Return where and how the door stands."""
    return DoorSettings(
        listen_host=settings.listen_address,
        listen_port=settings.listen_port,
        certificate_file=str(settings.tls_certificate) if settings.tls_certificate is not None else None,
        key_file=str(settings.tls_key) if settings.tls_key is not None else None,
        bounds=WireBounds(
            max_head_bytes=policy.max_header_bytes + policy.max_url_bytes,
            max_url_bytes=policy.max_url_bytes,
            max_request_bytes=policy.max_request_bytes,
        ),
    )


async def run(loaded: Loaded, ready: Awaitable[None] | None = None) -> None:
    """Serve until a signal asks to stop; then drain, flush and return."""
    settings = loaded.settings
    async with open_services(loaded) as services:
        master = build_door(loaded, services)
        await begin_on_record(services, settings)
        stop = _heed_signals(services, master, settings)
        host, port = await master.start()
        metrics = None
        if settings.metrics_port is not None:
            metrics = await telemetry.serve_metrics(
                settings.metrics_address, settings.metrics_port, lambda: is_ready(services)
            )
        telemetry.show_policy(loaded.policy.policy_id)
        settings.pid_file.write_text(f"{os.getpid()}\n", encoding="ascii")
        telemetry.log().info("gateway_ready", address=host, port=port, policy_id=loaded.policy.policy_id)
        notify("READY=1")
        freeze()
        if ready is not None:
            await ready
        try:
            showing = spawn(show_measures(services), "measures shown")
            try:
                others = node_processes(
                    str(settings.config_path),
                    watcher=settings.watcher,
                    keeper=settings.keeper,
                    edge=settings.edge_beside,
                    drain_s=services.policy.drain_s,
                )
                async with others, _watchdog():
                    await _until_stopped(master, stop)
            finally:
                showing.cancel()
        finally:
            notify("STOPPING=1")
            services.stopping = True
            cut = await master.drain(services.policy.drain_s)
            if metrics is not None:
                metrics.close()
            with suppress(AuditUnavailable):
                await services.audit.append(note(services, EventKind.STOPPED, ("cut", str(cut))))
            settings.pid_file.unlink(missing_ok=True)
            telemetry.log().info("gateway_stopped", cut=cut)


def build_door(loaded: Loaded, services: Services, shared: SharedPort | None = None) -> GateMaster:
    """Return the door of *loaded*, not yet open; on a *shared* port where other processes serve too."""
    upstreams = [app.upstream for app in loaded.policy.apps.values()]
    settings = door_settings(loaded.settings, loaded.policy)
    return GateMaster.build(settings, [Guard(Engine(services))], upstreams, shared)


@asynccontextmanager
async def _watchdog() -> AsyncIterator[None]:
    signs = spawn(keep_watchdog(), "watchdog")
    try:
        yield
    finally:
        signs.cancel()


def _heed_signals(services: Services, master: GateMaster, settings: Settings) -> asyncio.Event:
    """Reload at SIGHUP from now on; return what SIGTERM and SIGINT set."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(
        signal.SIGHUP, lambda: spawn(reload(services, master, settings), "configuration reload")
    )
    loop.add_signal_handler(signal.SIGUSR2, lambda: telemetry.log().warning("no_workers_to_restart"))
    return stop


async def _until_stopped(master: GateMaster, stop: asyncio.Event) -> None:
    closed = spawn(master.wait_closed(), "door closed")
    stopped = spawn(stop.wait(), "stop asked")
    await asyncio.wait({closed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if closed.done():
        closed.result()


async def reload(services: Services, master: GateMaster, settings: Settings) -> bool:
    """Swap in the configuration as it now stands in its files; keep the old one, and say so, when it has faults."""
    notify_reloading()
    accepted = acceptance.take(settings.state_dir / acceptance.NAME)
    outcome = await reload_door(services, master, settings, accepted)
    _answer(settings, {name: outcome[name] for name in ("loaded", "policy_id", "faults")})
    notify("READY=1")
    return outcome["loaded"] is True


def _answer(settings: Settings, outcome: dict[str, object]) -> None:
    fresh = settings.reload_file.with_suffix(".new")
    fresh.write_text(json.dumps(outcome), encoding="utf-8")
    fresh.replace(settings.reload_file)


async def reload_door(
    services: Services, master: GateMaster, settings: Settings, accepted: Acceptance | None = None
) -> dict[str, Any]:
    """Do the same, and return the outcome as ``reload_now`` does.

    A configuration that weakens what is in force is refused, unless *accepted* is for exactly this change.
    """
    now_ms = services.clock.now_ms()

    def adopt(fresh: Loaded) -> None:
        master.upstreams.replace([app.upstream for app in fresh.policy.apps.values()])
        keep(of_loaded(fresh), settings)

    return await reload_now(
        services,
        lambda: read_again(settings),
        lambda fresh: weigh(services.policy, settings, fresh, accepted, now_ms),
        adopt,
        accepted.by if accepted is not None else None,
    )


async def check_door(services: Services, settings: Settings) -> dict[str, Any]:
    """Return whether a process that is begun now could take this one's place: see ``check_now``."""
    return await check_now(
        services,
        lambda: read_again(settings),
        lambda fresh: weigh(services.policy, settings, fresh, None, 0),
    )


async def begin_on_record(services: Services, settings: Settings) -> None:
    """Put on record that this process begins, with which policy, and what that weakens; note what is in force.

    Raises:
        AuditUnavailable: it could not be recorded.
    """
    await record_start(services, settings, await asyncio.to_thread(beginnings, services, settings))
    await asyncio.to_thread(keep, InForce.of(services.policy, settings), settings)


def read_again(settings: Settings) -> Loaded:
    """Return the configuration as it now stands, if this door can take it: see ``load_again``."""
    return load_again(settings, needs_restart)


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """Return the settings that differ and cannot change while the door is open."""
    names = (
        *("listen_address", "listen_port", "tls_certificate", "tls_key", "metrics_address", "metrics_port"),
        *KEPT_OPEN,
        *("keeper", "watcher", "workers", "edge_beside"),
    )
    return differing(old, new, names)
