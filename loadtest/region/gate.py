"""The gateway as everybody meets it: the real two trips and the real two decisions, without HTTP between.

What an application would answer is given as its charge; the road is the engine's: enter, decide, reveal, decide.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gateway.lookups import EnterQuestion, RevealQuestion, enter, reveal
from gateway.policy.policy import Flow, Realm, SessionRules, Strangers
from gateway.policy.request import Situation, StoreState, decide_request
from gateway.policy.response import Outcome, decide_response
from gateway.sessions.store import SessionStore
from gateway.vocabulary.decision import Challenge, Forward, Release
from gateway.vocabulary.identity import Stage
from gateway.vocabulary.limits import Charge, Control, Limit, LimitSet, Mode
from gateway.vocabulary.records import RouteKind
from loadtest.region.world import World

APP = "parcours"
_CREDENTIAL = "c0"

SOFT = {
    "standard": {
        Control.PATIENTS_10MIN: 20,
        Control.PATIENTS_1H: 60,
        Control.PATIENTS_24H: 150,
        Control.PATIENTS_7D: 500,
        Control.ROWS_1H: 600,
        Control.BYTES_1H: 30_000_000,
        Control.EXPORTS_24H: 5,
        Control.PROBES_1H: 20,
    },
}
SOFT["heavy"] = SOFT["standard"] | {Control.PATIENTS_24H: 300, Control.PATIENTS_7D: 1_200}
"""The soft column of the caps (requests apart): asked of the store as observed limits, so that nothing is stopped."""


@dataclass(slots=True)
class Account:
    """One account. *codes*: whoever uses it can give a fresh code at a login."""

    name: str
    account_class: str
    establishment: str
    codes: int | None = None
    session: str | None = None

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

    *soft*: controls of which the soft bound was crossed. *challenged*: a login with a code was needed first.
    """

    at_us: int
    passed: bool
    control: Control | None = None
    retry_after_s: int = 0
    soft: tuple[Control, ...] = ()
    near: tuple[Control, ...] = ()
    challenged: bool = False


@dataclass
class Gate:
    """The gateway over the store of *world*, with the classes of *realm* as the configuration has them."""

    world: World
    realm: Realm
    classes: dict[str, str] = field(default_factory=dict)
    told: list[Callable[[Account, Page, Met], None]] = field(default_factory=list)
    """Whoever reads along, as a follower reads the log."""

    def __post_init__(self) -> None:
        self._sessions = SessionStore(self.world.store)
        self._limits = {name: with_soft(limits) for name, limits in self.realm.classes.items()}

    def enrol(self, account: Account) -> None:
        """Make *account* an active one; its second factor is not what is tried here."""
        fields = ("state", "active", "class", account.account_class, "login", account.name, "epoch", "0")
        more = ("establishment", account.establishment, "secret", "-")
        self.world.store.command("HSET", f"ecluse:{{{account.id}}}:account", *fields, *more)

    async def ask(self, account: Account, page: Page) -> Met:
        """Ask for *page*, with a login and a code when the session is over."""
        challenged = False
        for _ in range(page.requests):
            met = await self._enter(account, page)
            if met is None:
                if not await self._log_in(account):
                    return self._tell(account, page, Met(self.world.now_us, passed=False))
                challenged = True
                met = await self._enter(account, page)
            if met is None or not met.passed:
                return self._tell(account, page, met or Met(self.world.now_us, passed=False))
        return self._tell(account, page, await self._reveal(account, page, challenged=challenged))

    async def _enter(self, account: Account, page: Page) -> Met | None:
        if account.session is None:
            return None
        rules: SessionRules = self.realm.sessions
        question = EnterQuestion(
            account.id, account.session, APP, (_CREDENTIAL,), rules.idle_s * 1000, rules.absolute_s * 1000,
            rules.pending_s * 1000, spend_request=True,
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
                credentials=1,
                known=sum(entered.known),
                spend=entered.spend,
            )
        )
        if isinstance(decision, Forward):
            return Met(self.world.now_us, passed=True)
        if isinstance(decision, Challenge):
            return None
        return Met(self.world.now_us, False, decision.control, decision.retry_after_s or 0)

    async def _reveal(self, account: Account, page: Page, *, challenged: bool) -> Met:
        question = RevealQuestion(
            account.id, account.session, self._limits_of(account.account_class), page.charge
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
        at_us, soft = self.world.now_us, tuple(dict.fromkeys(decision.would))
        if isinstance(decision, Release):
            return Met(at_us, True, soft=soft, near=decision.near, challenged=challenged)
        return Met(at_us, False, decision.control, decision.retry_after_s or 0, soft, challenged=challenged)

    async def _log_in(self, account: Account) -> bool:
        """Log in with password and code, unless there is no code left to give."""
        if account.codes == 0:
            return False
        if account.codes is not None:
            account.codes -= 1
        opened = await self._sessions.open(
            account.id, APP, Stage.FULL, self.realm.sessions, jar=(_CREDENTIAL,)
        )
        account.session = opened.session_id
        return True

    def _limits_of(self, account_class: str | None) -> LimitSet:
        return self._limits[account_class or self.realm.default_class]

    def _tell(self, account: Account, page: Page, met: Met) -> Met:
        for one in self.told:
            one(account, page, met)
        return met


def with_soft(limits: LimitSet) -> LimitSet:
    """Return *limits* and their soft bounds beside them, observed: the store then tells when one is crossed."""
    soft = SOFT.get(limits.name, {})
    beside = tuple(
        Limit(one.control, soft[one.control], Mode.OBSERVE) for one in limits.limits if one.control in soft
    )
    return replace(limits, limits=(*limits.limits, *beside))
