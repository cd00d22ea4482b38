"""What an answer costs, and the two ways it can go: released, or withheld with a page of ours in its place."""

from collections.abc import Sequence

from gateway import telemetry
from gateway.engine import headers, records, returning
from gateway.engine.exchange import Answer, Exchange, Pass, ResponseAction
from gateway.engine.replies import challenge, refusal
from gateway.engine.services import Services
from gateway.limits.pooled import alike
from gateway.lookups import Revealed, RevealQuestion, reveal
from gateway.policy.request import StoreState
from gateway.policy.response import Outcome, decide_response
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.vocabulary.decision import Challenge, Prompt, Reason, Release, ResponseDecision, Withhold
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.identity import Stage
from gateway.vocabulary.limits import PATIENT_CONTROLS, Charge
from gateway.vocabulary.messages import ResponseFacts


def reveal_question(exchange: Exchange, charge: Charge, given: Sequence[str] = ()) -> RevealQuestion:
    """Return what the store is asked before *charge* leaves; *given* are credentials that the app sets with it.

    Raises:
        ValueError: the exchange has no account that could be charged.
    """
    if exchange.account is None or exchange.limits is None:
        raise ValueError("a charge without an account")
    return RevealQuestion(
        account_id=exchange.account.id,
        session_id=exchange.session_id,
        limits=exchange.limits,
        charge=charge,
        add_credentials=tuple(given),
        step_up_ms=exchange.realm.sessions.step_up_s * 1000,
        quarantine_ms=exchange.realm.quarantine_s * 1000,
        measures=exchange.policy.measures,
        pools=exchange.policy.pools,
    )


async def spend(
    exchange: Exchange, services: Services, response: ResponseFacts, charge: Charge, reveals: int
) -> ResponseDecision:
    """Charge, follow the app's cookies, and hear whether the session still lives: one trip, or none."""
    rule = exchange.decision.rule if exchange.decision is not None else "otherwise"
    given, _ = headers.credentials_given(exchange, response.headers, services)
    given = list(dict.fromkeys([*given, *exchange.jar_extra]))
    if charge == Charge() and not given:
        return decide_response(Outcome(rule, reveals=reveals))
    question = reveal_question(exchange, charge, given)
    store, revealed = StoreState.UP, None
    try:
        revealed = await reveal(services.store, question)
    except StoreEmptied:
        store = StoreState.EMPTIED
    except StoreUnavailable:
        store = StoreState.DOWN
    return decide_response(_outcome(rule, reveals, store, revealed))


def _outcome(rule: str, reveals: int, store: StoreState, revealed: Revealed | None) -> Outcome:
    if revealed is None:
        return Outcome(rule, reveals=reveals, store=store)
    return Outcome(
        rule,
        reveals=reveals,
        store=store,
        standing=revealed.standing,
        live=revealed.live,
        spend=revealed.spend,
    )


def release(
    exchange: Exchange, services: Services, response: ResponseFacts, decision: ResponseDecision
) -> ResponseAction:
    """Let the app's answer leave, and record the controls it brought near their bound."""
    if isinstance(decision, Release):
        records.note_controls(exchange, services, decision.near, decision.would, decision.would_ask)
    return Pass(headers.back(exchange, response.headers))


def audit_down(rule: str) -> Withhold:
    """Return the decision when the log cannot take what must be in it first."""
    return Withhold(rule, Reason.AUDIT_DOWN, 503, retry_after_s=5)


def withhold(
    exchange: Exchange,
    services: Services,
    decision: ResponseDecision,
    detail: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """Keep the app's answer, tell the log why, and send a page with a reference instead."""
    if not isinstance(decision, Withhold):
        raise TypeError(f"not a withholding: {decision}")
    telemetry.WITHHELD.labels(exchange.app.name, decision.control.value if decision.control else "").inc()
    records.note_controls(exchange, services, (), decision.would, decision.would_ask)
    if decision.reason is Reason.STEP_UP_OWED:
        return _ask(exchange, services, decision)
    records.soon(
        exchange,
        services,
        EventKind.WITHHELD,
        rule=decision.rule,
        reason=decision.reason,
        status=decision.status,
        control=decision.control,
        reference=exchange.facts.request_id[:8],
        detail=detail,
    )
    return Answer(
        refusal(
            exchange,
            decision.reason,
            decision.status,
            control=decision.control,
            retry_after_s=decision.retry_after_s,
            clear=decision.reason is Reason.ACCOUNT_LOCKED,
            break_glass_path=_break_glass_path(exchange, services, decision),
        )
    )


def _ask(exchange: Exchange, services: Services, decision: Withhold) -> Answer:
    """Keep the app's answer and ask for a fresh code; then the person asks the app again."""
    records.soon(
        exchange,
        services,
        EventKind.STEP_UP_ASKED,
        rule=decision.rule,
        reason=decision.reason,
        status=decision.status,
        control=decision.control,
        detail=(("why", "soft-bound"), ("withheld", "true")),
    )
    asked = Challenge(decision.rule, decision.reason, Prompt.STEP_UP, decision.control)
    return Answer(challenge(exchange, asked, returning.step_up_path(exchange, services)))


def _break_glass_path(exchange: Exchange, services: Services, decision: Withhold) -> str | None:
    """Return where somebody at a hard bound on patients may ask for more, None when the class or person may not."""
    entered, limits = exchange.entered, exchange.limits
    may = limits is not None and limits.break_glass is not None and entered is not None and entered.enrolled
    patients = decision.control is not None and alike(decision.control) in PATIENT_CONTROLS
    if not may or not patients or exchange.stage is not Stage.FULL:
        return None
    return returning.page_path(exchange, services, "break-glass")
