"""Decide a request. Pure: one Situation in, one decision out, each with its reason."""

from enum import StrEnum

import msgspec

from gateway.policy.policy import Flow, Strangers
from gateway.vocabulary.decision import Challenge, Forward, Prompt, Reason, Refuse, RequestDecision
from gateway.vocabulary.identity import Stage, Standing
from gateway.vocabulary.limits import Control, Exhausted, Outcome, Spent
from gateway.vocabulary.records import REVEALING, RouteKind


class StoreState(StrEnum):
    """Whether the store could be asked. UNASKED: this exchange needs nothing from it."""

    UNASKED = "unasked"
    UP = "up"
    DOWN = "down"
    EMPTIED = "emptied"


class BasicState(StrEnum):
    """What HTTP Basic credentials the request brought, seen through the app's rule for them."""

    NONE = "none"
    REFUSED = "refused"
    AGREES = "agrees"
    """Basic is the app's login and names the session's account."""
    DISAGREES = "disagrees"
    UNCLAIMED = "unclaimed"
    """Basic is the app's login; no session has claimed the name yet."""
    SERVICE = "service"
    """A service account from one of its networks."""
    SERVICE_ELSEWHERE = "service-elsewhere"


class Situation(msgspec.Struct, frozen=True):
    """All that a request decision looks at.

    *door*: the request stands at a login door (a login route, or an attempt). *name_agrees* tells, for
    an attempt in a before-login app, whether the typed name is the session's; None when not asked.
    *credentials*: how many app credentials came along; *known*: how many of them this session was given.
    *owes*: the account owes a fresh code that this session has not given; *step_up*: this door always
    wants one; *fresh*: the session gave one lately. *needs_credential*: this app shows itself by cookies,
    so a session without any of them is broken.
    """

    rule: str
    kind: RouteKind
    flow: Flow
    strangers: Strangers
    method: str
    door: bool = False
    attempt: bool = False
    alias: bool = False
    unknown_method: bool = False
    basic: BasicState = BasicState.NONE
    store: StoreState = StoreState.UNASKED
    claimed: bool = False
    standing: Standing = Standing.ABSENT
    stage: Stage | None = None
    enrolled: bool = False
    grace: bool = False
    owes: bool = False
    step_up: bool = False
    fresh: bool = False
    name_agrees: bool | None = None
    credentials: int = 0
    known: int = 0
    needs_credential: bool = True
    spend: Outcome | None = None


def decide_request(s: Situation) -> RequestDecision:
    """Return what becomes of the request. Read from top to bottom; the first line that fits speaks."""
    if s.unknown_method:
        return Refuse(s.rule, Reason.UNKNOWN_METHOD, 405)
    if s.alias:
        return Refuse(s.rule, Reason.ALIAS_OF_PROTECTED, 400)
    if s.kind is RouteKind.BLOCKED and not s.attempt:
        return Refuse(s.rule, Reason.ROUTE_BLOCKED, 403)
    if s.basic is BasicState.REFUSED:
        return Refuse(s.rule, Reason.BASIC_REFUSED, 403)
    if s.basic is BasicState.SERVICE_ELSEWHERE:
        return Refuse(s.rule, Reason.NETWORK_REFUSED, 403)
    if s.kind is RouteKind.PUBLIC and not s.attempt:
        return Forward(s.rule, Reason.PUBLIC)
    if s.store is StoreState.EMPTIED:
        return Refuse(s.rule, Reason.STORE_EMPTIED, 503, retry_after_s=30)
    if s.store is StoreState.DOWN:
        return Refuse(s.rule, Reason.STORE_DOWN, 503, retry_after_s=5)
    if s.basic is BasicState.SERVICE:
        return _service(s)
    if s.claimed and s.standing is Standing.LOCKED:
        return Refuse(s.rule, Reason.ACCOUNT_LOCKED, 403)
    if s.claimed and s.standing is Standing.RETIRED:
        return Refuse(s.rule, Reason.ACCOUNT_RETIRED, 403)
    if s.stage is Stage.FULL:
        return _with_session(s)
    return _without_session(s)


def _service(s: Situation) -> RequestDecision:
    if s.standing in {Standing.LOCKED, Standing.RETIRED}:
        return Refuse(s.rule, Reason.ACCOUNT_LOCKED, 403)
    if isinstance(s.spend, Exhausted):
        return _rate(s, s.spend)
    if s.step_up:
        return Refuse(s.rule, Reason.STEP_UP_OWED, 403)
    return _forward(s, Reason.SERVICE_ACCOUNT)


def _with_session(s: Situation) -> RequestDecision:
    if s.standing is not Standing.ACTIVE and not s.grace:
        return Challenge(s.rule, Reason.NO_SESSION, _entrance(s))
    if s.basic is BasicState.DISAGREES or (s.name_agrees is False and s.flow is Flow.BEFORE_LOGIN):
        return Refuse(s.rule, Reason.NAMES_DISAGREE, 403)
    if isinstance(s.spend, Exhausted):
        return _rate(s, s.spend)
    if s.door:
        return _forward(s, Reason.SESSION_FULL)
    if s.known == 0 and s.basic is not BasicState.AGREES:
        # Either cookie alone opens nothing: the app's side of the binding is missing or is not ours.
        if s.credentials > 0 or (s.needs_credential and s.flow is Flow.AFTER_LOGIN):
            return Challenge(s.rule, Reason.BINDING_BROKEN, Prompt.LOGIN)
        if s.kind in REVEALING and s.needs_credential:
            return Challenge(s.rule, Reason.BINDING_BROKEN, Prompt.LOGIN)
    asking = s.spend.asks if isinstance(s.spend, Spent) else ()
    if (s.owes and s.kind in REVEALING) or (s.step_up and not s.fresh):
        return _ask(s, None)
    if asking and s.kind in REVEALING:
        return _ask(s, asking[0])
    return _forward(s, Reason.SESSION_FULL)


def _ask(s: Situation, control: Control | None) -> RequestDecision:
    if not s.enrolled:
        return Refuse(s.rule, Reason.STEP_UP_OWED, 403)
    return Challenge(s.rule, Reason.STEP_UP_OWED, Prompt.STEP_UP, control)


def _without_session(s: Situation) -> RequestDecision:
    if s.flow is Flow.BEFORE_LOGIN:
        return _before_login(s)
    if s.door:
        return Forward(s.rule, Reason.STRANGER_AT_LOGIN)
    if s.stage is Stage.PENDING:
        if s.enrolled:
            return Challenge(s.rule, Reason.CODE_OWED, Prompt.CODE)
        return Challenge(s.rule, Reason.ENROLMENT_OWED, Prompt.INVITATION)
    if s.strangers is Strangers.SHOW and s.method in {"GET", "HEAD"}:
        return Forward(s.rule, Reason.STRANGER_SHOWN)
    return Challenge(s.rule, Reason.SESSION_EXPIRED if s.claimed else Reason.NO_SESSION, Prompt.LOGIN)


def _before_login(s: Situation) -> RequestDecision:
    if s.stage is Stage.PENDING:
        return Challenge(s.rule, Reason.ENROLMENT_OWED, Prompt.INVITATION)
    if s.stage not in {Stage.CODE_FIRST, Stage.INVITED_FIRST}:
        return Challenge(s.rule, Reason.NO_SESSION, Prompt.START)
    if s.basic is BasicState.DISAGREES or s.name_agrees is False:
        return Refuse(s.rule, Reason.NAMES_DISAGREE, 403)
    if s.door or s.basic is BasicState.AGREES:
        return Forward(s.rule, Reason.STRANGER_AT_LOGIN)
    if s.kind in REVEALING:
        return Challenge(s.rule, Reason.LOGIN_OWED, Prompt.LOGIN)
    # The app's own login is owed now. Its pages may be asked for without any credential, and what
    # comes back is inspected as a stranger's.
    return Forward(s.rule, Reason.STRANGER_SHOWN)


def _entrance(s: Situation) -> Prompt:
    return Prompt.START if s.flow is Flow.BEFORE_LOGIN else Prompt.LOGIN


def _rate(s: Situation, spend: Exhausted) -> Refuse:
    return Refuse(s.rule, Reason.LIMIT, 429, spend.control, spend.retry_after_s, spend.would, spend.would_ask)


def _forward(s: Situation, reason: Reason) -> Forward:
    if isinstance(s.spend, Spent):
        return Forward(s.rule, reason, s.spend.near, s.spend.would, s.spend.would_ask)
    return Forward(s.rule, reason)
