"""What every serving process does besides serving, at whichever door: begin on record, reload, tell how it is."""

import asyncio
import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from gateway import telemetry
from gateway.assembly.services import note
from gateway.audit.purges import justify
from gateway.audit.writer import AuditUnavailable
from gateway.configuration import ConfigurationFaults, Loaded, Settings, load
from gateway.configuration.in_force import ConfigurationWeakens, detail
from gateway.engine.services import Services
from gateway.limits.in_force import MeasureStore
from gateway.policy.weakening import Change
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.vocabulary.events import AuditEvent, EventKind

MEASURES_S = 5.0
KEPT_OPEN = (
    *("state_dir", "keys_dir", "audit_dir", "audit_node", "store_url", "store_replicas"),
    "escrow_recipients",
)
"""Settings that no process changes while its door is open."""


async def record_start(
    services: Services, settings: Settings, loaded: Sequence[AuditEvent], *detail: tuple[str, str]
) -> None:
    """Put on record that this process begins, with which policy, as *loaded* tells, and how long entries are kept.

    Raises:
        AuditUnavailable: it could not be recorded.
    """
    for event in (note(services, EventKind.STARTED, *detail), *loaded, _retention(services, settings)):
        await services.audit.append(event)


def freeze() -> None:
    """Keep what is here now out of the collector's way: it need not walk through it again during an exchange."""
    gc.collect()
    gc.freeze()


def is_ready(services: Services) -> bool:
    """Tell whether records could be served now."""
    return not services.stopping and services.audit.healthy and services.store.ready


async def show_measures(services: Services) -> None:
    """Keep the metrics of what is in force up to date; decisions read it in their own trips."""
    measures = MeasureStore(services.store)
    while True:
        with suppress(StoreEmptied, StoreUnavailable):
            found = await measures.read()
            telemetry.POSTURE_STRICT.set(found.strict_since_ms is not None)
            telemetry.PLANS_BLANCS.set(len(found.plans))
        await asyncio.sleep(MEASURES_S)


Weigh = Callable[[Loaded], tuple[Change, ...]]
"""Returns in what a configuration weakens what is in force, which somebody accepted.

Raises ConfigurationWeakens where nobody did.
"""


async def reload_now(
    services: Services,
    read: Callable[[], Loaded],
    weigh: Weigh,
    adopt: Callable[[Loaded], None],
    accepted_by: str | None = None,
) -> dict[str, Any]:
    """Swap in what *read* returns; keep the old policy, and say so, when it has faults or *adopt* refuses it.

    Returns the outcome: ``loaded``, ``policy_id``, ``faults``, and what a supervisor follows. *read* raises
    ConfigurationFaults or ValueError, *adopt* ValueError; any other error of theirs is answered as a fault that
    tells its type, and logged. One that weakens is refused or recorded with who accepted it, as *weigh* has it.
    """
    before = services.policy.policy_id
    try:
        fresh = await asyncio.to_thread(read)
        changes = await asyncio.to_thread(weigh, fresh)
        ids = (("before", before), ("after", fresh.policy.policy_id))
        if changes:
            entry = note(services, EventKind.CONFIG_WEAKENED, *ids, *detail(changes))
            await services.audit.append(msgspec.structs.replace(entry, operator=accepted_by))
        await services.audit.append(note(services, EventKind.CONFIG_LOADED, *ids))
        await services.audit.append(_retention(services, fresh.settings))
        adopt(fresh)
    except Exception as error:  # noqa: BLE001 - whatever it is, who asked must hear that the old policy stays
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
    services.asked.clear()
    telemetry.CONFIG_RELOADS.labels("loaded").inc()
    telemetry.show_policy(fresh.policy.policy_id)
    telemetry.log().info("configuration_reloaded", policy_id=fresh.policy.policy_id)
    return outcome_of(fresh)


async def check_now(services: Services, read: Callable[[], Loaded], weigh: Weigh) -> dict[str, Any]:
    """Return whether a process that is begun now would find a configuration that can take this one's place."""
    try:
        fresh = await asyncio.to_thread(read)
        await asyncio.to_thread(weigh, fresh)
        return outcome_of(fresh)
    except Exception as error:  # noqa: BLE001 - whatever it is, who asked must hear it
        return {"loaded": False, "policy_id": services.policy.policy_id, "faults": told_faults(error)}


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
    """Return each fault in words; an error that nobody foresaw is logged, and told by its type alone."""
    if isinstance(error, ConfigurationFaults | ConfigurationWeakens):
        return [str(fault) for fault in error.faults]
    if isinstance(error, ValueError | AuditUnavailable):
        return [str(error)]
    telemetry.log().error("reload_failed", error=type(error).__name__, exc_info=True)
    return [f"{type(error).__name__}: this was not foreseen, see reload_failed in the gateway's log"]


def load_again(settings: Settings, needs_restart: Callable[[Settings, Settings], list[str]]) -> Loaded:
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


def differing(old: object, new: object, names: Sequence[str]) -> list[str]:
    """Return those of *names* whose values differ."""
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def _retention(services: Services, settings: Settings) -> AuditEvent:
    """Return the entry that puts on record how long entries are kept, and why."""
    kept = justify(settings.retention_days, settings.retention_reason)
    return note(services, EventKind.RETENTION_SET, ("retention", kept))
