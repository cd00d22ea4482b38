"""What the gateway adds to an answer's time at half of what it can do: the same rate straight to the app, through
the bare Master and through the gateway, in turns."""

import asyncio
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from gateway.configuration.keys import init_keys
from gateway.demo.children import Child, free_port, start, wait_until_listening
from gateway.demo.configuration import write_configuration
from gateway.demo.seeding import enrol_people
from gateway.demo.stage import start_gateway
from loadtest.bench.rounds import Run, summed, take_turns
from loadtest.overhead import PEOPLE, drive, enter

_SHARE = 0.5
_PROBES = 3


def measure(rounds: int, seconds: float, connections: int) -> dict[str, Any]:
    """Return the median and the 99th percentile of each side, and what the gateway adds to either, in ms."""
    children: list[Child] = []
    with tempfile.TemporaryDirectory(prefix="ecluse-latency-") as name:
        try:
            ports, heads = _begin(Path(name), children)
            fastest = [drive(ports["guarded"], heads, seconds, connections) for _ in range(_PROBES)]
            rate = round(_SHARE * statistics.median(run["per_second"] for run in fastest), 1)
            paced = {
                side: partial(_paced, port, heads, seconds, connections, rate) for side, port in ports.items()
            }
            runs = take_turns(paced, rounds)
        finally:
            for child in reversed(children):
                child.stop(6.0)
    told = summed(runs)
    for figure in ("median", "p99"):
        for over in ("direct", "bare"):
            both = zip(runs["guarded"], runs[over], strict=True)
            added = [ours[f"{figure}_ms"] - theirs[f"{figure}_ms"] for ours, theirs in both]
            told[f"added_{figure}_ms_over_{over}"] = round(statistics.median(added), 2)
    told["failed"] += sum(run["failed"] for run in fastest)
    return told | {"offered_per_second": rate, "connections": connections}


def _paced(port: int, heads: list[str], seconds: float, connections: int, rate: float) -> Run:
    return drive(port, heads, seconds, connections, rate)


def _begin(folder: Path, children: list[Child]) -> tuple[dict[str, int], list[str]]:
    ports = {name: free_port() for name in ("direct", "bare", "guarded")}
    upstream = start("the upstream", ["-m", "loadtest.upstream", str(ports["direct"])], folder / "up.log")
    children.append(upstream)
    arguments = ["-m", "loadtest.bare", str(ports["bare"]), str(ports["direct"])]
    bare = start("the bare Master", arguments, folder / "bare.log")
    children.append(bare)
    init_keys(folder / "keys")
    config = write_configuration(folder, ports["guarded"], ports["direct"], unbounded=True)
    gateway = start_gateway(folder, config)
    children.append(gateway)
    for child, port in zip(children, ports.values(), strict=True):
        wait_until_listening(child, port)
    secrets, _ = asyncio.run(enrol_people(config, PEOPLE))
    return ports, asyncio.run(enter(ports["guarded"], secrets))
