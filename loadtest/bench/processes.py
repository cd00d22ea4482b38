"""How long the gateway takes to start, and what its processes hold after some work: alone, with one worker, two."""

import asyncio
import contextlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from gateway.configuration.keys import init_keys
from gateway.demo.children import Child, free_port, start, wait_until_listening
from gateway.demo.configuration import write_configuration
from gateway.demo.seeding import enrol_people
from gateway.demo.stage import start_gateway
from loadtest.overhead import PEOPLE, drive, enter

_SIDES: dict[str, int | None] = {"alone": None, "one_worker": 1, "two_workers": 2}
_WORK_S = 2.0


def measure(rounds: int) -> dict[str, Any]:
    """Return seconds until each listens, its store included, and megabytes a process holds for itself (PSS)."""
    started: dict[str, list[float]] = {name: [] for name in _SIDES}
    held: dict[str, dict[str, list[float]]] = {name: {} for name in _SIDES}
    failed, wrong = 0, []
    with tempfile.TemporaryDirectory(prefix="ecluse-processes-") as name:
        folder = Path(name)
        behind = free_port()
        upstream = start("the upstream", ["-m", "loadtest.upstream", str(behind)], folder / "up.log")
        try:
            wait_until_listening(upstream, behind)
            for turn in range(rounds):
                for side, workers in _SIDES.items():
                    run = _once(folder / f"{side}-{turn}", behind, workers, started[side], held[side])
                    failed += run["failed"]
                    wrong += run["wrong"]
        finally:
            upstream.stop(6.0)
    return {
        "start_s": {side: round(statistics.median(every), 2) for side, every in started.items()},
        "mb": {
            side: {kind: round(statistics.median(every), 1) for kind, every in kinds.items()}
            for side, kinds in held.items()
        },
        "failed": failed,
        "wrong": wrong[:3],
    }


def _once(
    folder: Path, behind: int, workers: int | None, started: list[float], held: dict[str, list[float]]
) -> dict[str, Any]:
    folder.mkdir()
    port = free_port()
    init_keys(folder / "keys")
    config = write_configuration(folder, port, behind, unbounded=True)
    began_s = time.perf_counter()
    gateway = start_gateway(folder, config, workers=workers)
    try:
        wait_until_listening(gateway, port)
        started.append(time.perf_counter() - began_s)
        secrets, _ = asyncio.run(enrol_people(config, PEOPLE))
        run = drive(port, asyncio.run(enter(port, secrets)), _WORK_S)
        for kind, megabytes in _held(gateway).items():
            held.setdefault(kind, []).append(megabytes)
    finally:
        gateway.stop(10.0)
    return run


def _held(gateway: Child) -> dict[str, float]:
    """Return megabytes by kind of process, the mean where there are several of a kind."""
    found: dict[str, list[float]] = {}
    for pid in _family(gateway.process.pid):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
            kb = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            found.setdefault(_kind(words, lone=pid == gateway.process.pid), []).append(kb / 1024)
    return {kind: statistics.mean(every) for kind, every in found.items()}


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _kind(words: bytes, *, lone: bool) -> str:
    if b"--seat" in words:
        return "worker"
    if b"gateway" in words and b"serve" in words:
        return "gateway" if lone else "other"
    return "store" if b"valkey" in words or b"redis" in words else "other"
