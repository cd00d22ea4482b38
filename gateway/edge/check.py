"""One question of the front proxy: may this request go to the application, and with which credentials?"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gateway import telemetry
from gateway.edge import claims
from gateway.edge.repeats import Repeat, repeat_of
from gateway.engine import Answer, Engine, Exchange, Onward
from gateway.ingress import Admitted, RawHead
from gateway.lookups import ALONE, Entering
from gateway.pages.calm import calm_body, calm_headers
from gateway.policy.inspection import SEEN_ELSEWHERE, why_inspected
from gateway.policy.policy import Policy
from gateway.policy.routes import RouteMatch
from gateway.valkey.client import Store, StoreEmptied, StoreUnavailable
from gateway.valkey.prepared import Prepared
from gateway.vocabulary.decision import Forward, Reason
from gateway.vocabulary.messages import Headers, Reply
from gateway.vocabulary.records import RouteKind

_PASSING = frozenset({Reason.PUBLIC, Reason.SESSION_FULL, Reason.SERVICE_ACCOUNT})
"""Reasons to forward of which the answer need not be seen."""
_MOST_CALLS = 8_192
CREDENTIALS = ("cookie", "authorization", "x-ecluse-assertion")
"""What a passing request takes to the app in place of what the client sent under these names."""


@dataclass(slots=True)
class Passed:
    """It may go on, with exactly these of CREDENTIALS and none other.

    *written*: this as an answer's bytes, once somebody has made them.
    """

    headers: Headers
    written: bytes = b""


@dataclass(frozen=True, slots=True)
class Standing:
    """What *policy* makes of a request before anybody is asked about: its one reading, and its door."""

    policy: Policy
    admitted: Admitted
    match: RouteMatch


class Asker:
    """Whoever asks with the same lines, whatever the address: what was decided of them, by the door's name."""

    __slots__ = ("repeats",)

    def __init__(self) -> None:
        self.repeats: dict[str, Repeat[Passed]] = {}


class Question:
    """A question of the front proxy's, and what its bytes alone decide: that is found out once for each policy."""

    __slots__ = ("asked", "asker", "standing")

    def __init__(self, asked: RawHead | claims.Fault, asker: Asker) -> None:
        self.asked = asked
        self.asker = asker
        self.standing: Standing | None = None


class Put:
    """A question that was decided before, and is put to the store once more; *told* hears when it has answered.

    What the same session asks in the same moment, a page with all that belongs to it, is put together.
    """

    __slots__ = ("_began_s", "_outcome", "_store", "_told", "repeat")

    def __init__(self, repeat: "Repeat[Passed]", store: Store, told: "Callable[[Put], None]") -> None:
        """Put it.

        Raises:
            StoreUnavailable: the store is known to be down.
        """
        self.repeat = repeat
        self._store = store
        self._told = told
        self._outcome: Any = None
        self._began_s = asyncio.get_running_loop().time()
        store.join(repeat.prepared, self._began_s, self)

    def __call__(self, outcome: Any) -> None:
        """Hear what the store has answered."""
        self._outcome = outcome
        self._told(self)

    def passed(self) -> Passed | None:
        """Return what was decided before, if the reply is the very same."""
        if self._outcome != self.repeat.reply:
            return None
        self.repeat.counter.inc()
        return self.repeat.passed

    async def entering(self) -> Entering:
        """Return how the question was put, and what the store has said to it that is new, or how it failed."""
        outcome: Any
        try:
            outcome = await self._store.settle(self.repeat.prepared, self._outcome, self._began_s)
        except (StoreUnavailable, StoreEmptied) as error:
            outcome = error
        entering = Entering()
        if outcome != ALONE:
            entering.hear(self.repeat.prepared, outcome)
        return entering


class Check:
    """Answers for the application, by the same engine as the inspector; never raises, and never says yes by default."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._calls: dict[bytes, Prepared] = {}

    def put(self, question: Question, told: Callable[[Put], None]) -> bool:
        """Put *question* to the store at once, where it was decided before and would be decided so again.

        *told* hears when the store has answered. False: nothing was put.
        """
        repeat = self._repeat(question)
        if repeat is None:
            return False
        try:
            Put(repeat, self.engine.services.store, told)
        except StoreUnavailable:
            return False
        return True

    async def decide(self, question: Question, put: Put | None = None) -> Passed | Reply:
        """Decide the request that *question* describes; the asker is known to be the front proxy.

        *put*: it was put to the store already, which said something new; else the store is asked here.
        """
        exchange: Exchange | None = None
        try:
            if question.standing is None or question.standing.policy is not self.engine.policy:
                arrived = self._arrive(question)
                if not isinstance(arrived, Exchange):
                    return arrived
                exchange = arrived
            entering = Entering() if put is None else await put.entering()
            if exchange is None or exchange.policy is not self.engine.policy:
                arrived = self._arrive(question)
                if not isinstance(arrived, Exchange):
                    return arrived
                exchange = arrived
            exchange.entering = entering
            return await self._decide(exchange, question)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing may pass because of it
            telemetry.log().error("check_failed", error=type(error).__name__, exc_info=True)
            return self._fault(exchange)

    def _repeat(self, question: Question) -> "Repeat[Passed] | None":
        """Return what was decided of the same lines at the same door, if it would still be decided so."""
        if question.standing is None or question.standing.policy is not self.engine.policy:
            return None
        match = question.standing.match
        repeat = question.asker.repeats.get(match.rule)
        return repeat if repeat is not None and repeat.fits(match) and repeat.holds(self.engine) else None

    def _arrive(self, question: Question) -> Exchange | Reply:
        standing = question.standing
        if standing is not None and standing.policy is self.engine.policy:
            arrived = self.engine.open(standing.admitted, b"")
            if isinstance(arrived, Exchange):
                arrived.match, arrived.stood = standing.match, arrived.facts
        elif isinstance(question.asked, claims.Fault):
            return self._unreadable(question.asked)
        else:
            # No body comes here; strict reading refuses a head that announces one with the methods that pass.
            admitted, arrived = self.engine.arrive(question.asked, b"")
            if admitted is not None and isinstance(arrived, Exchange):
                question.standing = self._stand(admitted, arrived)
        return arrived.reply if isinstance(arrived, Answer) else arrived

    def _stand(self, admitted: Admitted, exchange: Exchange) -> Standing | None:
        """Find the door of *exchange*; None when its request is none of the check's."""
        if exchange.facts.method not in SEEN_ELSEWHERE or exchange.facts.path.startswith(
            exchange.policy.prefix
        ):
            return None
        self.engine.stand(exchange)
        if self._must_be_seen(exchange) or exchange.match is None:
            return None
        return Standing(exchange.policy, admitted, exchange.match)

    async def _decide(self, exchange: Exchange, question: Question) -> Passed | Reply:
        exchange.settled = True
        if question.standing is None:
            return self._misrouted(exchange)
        action = await self.engine.on_request(exchange, body_read=True)
        if isinstance(action, Answer):
            return action.reply
        decision = exchange.decision
        if (
            not isinstance(action, Onward)
            or not isinstance(decision, Forward)
            or decision.reason not in _PASSING
        ):
            return self._misrouted(exchange)
        passed = Passed(tuple([line for line in action.headers if line[0] in CREDENTIALS]))
        repeat = repeat_of(self.engine, exchange, passed)
        if repeat is not None:
            repeat = replace(repeat, prepared=self._one_of(repeat.prepared))
            question.asker.repeats[repeat.route.name] = repeat
        return passed

    def _one_of(self, prepared: Prepared) -> Prepared:
        """Return the one call by which all ask what *prepared* asks, whatever else their requests say."""
        if len(self._calls) >= _MOST_CALLS:
            del self._calls[next(iter(self._calls))]
        return self._calls.setdefault(prepared.packed, prepared)

    def _must_be_seen(self, exchange: Exchange) -> bool:
        match = exchange.match
        if match is None or exchange.login is not None:
            return True
        if match.kind is RouteKind.BLOCKED or match.alias or match.unknown_method:
            return False  # The engine refuses these by their own reasons.
        return why_inspected(exchange.app, match.route) is not None

    def _misrouted(self, exchange: Exchange) -> Reply:
        """Refuse what belongs to the inspector: the front proxy is set up wrongly."""
        telemetry.log().error("misrouted_to_the_edge", app=exchange.app.name)
        return self.engine.refuse(exchange, Reason.MISROUTED, 503).reply

    def _unreadable(self, fault: claims.Fault) -> Reply:
        telemetry.log().error("front_proxy_not_understood", fault=fault.fault)
        facts = self.engine.unread()
        return self.engine.turn_away(facts, Reason.MALFORMED_REQUEST, 400, f"front-{fault.fault}").reply

    def _fault(self, exchange: Exchange | None) -> Reply:
        try:
            answer = self.engine.faulted(exchange, "edge")
        except Exception as error:  # noqa: BLE001 - the refusal leaves whatever becomes of its page
            telemetry.log().error("fault_not_recorded", error=type(error).__name__)
            answer = None
        return answer.reply if answer is not None else Reply(503, calm_headers(), calm_body(503))
