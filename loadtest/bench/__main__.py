"""Every benchmark in one run, each side by side with its yardsticks: ``python -m loadtest.bench``.

Parts: a inspected path against the bare Master; b the edge's check against other checks; c added latency at half
load; d one and two workers; e durable appends; f cost by phase; g start and memory. The last line is one JSON object
of ratios. Returns 1 when any answer was wrong.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gateway.demo.children import ChildError
from loadtest.bench import appends, edge, latency, phases, processes, told, wrk
from loadtest.bench.edge_site import program

_HELD = 0.2
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    """How long everything takes; *seconds* are of one side in one round."""

    rounds: int
    seconds: float
    connections: int
    replays: int
    edge_processes: int
    appends_in: Path | None


def main() -> int:
    """Measure, print and keep what the command line says."""
    parser = argparse.ArgumentParser(prog="loadtest.bench", description=__doc__)
    parser.add_argument("--only", default="a,b,c,d,e,f,g", help="the letters of some parts, with commas")
    parser.add_argument(
        "--short", action="store_true", help="two rounds of one second: about two minutes in all"
    )
    parser.add_argument("--rounds", type=int, help="default 7")
    parser.add_argument("--seconds", type=float, help="of each side in each round; default 3")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--edge-processes", type=int, default=1, help="of the check; default 1, as it comes")
    parser.add_argument(
        "--appends-in", type=Path, help="a folder on the disk whose appends count; default TMPDIR's"
    )
    parser.add_argument(
        "--figures", type=Path, help="write performance.json, .svg and the tables of .md in here"
    )
    chosen = parser.parse_args()
    size = Size(
        chosen.rounds or (2 if chosen.short else 7),
        chosen.seconds or (1.0 if chosen.short else 3.0),
        chosen.connections,
        40 if chosen.short else 300,
        chosen.edge_processes,
        chosen.appends_in,
    )
    kept = chosen.figures / "performance.json" if chosen.figures is not None else None
    # A run of some parts leaves what others have measured.
    figures: Figures = json.loads(kept.read_text("utf-8")) if kept is not None and kept.exists() else {}
    failed = 0
    for letter in chosen.only.split(","):
        name, measure = _PARTS[letter.strip()]
        began_s = time.monotonic()
        print(f"{letter}: {name} ...", file=sys.stderr, flush=True)
        figures[name] = _guarded(measure, size) | {
            "short": chosen.short,
            "load": round(os.getloadavg()[0], 2),
        }
        failed += figures[name]["failed"]
        print(json.dumps({name: figures[name], "took_s": round(time.monotonic() - began_s)}), flush=True)
    figures["machine"] = _machine()
    figures["summary"] = told.summary(figures)
    if kept is not None:
        kept.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
        told.write(figures, chosen.figures)
    print(json.dumps(figures["summary"]))
    return 1 if failed else 0


def _guarded(measure: Callable[[Size], Figures], size: Size) -> Figures:
    """Measure; a part that cannot run says why, and the others go on."""
    try:
        return measure(size)
    except (ChildError, subprocess.SubprocessError, OSError, RuntimeError) as error:
        return {"failed": 1, "error": f"{type(error).__name__}: {error}"[:2_000]}


def _inspected(size: Size) -> Figures:
    return _module(
        "loadtest.overhead", "--json", "--rounds", str(size.rounds), "--seconds", str(size.seconds)
    )


def _checks(size: Size) -> Figures:
    for name, package in (("wrk", "wrk"), ("nginx", "nginx-light")):
        if program(name) is None:
            return {"failed": 0, "absent": {name: f"apt-get install {package}"}}
    return edge.measure(size.rounds, size.seconds, size.connections, size.edge_processes)


def _latency(size: Size) -> Figures:
    return latency.measure(size.rounds, size.seconds, size.connections)


def _workers(size: Size) -> Figures:
    how = (
        "--rounds",
        str(size.rounds),
        "--seconds",
        str(size.seconds),
        "--connections",
        str(size.connections),
    )
    competing = _module("loadtest.workers", *how)
    told_: Figures = {"competing": competing, "held": None, "failed": competing["failed"]}
    if not os.access("/sys/fs/cgroup/cpu/cpu.shares", os.W_OK) and not os.access(
        "/sys/fs/cgroup/cpu", os.W_OK
    ):
        return told_ | {"absent": {"held": "the cgroup controller cpu, version 1, writable"}}
    try:
        told_["held"] = _module("loadtest.workers", *how, "--share", str(_HELD))
    except subprocess.CalledProcessError as error:
        last = (error.stderr or b"").decode("utf-8", "replace").strip().splitlines()[-1:]
        return told_ | {"absent": {"held": "".join(last)}}
    return told_ | {"failed": competing["failed"] + told_["held"]["failed"]}


def _appends(size: Size) -> Figures:
    return appends.measure(size.appends_in, size.rounds, min(size.seconds, 2.0))


def _phases(size: Size) -> Figures:
    return phases.measure(max(5, size.replays // 16), size.replays)


def _processes(size: Size) -> Figures:
    return processes.measure(min(3, max(1, size.rounds // 2)))


def _module(name: str, *arguments: str) -> Figures:
    done = subprocess.run([sys.executable, "-m", name, *arguments], capture_output=True, check=False)
    if done.returncode not in {0, 1} or not done.stdout.strip():
        raise subprocess.CalledProcessError(done.returncode, name, done.stdout, done.stderr)
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


def _machine() -> Figures:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "mitmproxy": version("mitmproxy"),
        "wrk": wrk.available(),
    }


_PARTS: dict[str, tuple[str, Callable[[Size], Figures]]] = {
    "a": ("inspected", _inspected),
    "b": ("edge", _checks),
    "c": ("latency", _latency),
    "d": ("workers", _workers),
    "e": ("appends", _appends),
    "f": ("phases", _phases),
    "g": ("processes", _processes),
}


if __name__ == "__main__":
    sys.exit(main())
