"""The watcher over the region: what leaves is judged as the follower judges the log, and acted on two seconds later."""

import itertools
from dataclasses import dataclass, field

from gateway.accounts.store import AccountStore
from gateway.detection.state import State
from gateway.detection.watch import observe
from gateway.engine.walks import Walks
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.signals import Act, Rules, Verdict
from loadtest.region.gate import APP, Account, Gate, Met, Page
from loadtest.region.world import SECOND_US

DELAY_US = 2 * SECOND_US
"""Within this time of an entry the watcher acts."""

_REALM, _SYSTEM = "demo", "parcours"


def _device(account: Account) -> dict[str, str]:
    return {"device": account.device} if account.device else {}


@dataclass
class Watcher:
    """Reads along at *gate* and carries verdicts out on the accounts of its store.

    *signals*: when signals fired, in microseconds, and which, by account. *acts*: every verdict, by account.
    """

    gate: Gate
    rules: Rules = field(default_factory=Rules)
    signals: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    acts: dict[str, list[Verdict]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._accounts = AccountStore(self.gate.world.store)
        self._state, self._walks, self._seq = State(), Walks(), itertools.count()
        self.gate.told.append(self._read)
        self.gate.answered.append(self._answered)
        self.gate.opened.append(self._opened)

    def acted_since(self, name: str, from_us: int) -> int | None:
        """Return when the watcher first acted on the account *name* from *from_us* on: operators are alerted then."""
        moments = (verdict.at_ms * 1000 for verdict in self.acts.get(name, ()))
        return next((at_us for at_us in moments if at_us >= from_us), None)

    def _read(self, account: Account, page: Page, met: Met) -> None:
        if not met.passed and met.control is not None:
            withheld = self._event(account, EventKind.WITHHELD, met.at_us) | {"control": met.control.value}
            self._take(account, withheld, met.at_us)
        if not met.passed or not (page.charge.opened or page.charge.listed):
            return
        patients = page.charge.opened or page.charge.listed
        walked = self._walk(account, page)
        event = self._event(account, EventKind.ACCESS, met.at_us) | {
            "route_kind": page.kind.value,
            "opened": bool(page.charge.opened),
            "patients": [f"k1:{member.hex():0>32}" for member in patients],
        }
        if walked is not None:
            event["detail"] = _device(account) | {"walked": str(walked)}
        self._take(account, event, met.at_us)

    def _answered(self, account: Account, at_us: int) -> None:
        self._take(account, self._event(account, EventKind.STEP_UP_GIVEN, at_us), at_us)

    def _opened(self, account: Account, at_us: int) -> None:
        self._take(account, self._event(account, EventKind.SESSION_OPENED, at_us), at_us)

    def _walk(self, account: Account, page: Page) -> int | None:
        found = None
        for member in page.charge.opened:
            found = self._walks.step(account.id, _SYSTEM, str(int.from_bytes(member)))
        return found[1] if found is not None else None

    def _event(self, account: Account, kind: EventKind, at_us: int) -> dict[str, object]:
        return {
            "kind": kind.value,
            "at_ms": at_us // 1000,
            "realm": _REALM,
            "account": account.name,
            "account_class": account.account_class,
            "establishment": account.establishment,
            "client": account.client,
            "writer": "gateway",
            "seq": next(self._seq),
            "app": APP,
            "detail": _device(account),
        }

    def _take(self, account: Account, event: dict[str, object], at_us: int) -> None:
        told = observe(self._state, event, self.rules, now_ms=at_us // 1000)
        for finding in told.findings:
            self.signals.setdefault(account.name, []).append((at_us, finding.signal.value))
        if told.verdict is not None:
            self.acts.setdefault(account.name, []).append(told.verdict)
            self.gate.world.begin(self._act(account, told.verdict), at_us + DELAY_US)

    async def _act(self, account: Account, verdict: Verdict) -> None:
        if verdict.act is Act.LOCK:
            await self._accounts.lock(account.id, "signals")
        else:
            await self._accounts.owe(account.id, verdict.signals[0].value, self.rules.ask_for_s)
