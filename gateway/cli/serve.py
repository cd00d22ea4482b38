"""A serving process without a supervisor: open the door, reload on SIGHUP, drain on SIGTERM."""

import asyncio
import gc
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from addons.guard import Guard
from addons.master import DoorSettings, GateMaster, PortRefusedError, SharedPort
from addons.wire import WireBounds
from gateway import telemetry
from gateway.assembly.services import note, open_services
from gateway.audit.purges import justify
from gateway.audit.writer import AuditUnavailable
from gateway.cli.serve_weaker import beginnings, keep, weigh
from gateway.clock import spawn
from gateway.configuration import ConfigurationFaults, KeysRefused, Loaded, Settings, load
from gateway.configuration.in_force import ConfigurationWeakens, InForce, detail, of_loaded
from gateway.engine import Engine
from gateway.engine.services import Services
from gateway.limits.in_force import MeasureStore
from gateway.policy.policy import Policy
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.valkey.embedded import EmbeddedFailed
from gateway.valkey.marker import KeysDisagree, MarkerFileBroken
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.workers import acceptance
from gateway.workers.beside import beside
from gateway.workers.systemd import keep_watchdog, notify, notify_reloading

KEEPER_AFTER_S = 10.0
"""The keeper begins when the rush of a start is over."""
WATCHER_AFTER_S = 1.0
MEASURES_S = 5.0

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
        await record_start(services, settings)
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
                async with _others(settings), _watchdog():
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


async def record_start(services: Services, settings: Settings) -> None:
    """Put on record that this process begins, with which policy, and how long entries are kept.

    Raises:
        AuditUnavailable: it could not be recorded.
    """
    await services.audit.append(note(services, EventKind.STARTED))
    for entry in await asyncio.to_thread(beginnings, services, settings):
        await services.audit.append(entry)
    await services.audit.append(_retention(services, settings))
    await asyncio.to_thread(keep, InForce.of(services.policy, settings), settings)


def freeze() -> None:
    """Keep what is here now out of the collector's way: it need not walk through it again during an exchange."""
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def _watchdog() -> AsyncIterator[None]:
    signs = spawn(keep_watchdog(), "watchdog")
    try:
        yield
    finally:
        signs.cancel()


def _retention(services: Services, settings: Settings) -> AuditEvent:
    """Return the entry that puts on record how long entries are kept, and why."""
    kept = justify(settings.retention_days, settings.retention_reason)
    return note(services, EventKind.RETENTION_SET, ("retention", kept))


@asynccontextmanager
async def _others(settings: Settings) -> AsyncIterator[None]:
    """Run the processes that belong to a serving gateway beside it."""
    where = ("--config", str(settings.config_path))
    async with AsyncExitStack() as stack:
        if settings.watcher:
            watch = beside("audit watcher", ["audit", "watch", *where], after_s=WATCHER_AFTER_S)
            await stack.enter_async_context(watch)
        if settings.keeper:
            keep = beside("audit keeper", ["audit", "keep", *where], after_s=KEEPER_AFTER_S)
            await stack.enter_async_context(keep)
        yield


async def show_measures(services: Services) -> None:
    """Keep the metrics of what is in force up to date; decisions read it in their own trips."""
    measures = MeasureStore(services.store)
    while True:
        with suppress(StoreEmptied, StoreUnavailable):
            found = await measures.read()
            telemetry.POSTURE_STRICT.set(found.strict_since_ms is not None)
            telemetry.PLANS_BLANCS.set(len(found.plans))
        await asyncio.sleep(MEASURES_S)


def is_ready(services: Services) -> bool:
    """Tell whether records could be served now."""
    return not services.stopping and services.audit.healthy and services.store.ready


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
    outcome = await reload_now(services, master, settings, accepted)
    _answer(settings, {name: outcome[name] for name in ("loaded", "policy_id", "faults")})
    notify("READY=1")
    return outcome["loaded"] is True


async def reload_now(
    services: Services, master: GateMaster, settings: Settings, accepted: acceptance.Acceptance | None = None
) -> dict[str, Any]:
    """Do the same, and return the outcome: ``loaded``, ``policy_id``, ``faults``, and what a supervisor follows.

    A configuration that weakens what is in force is refused, unless *accepted* is for exactly this change.
    """
    before = services.policy.policy_id
    try:
        fresh = await asyncio.to_thread(load_again, settings)
        now_ms = services.clock.now_ms()
        changes = await asyncio.to_thread(weigh, services.policy, settings, fresh, accepted, now_ms)
        ids = (("before", before), ("after", fresh.policy.policy_id))
        if changes and accepted is not None:
            entry = note(services, EventKind.CONFIG_WEAKENED, *ids, *detail(changes))
            await services.audit.append(replace(entry, operator=accepted.by))
        await services.audit.append(note(services, EventKind.CONFIG_LOADED, *ids))
        await services.audit.append(_retention(services, fresh.settings))
        master.upstreams.replace([app.upstream for app in fresh.policy.apps.values()])
    except (ConfigurationFaults, ValueError, AuditUnavailable) as error:
        faults = told_faults(error)
        weaker = detail(error.changes) if isinstance(error, ConfigurationWeakens) else ()
        services.audit.append_soon(
            note(services, EventKind.CONFIG_REFUSED, ("faults", str(len(faults))), *weaker)
        )
        telemetry.CONFIG_RELOADS.labels("weakens" if weaker else "refused").inc()
        telemetry.log().error(
            "configuration_reload_refused", faults=len(faults), policy_id=before, weakens=bool(weaker)
        )
        return {"loaded": False, "policy_id": before, "faults": faults}
    services.policy = fresh.policy
    services.classes.clear()
    telemetry.CONFIG_RELOADS.labels("loaded").inc()
    telemetry.show_policy(fresh.policy.policy_id)
    telemetry.log().info("configuration_reloaded", policy_id=fresh.policy.policy_id)
    await asyncio.to_thread(keep, of_loaded(fresh), settings)
    return outcome_of(fresh)


def outcome_of(fresh: Loaded) -> dict[str, Any]:
    """Return what is told of a configuration without faults."""
    return {
        "loaded": True,
        "policy_id": fresh.policy.policy_id,
        "faults": [],
        "drain_s": fresh.policy.drain_s,
        "memory_bytes": fresh.settings.worker_memory_bytes,
    }


def told_faults(error: Exception) -> list[str]:
    """Return each fault in words."""
    if isinstance(error, ConfigurationFaults | ConfigurationWeakens):
        return [str(fault) for fault in error.faults]
    return [str(error)]


def load_again(settings: Settings) -> Loaded:
    """Return the configuration as it now stands in its files.

    Raises:
        ConfigurationFaults: it has faults.
        ValueError: what differs cannot change while the door is open.
    """
    fresh = load(settings.config_path)
    refused = needs_restart(settings, fresh.settings)
    if refused:
        raise ValueError(f"needs a restart: {', '.join(refused)}")
    return fresh


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """Return the settings that differ and cannot change while the door is open."""
    names = (
        *("listen_address", "listen_port", "tls_certificate", "tls_key", "metrics_address", "metrics_port"),
        *(
            "state_dir",
            "keys_dir",
            "audit_dir",
            "audit_node",
            "keeper",
            "watcher",
            "store_url",
            "store_replicas",
            "escrow_recipients",
            "workers",
        ),
    )
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def _answer(settings: Settings, outcome: dict[str, object]) -> None:
    fresh = settings.reload_file.with_suffix(".new")
    fresh.write_text(json.dumps(outcome), encoding="utf-8")
    fresh.replace(settings.reload_file)
