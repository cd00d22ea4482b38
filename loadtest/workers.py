"""What workers bring: requests a second of the inspected path, everything on, alone, with one worker and with two.

The same path as in ``loadtest.overhead``, each gateway with a store of its own, in turns. Load generator, app and
store take their part of the same cores: on two cores they are what a second worker has to share with. So, with
``--share 0.2``, each worker also is held to that part of one core (cgroup), which leaves the generator
what it needs: what two workers then bring over one is what they bring where cores are not short.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.configuration.keys import init_keys
from gateway.demo.children import Child, free_port, start, wait_until_listening
from gateway.demo.configuration import write_configuration
from gateway.demo.seeding import enrol_people
from gateway.demo.stage import start_gateway
from loadtest.overhead import PEOPLE, cpu_s, drive, enter

_SIDES: tuple[tuple[str, int | None], ...] = (("alone", None), ("one", 1), ("two", 2))
_WARM_S = 1.0
_PERIOD_US = 100_000
_CPU_CGROUP = Path("/sys/fs/cgroup/cpu")


@dataclass
class Side:
    """One gateway. *pids* are the processes that inspect."""

    name: str
    port: int
    heads: list[str]
    pids: list[int]
    rounds: list[dict[str, Any]] = field(default_factory=list)


def main() -> int:
    """Measure and print; returns 1 when any answer was wrong."""
    parser = argparse.ArgumentParser(prog="loadtest.workers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--share", type=float, help="hold each worker to this part of one core")
    chosen = parser.parse_args()
    children: list[Child] = []
    with tempfile.TemporaryDirectory(prefix="ecluse-load-") as name:
        try:
            sides = _begin(Path(name), children)
            with _held(sides, chosen.share):
                told = _take_turns(sides, chosen.rounds, chosen.seconds, chosen.connections)
        finally:
            for child in reversed(children):
                child.stop(10.0)
    print(json.dumps({**told, "share": chosen.share, "connections": chosen.connections}))
    return 1 if told["failed"] else 0


def _begin(directory: Path, children: list[Child]) -> list[Side]:
    upstream_port = free_port()
    upstream = start("the upstream", ["-m", "loadtest.upstream", str(upstream_port)], directory / "up.log")
    children.append(upstream)
    wait_until_listening(upstream, upstream_port)
    sides = []
    for name, workers in _SIDES:
        folder, port = directory / name, free_port()
        folder.mkdir()
        init_keys(folder / "keys")
        config = write_configuration(folder, port, upstream_port, unbounded=True)
        gateway = start_gateway(folder, config, workers=workers)
        children.append(gateway)
        wait_until_listening(gateway, port)
        secrets, _ = asyncio.run(enrol_people(config, PEOPLE))
        heads = asyncio.run(enter(port, secrets))
        sides.append(Side(name, port, heads, _inspectors(gateway.process.pid)))
    return sides


def _inspectors(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    workers = [int(child) for child in children if b"--seat" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return workers or [pid]


@contextlib.contextmanager
def _held(sides: list[Side], share: float | None) -> Iterator[None]:
    """Hold each inspector to *share* of one core, by a cgroup of its own."""
    groups = []
    try:
        for pid in [pid for side in sides for pid in side.pids] if share is not None else []:
            group = _CPU_CGROUP / f"ecluse-load-{pid}"
            group.mkdir()
            groups.append(group)
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(round(_PERIOD_US * (share or 1))))
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for group in groups:
            for pid_text in (group / "cgroup.procs").read_text("ascii").split():
                (_CPU_CGROUP / "cgroup.procs").write_text(pid_text)
            group.rmdir()


def _take_turns(sides: list[Side], rounds: int, seconds: float, connections: int) -> dict[str, Any]:
    for side in sides:
        drive(side.port, side.heads, _WARM_S, connections)
    for turn in range(rounds):
        for side in sides if turn % 2 else reversed(sides):
            before = [cpu_s(pid) for pid in side.pids]
            run = drive(side.port, side.heads, seconds, connections)
            spent = [cpu_s(pid) - was for pid, was in zip(side.pids, before, strict=True)]
            run["cpu_us"] = round(sum(spent) * 1e6 / max(1, run["right"]))
            run["least_busy"] = round(min(spent) / max(0.01, *spent), 2)
            side.rounds.append(run)
    runs = {side.name: side.rounds for side in sides}
    told: dict[str, Any] = {
        "two_over_one": _ratio(runs["two"], runs["one"]),
        "one_over_alone": _ratio(runs["one"], runs["alone"]),
        "failed": sum(run["failed"] for every in runs.values() for run in every),
        "wrong": [words for every in runs.values() for run in every for words in run["wrong"]][:3],
        "cores": os.cpu_count(),
        "rounds": rounds,
    }
    for name, every in runs.items():
        for figure in ("per_second", "cpu_us", "median_ms", "p99_ms", "least_busy"):
            told[f"{name}_{figure}"] = statistics.median(run[figure] for run in every)
    return told


def _ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> float:
    both = zip(ours, theirs, strict=True)
    ratios: list[float] = [one["per_second"] / max(0.1, other["per_second"]) for one, other in both]
    return float(round(statistics.median(ratios), 3))


if __name__ == "__main__":
    sys.exit(main())
