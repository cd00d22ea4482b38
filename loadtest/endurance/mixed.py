"""Mixed traffic by many people for minutes: what they got, what the log holds, and whether memory grows."""

import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.demo.children import Child
from loadtest.bench.edge_site import program
from loadtest.endurance import memory
from loadtest.endurance.acts import act, open_socket
from loadtest.endurance.person import Person
from loadtest.endurance.site import Site, allow_files, raise_app, raise_site
from loadtest.endurance.tally import Tally

INSPECTING = frozenset({"gateway", "worker", "supervisor", "edge"})
"""What may not grow. The store holds what it is there to hold: whom each account saw."""
GROWTH_MB, GROWTH_SHARE = 12.0, 0.08
"""What a site may grow by after the warm-up, whichever is more."""
LET_CLOSE_S = 0.1
"""What was closed is gone by then."""
_LOCKED = "contenue"


@dataclass(frozen=True, slots=True)
class Plan:
    """*doors*: of alone, workers-1, workers-2 and edge. *think_s* is the mean pause between what one line does."""

    minutes: float
    doors: tuple[str, ...]
    people: int = 10
    think_s: float = 0.6
    session_s: tuple[float, float] = (10.0, 50.0)
    sample_s: float = 5.0
    reload_s: float = 11.0
    lock_s: float = 20.0
    judge_growth: bool = True


@dataclass
class Run:
    """One gateway, its people, and what was seen."""

    site: Site
    tally: Tally
    samples: memory.Samples = field(default_factory=memory.Samples)
    reloads: int = 0
    served: int = 0
    audited: int = 0
    faults: list[str] = field(default_factory=list)


def doors_here() -> tuple[str, ...]:
    """Return the doors that this machine can be tried with."""
    return ("workers-1", "workers-2", *(("edge",) if program("nginx") else ()))


def run(plan: Plan, progress: Callable[[float, str], None]) -> dict[str, object]:
    """Play *plan* and return what is told as JSON; *progress* is told the share done, and figures.

    ``faults`` in what is returned is empty when all was right.
    """
    allow_files()
    children: list[Child] = []
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="ecluse-endure-") as name:
        folder = Path(name)
        try:
            app_port = raise_app(folder, children)
            for door in plan.doors:
                runs.append(_raise(door, folder, app_port, plan))  # noqa: PERF401 - those raised are struck if one is not
            asyncio.run(_play(runs, plan, progress))
        finally:
            for one in runs:
                one.faults += one.site.stop()
            for child in children:
                child.stop(5.0)
        asyncio.run(_settle(runs, plan))
    return _told(runs, plan)


def _raise(door: str, folder: Path, app_port: int, plan: Plan) -> Run:
    workers = {"alone": None, "workers-1": 1}.get(door, 2)
    logins = [f"{door}.{number}" for number in range(plan.people)] + [f"{door}.{_LOCKED}"]
    site = raise_site(door, folder / door, app_port, logins, workers=workers, with_edge=door == "edge")
    return Run(site, Tally())


async def _play(runs: list[Run], plan: Plan, progress: Callable[[float, str], None]) -> None:
    began_s = time.monotonic()
    end_s = began_s + plan.minutes * 60
    async with asyncio.TaskGroup() as group:
        for one in runs:
            for number in range(plan.people):
                person = Person(one.site, f"{one.site.name}.{number}", one.tally, random.Random(number))
                group.create_task(_live(person, plan, end_s))
            contained = Person(one.site, f"{one.site.name}.{_LOCKED}", one.tally, random.Random(99), lines=1)
            group.create_task(_be_contained(contained, plan, end_s))
            group.create_task(_reload(one, plan, end_s))
            group.create_task(_sample(one, plan, began_s, end_s))
        group.create_task(_tell(runs, plan, end_s, progress))
    await asyncio.sleep(LET_CLOSE_S)


async def _live(person: Person, plan: Plan, end_s: float) -> None:
    """Come, work on two connections at once, and go, until the end."""
    await asyncio.sleep(person.chance.uniform(0, min(5.0, plan.minutes * 6)))
    while time.monotonic() < end_s:
        if not await person.enter():
            await person.hang_up()
            await asyncio.sleep(1)
            continue
        leave_s = min(end_s, time.monotonic() + person.chance.uniform(*plan.session_s))

        async def work(line_number: int, until_s: float = leave_s) -> None:
            while time.monotonic() < until_s:
                await act(person, person.kept[line_number])
                await asyncio.sleep(person.chance.expovariate(1 / plan.think_s))

        await asyncio.gather(*(work(number) for number in range(person.lines)))
        await person.leave()


async def _be_contained(person: Person, plan: Plan, end_s: float) -> None:
    """Be locked by an operator in the midst of work, again and again: socket and session end, and nothing opens."""
    while time.monotonic() < end_s:
        if not await person.enter():
            await asyncio.sleep(1)
            continue
        before = dict(person.jar)
        socket = await open_socket(person, person.kept[0])
        code, said = await person.site.types("account", "lock", person.login, "--reason", "endurance")
        person.tally.judge(None if code == 0 else f"{person.site.name}: lock: {said[:300]}")
        person.tally.acts["lock"] += 1
        try:
            async with asyncio.timeout(10):
                cut = await socket.read_message() is None
        except TimeoutError:
            cut = False
        finally:
            socket.close()
        person.tally.judge(None if cut else f"{person.site.name}: a socket outlived the lock of its account")
        await person.must_be_out(before)
        code, said = await person.site.types("account", "unlock", person.login, "--reason", "endurance")
        person.tally.judge(None if code == 0 else f"{person.site.name}: unlock: {said[:300]}")
        await person.must_be_out(before)
        await person.hang_up()
        await asyncio.sleep(max(0.0, min(plan.lock_s, end_s - time.monotonic())))


async def _reload(one: Run, plan: Plan, end_s: float) -> None:
    told = one.site.folder / "state" / "reload.json"
    while time.monotonic() + plan.reload_s < end_s:
        await asyncio.sleep(plan.reload_s)
        before = told.stat().st_mtime_ns if told.exists() else 0
        one.site.change_and_reload(one.reloads + 1)
        one.reloads += 1
        try:
            async with asyncio.timeout(30):
                while not told.exists() or told.stat().st_mtime_ns == before:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            one.faults.append(f"{one.site.name}: a reload was not answered")
            continue
        if not json.loads(told.read_text("utf-8"))["loaded"]:
            one.faults.append(f"{one.site.name}: a reload was refused: {told.read_text('utf-8')[:300]}")


async def _sample(one: Run, plan: Plan, began_s: float, end_s: float) -> None:
    while time.monotonic() < end_s:
        one.samples.taken.append((time.monotonic() - began_s, memory.held_mb(one.site.pids())))
        await asyncio.sleep(plan.sample_s)


async def _tell(runs: list[Run], plan: Plan, end_s: float, progress: Callable[[float, str], None]) -> None:
    while (left_s := end_s - time.monotonic()) > 0:
        figures = (
            f"{sum(one.tally.requests for one in runs):,} requests, {sum(_off(one) for one in runs)} off"
        )
        progress(1 - left_s / (plan.minutes * 60), figures)
        for one in runs:
            if (fallen := one.site.fallen()) is not None:
                raise RuntimeError(f"{one.site.name}: {fallen}")
        await asyncio.sleep(0.5)


def _off(one: Run) -> int:
    return one.tally.wrong + one.tally.failed + len(one.faults)


async def _settle(runs: list[Run], plan: Plan) -> None:
    """Compare with the logs, now that all of them are closed, and verify those."""
    for one in runs:
        name = one.site.name
        found = one.site.compared(one.tally.received)
        one.served, one.audited = found.served, found.audited
        one.faults += [f"{name}: received, not recorded: {who} {len(ids)}" for who, ids in found.unaudited]
        one.faults += [f"{name}: recorded, not received: {who} {len(ids)}" for who, ids in found.unserved]
        code, said = await one.site.types("audit", "verify")
        if code:
            one.faults.append(f"{name}: audit verify left with {code}: {said[:300]}")
        if plan.judge_growth:
            grown = memory.growth(one.samples.totals(INSPECTING))
            if grown.last_mb - grown.first_mb > max(GROWTH_MB, grown.first_mb * GROWTH_SHARE):
                one.faults.append(f"{name}: memory grew from {grown.first_mb:.1f} to {grown.last_mb:.1f} MB")


def _told(runs: list[Run], plan: Plan) -> dict[str, object]:
    total = memory.Growth(0.0, 0.0, 0.0, 0.0)
    sites, acts = {}, Counter[str]()
    for one in runs:
        grown = memory.growth(one.samples.totals(INSPECTING))
        total = memory.Growth(
            total.first_mb + grown.first_mb, total.last_mb + grown.last_mb,
            total.most_mb + grown.most_mb, total.mb_an_hour + grown.mb_an_hour,
        )  # fmt: skip
        acts += one.tally.acts
        sites[one.site.name] = {
            "requests": one.tally.requests, "wrong": one.tally.wrong, "failed": one.tally.failed,
            "served": one.served, "audited": one.audited, "reloads": one.reloads,
            "mb_first": round(grown.first_mb, 1), "mb_last": round(grown.last_mb, 1),
            "mb_most": round(grown.most_mb, 1), "mb_an_hour": round(grown.mb_an_hour, 1),
            "mb_by_process": {kind: round(mb, 1) for kind, mb in sorted(one.samples.taken[-1][1].items())},
        }  # fmt: skip
    return {
        "minutes": plan.minutes,
        **{key: sum(getattr(one.tally, key) for one in runs) for key in ("requests", "wrong", "failed")},
        "served": sum(one.served for one in runs),
        "audited": sum(one.audited for one in runs),
        "mb_first": round(total.first_mb, 1),
        "mb_last": round(total.last_mb, 1),
        "mb_an_hour": round(total.mb_an_hour, 1),
        "acts": dict(acts.most_common()),
        "sites": sites,
        "faults": [words for one in runs for words in (*one.tally.told, *one.faults)],
    }
