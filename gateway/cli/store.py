"""``ecluse store``: look at the store, adopt one that came back empty."""

import asyncio
import json
from dataclasses import asdict, dataclass

import click

from gateway.assembly.store import open_store
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.operator import local_user, operator_log
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.common import reason_option
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.clock import SystemClock
from gateway.configuration import Loaded, fingerprint
from gateway.valkey import marker
from gateway.valkey.client import Store, StoreUnavailable
from gateway.valkey.embedded import EmbeddedFailed
from gateway.valkey.health import disk_faults, memory_faults, parse_info, replication_faults, server_of
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import Keys

_STORE_FAULTS = (StoreUnavailable, EmbeddedFailed, marker.MarkerFileBroken, AuditUnavailable, OSError)


@dataclass(frozen=True, slots=True)
class Status:
    """What stands in the store, as an operator wants to know it. *faults* is empty when all is in order."""

    address: str
    server: str
    identity: str
    keys: str
    accounts: int
    memory_bytes: int
    faults: tuple[str, ...]


@click.group(epilog="Example:  ecluse store status")
def store() -> None:
    """Look at the store, adopt an emptied one."""


@store.command(epilog="Example:  ecluse store status --json")
@config_option
@json_option
def status(config_path: str, as_json: bool) -> int:
    """Tell whether the store is up, ours, and set up safely. Leaves with 1 when something is wrong with it."""
    loaded = load_or_exit(config_path)
    keys = keys_or_exit(loaded.settings)
    try:
        told = asyncio.run(_status(loaded, keys))
    except _STORE_FAULTS as error:
        fail(str(error), EXIT_FAULT)
    if as_json:
        click.echo(json.dumps(asdict(told)))
    else:
        for name, value in asdict(told).items():
            if name != "faults":
                click.echo(f"{name.replace('_', ' '):<14}{value}")
        for fault in told.faults:
            click.echo(f"fault         {fault}")
    return EXIT_REFUSED if told.faults else EXIT_DONE


@store.command(epilog='Example:  ecluse store adopt --reason "restored on new hardware, ticket 4711"')
@reason_option
@click.option("--replace", is_flag=True, help="Take over a store that belongs to other gateways.")
@config_option
@json_option
def adopt(reason: str, replace: bool, config_path: str, as_json: bool) -> int:
    """Serve with the store as it is now, though it lost its memory.

    After this nobody is enrolled but those the store still knows, and no cap remembers the past. Restore a
    backup instead if there is one. Running gateways serve again at once.
    """
    loaded = load_or_exit(config_path)
    keys = keys_or_exit(loaded.settings)
    try:
        answer, code = asyncio.run(_adopt(loaded, keys, reason, replace=replace))
    except _STORE_FAULTS as error:
        fail(str(error), EXIT_FAULT)
    click.echo(json.dumps({"result": answer}) if as_json else answer, err=code != EXIT_DONE and not as_json)
    return code


async def _status(loaded: Loaded, keys: Keys) -> Status:
    async with open_store(loaded.settings) as opened:
        return await read_status(opened, fingerprint(keys))


async def read_status(opened: Store, keys_fingerprint: str) -> Status:
    """Return the state of the *opened* store.

    Raises:
        StoreUnavailable: it does not answer, or refuses these questions.
    """
    info = parse_info(await opened.execute("INFO", "everything"))
    found = await marker.store_id_of(opened)
    kept = await opened.execute("GET", marker.KEYCHECK)
    identity = "ours" if found == opened.store_id else "missing" if found is None else "another store's"
    agreed = "not set" if kept is None else "agree" if kept == keys_fingerprint.encode() else "disagree"
    faults = []
    if identity != "ours":
        faults.append(f"the store's identity is {identity}: restore a backup, or see 'ecluse store adopt'")
    if agreed == "disagree":
        faults.append("these keys are not those the store was made with: restore the right keys_dir")
    faults += [*memory_faults(info), *disk_faults(info), *replication_faults(info, opened.replicas)]
    name, version = server_of(info)
    return Status(
        address=opened.address,
        server=f"{name} {version}",
        identity=identity,
        keys=agreed,
        accounts=int(await opened.execute("SCARD", "ecluse:accounts")),
        memory_bytes=int(info.get("used_memory", "0")),
        faults=tuple(faults),
    )


async def _adopt(loaded: Loaded, keys: Keys, reason: str, *, replace: bool) -> tuple[str, int]:
    settings = loaded.settings
    async with open_store(settings) as opened:
        found = await marker.store_id_of(opened)
        if found == opened.store_id:
            return "The store is ours already; nothing was changed.", EXIT_DONE
        if found is not None and not replace:
            return (
                "The store belongs to other gateways. Check store.url; --replace takes it over, and they will stop.",
                EXIT_REFUSED,
            )
        with operator_log(settings.audit_dir, LOG_NAME, keys.checkpoint, node=settings.audit_node) as log:
            log.record(
                AuditEvent(
                    kind=EventKind.STORE_ADOPTED,
                    at_ms=SystemClock().now_ms(),
                    operator=local_user(),
                    reason=reason,
                    policy_id=loaded.policy.policy_id,
                    detail=(("before", found or "none"), ("store", opened.store_id)),
                )
            )
        if not await marker.adopt(opened, opened.store_id, replace=replace):
            return "Another gateway marked the store meanwhile; nothing was changed. Try again.", EXIT_REFUSED
        accounts = int(await opened.execute("SCARD", "ecluse:accounts"))
    return f"Adopted. The store knows {accounts} accounts.", EXIT_DONE
