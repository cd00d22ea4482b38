"""The first half of the road: gather, decide, apply, for a request."""

from collections.abc import Sequence
from contextlib import suppress

from gateway import logins
from gateway.accounts.names import NameRefused, account_ref
from gateway.engine import gather, headers, login_answers, records, returning
from gateway.engine.exchange import Answer, AwaitBody, Exchange, Onward, RequestAction
from gateway.engine.replies import challenge, refusal
from gateway.engine.services import Services
from gateway.lookups import EnterQuestion, enter
from gateway.policy import routes
from gateway.policy.policy import Basic, Flow, StepUp
from gateway.policy.request import BasicState, Situation, StoreState, decide_request
from gateway.policy.routes import RouteMatch
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.vocabulary.decision import Challenge, Forward, Prompt, Reason, Refuse, RequestDecision
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.identity import AccountRef, Stage, Standing
from gateway.vocabulary.records import REQUEST_PLACES, REVEALING, Place, RouteKind

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT"})
_BODY_PLACES = REQUEST_PLACES - {Place.PATH, Place.QUERY}


async def decide(exchange: Exchange, services: Services, *, body_read: bool) -> RequestAction:
    """Decide the request of *exchange*; called again with *body_read* after an AwaitBody."""
    if _wants_body(exchange) and not body_read:
        return AwaitBody()
    match = stand(exchange)
    if _extraction_wants_body(exchange) and not body_read:
        return AwaitBody()
    fault = _read_typed_name(exchange, services)
    if fault is None and match.kind is RouteKind.LOGIN and not match.unknown_method:
        fault = _see_through(exchange, services)
    if fault is not None:
        return await _refuse(exchange, services, fault)
    exchange.credentials = gather.read_credentials(exchange, services)
    situation = await _situation(exchange, services)
    decision = decide_request(situation)
    exchange.decision = decision
    if isinstance(decision, Forward):
        return await _forward(exchange, services, decision)
    if isinstance(decision, Challenge):
        return await _challenge(exchange, services, decision)
    return await _refuse(exchange, services, decision)


def stand(exchange: Exchange) -> RouteMatch:
    """Note the door of the request and the login it attempts; once for each reading of it, with body or without."""
    if exchange.stood is exchange.facts and exchange.match is not None:
        return exchange.match
    match = exchange.match = routes.match(exchange.app, exchange.facts)
    exchange.login = logins.attempt(exchange.app.logins, exchange.facts)
    if exchange.login is not None and not exchange.login.methods:
        exchange.login = None
    exchange.stood = exchange.facts
    return match


def _wants_body(exchange: Exchange) -> bool:
    app, facts = exchange.app, exchange.facts
    return routes.needs_body(app, facts) or logins.needs_body(app.logins, facts)


def _extraction_wants_body(exchange: Exchange) -> bool:
    match = exchange.match
    if (
        match is None
        or match.route is None
        or match.route.extraction is None
        or exchange.facts.body is not None
    ):
        return False
    return any(source.place in _BODY_PLACES for source in match.route.extraction.sources)


def _read_typed_name(exchange: Exchange, services: Services) -> Refuse | None:
    """Note the account that a login attempt names. A name read in two ways is refused before it goes anywhere."""
    if exchange.login is None:
        return None
    typed = logins.account_name(exchange.login, exchange.facts)
    rule = exchange.login.name
    if isinstance(typed, logins.NameFault):
        if typed is logins.NameFault.MISSING:
            return None
        return Refuse(rule, Reason.MALFORMED_REQUEST, 400)
    try:
        exchange.typed = account_ref(typed, exchange.realm.name, exchange.realm.mapping, services.keys.names)
    except NameRefused:
        return Refuse(rule, Reason.NAME_REFUSED, 403)
    return None


def _see_through(exchange: Exchange, services: Services) -> Refuse | None:
    """Take a login by a method that no rule names for what it is: by a safe one an attempt, else refused."""
    found = logins.disguised(exchange.app.logins, exchange.facts) if exchange.login is None else None
    if found is None:
        return None
    rule, typed = found
    if exchange.facts.method not in _SAFE or not typed:
        return Refuse(rule.name, Reason.UNKNOWN_METHOD, 405)
    if len(typed) > 1:
        return Refuse(rule.name, Reason.MALFORMED_REQUEST, 400)
    exchange.login = rule
    with suppress(NameRefused):
        exchange.typed = account_ref(
            typed[0], exchange.realm.name, exchange.realm.mapping, services.keys.names
        )
    return None


async def _situation(exchange: Exchange, services: Services) -> Situation:
    match, app, found = exchange.match, exchange.app, exchange.credentials
    if match is None:
        raise ValueError("the door must be known before the situation is")
    store, name_agrees = StoreState.UNASKED, None
    if match.kind is not RouteKind.PUBLIC or exchange.login is not None:
        # What is refused whoever asks is asked about too when a session is claimed: the log names the person.
        now_s = services.clock.now_ms() // 1000
        exchange.claims = gather.read_claims(exchange, services, now_s)
        if exchange.claims is not None or found.basic is BasicState.SERVICE:
            store = await _enter(exchange, services)
        _settle_names(exchange)
        if exchange.typed is not None and exchange.account is not None and exchange.stage is not None:
            name_agrees = exchange.typed.id == exchange.account.id
    entered = exchange.entered
    return Situation(
        rule=exchange.login.name if exchange.login is not None else match.rule,
        kind=match.kind,
        flow=app.flow,
        strangers=app.strangers,
        method=exchange.facts.method,
        door=exchange.login is not None or match.kind is RouteKind.LOGIN,
        attempt=exchange.login is not None and not _shut_to_logins(exchange),
        alias=match.alias,
        unknown_method=match.unknown_method,
        basic=found.basic,
        store=store,
        claimed=exchange.claims is not None,
        standing=entered.standing if entered is not None else Standing.ABSENT,
        stage=exchange.stage,
        enrolled=entered.enrolled if entered is not None else False,
        grace=_grace(exchange, services),
        owes=entered is not None and entered.owes is not None,
        step_up=match.route is not None and match.route.step_up is StepUp.ALWAYS,
        fresh=entered is not None and entered.fresh,
        name_agrees=name_agrees,
        credentials=len(found.hashes) + (found.bearer_hash is not None),
        known=sum(entered.known) if entered is not None else 0,
        needs_credential=app.basic is not Basic.LOGIN and not any(rule.bearer for rule in app.logins),
        spend=entered.spend if entered is not None else None,
    )


def _shut_to_logins(exchange: Exchange) -> bool:
    """Tell whether a login's parameters open nothing here: at a door that is blocked by name, and for a
    person with a session at any blocked one, since the app may do there what was asked beside them."""
    match = exchange.match
    if match is None or match.kind is not RouteKind.BLOCKED:
        return False
    return match.route is not None or exchange.stage is Stage.FULL


async def _enter(exchange: Exchange, services: Services) -> StoreState:
    """Ask the store, in one trip, who this is and whether one more request is theirs."""
    found, claims, rules = exchange.credentials, exchange.claims, exchange.realm.sessions
    if found.basic is BasicState.SERVICE and exchange.account is not None:
        account_id, session_id = exchange.account.id, None
    elif claims is not None:
        account_id, session_id = claims.account_id, claims.session_id
    else:
        return StoreState.UNASKED
    hashes = list(found.hashes)
    if found.bearer_hash is not None:
        hashes.append(found.bearer_hash)
    question = EnterQuestion(
        account_id=account_id,
        session_id=session_id,
        app=exchange.app.name,
        credentials=tuple(hashes),
        idle_ms=rules.idle_s * 1000,
        absolute_ms=rules.absolute_s * 1000,
        pending_ms=rules.pending_s * 1000,
        spend_request=True,
        step_up_ms=rules.step_up_s * 1000,
        measures=exchange.policy.measures,
    )
    try:
        exchange.entered = await enter(
            services.store,
            question,
            lambda name, establishment: gather.limits_for(exchange, name, establishment),
            services.classes,
            exchange.entering,
            services.asked,
        )
    except StoreEmptied:
        return StoreState.EMPTIED
    except StoreUnavailable:
        return StoreState.DOWN
    entered = exchange.entered
    if session_id is not None and entered.login is not None:
        exchange.account = AccountRef(exchange.realm.name, entered.login, account_id)
        exchange.account_class = entered.account_class or exchange.realm.default_class
    exchange.limits = gather.limits_for(exchange, exchange.account_class, entered.establishment)
    return StoreState.UP


def _settle_names(exchange: Exchange) -> None:
    found = exchange.credentials
    if found.basic is BasicState.UNCLAIMED and exchange.account is not None and exchange.stage is not None:
        agrees = found.basic_user == exchange.account.name
        found.basic = BasicState.AGREES if agrees else BasicState.DISAGREES


def _grace(exchange: Exchange, services: Services) -> bool:
    until_ms = exchange.realm.grace_until_ms
    return until_ms is not None and services.clock.now_ms() < until_ms


async def _forward(exchange: Exchange, services: Services, decision: Forward) -> RequestAction:
    records.note_controls(exchange, services, decision.near, decision.would, decision.would_ask)
    if decision.reason is Reason.PUBLIC:
        return Onward(headers.for_public(exchange))
    if decision.reason in {Reason.STRANGER_AT_LOGIN, Reason.STRANGER_SHOWN}:
        return await _forward_stranger(exchange, services, decision)
    if exchange.match is not None and exchange.match.kind in REVEALING and exchange.facts.method not in _SAFE:
        kept = await records.keep(exchange, services, EventKind.UNSAFE_SENT, rule=decision.rule)
        if not kept:
            return await _refuse(
                exchange, services, Refuse(decision.rule, Reason.AUDIT_DOWN, 503, retry_after_s=5)
            )
    known = exchange.entered.known if exchange.entered is not None else ()
    again = exchange.login is not None and exchange.stage is Stage.FULL
    if again and exchange.app.flow is Flow.AFTER_LOGIN:
        return await _forward_attempt(exchange, services, decision, known)
    return Onward(headers.for_session(exchange, known, services))


async def _forward_attempt(
    exchange: Exchange, services: Services, decision: Forward, known: Sequence[bool]
) -> RequestAction:
    """Let a person with a session log in again.

    The app may give this very session of its own to whoever the new name is, so a session of another
    name is closed before the attempt goes upstream, and its cookies go along only when nobody else is
    being let in with them.
    """
    hashes = tuple(
        value for value, is_known in zip(exchange.credentials.hashes, known, strict=False) if is_known
    )
    typed = exchange.typed.id if exchange.typed is not None else ""
    try:
        if exchange.account is None or typed != exchange.account.id:
            await login_answers.leave_session(exchange, services)
        free = await services.sessions.door_begin(hashes, typed)
        exchange.attempt_open = free and bool(hashes)
    except StoreEmptied:
        return await _refuse(
            exchange, services, Refuse(decision.rule, Reason.STORE_EMPTIED, 503, retry_after_s=30)
        )
    except StoreUnavailable:
        return await _refuse(
            exchange, services, Refuse(decision.rule, Reason.STORE_DOWN, 503, retry_after_s=5)
        )
    return Onward(headers.for_session(exchange, known if free else (), services))


async def _forward_stranger(exchange: Exchange, services: Services, decision: Forward) -> RequestAction:
    """Let a stranger stand at the login door with nothing but cookies the app gave to strangers.

    A cookie that took part in a login may be somebody's session by now, so it is announced at the
    door before the attempt goes upstream, and does not pass while another attempt is under way.
    """
    fault = _see_through(exchange, services)
    if fault is not None:
        return await _refuse(exchange, services, fault)
    now_s = services.clock.now_ms() // 1000
    exchange.ticket = gather.read_ticket(exchange, services, now_s)
    found = exchange.credentials
    kept = tuple(value for value in dict.fromkeys(found.hashes) if value in exchange.ticket)
    if exchange.login is None and exchange.match is not None and exchange.match.kind in REVEALING:
        # What is shown here in place of a record is a form. A cookie that a link made somebody's would show the
        # record, and where its id stands in the path alone, the answer would not be seen to name anybody.
        kept = ()
    try:
        if exchange.login is not None:
            typed = exchange.typed.id if exchange.typed is not None else ""
            if not await services.sessions.door_begin(kept, typed):
                kept = ()
            exchange.attempt_open = bool(kept)
        elif kept:
            door = await services.sessions.door_state(kept)
            if door.sealed or door.in_flight:
                kept = ()
    except StoreEmptied:
        return await _refuse(
            exchange, services, Refuse(decision.rule, Reason.STORE_EMPTIED, 503, retry_after_s=30)
        )
    except StoreUnavailable:
        return await _refuse(
            exchange, services, Refuse(decision.rule, Reason.STORE_DOWN, 503, retry_after_s=5)
        )
    exchange.sent = kept
    return Onward(headers.for_stranger(exchange, kept))


async def _challenge(exchange: Exchange, services: Services, decision: Challenge) -> RequestAction:
    if decision.prompt is Prompt.STEP_UP:
        owed = exchange.entered.owes if exchange.entered is not None else None
        why = "soft-bound" if decision.control is not None else owed or "door"
        records.soon(
            exchange,
            services,
            EventKind.STEP_UP_ASKED,
            rule=decision.rule,
            reason=decision.reason,
            status=401,
            control=decision.control,
            detail=(("why", why),),
        )
        return Answer(challenge(exchange, decision, returning.step_up_path(exchange, services)))
    records.soon(
        exchange, services, EventKind.CHALLENGED, rule=decision.rule, reason=decision.reason, status=401
    )
    return Answer(challenge(exchange, decision))


async def _refuse(exchange: Exchange, services: Services, decision: RequestDecision) -> RequestAction:
    if not isinstance(decision, Refuse):
        raise TypeError(f"not a refusal: {decision}")
    exchange.decision = decision
    records.note_controls(exchange, services, (), decision.would, decision.would_ask)
    records.soon(
        exchange,
        services,
        EventKind.REFUSED,
        rule=decision.rule,
        reason=decision.reason,
        status=decision.status,
        control=decision.control,
        reference=exchange.facts.request_id[:8],
    )
    return Answer(
        refusal(
            exchange,
            decision.reason,
            decision.status,
            control=decision.control,
            retry_after_s=decision.retry_after_s,
            clear=decision.reason in {Reason.ACCOUNT_LOCKED, Reason.ACCOUNT_RETIRED}
            and exchange.stage is not Stage.FULL,
        )
    )
