"""``ecluse demo --scope-check``: the incident of September 2025, and whether the breach's scope is what left.

Ten accounts with their codes take thousands of patients through the real gateway, and write down whom they saw.
Then the accounts are contained, and ``ecluse breach scope`` has to name the same people, id by id.
"""

import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.clock import SystemClock
from gateway.configuration.keys import load_keys
from gateway.configuration.load import load
from gateway.demo.children import ChildError, free_port
from gateway.demo.configuration import SYSTEM
from gateway.demo.evidence import pseudonym
from gateway.demo.patients import COUNT, FIRST_ID
from gateway.demo.people import PROFESSIONALS, STOLEN, Enrolment, Professional
from gateway.demo.playing import Job, play, python
from gateway.demo.stage import Stage, raise_stage
from gateway.vocabulary.keys import KeyRing

LEAST_PATIENTS = 2_000
"""Fewer prove nothing: thousands left in September."""

_HONEST = ("e.marchand", "d.rousseau")
_RECORDS_EACH = 60
_LISTS_EACH = 3
_LONG_ROWS = 100
_EXPORTS = 5
_SETTLE_S = 2.5
_COMMAND_S = 60.0


@dataclass(frozen=True, slots=True)
class Compared:
    """Pseudonyms on both sides; *faults* says in words what else is off."""

    by_scope: frozenset[str]
    by_client: frozenset[str]
    faults: tuple[str, ...]

    @property
    def missing(self) -> frozenset[str]:
        """Return whom the clients saw and the scope does not name."""
        return self.by_client - self.by_scope

    @property
    def extra(self) -> frozenset[str]:
        """Return whom the scope names and no client saw."""
        return self.by_scope - self.by_client

    def as_json(self) -> str:
        """Return the one line that scripts read."""
        return json.dumps(
            {
                "exposed_by_scope": len(self.by_scope),
                "exposed_by_client": len(self.by_client),
                "missing": len(self.missing),
                "extra": len(self.extra),
            }
        )


def scope_check(directory: Path | None = None) -> int:
    """Play everything and tell it on standard output; the last line is a JSON object.

    Returns 0 when both sides agree, 1 when anything is off, 2 when the check itself could not be done.
    """
    people = tuple(replace(person, enrolment=Enrolment.DONE) for person in PROFESSIONALS)
    try:
        stage = raise_stage(free_port(), directory, people=people, unbounded=True)
        try:
            compared = asyncio.run(_play(stage))
        finally:
            stage.strike()
    except ChildError as error:
        print(error, file=sys.stderr)
        return 2
    for fault in compared.faults:
        print(f"OFF: {fault}")
    print(compared.as_json(), flush=True)
    return 1 if compared.faults or compared.missing or compared.extra else 0


async def _play(stage: Stage) -> Compared:
    people = {person.login: person for person in PROFESSIONALS}
    from_ms = SystemClock().now_ms()
    jobs = [_plunder(stage, person, place) for place, person in enumerate(STOLEN)]
    honest = [
        _person(stage, people[login]) | {"first": FIRST_ID + COUNT - 200 + 50 * place}
        for place, login in enumerate(_HONEST)
    ]
    # The honest ones work at the same time, on patients of their own: they must not be taken for stolen.
    *thefts, _, _ = await asyncio.gather(
        *(play("plunder", job) for job in jobs), *(play("work", job) for job in honest)
    )
    requests = sum(theft["requests"] for theft in thefts)
    _say(f"Ten accounts with their codes sent {requests} requests.")

    names = stage.directory / "stolen.txt"
    names.write_text("".join(f"{person.login}\n" for person in STOLEN), encoding="utf-8")
    await _ecluse(stage, "account", "lock", "--file", str(names), "--reason", "scope check")
    _say("The ten accounts are locked.")
    await asyncio.sleep(_SETTLE_S)
    to_ms = SystemClock().now_ms() - round(_SETTLE_S * 1000) + 100
    report, again = stage.directory / "scope.json", stage.directory / "again.json"
    for path in (report, again):
        await _ecluse(
            stage, "breach", "scope", "--file", str(names), "--from", _moment(from_ms), "--to", _moment(to_ms),
            "--json", "-o", str(path), "--zone", "UTC", "--reason", "scope check",
        )  # fmt: skip
    await _ecluse(stage, "breach", "verify", str(report))
    found = json.loads(report.read_bytes())
    faults = [] if report.read_bytes() == again.read_bytes() else ["two runs gave two reports"]
    ring = load_keys(load(stage.config).settings.keys_dir).pseudonyms
    return compare(ring, thefts, found, faults)


def compare(ring: KeyRing, thefts: list[Job], found: dict[str, Any], known: Iterable[str] = ()) -> Compared:
    """Hold what the players of *thefts* wrote down against *found*, a scope as JSON. *known* faults stand first.

    The ids become pseudonyms under *ring* by code of the demo's own (``gateway.demo.evidence``).
    """
    faults = list(known)

    def named(ids: set[int]) -> frozenset[str]:
        return frozenset(pseudonym(ring, SYSTEM, one) for one in ids)

    seen = named({one for theft in thefts for ids in theft["exchanges"] for one in ids})
    opened = named({one for theft in thefts for one in theft["opened"]})
    told = {one["pseudonym"]: one for one in found["patients"]}
    if {name for name, one in told.items() if one["opened"]} != opened:
        faults.append("the scope tells other patients to have been opened than the clients opened")
    by_account = {one["account"]: one["patients"] for one in found["accounts"]}
    for theft in thefts:
        mine = len({one for ids in theft["exchanges"] for one in ids})
        if by_account.get(theft["login"]) != mine:
            faults.append(
                f"{theft['login']} saw {mine} patients, the scope says {by_account.get(theft['login'])}"
            )
        if set(theft["statuses"]) - {"200", "302", "303"}:
            faults.append(f"{theft['login']} was stopped, so that too little left: {theft['statuses']}")
    if len(seen) < LEAST_PATIENTS:
        faults.append(f"only {len(seen)} patients left, {LEAST_PATIENTS} are needed to prove anything")
    if found["medical"]["answers"]:
        faults.append("the scope tells of medical pages, and the demo has none")
    locked = {act["account"] for act in found["acts"] if act["kind"] == "account-locked"}
    if locked != {person.login for person in STOLEN}:
        faults.append("the scope does not tell that the ten accounts were locked")
    _say(
        f"The clients wrote down {len(seen)} patients, {len(opened)} of them opened; "
        f"the scope names {len(told)}, by {found['total']['answers']} answers."
    )
    return Compared(frozenset(told), seen, tuple(faults))


def _plunder(stage: Stage, person: Professional, place: int) -> Job:
    """Return what one account takes: each has a part of its own, and they overlap."""
    first = FIRST_ID + place * _RECORDS_EACH // 2
    ids = range(first, first + _RECORDS_EACH)
    forms = ("/dossiers/{}", "/api/dossiers/{}", "/dossiers/{}/imprimer")
    pages = range(1 + place * _LISTS_EACH, 1 + (place + 1) * _LISTS_EACH)
    return _person(stage, person) | {
        "records": [forms[number % len(forms)].format(number) for number in ids],
        "places": [
            *(f"/api/dossiers?taille={_LONG_ROWS}&page={page}" for page in pages),
            *(f"/usagers?taille={_LONG_ROWS}&page={page}" for page in pages),
            f"/dossiers?page={place + 1}",
            f"/recherche?q={'abcdfglmrv'[place]}",
            *(
                f"/export.csv?lot={place * _EXPORTS + number}"
                for number in range(1, _EXPORTS + 1)
                if place < 6
            ),
        ],
    }


def _person(stage: Stage, person: Professional) -> Job:
    return {
        "gate": stage.port,
        "login": person.login,
        "password": person.password,
        "name": person.name,
        "secret": stage.secrets[person.login],
    }


async def _ecluse(stage: Stage, *words: str) -> None:
    await python(["-m", "gateway", *words, "--config", str(stage.config)], b"", _COMMAND_S)


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _say(line: str) -> None:
    print(line, flush=True)
