"""Durable appends of the audit log: entries a second that were on disk before their futures were done."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.files import verifier_keys
from gateway.audit.verify import Verified, verify_log
from gateway.audit.writer import AuditWriter
from gateway.clock import SystemClock
from gateway.vocabulary.events import AuditEvent, EventKind
from loadtest.synthesise import RING, patient

_AT_ONCE = (1, 16, 128)


def measure(directory: Path | None, rounds: int, seconds: float) -> dict[str, Any]:
    """Append for *seconds* a round with 1, 16 and 128 at once, under *directory*; every log is verified after."""
    runs: dict[int, list[float]] = {at_once: [] for at_once in _AT_ONCE}
    batches: dict[int, list[float]] = {at_once: [] for at_once in _AT_ONCE}
    lost = 0
    for turn in range(rounds):
        for at_once in _AT_ONCE if turn % 2 else reversed(_AT_ONCE):
            with tempfile.TemporaryDirectory(prefix="ecluse-appends-", dir=directory) as name:
                folder = Path(name) / "gateway"
                written, took_s, waits = asyncio.run(_append(folder, at_once, seconds))
                found = verify_log(folder, verifier_keys(RING, LOG_NAME))
                lost += written - (found.size if isinstance(found, Verified) else 0)
            runs[at_once].append(written / took_s)
            batches[at_once].append(statistics.median(waits) * 1000)
    told: dict[str, Any] = {
        f"at_once_{at_once}": {
            "per_second": round(statistics.median(runs[at_once]), 1),
            "median_ms": round(statistics.median(batches[at_once]), 3),
            "rounds": [round(one, 1) for one in runs[at_once]],
        }
        for at_once in _AT_ONCE
    }
    return told | {"failed": lost, "wrong": [f"{lost} entries are not in the log"] if lost else []}


async def _append(folder: Path, at_once: int, seconds: float) -> tuple[int, float, list[float]]:
    clock = SystemClock()
    event = AuditEvent(
        kind=EventKind.ACCESS,
        at_ms=clock.now_ms(),
        policy_id="p-0123456789ab",
        request_id="0123456789abcdef0123456789abcdef",
        realm="region",
        account="agent.00001",
        account_class="ward",
        app="dossiers",
        route="liste",
        route_kind="listing",
        method="GET",
        status=200,
        patients=(patient(1), patient(2)),
        rows=2,
        bytes=900,
    )
    writer = AuditWriter(folder, LOG_NAME, RING)
    await asyncio.to_thread(writer.open)
    waits: list[float] = []
    began_s = time.perf_counter()
    end_s = began_s + seconds

    async def go_on() -> None:
        while (now_s := time.perf_counter()) < end_s:
            await writer.append(replace(event, at_ms=clock.now_ms()))
            waits.append(time.perf_counter() - now_s)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(go_on())
        took_s = time.perf_counter() - began_s
    finally:
        await asyncio.to_thread(writer.close)
    return len(waits), took_s, waits
