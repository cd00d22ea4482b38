"""Entries as the gateway writes them, and days of invented people at work."""

import hashlib
import random
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from gateway.detection import State, Told, observe
from gateway.engine.walks import Walks
from gateway.vocabulary.signals import Act, Finding, Rules, Signal, Verdict
from tests.people import CLERK_LEA, DR_MARTIN, INTRUDER, NURSE_BEN

PARIS = ZoneInfo("Europe/Paris")
MONDAY_MS = int(datetime(2026, 9, 7, tzinfo=PARIS).timestamp() * 1_000)
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
WARD, SECOND_WARD, HOME = "192.0.2.10", "192.0.2.200", "198.51.100.7"

__all__ = ["CLERK_LEA", "DR_MARTIN", "INTRUDER", "NURSE_BEN"]


def at_ms(day: int, hour: float) -> int:
    """Return the time *hour* o'clock, Paris, of the day *day* days after a Monday in September."""
    return MONDAY_MS + day * DAY_MS + int(hour * HOUR_MS)


@cache
def pseudonym(number: int) -> str:
    return "k1:" + hashlib.sha256(b"%d" % number).hexdigest()[:32]


class Region:
    """A watched region: what is opened is walked through as the gateway would tell it, and everything is gathered."""

    def __init__(self, rules: Rules | None = None, canaries: Iterable[str] = ()) -> None:
        self.rules, self.canaries, self.state = rules or Rules(), frozenset(canaries), State()
        self.findings: list[Finding] = []
        self.verdicts: list[Verdict] = []
        self.late_ms = 0
        self._walks, self._seq = Walks(), count()

    def watch(self, event: dict[str, Any]) -> Told:
        told = observe(
            self.state,
            event,
            self.rules,
            now_ms=event["at_ms"] + self.late_ms,
            zone=PARIS,
            canaries=self.canaries,
        )
        self.findings += told.findings
        if told.verdict is not None:
            self.verdicts.append(told.verdict)
        return told

    def event(self, kind: str, login: str, when_ms: int, **fields: Any) -> dict[str, Any]:
        return {
            "writer": "gateway", "seq": next(self._seq), "kind": kind, "at_ms": when_ms, "realm": "region",
            "account": login, "account_class": "standard", "client": WARD, **fields,
        }  # fmt: skip

    def open(
        self, login: str, number: int, when_ms: int, *, device: str | None = None, **fields: Any
    ) -> Told:
        walk = self._walks.step(login, "ipp", str(number))
        detail = {"walk": walk[0].value, "walked": str(walk[1])} if walk else {}
        if device is not None:
            detail["device"] = device
        return self.watch(
            self.event(
                "access",
                login,
                when_ms,
                route_kind="record",
                opened=True,
                rows=1,
                patients=[pseudonym(number)],
                **({"detail": detail} if detail else {}),
                **fields,
            )
        )

    def show(
        self, login: str, numbers: Iterable[int], when_ms: int, kind: str = "listing", **fields: Any
    ) -> Told:
        patients = [pseudonym(number) for number in numbers]
        event = self.event(
            "access",
            login,
            when_ms,
            route_kind=kind,
            opened=False,
            rows=len(patients),
            patients=patients,
            **fields,
        )
        return self.watch(event)

    def log_in(self, login: str, device: str, when_ms: int, app: str = "parcours") -> Told:
        """Open a session: as in the log, the entry tells neither class nor establishment."""
        opened = self.event(
            "session-opened", login, when_ms, app=app, account_class=None, detail={"device": device}
        )
        return self.watch(opened)

    def code(self, login: str, when_ms: int) -> Told:
        return self.watch(self.event("code-accepted", login, when_ms))

    def signals(self, login: str | None = None) -> list[Signal]:
        return [each.signal for each in self.findings if login in {None, each.account}]

    def acts(self, login: str) -> list[Act]:
        return [each.act for each in self.verdicts if each.account == login]


def working_days(days: int) -> Iterator[int]:
    """Yield the first *days* days that are no weekend."""
    found = (day for day in count() if day % 7 < 5)
    for _ in range(days):
        yield next(found)


def honest_day(
    region: Region, login: str, day: int, seed: int, *, patients: int = 12, client: str = WARD, **fields: Any
) -> None:
    """Have somebody of a large hospital work from half past eight on: some patients known, all read at leisure."""
    randomly = random.Random(f"{seed}/{login}/{day}")
    own = patients_of(login)
    when_ms = at_ms(day, 8.5 + randomly.random())
    for _ in range(patients):
        number = randomly.choice(own) if randomly.random() < 0.6 else randomly.randrange(1, 400_000)
        if randomly.random() < 0.3:
            region.show(
                login,
                [randomly.randrange(1, 400_000) for _ in range(20)],
                when_ms - 4_000,
                client=client,
                **fields,
            )
        region.open(login, number, when_ms, client=client, **fields)
        when_ms += int(1_000 * min(3_000, 20 + randomly.lognormvariate(5, 1)))


@cache
def patients_of(login: str) -> list[int]:
    """Return whom somebody sees again and again."""
    return [random.Random(f"{login}/{number}").randrange(1, 400_000) for number in range(30)]
