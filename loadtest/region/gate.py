"""The gateway as everybody meets it: the real two trips and the real two decisions, without HTTP between.

What an application would answer is given as its charge; the road is the engine's: enter, decide, reveal, decide.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gateway.lookups import Believed, EnterQuestion, RevealQuestion, enter, reveal
from gateway.policy.policy import Flow, Realm, SessionRules, Strangers
from gateway.policy.request import Situation, StoreState, decide_request
from gateway.policy.response import Outcome, decide_response
from gateway.sessions.store import Link, SessionRefused, SessionStore, new_session_id
from gateway.vocabulary.decision import Challenge, Forward, Reason, Release
from gateway.vocabulary.identity import Stage
from gateway.vocabulary.limits import NO_POOLS, Charge, Control, LimitSet, Pools
from gateway.vocabulary.records import RouteKind
from loadtest.region.world import World

APP = "parcours"
_CREDENTIAL = "c0"
_TRIES = 4
"""A login, a fresh code for a signal and one for a soft bound may all be owed; then the page is asked for."""


@dataclass(slots=True)
class Account:
    """One account. *codes*: whoever uses it can give a fresh code at a login. *device*: what it logs in with."""

    name: str
    account_class: str
    establishment: str
    client: str = "10.0.0.1"
    codes: int | None = None
    session: str | None = None
    device: str = ""

    @property
    def id(self) -> str:
        """Return the account's id in the store."""
        return self.name.encode().hex().rjust(32, "0")[-32:]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the application: what it reveals, and how many dynamic requests it is made of."""

    charge: Charge
    kind: RouteKind = RouteKind.RECORD
    requests: int = 1


@dataclass(frozen=True, slots=True)
class Met:
    """What somebody met at *at_us*: *passed*, or stopped by *control* (None: the session is over for good).

    *soft*: the controls past whose soft bound this went, so that a fresh code was asked for. *owed*: one was asked
    for because of signals. *challenged*: a login with a code was needed first.
    """

    at_us: int
    passed: bool
    control: Control | None = None
    retry_after_s: int = 0
    soft: tuple[Control, ...] = ()
    near: tuple[Control, ...] = ()
    challenged: bool = False
    owed: bool = False
    why: str = ""
    """Why it is over for good: the account is locked, or no code is left."""


@dataclass
class Gate:
    """The gateway over the store of *world*, with the classes of *realm* and the *pools* of the configuration."""

    world: World
    realm: Realm
    pools: Pools = NO_POOLS
    classes: Believed = field(default_factory=dict)
    told: list[Callable[[Account, Page, Met], None]] = field(default_factory=list)
    """Whoever reads along, as a follower reads the log."""
    answered: list[Callable[[Account, int], None]] = field(default_factory=list)
    """Whoever hears that a code was given."""
    opened: list[Callable[[Account, int], None]] = field(default_factory=list)
    """Whoever hears that a session was opened."""

    def __post_init__(self) -> None:
        self._sessions = SessionStore(self.world.store)
        self._limits = self.realm.classes

    def enrol(self, account: Account) -> None:
        """Make *account* an active one; its second factor is not what is tried here."""
        fields = ("state", "active", "class", account.account_class, "login", account.name, "epoch", "0")
        more = ("establishment", account.establishment, "secret", "-")
        self.world.store.command("HSET", f"ecluse:{{{account.id}}}:account", *fields, *more)

    async def ask(self, account: Account, page: Page) -> Met:
        """Ask for *page*, with a login and a code when the session is over, and a fresh code when one is owed."""
        challenged, owed, soft = False, False, dict[Control, None]()
        for _ in range(_TRIES):
            met = await self._ask_once(account, page)
            if met is None:
                challenged = True
                given = await self._log_in(account)
            elif met.passed or not (met.owed or met.soft):
                told = replace(met, challenged=challenged, owed=owed, soft=tuple(soft))
                return self._tell(account, page, told)
            else:
                owed, soft = owed or met.owed, soft | dict.fromkeys(met.soft)
                given = await self._step_up(account)
            if not given:
                break
        why = "no code left" if account.codes == 0 else Reason.ACCOUNT_LOCKED.value
        over = Met(self.world.now_us, False, soft=tuple(soft), challenged=challenged, owed=owed, why=why)
        return self._tell(account, page, over)

    async def _ask_once(self, account: Account, page: Page) -> Met | None:
        for _ in range(page.requests):
            met = await self._enter(account, page)
            if met is None or not met.passed:
                return met
        return await self._reveal(account, page)

    async def _enter(self, account: Account, page: Page) -> Met | None:
        if account.session is None:
            return None
        rules: SessionRules = self.realm.sessions
        question = EnterQuestion(
            account.id, account.session, APP, (_CREDENTIAL,), rules.idle_s * 1000, rules.absolute_s * 1000,
            rules.pending_s * 1000, spend_request=True, step_up_ms=rules.step_up_s * 1000,
        )  # fmt: skip
        entered = await enter(self.world.store, question, self._limits_of, self.classes)
        decision = decide_request(
            Situation(
                rule="region",
                kind=page.kind,
                flow=Flow.AFTER_LOGIN,
                strangers=Strangers.REDIRECT,
                method="GET",
                store=StoreState.UP,
                claimed=True,
                standing=entered.standing,
                stage=entered.stage,
                enrolled=entered.enrolled,
                owes=entered.owes is not None,
                fresh=entered.fresh,
                credentials=1,
                known=sum(entered.known),
                spend=entered.spend,
            )
        )
        at_us = self.world.now_us
        if isinstance(decision, Forward):
            return Met(at_us, passed=True)
        if isinstance(decision, Challenge) and decision.reason is Reason.STEP_UP_OWED:
            if decision.control is None:
                return Met(at_us, False, owed=True)
            return Met(at_us, False, soft=(decision.control,))
        if isinstance(decision, Challenge):
            return None
        return Met(at_us, False, decision.control, decision.retry_after_s or 0, why=decision.reason.value)

    async def _reveal(self, account: Account, page: Page) -> Met:
        step_up_ms = self.realm.sessions.step_up_s * 1000
        question = RevealQuestion(
            account.id,
            account.session,
            self._limits_of(account.account_class),
            page.charge,
            step_up_ms=step_up_ms,
            pools=self.pools,
        )
        revealed = await reveal(self.world.store, question)
        reveals = len(page.charge.opened) + len(page.charge.listed)
        decision = decide_response(
            Outcome(
                "region",
                reveals=reveals,
                store=StoreState.UP,
                standing=revealed.standing,
                live=revealed.live,
                spend=revealed.spend,
            )
        )
        at_us = self.world.now_us
        if isinstance(decision, Release):
            return Met(at_us, True, near=decision.near)
        if decision.reason is Reason.STEP_UP_OWED and decision.control is not None:
            return Met(at_us, False, soft=(decision.control,))
        return Met(at_us, False, decision.control, decision.retry_after_s or 0, why=decision.reason.value)

    async def _step_up(self, account: Account) -> bool:
        """Give a fresh code and a reason, unless there is no code left to give."""
        if account.session is None or not self._spend_code(account):
            return False
        try:
            opened = await self._sessions.step_up(account.id, account.session, new_session_id())
        except SessionRefused:
            return False
        account.session = opened.session_id
        return True

    def _spend_code(self, account: Account) -> bool:
        if account.codes == 0:
            return False
        if account.codes is not None:
            account.codes -= 1
        for one in self.answered:
            one(account, self.world.now_us)
        return True

    async def _log_in(self, account: Account) -> bool:
        """Log in with password and code, unless there is no code left to give."""
        if not self._spend_code(account):
            return False
        try:
            clusters = self.pools.clusters
            link = Link(account.device, clusters.accounts_most, clusters.linked_s * 1000)
            opened = await self._sessions.open(
                account.id,
                APP,
                Stage.FULL,
                self.realm.sessions,
                jar=(_CREDENTIAL,),
                link=link if account.device else None,
            )
        except SessionRefused:
            return False
        account.session = opened.session_id
        for one in self.opened:
            one(account, self.world.now_us)
        return True

    def _limits_of(self, account_class: str | None, _: str | None = None) -> LimitSet:
        return self._limits[account_class or self.realm.default_class]

    def _tell(self, account: Account, page: Page, met: Met) -> Met:
        for one in self.told:
            one(account, page, met)
        return met
