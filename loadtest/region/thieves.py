"""The thieves: who they are, what they do with stolen accounts and codes, and what they carried away when.

They are patient and know the rules: whoever is told to wait waits exactly as long as told, and tries again.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from gateway.vocabulary.limits import Charge
from gateway.vocabulary.records import RouteKind
from loadtest.region.days import Professional, member
from loadtest.region.gate import Account, Gate, Met, Page
from loadtest.region.profiles import PROFILES, Calendar
from loadtest.region.world import DAY_S, HOUR_S, SECOND_US, START_US

BASE = 1_000_000
"""Patients behind the application."""

BEGIN_US: Final = START_US + (4 * DAY_S + 19 * HOUR_S) * SECOND_US
"""Friday evening, as such thieves begin."""

WORKING_HOURS = (8, 18)
_LISTED_PAGE, _EXPORTED = 50, 200
_OWNERS = {"standard": "ward doctor", "heavy": "admission desk"}
_ELSEWHERE = "203.0.113.7"
_STAY_US = 20 * 60 * SECOND_US


@dataclass(frozen=True, slots=True)
class Plan:
    """How one gang of thieves goes about it. *pace_s* between two pages of an account.

    *turns*: one tool takes the accounts in turn. *office*: only in working hours of working days. *codes*: how
    often each account can log in with a code; None: whenever it must, since the secret was stolen too. *one_device*:
    all log in with one browser; else with one each, and nothing ties them together.
    """

    name: str
    pace_s: float = 1.0
    kind: RouteKind = RouteKind.RECORD
    shuffled: bool = False
    turns: bool = False
    office: bool = False
    codes: int | None = None
    one_device: bool = False
    account_class: str = "standard"
    accounts: int = 10
    days: int = 7

    @property
    def a_page(self) -> int:
        """Return how many patients each page holds."""
        return {RouteKind.LISTING: _LISTED_PAGE, RouteKind.EXPORT: _EXPORTED}.get(self.kind, 1)

    def opens_us(self, at_us: int) -> int:
        """Return the first moment from *at_us* on at which these thieves are at work."""
        while self.office:
            day, second = divmod((at_us - START_US) // SECOND_US, DAY_S)
            if day % 7 < 5 and second < WORKING_HOURS[0] * HOUR_S:
                return START_US + (day * DAY_S + WORKING_HOURS[0] * HOUR_S) * SECOND_US
            if day % 7 < 5 and second < WORKING_HOURS[1] * HOUR_S:
                break
            at_us = START_US + (day + 1) * DAY_S * SECOND_US
        return at_us


FAST, SLOW = Plan("fast"), Plan("slow drip", pace_s=40)
THIEVES: Final = (
    FAST,
    SLOW,
    Plan("ten in turn", turns=True, one_device=True),
    Plan("one device", one_device=True),
    Plan("list-only", pace_s=2, kind=RouteKind.LISTING),
    Plan("export-only", pace_s=60, kind=RouteKind.EXPORT),
    Plan("shuffled ids", shuffled=True),
    Plan("shuffled, one dev", shuffled=True, one_device=True),
    Plan("office hours", pace_s=45, office=True),
    Plan("relayed code", codes=1),
    Plan("fast, heavy class", account_class="heavy"),
)


@dataclass
class Loot:
    """What one account gave. *taken*: moments and how many patients left then."""

    taken: list[tuple[int, int]] = field(default_factory=list)
    stops: Counter[str] = field(default_factory=Counter)
    first_soft_us: int | None = None
    first_stop_us: int | None = None
    first_sign_us: int | None = None

    def note(self, page: Page, met: Met) -> None:
        """Take what was met."""
        if (met.soft or met.owed or met.near or not met.passed) and self.first_sign_us is None:
            self.first_sign_us = met.at_us
        if (met.soft or met.owed) and self.first_soft_us is None:
            self.first_soft_us = met.at_us
        if met.passed:
            self.taken.append((met.at_us, len(page.charge.opened) + len(page.charge.listed)))
            return
        self.stops[met.control.value if met.control is not None else met.why] += 1
        if self.first_stop_us is None:
            self.first_stop_us = met.at_us

    def gone(self, until_us: int | None = None) -> int:
        """Return how many patients had left before *until_us*; all of them without."""
        return sum(count for at_us, count in self.taken if until_us is None or at_us < until_us)


@dataclass
class Gang:
    """One gang at work: each account with its loot. No patient is taken twice."""

    plan: Plan
    seed: int
    loot: dict[str, Loot] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._left = self._numbers()

    def begin(self, gate: Gate) -> None:
        """Enrol the stolen accounts and let the gang begin."""
        accounts = []
        for number in range(self.plan.accounts):
            name = f"{self.plan.name}.{number}"[-32:].replace(" ", "").replace(",", "")
            account = Account(name[-16:], self.plan.account_class, "590000000", device=f"own-{name}")
            gate.enrol(account)
            gate.world.begin(self._honest_week(gate, account, number), START_US)
            accounts.append(account)
            self.loot[account.name] = Loot()
        groups = [accounts] if self.plan.turns else [[one] for one in accounts]
        for group in groups:
            gate.world.begin(self._rob(gate, group), BEGIN_US)

    async def _honest_week(self, gate: Gate, account: Account, number: int) -> None:
        """Let the owner of *account* work from Monday to Friday: what is usual for it is then known."""
        kind = next(one for one in PROFILES if one.name == _OWNERS[account.account_class])
        owner = Professional(kind, range(BASE, BASE + 2_000), Random(f"{self.seed}/{account.name}/{number}"))
        for _, at_us, page in owner.pages(Calendar(5)):
            if START_US + at_us < BEGIN_US:
                await gate.world.until(START_US + at_us)
                await gate.ask(account, page)

    async def _rob(self, gate: Gate, accounts: list[Account]) -> None:
        for account in accounts:
            account.client, account.session, account.codes = _ELSEWHERE, None, self.plan.codes
            account.device = f"thief-{self.plan.name}" if self.plan.one_device else f"thief-{account.name}"
        world, plan = gate.world, self.plan
        free_us = {one.name: BEGIN_US for one in accounts}
        pace_us, end_us = round(plan.pace_s * SECOND_US), BEGIN_US + plan.days * DAY_S * SECOND_US
        turn, page = itertools.cycle(accounts), self._next()
        while free_us and page is not None:
            account = next(turn)
            if account.name not in free_us or free_us[account.name] > min(free_us.values()):
                continue
            at_us = plan.opens_us(max(world.now_us, free_us[account.name]))
            if at_us >= end_us:
                return
            await world.until(at_us)
            met = await gate.ask(account, page)
            self.loot[account.name].note(page, met)
            if met.passed:
                page = self._next()
                free_us[account.name] = at_us + pace_us * len(accounts)
                await world.until(at_us + pace_us)
            elif met.control is None:
                del free_us[account.name]
            else:
                free_us[account.name] = at_us + max(pace_us, met.retry_after_s * SECOND_US)
                if plan.codes is not None:
                    await self._stay_in(gate, account, free_us[account.name])

    async def _stay_in(self, gate: Gate, account: Account, until_us: int) -> None:
        """Keep a session alive that no code can replace, with a page that reveals nobody new."""
        while gate.world.now_us + _STAY_US < until_us:
            await gate.world.until(gate.world.now_us + _STAY_US)
            await gate.ask(account, Page(Charge(bytes=1_000), RouteKind.PAGE))

    def _next(self) -> Page | None:
        numbers = tuple(member(number) for number in itertools.islice(self._left, self.plan.a_page))
        if not numbers:
            return None
        count, kind = len(numbers), self.plan.kind
        if kind is RouteKind.RECORD:
            return Page(Charge(opened=numbers, bytes=60_000))
        exports = 1 if kind is RouteKind.EXPORT else 0
        return Page(Charge(listed=numbers, rows=count, bytes=700 * count + 5_000, exports=exports), kind)

    def _numbers(self) -> Iterator[int]:
        if not self.plan.shuffled:
            return iter(range(BASE))
        numbers = list(range(BASE))
        Random(self.seed).shuffle(numbers)
        return iter(numbers)
