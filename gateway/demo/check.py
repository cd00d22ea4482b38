"""``ecluse demo --check``: the attack of September 2025 played against the demo, unattended."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.configuration.keys import load_keys
from gateway.configuration.load import load
from gateway.demo.children import ChildError, free_port
from gateway.demo.configuration import REALM, SYSTEM
from gateway.demo.evidence import Access, Comparison, audited, compare, served
from gateway.demo.people import PROFESSIONALS, STOLEN, Professional
from gateway.demo.playing import Job, play, python
from gateway.demo.stage import Stage, raise_stage
from gateway.demo.thieves import GUESSES
from gateway.vocabulary.limits import Control

LEAST_RATIO = 0.75
_SCRAPER = "l.vasseur"
_WORKERS = ("j.dumont", "e.marchand", "d.rousseau", "m.nguyen")
_FIRST_OF_WORK = 1_101
_APART = 100
_LEAST_EXCHANGES = 8
_MEASURE_S = 300.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What the check found; *faults* says in words what is off."""

    password_only_patients: int
    totp_patients_before_stop: int
    cap: int
    comparison: Comparison
    guard_overhead_ratio: float | None
    faults: tuple[str, ...]

    def as_json(self) -> str:
        """Return the one line that scripts read."""
        return json.dumps(
            {
                "password_only_patients": self.password_only_patients,
                "totp_patients_before_stop": self.totp_patients_before_stop,
                "cap": self.cap,
                "accesses_served": self.comparison.served,
                "accesses_audited": self.comparison.audited,
                "guard_overhead_ratio": self.guard_overhead_ratio,
            }
        )


@dataclass(frozen=True, slots=True)
class Played:
    """What the people saw while the gateway stood."""

    unguarded: Job
    thefts: tuple[Job, ...]
    scrape: Job
    works: tuple[Job, ...]
    cap: int
    comparison: Comparison


def check(directory: Path | None = None) -> int:
    """Play everything and tell it on standard output; the last line is a JSON object.

    Returns 0 when all is as it must be, 1 when anything is off, 2 when the check itself could not be done.
    """
    faults: list[str] = []
    try:
        stage = raise_stage(free_port(), directory)
        try:
            played = asyncio.run(_play(stage))
            if (fallen := stage.fallen()) is not None:
                faults.append(f"{fallen.name} ended on its own: {fallen.last_words()}")
        finally:
            stage.strike()
        ratio = asyncio.run(_overhead())
    except ChildError as error:
        print(error, file=sys.stderr)
        return 2
    findings = _judge(played, ratio, faults)
    for fault in findings.faults:
        print(f"OFF: {fault}")
    print(findings.as_json(), flush=True)
    return 1 if findings.faults else 0


async def _play(stage: Stage) -> Played:
    people = {person.login: person for person in PROFESSIONALS}
    cap = _cap(stage, people[_SCRAPER])
    unguarded = await play("steal", _thief(stage, STOLEN[0], stage.app_port))
    _say(
        f"Without the gateway, one stolen password shows {len(_patients(unguarded))} patients,"
        f" through {_open_doors(unguarded)} of {len(unguarded['doors'])} doors."
    )
    thefts = await asyncio.gather(*(play("steal", _thief(stage, person, stage.port)) for person in STOLEN))
    stolen = set().union(*(_patients(theft) for theft in thefts))
    tries = sum(theft["requests"] for theft in thefts)
    _say(f"With it, ten stolen passwords and {tries} tries show {len(stolen)} patients.")

    scrape = await play("scrape", _worker(stage, people[_SCRAPER]))
    got = len(_scraped(scrape))
    _say(f"A scraper with a code too gets {got} patients in {scrape['seconds']} s; the cap is {cap}.")

    days = (
        _worker(stage, people[login]) | {"first": _FIRST_OF_WORK + place * _APART}
        for place, login in enumerate(_WORKERS)
    )
    works = await asyncio.gather(*(play("work", day) for day in days))
    comparison = _compare(stage, [scrape, *works])
    _say(f"Clients received {comparison.served} accesses, the audit log holds {comparison.audited}.")
    return Played(unguarded, tuple(thefts), scrape, tuple(works), cap, comparison)


def _judge(played: Played, ratio: float | None, faults: list[str]) -> Findings:
    if not _patients(played.unguarded):
        faults.append("the attack shows nobody without the gateway either: it proves nothing")
    for theft in played.thefts:
        for name, ids in theft["doors"].items():
            if ids:
                faults.append(f"{theft['login']} saw {len(ids)} patients by {name}")
    scraped = len(_scraped(played.scrape))
    if scraped != played.cap:
        faults.append(f"the scraper got {scraped} patients, the cap is {played.cap}")
    compared = played.comparison
    faults += [f"received but not recorded: {_brief(access)}" for access in compared.unaudited]
    faults += [f"recorded but not received: {_brief(access)}" for access in compared.unserved]
    for work in played.works:
        if len(work["exchanges"]) < _LEAST_EXCHANGES:
            faults.append(f"{work['login']} could not work: {work['statuses']}")
    if ratio is None or ratio < LEAST_RATIO:
        faults.append(f"with everything on, {ratio} of the bare throughput is left; {LEAST_RATIO} is asked")
    stolen = set().union(*(_patients(theft) for theft in played.thefts))
    return Findings(len(stolen), scraped, played.cap, compared, ratio, tuple(faults))


def _say(line: str) -> None:
    print(line, flush=True)


def _cap(stage: Stage, person: Professional) -> int:
    limits = load(stage.config).policy.realms[REALM].classes[person.account_class].limits
    # A code that somebody was talked into telling works once: past the soft bound the thief has no other.
    return next(
        min(limit.soft or limit.hard, limit.hard)
        for limit in limits
        if limit.control is Control.PATIENTS_10MIN
    )


def _thief(stage: Stage, person: Professional, gate: int) -> Job:
    # Accounts that are used rightly later must keep their failure budget: their thieves guess no code.
    honest = person.login in {_SCRAPER, *_WORKERS}
    guesses = () if honest else GUESSES
    return {
        "gate": gate,
        "inside": stage.app_port,
        "login": person.login,
        "password": person.password,
        "guesses": guesses,
    }


def _worker(stage: Stage, person: Professional) -> Job:
    return {
        "gate": stage.port,
        "login": person.login,
        "password": person.password,
        "name": person.name,
        "secret": stage.secrets[person.login],
    }


def _patients(theft: Job) -> set[int]:
    return {one for ids in theft["doors"].values() for one in ids}


def _scraped(scrape: Job) -> set[int]:
    return {one for ids in scrape["exchanges"] for one in ids}


def _open_doors(theft: Job) -> int:
    return sum(1 for ids in theft["doors"].values() if ids)


def _compare(stage: Stage, jobs: Sequence[Job]) -> Comparison:
    settings = load(stage.config).settings
    ring = load_keys(settings.keys_dir).pseudonyms
    received: list[Access] = []
    for job in jobs:
        received += served(ring, SYSTEM, job["login"], job["exchanges"])
    return compare(received, audited(settings.audit_dir))


def _brief(access: Access) -> str:
    login, patients = access
    return f"{login}, {len(patients)} patients ({patients[0]} ...)"


async def _overhead() -> float | None:
    """Measure what the guard costs, while nothing else runs; None when it could not be measured."""
    try:
        output = await python(["-m", "loadtest.overhead", "--json"], b"", _MEASURE_S)
    except ChildError as error:
        _say(str(error))
        return None
    told = json.loads(output.splitlines()[-1])
    _say(
        f"Requests a second, medians of {told['rounds']} rounds: {told['bare']} of a bare mitmproxy Master as it ships,"
        f" {told['guarded']} guarded; {told['door']} of the gateway's own door with the guard left out."
    )
    return round(float(told["ratio"]), 3)
