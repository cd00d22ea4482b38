"""Thousands of idle connections, hundreds of slow clients and two very large bodies at once, and others served."""

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.demo.children import Child
from loadtest.endurance import crowd, memory
from loadtest.endurance.acts import act
from loadtest.endurance.line import download, upload
from loadtest.endurance.mixed import LET_CLOSE_S
from loadtest.endurance.person import Person
from loadtest.endurance.site import Site, allow_files, raise_app, raise_site
from loadtest.endurance.tally import Tally

BOUND_MB = 600.0
IDLE_S = 60.0
"""A connection without a word is closed after so long (`addons.master.DoorSettings`); who asked for something, and
reads nothing of it, after half of it more."""
HEAD_S, BODY_S = 10.0, 300.0
"""A head, and a body, may take so long (`addons.wire.WireBounds`)."""
_SLACK_S = 25.0
_LATE_S = 5.0
"""What a busy machine may take to tell us that something was answered."""
_SLOW_READ_BYTES = 50_000_000
_WORKING = 4
_THINK_S, _SAMPLE_S = 0.3, 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """How many of each. *seconds*: how long slow clients go on; below a bound, it is not looked at."""

    workers: int | None = 2
    connections: int = 5_000
    slow: int = 200
    upload_bytes: int = 1 << 30
    download_bytes: int = 1 << 30
    seconds: float = BODY_S + _SLACK_S
    bound_mb: float = BOUND_MB


@dataclass
class Seen:
    """What was seen. *most_mb* is of all of the gateway's processes together."""

    tally: Tally = field(default_factory=Tally)
    slow: crowd.Slow = field(default_factory=crowd.Slow)
    samples: memory.Samples = field(default_factory=memory.Samples)
    figures: dict[str, object] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def run(plan: Plan, progress: Callable[[float, str], None]) -> dict[str, object]:
    """Play *plan*; ``faults`` in what is returned is empty when all was right."""
    allow_files()
    children: list[Child] = []
    seen = Seen()
    with tempfile.TemporaryDirectory(prefix="ecluse-idle-") as name:
        site = None
        try:
            app_port = raise_app(Path(name), children)
            logins = [f"idle.{number}" for number in range(_WORKING + 2)]
            site = raise_site("idle", Path(name, "site"), app_port, logins, workers=plan.workers)
            asyncio.run(_play(site, plan, seen, progress))
        finally:
            if site is not None:
                seen.faults += site.stop()
            for child in children:
                child.stop(5.0)
        found = site.compared(seen.tally.received)
        seen.faults += [f"received, not recorded: {who}" for who, _ in found.unaudited]
        seen.faults += [f"recorded, not received: {who}" for who, _ in found.unserved]
    totals = [mb for _, mb in seen.samples.totals()]
    if max(totals) > plan.bound_mb:
        seen.faults.append(f"{max(totals):.1f} MB were held, {plan.bound_mb:g} are allowed")
    return {
        "connections": plan.connections,
        "slow": plan.slow,
        "requests": seen.tally.requests,
        "wrong": seen.tally.wrong,
        "failed": seen.tally.failed,
        "served": found.served,
        "audited": found.audited,
        "mb_first": round(totals[0], 1),
        "mb_most": round(max(totals), 1),
        "mb_last": round(totals[-1], 1),
        **seen.figures,
        "faults": [*seen.tally.told, *seen.faults],
    }


async def _play(site: Site, plan: Plan, seen: Seen, progress: Callable[[float, str], None]) -> None:
    people = [
        Person(site, f"idle.{number}", seen.tally, random.Random(number)) for number in range(_WORKING + 2)
    ]
    for person in people:
        if not await person.enter():
            raise RuntimeError(f"nobody gets in: {seen.tally.told}")
    sampling = asyncio.ensure_future(_sample(site, seen))
    try:
        progress(0.02, f"{plan.connections} connections")
        await asyncio.sleep(0.6)
        idle = await crowd.open_idle(site.port, plan.connections)
        seen.figures["idle_opened"] = sum(one.served.result() for one in idle)
        if seen.figures["idle_opened"] != plan.connections:
            seen.faults.append(
                f"{seen.figures['idle_opened']} of {plan.connections} idle connections were taken"
            )
        seen.figures["mb_idle"] = round(sum(memory.held_mb(site.pids()).values()), 1)
        until_s = time.monotonic() + plan.seconds
        async with asyncio.TaskGroup() as group:
            held = crowd.Held(site.port)
            for number in range(plan.slow):
                group.create_task(_be_slow(number, people[-1], seen, until_s, held))
            for person in people[:_WORKING]:
                group.create_task(_work(person, until_s))
            group.create_task(_large(people[-2], plan, seen))
            group.create_task(_tell(plan, seen, until_s, progress))
        _judge_idle(idle, plan, seen)
        _judge_slow(plan, seen)
        for one in idle:
            one.transport.abort()  # type: ignore[attr-defined]
        for person in people:
            await person.hang_up()
        await asyncio.sleep(_SAMPLE_S + LET_CLOSE_S)
    finally:
        sampling.cancel()


async def _be_slow(number: int, person: Person, seen: Seen, until_s: float, held: crowd.Held) -> None:
    """Be one slow client: a fifth each send heads, bodies and uploads in drops, read in drops, or read nothing."""
    line, target = person.new_line(), f"/pieces/{_SLOW_READ_BYTES}"
    await asyncio.sleep(number * 0.01)
    match number % 5:
        case 0:
            await crowd.drip_head(line, seen.slow, until_s)
        case 1:
            await crowd.drip_body(line, seen.slow, until_s)
        case 2:
            await crowd.drip_upload(line, seen.slow, until_s)
        case 3:
            await crowd.read_in_drops(line, target, seen.slow, until_s)
        case _:
            await crowd.read_nothing(line, target, seen.slow, until_s, held)


async def _work(person: Person, until_s: float) -> None:
    """Do what people do, as an honest one of the others."""
    while time.monotonic() < until_s:
        await act(person, person.kept[0])
        await asyncio.sleep(person.chance.expovariate(1 / _THINK_S))


async def _large(person: Person, plan: Plan, seen: Seen) -> None:
    """Send a very large file and fetch another one, both at once."""
    began_s = time.monotonic()
    sent, fetched = person.number(), person.number()
    faults = await asyncio.gather(
        upload(person.kept[0], f"/envois?n={sent.number}", sent, plan.upload_bytes, chunked=False),
        download(
            person.kept[1],
            f"/pieces/{plan.download_bytes}?n={fetched.number}",
            fetched.words,
            plan.download_bytes,
        ),
    )
    for fault in faults:
        seen.tally.judge(fault)
    seen.figures["large_s"] = round(time.monotonic() - began_s, 1)


async def _sample(site: Site, seen: Seen) -> None:
    began_s = time.monotonic()
    while True:
        seen.samples.taken.append((time.monotonic() - began_s, memory.held_mb(site.pids())))
        await asyncio.sleep(_SAMPLE_S)


async def _tell(plan: Plan, seen: Seen, until_s: float, progress: Callable[[float, str], None]) -> None:
    while (left_s := until_s - time.monotonic()) > 0:
        held = sum(seen.samples.taken[-1][1].values())
        progress(1 - left_s / plan.seconds, f"{held:.0f} MB, {seen.tally.requests} requests of others")
        await asyncio.sleep(0.5)


def _judge_idle(idle: list[crowd.Silent], plan: Plan, seen: Seen) -> None:
    """Idle connections live until the bound, and not much longer."""
    early = [
        one.closed_after_s
        for one in idle
        if one.closed_after_s is not None and one.closed_after_s < IDLE_S - _LATE_S
    ]
    if early:
        seen.faults.append(f"{len(early)} idle connections were closed early, one after {min(early):.1f} s")
    closed = [one.closed_after_s for one in idle if one.closed_after_s is not None]
    if plan.seconds > IDLE_S + _SLACK_S:
        if len(closed) != len(idle):
            seen.faults.append(f"{len(idle) - len(closed)} idle connections outlived their bound")
        seen.figures["idle_closed_after_s"] = round(max(closed, default=0.0), 1)


def _judge_slow(plan: Plan, seen: Seen) -> None:
    """What never ends is ended at its bound, and who reads in drops is served on."""
    bounds = {"head": HEAD_S, "stalled reader": IDLE_S * 1.5, "body": BODY_S, "upload": BODY_S}
    for kind, after_s in sorted(seen.slow.ended.items()):
        bound_s = bounds.get(kind)
        ends = [one for one in after_s if one is not None]
        seen.figures[f"{kind.replace(' ', '_')}_ended_after_s"] = round(max(ends), 1) if ends else None
        if bound_s is None:
            if ends:
                seen.faults.append(f"{len(ends)} slow readers were cut off, one after {min(ends):.1f} s")
            continue
        if ends and min(ends) < bound_s * 0.9:
            seen.faults.append(f"{kind}: one was ended after {min(ends):.1f} s, {bound_s:g} s are allowed")
        if plan.seconds >= bound_s + _SLACK_S:
            if len(ends) < len(after_s):
                seen.faults.append(f"{kind}: {len(after_s) - len(ends)} of {len(after_s)} were never ended")
            elif max(ends) > bound_s + _SLACK_S:
                seen.faults.append(
                    f"{kind}: one was ended after {max(ends):.1f} s only, {bound_s:g} s are allowed"
                )
