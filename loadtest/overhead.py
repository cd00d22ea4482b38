"""What the guard costs: requests a second of the inspected path, everything on, over a Master without a guard.

The path is a JSON answer that reveals two patients: session, limits, caps and durable audit are all on, the
limits set so high that none is met. *bare* is a minimal Master as mitmproxy ships it; *door* is the gateway's own
door, whose mitmproxy is faster, without the guard. All take turns, so that they meet the same machine; each round
has a load generator in its own process, and the app behind is a raw server in its own process.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyotp

from gateway.configuration.keys import init_keys
from gateway.demo.children import Child, free_port, start, wait_until_listening
from gateway.demo.client import Client, log_in
from gateway.demo.configuration import write_configuration
from gateway.demo.people import ENROLLED
from gateway.demo.seeding import enrol_people
from gateway.demo.stage import start_gateway
from loadtest.upstream import RECORDS

_PATH = "/api/dossiers?taille=2"
PEOPLE = ENROLLED[:4]
_CONNECTIONS = 32
_WARM_S = 1.0


def main() -> int:
    """Measure and print; returns 1 when any answer was wrong."""
    parser = argparse.ArgumentParser(prog="loadtest.overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--optimised", action="store_true", help="run both with python -O")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ecluse-load-") as name:
        told = _measure(Path(name), chosen.rounds, chosen.seconds, optimised=chosen.optimised)
    if chosen.json:
        print(json.dumps(told))
    else:
        for key, value in told.items():
            print(f"{key:>16}: {value}")
    return 1 if told["failed"] else 0


def _measure(directory: Path, rounds: int, seconds: float, *, optimised: bool) -> dict[str, Any]:
    upstream_port, guarded_port = free_port(), free_port()
    children: list[Child] = []
    try:
        upstream = start(
            "the upstream", ["-m", "loadtest.upstream", str(upstream_port)], directory / "up.log"
        )
        children.append(upstream)
        wait_until_listening(upstream, upstream_port)
        sides: list[tuple[str, Child, int]] = []
        for name, extra in (("bare", []), ("door", ["own"])):
            port = free_port()
            arguments = ["-m", "loadtest.bare", str(port), str(upstream_port), *extra]
            child = start(f"the {name} Master", arguments, directory / f"{name}.log", optimised=optimised)
            children.append(child)
            wait_until_listening(child, port)
            sides.append((name, child, port))
        init_keys(directory / "keys")
        config = write_configuration(directory, guarded_port, upstream_port, unbounded=True)
        gateway = start_gateway(directory, config, optimised=optimised)
        children.append(gateway)
        wait_until_listening(gateway, guarded_port)
        secrets, _ = asyncio.run(enrol_people(config, PEOPLE))
        heads = asyncio.run(enter(guarded_port, secrets))
        sides.append(("guarded", gateway, guarded_port))
        return _take_turns(sides, heads, rounds, seconds)
    finally:
        for child in reversed(children):
            child.stop(6.0)


async def enter(port: int, secrets: dict[str, str]) -> list[str]:
    """Log each person in and return the request heads that carry their cookies."""
    heads = []
    for person in PEOPLE:
        client = Client(port)
        await log_in(client, person.login, person.password, pyotp.TOTP(secrets[person.login]).now())
        answer = await client.request("GET", _PATH, (("Accept", "application/json"),))
        await client.close()
        if answer.body != RECORDS:
            raise RuntimeError(f"{person.login} got {answer.status} instead of two patients")
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        lines = (
            f"GET {_PATH} HTTP/1.1",
            f"Host: localhost:{port}",
            "Accept: application/json",
            f"Cookie: {cookies}",
        )
        heads.append("\r\n".join((*lines, "", "")))
    return heads


def _take_turns(
    sides: list[tuple[str, Child, int]], heads: list[str], rounds: int, seconds: float
) -> dict[str, Any]:
    counted: dict[str, list[dict[str, Any]]] = {name: [] for name, _, _ in sides}
    for _, _, port in sides:
        drive(port, heads, _WARM_S)
    for turn in range(rounds):
        for name, child, port in sides if turn % 2 else reversed(sides):
            before = cpu_s(child.process.pid)
            run = drive(port, heads, seconds)
            run["cpu_us"] = round((cpu_s(child.process.pid) - before) * 1e6 / max(1, run["right"]))
            counted[name].append(run)
    everything = [run for runs in counted.values() for run in runs]
    told: dict[str, Any] = {
        "ratio": _ratio(counted["guarded"], counted["bare"]),
        "ratio_to_own_door": _ratio(counted["guarded"], counted["door"]),
        "rounds": rounds,
        "failed": sum(one["failed"] for one in everything),
        "wrong": [words for one in everything for words in one["wrong"]][:3],
        "cores": os.cpu_count(),
    }
    for name, runs in counted.items():
        told[name] = statistics.median(one["per_second"] for one in runs)
        told[f"{name}_rounds"] = [one["per_second"] for one in runs]
        for figure in ("cpu_us", "median_ms", "p99_ms"):
            told[f"{name}_{figure}"] = statistics.median(one[figure] for one in runs)
    return told


def _ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> float:
    # Both sides of a round meet the machine in the same mood, so ratios are taken round by round.
    ratios: list[float] = [
        one["per_second"] / max(0.1, other["per_second"]) for one, other in zip(ours, theirs, strict=True)
    ]
    return float(round(statistics.median(ratios), 3))


def cpu_s(pid: int) -> float:
    """Return the processor time that the threads of process *pid* have used, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drive(
    port: int,
    heads: list[str],
    seconds: float,
    connections: int = _CONNECTIONS,
    per_second: float | None = None,
) -> dict[str, Any]:
    """Keep *connections* busy with *heads* for *seconds*, in a process of its own; return what `driver.drive` does.

    With *per_second*, so many requests are sent a second, however fast they are answered.
    """
    job = {
        "port": port,
        "connections": connections,
        "seconds": seconds,
        "heads": heads,
        "per_second": per_second,
        "expected": RECORDS.decode(),
    }
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.driver"],
        input=json.dumps(job).encode(),
        capture_output=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    sys.exit(main())
