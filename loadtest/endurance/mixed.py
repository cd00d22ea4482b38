"""Mixed traffic by many people for minutes: what they got, what the log holds, and whether memory grows."""

import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.demo.children import Child
from loadtest.bench.edge_site import program
from loadtest.endurance import content, memory
from loadtest.endurance.acts import act, open_socket
from loadtest.endurance.line import Line
from loadtest.endurance.outcome import Run, settle, told_of
from loadtest.endurance.person import Person
from loadtest.endurance.site import allow_files, raise_app, raise_site
from loadtest.endurance.tally import Tally

MOST_HEADS = 2_048
"""So many request heads a process remembers at most (`addons.heads`): that is filled first, since it is no growth."""
LET_CLOSE_S = 0.1
"""What was closed is gone by then."""
_FILLING, _LEAST_SAMPLES = 8, 8
_HEAD_WORDS = 120
"""Nine bytes each: as long as the cookies of somebody who is logged in."""
_LOCKED = "contenue"


@dataclass(frozen=True, slots=True)
class Plan:
    """*doors*: of alone, workers-1, workers-2 and edge. *think_s* is the mean pause between what one line does."""

    minutes: float
    doors: tuple[str, ...]
    people: int = 10
    think_s: float = 0.6
    session_s: tuple[float, float] = (10.0, 50.0)
    least_acts: int = 3
    """What each line does at least in a session, however slow the machine is."""
    most_sample_s: float = 5.0
    reload_s: float = 11.0
    lock_s: float = 20.0
    judge_growth: bool = True
    """Fill what a process remembers first, and look at what it holds beyond that."""


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
        asyncio.run(settle(runs, judge_growth=plan.judge_growth))
    return told_of(runs, plan.minutes)


def _raise(door: str, folder: Path, app_port: int, plan: Plan) -> Run:
    workers = {"alone": None, "workers-1": 1}.get(door, 2)
    logins = [f"{door}.{number}" for number in range(plan.people)] + [f"{door}.{_LOCKED}"]
    site = raise_site(door, folder / door, app_port, logins, workers=workers, with_edge=door == "edge")
    return Run(site, Tally(), workers or 1)


async def _play(runs: list[Run], plan: Plan, progress: Callable[[float, str], None]) -> None:
    if plan.judge_growth:
        progress(0.0, "filling what the processes remember")
        await asyncio.gather(*(_fill(one) for one in runs))
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


async def _fill(one: Run) -> None:
    """Ask, as a stranger, with heads of which no two are alike: for a record, and for a page that the edge may pass."""

    async def ask(first: int) -> None:
        line = Line(one.site.port, tls=one.site.tls)
        for number in range(first, one.workers * MOST_HEADS * 5 // 4, _FILLING):
            for target in (f"/dossiers/{content.RESERVED[0]}", "/aide") if one.site.edge else ("/aide",):
                got = await line.request("GET", target, (("X-Number", f"{number:09}" * _HEAD_WORDS),))
                right = got.status == 303 and got.header("location") == "/connexion"
                one.tally.judge(
                    None if right else f"{one.site.name}: a stranger got {got.status} at {target}"
                )
        await line.close()

    await asyncio.gather(*(ask(first) for first in range(_FILLING)))


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
            done = 0
            while done < plan.least_acts or time.monotonic() < until_s:
                await act(person, person.kept[line_number])
                await asyncio.sleep(person.chance.expovariate(1 / plan.think_s))
                done += 1

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
    while time.monotonic() < end_s or len(one.samples.taken) < _LEAST_SAMPLES:
        one.samples.taken.append((time.monotonic() - began_s, memory.held_mb(one.site.pids())))
        await asyncio.sleep(min(plan.most_sample_s, plan.minutes))


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
