"""The two trips of an exchange to the store: who is this, and may this leave."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from gateway.limits.store import (
    account_keys,
    distinct_members,
    encode_costs,
    encode_limits,
    encode_pools,
    encode_states,
    read_spend,
)
from gateway.valkey.client import Argument, Store, StoreEmptied, StoreUnavailable
from gateway.valkey.prepared import ONCE, Prepared
from gateway.vocabulary.identity import Stage, Standing
from gateway.vocabulary.limits import NO_POOLS, Charge, LimitSet, Outcome, Pools, Spent
from gateway.vocabulary.measures import MeasureRules

_MOST_CLASSES = 100_000
_MOST_CREDENTIALS = 256
_MOST_TOLD = 1_024
_MOST_ASKED = 4_096
_YES = "1"
_CLASS_IS = b"class-is\n"
_BOUNDS = b"bounds"
ALONE = b"alone"
"""What is said to several who ask the same at once, when each has to ask for itself; nothing was spent."""

LimitsOf = Callable[[str | None, str | None], LimitSet]
"""The usual limits of a class in an establishment."""
Believed = dict[str, tuple[str, str]]
"""Class and establishment by account id, "" for none."""


class EnterQuestion(msgspec.Struct, frozen=True):
    """Who stands at the door. *credentials* are keyed hashes of the app credentials shown.

    Without *session_id* only the account's standing is asked (service accounts). A request is spent
    when *spend_request* holds and the session is FULL, or there is none to ask about. *step_up_ms*: how
    long a fresh code stays fresh. *measures*: what those do that the store says are in force.
    """

    account_id: str
    session_id: str | None
    app: str
    credentials: tuple[str, ...]
    idle_ms: int
    absolute_ms: int
    pending_ms: int
    spend_request: bool
    step_up_ms: int = 3_600_000
    measures: MeasureRules = msgspec.field(default_factory=MeasureRules)


class Entered(msgspec.Struct, frozen=True):
    """What the store knows. *stage* None: no such live session, another app's, or the account is closed.

    *expired*: the session was there and outlived one of its lifetimes. *known*: for each credential
    asked about, whether the app gave it to this very session. *spend* None: no request was to be spent.
    *owes*: why this session owes a fresh code, None when it owes none; *fresh*: it gave one lately.
    *device*: the pseudonym of the device it was opened with.
    """

    standing: Standing
    stage: Stage | None
    expired: bool
    known: tuple[bool, ...]
    account_class: str | None
    establishment: str | None
    login: str | None
    address: str
    enrolled: bool
    spend: Outcome | None
    owes: str | None = None
    fresh: bool = False
    device: str | None = None


class RevealQuestion(msgspec.Struct, frozen=True):
    """What a response would disclose, and which app credentials it sets or clears.

    *limits* are the usual ones; *measures* says what they become under those that are in force.
    *quarantine_ms*: how long after its enrolment an account has half of every cap. *pools*: what holds the accounts
    that are counted together with it.
    """

    account_id: str
    session_id: str | None
    limits: LimitSet
    charge: Charge
    add_credentials: tuple[str, ...] = ()
    drop_credentials: tuple[str, ...] = ()
    step_up_ms: int = 3_600_000
    quarantine_ms: int = 0
    measures: MeasureRules = msgspec.field(default_factory=MeasureRules)
    pools: Pools = NO_POOLS


class Revealed(msgspec.Struct, frozen=True):
    """Whether it may leave. *live* False: account or session was closed meanwhile, and nothing was spent."""

    standing: Standing
    live: bool
    spend: Outcome


class Entering:
    """How one ``enter`` was put to the store, and its reply, to the letter.

    Whoever has put it already hands on what was heard: ``enter`` takes that, and does not spend a second request.
    """

    __slots__ = ("_error", "_heard", "prepared", "reply")

    def __init__(self) -> None:
        self.prepared: Prepared | None = None
        self.reply: Any = None
        self._heard = False
        self._error: StoreUnavailable | StoreEmptied | None = None

    def hear(self, prepared: Prepared, outcome: Any) -> None:
        """Take note that *prepared* was put, and of its reply or of how the store failed."""
        self.prepared, self._heard = prepared, True
        if isinstance(outcome, (StoreUnavailable, StoreEmptied)):
            self._error = outcome
        else:
            self.reply = outcome

    async def put(self, store: Store, prepared: Prepared) -> Any:
        """Return the reply to *prepared*: that which was heard, if it was for the very same question.

        Raises:
            StoreUnavailable, StoreEmptied: as every call.
        """
        heard, self._heard = self._heard, False
        if heard and self.prepared is not None and prepared.same(self.prepared):
            if self._error is not None:
                raise self._error
            return self.reply
        self.prepared = prepared
        self.reply = await store.ask(prepared)
        return self.reply


class Asked:
    """A question of ``enter``, under which bounds it was put, and what its last reply said."""

    __slots__ = ("believed", "entered", "limits", "measures", "prepared", "reply")

    def __init__(self, question: EnterQuestion, believed: tuple[str, str], limits: LimitSet) -> None:
        self.measures, self.believed, self.limits = question.measures, believed, limits
        self.prepared: Prepared | None = None
        self.reply: Any = None
        self.entered: Entered | None = None

    def fits(self, question: EnterQuestion, believed: tuple[str, str], limits: LimitSet) -> bool:
        """Tell whether *question*, which is the same but for its measures, would be put in the very same words."""
        return self.limits is limits and self.measures is question.measures and self.believed == believed


AskedBefore = dict[tuple[Any, ...], Asked]
"""Questions by what tells them apart. Each is put again each time; the same words and reply are read once."""


async def enter(
    store: Store,
    question: EnterQuestion,
    limits_of: LimitsOf,
    classes: Believed,
    entering: Entering | None = None,
    before: AskedBefore | None = None,
) -> Entered:
    """Ask who this is and spend one request, in one trip.

    *limits_of* gives the usual limits of an account class in an establishment, None for an account without one.
    *classes* remembers both of each account between calls (it is bounded here); when it is wrong the store
    spends nothing and is asked a second time. *entering* keeps, or has heard already, what the store says.
    *before* remembers questions (it is bounded here, too).

    Raises:
        StoreUnavailable, StoreEmptied: as every call.
    """
    believed = classes.get(question.account_id, ("", ""))
    limits = limits_of(believed[0] or None, believed[1] or None)
    if before is not None and entering is None:
        return await _as_before(store, question, limits_of, classes, before, believed, limits)
    reply = await _enter(store, question, believed, limits, entering)
    if reply.startswith(_CLASS_IS):
        believed, limits = _believe(question, classes, reply, limits_of)
        reply = await _enter(store, question, believed, limits, entering)
    return _read(question, limits, reply)


async def _as_before(
    store: Store,
    question: EnterQuestion,
    limits_of: LimitsOf,
    classes: Believed,
    before: AskedBefore,
    believed: tuple[str, str],
    limits: LimitSet,
) -> Entered:
    """Put *question* in the words in which it was put, and read the reply only where it says something new."""
    key = (
        *(
            question.account_id,
            question.session_id,
            question.app,
            question.credentials,
            question.spend_request,
        ),
        *(question.idle_ms, question.absolute_ms, question.pending_ms, question.step_up_ms),
    )
    asked = before.get(key)
    if asked is None or not asked.fits(question, believed, limits):
        asked = Asked(question, believed, limits)
    if asked.prepared is None:
        asked.prepared = _prepared(question, believed, limits)
    reply = await store.ask(asked.prepared)
    if reply.startswith(_CLASS_IS):
        believed, limits = _believe(question, classes, reply, limits_of)
        asked = Asked(question, believed, limits)
        asked.prepared = _prepared(question, believed, limits)
        reply = await store.ask(asked.prepared)
    if asked.entered is None or reply != asked.reply:
        asked.entered, asked.reply = _read(question, limits, reply), reply
        if len(before) >= _MOST_ASKED:
            del before[next(iter(before))]
        before[key] = asked
    return asked.entered


def _believe(
    question: EnterQuestion, classes: Believed, reply: Any, limits_of: LimitsOf
) -> tuple[tuple[str, str], LimitSet]:
    """Remember the class and establishment that the store told, and return them with their limits."""
    _, account_class, establishment = reply.decode().split("\n")
    believed = (account_class, establishment)
    if len(classes) >= _MOST_CLASSES:
        classes.clear()
    classes[question.account_id] = believed
    return believed, limits_of(believed[0] or None, believed[1] or None)


def _read(question: EnterQuestion, limits: LimitSet, reply: Any) -> Entered:
    if reply.startswith(_CLASS_IS):
        raise StoreUnavailable("the account's class changed twice within one request")
    # The login comes last, since nothing says what it may contain.
    standing, stage, expired, known, account_class, establishment, *rest = reply.decode().split("\n", 12)
    address, enrolled, spend, owes, fresh, device, login = rest
    bits = tuple(bit == _YES for bit in known)
    return Entered(
        standing=Standing(standing),
        stage=Stage(stage) if stage else None,
        expired=expired == _YES,
        known=bits + (False,) * (len(question.credentials) - len(bits)),
        account_class=account_class or None,
        establishment=establishment or None,
        login=login or None,
        address=address,
        enrolled=enrolled == _YES,
        spend=read_spend(limits, spend.encode()) if spend else None,
        owes=owes or None,
        fresh=fresh == _YES,
        device=device or None,
    )


async def reveal(store: Store, question: RevealQuestion) -> Revealed:
    """Charge a response before it leaves, all or nothing, if its session still lives.

    The jar of app credentials changes only when the charge was committed. Never asked twice: a
    charge whose answer was lost may have been spent, and the response must not leave.

    Raises:
        StoreUnavailable, StoreEmptied: as every call.
    """
    keys, charge = account_keys(question.account_id), question.charge
    opened, listed = distinct_members(charge)
    added, dropped = question.add_credentials, question.drop_credentials
    bounds = _bounds(question.limits, question.pools, question.measures)
    keys_told = [*_who(question.account_id, question.session_id), keys.patients, keys.opened, keys.counters]
    args: list[Argument] = [
        "0" if question.session_id is None else _YES,
        bounds.id if bounds.id in store.told else bounds.told,
        *encode_costs(charge),
        *(len(added), len(dropped), len(opened), question.step_up_ms, question.quarantine_ms),
        *added,
        *dropped,
        *opened,
        *listed,
    ]
    reply = await store.call("ecluse_reveal", keys_told, args)
    if reply == _BOUNDS:
        # It has forgotten what the id names, and has done nothing.
        args[1] = bounds.told
        reply = await store.call("ecluse_reveal", keys_told, args)
    if len(store.told) >= _MOST_TOLD:
        store.told.clear()
    store.told.add(bounds.id)
    standing, live, spend = reply.split(b"\n")
    return Revealed(
        standing=Standing(standing.decode()),
        live=live == b"1",
        spend=read_spend(question.limits, spend, question.pools) if spend else Spent(),
    )


async def _enter(
    store: Store,
    question: EnterQuestion,
    believed: tuple[str, str],
    limits: LimitSet,
    entering: Entering | None,
) -> Any:
    prepared = _prepared(question, believed, limits)
    if entering is not None:
        return await entering.put(store, prepared)
    return await store.ask(prepared)


def _prepared(question: EnterQuestion, believed: tuple[str, str], limits: LimitSet) -> Prepared:
    keys = [*_who(question.account_id, question.session_id), account_keys(question.account_id).counters]
    args = [
        ONCE,
        _terms(question, believed, limits),
        question.app,
        # Credentials beyond these count as unknown.
        *[f"j:{one}" for one in question.credentials[:_MOST_CREDENTIALS]],
    ]
    return Prepared("ecluse_enter", keys, args)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What holds a charge in every state of the measures: *told* in full, and the *id* of that."""

    id: str
    told: str


@lru_cache(maxsize=1024)
def _bounds(limits: LimitSet, pools: Pools, rules: MeasureRules) -> _Bounds:
    text = f"{encode_states(limits, rules)}\n{encode_pools(pools, limits, rules)}"
    named = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return _Bounds(named, f"{named}\n{text}")


def _terms(question: EnterQuestion, believed: tuple[str, str], limits: LimitSet) -> str:
    """Return the one argument that the script reads once for everybody who is held by the same."""
    strict = question.measures.strict
    return " ".join(
        (
            "0" if question.session_id is None else _YES,
            _YES if question.spend_request else "0",
            f"{question.idle_ms}/{min(question.idle_ms, strict.idle_s * 1000)}",
            f"{question.absolute_ms}/{min(question.absolute_ms, strict.absolute_s * 1000)}",
            f"{question.pending_ms} {question.step_up_ms} {encode_limits(limits)}\n{believed[0]}\n{believed[1]}",
        )
    )


@lru_cache(maxsize=10_000)
def _who(account_id: str, session_id: str | None) -> tuple[str, str]:
    base = f"ecluse:{{{account_id}}}"
    return f"{base}:account", f"{base}:session:{session_id or '-'}"
