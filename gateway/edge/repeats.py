"""What a question and the store's reply to it decide together, remembered: the decision is a pure function of both.

The store is asked about every question, spends every request and says every time who this is. Only when its reply is
the very same, to the letter, is what was decided of it before taken again: a lock, a closed session, a limit, a fresh
code that is owed and anything else that the store knows are other replies. What time alone changes bounds how long
a decision is remembered.
"""

from dataclasses import dataclass

from gateway.engine import Engine, Exchange
from gateway.policy.policy import Policy, Route
from gateway.policy.routes import RouteMatch
from gateway.telemetry import Tally
from gateway.valkey.prepared import Prepared
from gateway.vocabulary.decision import Forward, Reason

_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Repeat[Passed]:
    """A request stood at *route* under *policy* and has *passed* by *reply*, the store's to *prepared*.

    It holds from *since_ms* until before *until_ms* (Unix milliseconds). *counter* counts such decisions.
    """

    policy: Policy
    route: Route
    passed: Passed
    prepared: Prepared
    reply: object
    since_ms: int
    until_ms: int
    counter: Tally

    def fits(self, match: RouteMatch) -> bool:
        """Tell whether *match* is the same door and, as then, nothing is amiss with it."""
        return match.route is self.route and not match.alias and not match.unknown_method

    def holds(self, engine: Engine) -> bool:
        """Tell whether the same reply would be decided in the same way now."""
        services = engine.services
        return (
            services.policy is self.policy
            and not services.stopping
            and self.since_ms <= services.clock.now_ms() < self.until_ms
        )


def repeat_of[Passed](engine: Engine, exchange: Exchange, passed: Passed) -> Repeat[Passed] | None:
    """Return what may be taken again of *exchange*, which has *passed*; None when nothing may.

    Only a full session's: it has a reply of the store that names it. What was to be recorded is decided anew.
    """
    decision, entering, claims, match = exchange.decision, exchange.entering, exchange.claims, exchange.match
    if not isinstance(decision, Forward) or decision.reason is not Reason.SESSION_FULL or claims is None:
        return None
    if match is None or match.route is None or match.alias or exchange.login is not None:
        return None
    if decision.near or decision.would or decision.would_ask:
        return None
    if entering is None or entering.prepared is None or entering.reply is None:
        return None
    received_ms, realm = exchange.facts.received_ms, exchange.realm
    ends_ms = [claims.expires_s * 1000, exchange.asserted_until_s * 1000]
    if realm.grace_until_ms is not None and received_ms < realm.grace_until_ms:
        ends_ms.append(realm.grace_until_ms)
    if realm.caps:
        # Which bounds hold may change with every minute of the week.
        ends_ms.append((received_ms // _MINUTE_MS + 1) * _MINUTE_MS)
    return Repeat(
        exchange.policy,
        match.route,
        passed,
        entering.prepared,
        entering.reply,
        received_ms,
        min(ends_ms),
        engine.counter(exchange),
    )
