"""Decide a response. Pure: what it reveals and what that costs in, release or withhold out."""

import msgspec

from gateway.policy.request import StoreState
from gateway.vocabulary.decision import Reason, Release, ResponseDecision, Withhold
from gateway.vocabulary.identity import Standing
from gateway.vocabulary.limits import Asked, Exhausted, Spent
from gateway.vocabulary.limits import Outcome as SpendOutcome


class Outcome(msgspec.Struct, frozen=True):
    """All that a response decision looks at, once the patients in it were charged.

    *readable*: the answer could be inspected. *live*: the session still lives and its account is not
    locked. *reveals*: how many patients or sightings it shows. *store* UNASKED: nothing to charge.
    """

    rule: str
    readable: bool = True
    reveals: int = 0
    store: StoreState = StoreState.UNASKED
    standing: Standing = Standing.ACTIVE
    live: bool = True
    spend: SpendOutcome | None = None


def decide_response(o: Outcome) -> ResponseDecision:
    """Return what becomes of the answer. Nothing of it has left yet."""
    if not o.readable:
        return Withhold(o.rule, Reason.UNINSPECTABLE, 502)
    if o.store is StoreState.EMPTIED:
        return Withhold(o.rule, Reason.STORE_EMPTIED, 503, retry_after_s=30)
    if o.store is StoreState.DOWN:
        return Withhold(o.rule, Reason.STORE_DOWN, 503, retry_after_s=5)
    if o.store is StoreState.UP and not o.live:
        if o.standing in {Standing.LOCKED, Standing.RETIRED}:
            return Withhold(o.rule, Reason.ACCOUNT_LOCKED, 403)
        return Withhold(o.rule, Reason.SESSION_EXPIRED, 401)
    if isinstance(o.spend, Exhausted):
        told = (o.spend.would, o.spend.would_ask)
        return Withhold(o.rule, Reason.CAP, 429, o.spend.control, o.spend.retry_after_s, *told)
    if isinstance(o.spend, Asked):
        told = (o.spend.would, o.spend.would_ask)
        return Withhold(o.rule, Reason.STEP_UP_OWED, 401, o.spend.control, None, *told)
    reason = Reason.WITHIN_CAPS if o.reveals else Reason.REVEALS_NOBODY
    if isinstance(o.spend, Spent):
        return Release(o.rule, reason, o.spend.near, o.spend.would, o.spend.would_ask)
    return Release(o.rule, reason)
