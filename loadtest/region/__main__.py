"""``make bench-scraping``: what each thief carries away, and what it costs honest people; the last line is JSON."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.configuration.load import load
from gateway.demo.children import ChildError
from gateway.demo.configuration import REALM, write_configuration
from gateway.policy.policy import Realm
from gateway.vocabulary.limits import Pools
from loadtest.region import figures, told
from loadtest.region.gate import Gate
from loadtest.region.honest import Staff
from loadtest.region.profiles import Calendar
from loadtest.region.proxy import rob_for_real
from loadtest.region.rivals import tightest
from loadtest.region.store import VirtualStore, a_store
from loadtest.region.thieves import THIEVES, Gang
from loadtest.region.watching import Watcher
from loadtest.region.world import World

_TOGETHER_S = 3_600.0
_COLLEAGUES = 90


def rob(store: VirtualStore, realm: Realm, pools: Pools, seed: int) -> tuple[list[Gang], Watcher]:
    """Let every gang work for a week, and return them and who watched."""
    gate = Gate(World(store, together_s=_TOGETHER_S), realm, pools)
    watcher = Watcher(gate)
    _colleagues(gate, seed)
    gangs = [Gang(plan, seed) for plan in THIEVES]
    for gang in gangs:
        gang.begin(gate)
    gate.world.run()
    return gangs, watcher


def _colleagues(gate: Gate, seed: int) -> None:
    """Let some honest people work beforehand, so that the watcher knows what is usual in each class."""
    Staff(measured=False).employ(gate, _COLLEAGUES, Calendar(5), seed)


def work(store: VirtualStore, realm: Realm, pools: Pools, professionals: int, days: int, seed: int) -> Staff:
    """Let a region work for *days*."""
    gate, region = Gate(World(store, together_s=_TOGETHER_S), realm, pools), Staff()
    Watcher(gate)
    region.employ(gate, professionals, Calendar(days), seed)
    gate.world.run()
    return region


def main(arguments: Sequence[str] | None = None) -> int:
    """Play everything and tell it. Returns 0 when every target is met that can be judged, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="loadtest.region", description=__doc__)
    parser.add_argument("--professionals", type=int, default=300)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--no-proxy", action="store_true", help="leave out the run through the real proxy")
    parser.add_argument("--figures", type=Path, help="write scraping.json and scraping.svg into this folder")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="ecluse-region-") as name:
        room = Path(name)
        policy = load(write_configuration(room, 8443, 8000)).policy
        realm, pools = policy.realms[REALM], policy.pools
        with a_store(room / "s") as store:
            began_s = time.perf_counter()
            gangs, watcher = rob(store, realm, pools, chosen.seeds[0])
            print(f"{len(gangs)} gangs, a week each: {time.perf_counter() - began_s:.0f} s", flush=True)
            regions = []
            for seed in chosen.seeds:
                began_s = time.perf_counter()
                store.empty()
                region = work(store, realm, pools, chosen.professionals, chosen.days, seed)
                regions.append(region)
                took_s = time.perf_counter() - began_s
                print(f"seed {seed}: {region.worked} professional-days in {took_s:.0f} s", flush=True)
    limit = tightest(
        {f"{at}.{who}": each for at, one in enumerate(regions) for who, each in one.requests.items()}
    )
    told.thieves(gangs, watcher, limit)
    told.honest(regions)
    if not chosen.no_proxy:
        try:
            real = rob_for_real()
        except ChildError as error:
            print(error, file=sys.stderr)
            return 2
        told.real_time(real, gangs[0])
    if chosen.figures is not None:
        points = figures.sweep(regions)
        text = json.dumps({"seeds": chosen.seeds, "points": figures.as_values(points)}, indent=1)
        (chosen.figures / "scraping.json").write_text(text + "\n", "utf-8")
        drawn = figures.svg(points, figures.hard_of(realm.classes))
        (chosen.figures / "scraping.svg").write_text(drawn, "utf-8")
    result = told.result(gangs, watcher, regions, limit)
    faults = told.faults(result)
    for fault in faults:
        print(f"OFF: {fault}")
    print(json.dumps(result), flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
