"""The store: does it answer, is it ours, does it keep what it is told, does its clock agree."""

import asyncio
import secrets
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.clock import Clock
from gateway.configuration import Settings
from gateway.doctor.findings import Finding, failed, ok, warning
from gateway.valkey.address import read_address
from gateway.valkey.embedded import answers
from gateway.valkey.health import (
    LEAST_MAJOR,
    disk_faults,
    memory_faults,
    replication_faults,
    server_of,
)
from gateway.valkey.link import NotUsable
from gateway.valkey.marker import KEYCHECK, MARKER, MarkerFileBroken, read_local_id
from gateway.valkey.sentinel import finder_of
from gateway.valkey.slot import tagged

WAIT_S = 3.0
SKEW_MS = 2_000
"""A step of a code is 30 s, and two are accepted; sessions and caps are on the store's clock."""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What the store said. *silent* is why it said nothing. *keys* tells whether the gateway's keys are those it was
    made with, None when it was made with none. *skew_ms* is its clock less this machine's."""

    replicas: int
    silent: str | None = None
    is_embedded: bool = False
    info: dict[str, str] = field(default_factory=dict)
    identity: str = ""
    remembered: str | None = None
    keys: bool | None = None
    skew_ms: int = 0
    took_ms: int = 0


async def gather(settings: Settings, fingerprint: str | None, clock: Clock) -> StoreFacts:
    """Ask the store, and change nothing there: no function is loaded, no embedded server is begun."""
    try:
        async with asyncio.timeout(WAIT_S):
            return await _ask(settings, fingerprint, clock)
    except (RedisError, OSError, TimeoutError, NotUsable, MarkerFileBroken) as error:
        why = str(error) if isinstance(error, NotUsable | MarkerFileBroken) else type(error).__name__
        return StoreFacts(settings.store_replicas, why, settings.embedded_store)


async def _ask(settings: Settings, fingerprint: str | None, clock: Clock) -> StoreFacts:
    if settings.embedded_store:
        path = Path(settings.state_dir / "store" / "valkey.sock")
        if not await asyncio.to_thread(answers, path):
            return StoreFacts(settings.store_replicas, "it runs while the gateway does", is_embedded=True)
        url = f"unix://{path}"
    else:
        url = await _server(settings)
    client: Any = Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_timeout=WAIT_S, socket_connect_timeout=WAIT_S
    )
    async with aclosing(client):
        began_ms = clock.now_ms()
        seconds, micros = await client.time()
        took_ms = clock.now_ms() - began_ms
        info = {name: str(value) for name, value in (await client.info("everything")).items()}
        found, kept = await client.get(_key(settings, MARKER)), await client.get(_key(settings, KEYCHECK))
    return StoreFacts(
        replicas=settings.store_replicas,
        is_embedded=settings.embedded_store,
        info=info,
        identity=found.decode("ascii", "replace") if found is not None else "",
        remembered=await asyncio.to_thread(read_local_id, settings.state_dir),
        keys=None
        if kept is None or fingerprint is None
        else secrets.compare_digest(kept, fingerprint.encode()),
        skew_ms=seconds * 1_000 + micros // 1_000 - began_ms - took_ms // 2,
        took_ms=took_ms,
    )


def _key(settings: Settings, key: str) -> str | bytes | int:
    in_cluster = not settings.embedded_store and bool(read_address(settings.store_url).seeds)
    return tagged(key) if in_cluster else key


async def _server(settings: Settings) -> str:
    address = read_address(settings.store_url)
    finder = finder_of(address, WAIT_S)
    if finder is None:
        return settings.store_url
    try:
        primary = await finder.primary()
    finally:
        await finder.close()
    return address.server_url(primary.host, primary.port)


def judge(facts: StoreFacts) -> list[Finding]:
    """Return what is to be said of *facts*. Pure."""
    if facts.silent is not None:
        if facts.is_embedded:
            return [
                warning(
                    "store",
                    f"the embedded store does not answer: {facts.silent}",
                    "start the gateway, and ask again",
                )
            ]
        return [
            failed(
                "store",
                f"the store does not answer: {facts.silent}",
                "start it, or mend store.url, its password or authorities",
            )
        ]
    name, version = server_of(facts.info)
    findings = [
        ok("store", f"{name} {version} answers in {facts.took_ms} ms"),
        _identity(facts),
        _keys(facts),
    ]
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) < LEAST_MAJOR:
        findings.append(
            failed(
                "store version",
                f"{name} {version} has no functions",
                f"install Valkey, or Redis {LEAST_MAJOR} or newer",
            )
        )
    findings += _told("store memory", memory_faults(facts.info), "it refuses writes before it forgets")
    findings += _told("store disk", disk_faults(facts.info), "what it is told is written to disk")
    if facts.replicas:
        findings += _told(
            "store replicas", replication_faults(facts.info, facts.replicas), f"{facts.replicas} confirm"
        )
    if abs(facts.skew_ms) > SKEW_MS:
        said = f"the clocks of store and gateway are {abs(facts.skew_ms) / 1_000:.1f} s apart"
        findings.append(failed("store clock", said, "have both machines follow the same time servers"))
    else:
        findings.append(ok("store clock", "the clocks of store and gateway agree"))
    return findings


def _identity(facts: StoreFacts) -> Finding:
    if facts.remembered is None or not facts.identity:
        if facts.remembered is None and not facts.identity:
            return warning(
                "store identity", "no gateway has used this store yet", "start the gateway, and ask again"
            )
        if facts.remembered is None:
            return ok("store identity", "this node has not used the store yet, others have")
        return failed(
            "store identity", "the store came back empty", "restore a backup, or see `ecluse store adopt`"
        )
    if facts.identity != facts.remembered:
        return failed(
            "store identity", "this is another gateway's store", "mend store.url, or see `ecluse store adopt`"
        )
    return ok("store identity", "the store is ours")


def _keys(facts: StoreFacts) -> Finding:
    if facts.keys is None:
        return warning(
            "keys of the store", "the store was made with no keys yet", "start the gateway, and ask again"
        )
    if not facts.keys:
        return failed(
            "keys of the store",
            "these keys are not those the store was made with",
            "restore the right keys_dir, or name the right store",
        )
    return ok("keys of the store", "the keys are those the store was made with")


def _told(check: str, faults: list[str], fine: str) -> list[Finding]:
    if not faults:
        return [ok(check, fine)]
    return [failed(check, said, mend) for said, _, mend in (fault.partition(": ") for fault in faults)]
