"""The second half of the road: what an answer reveals is charged and recorded before its first byte leaves."""

import re

from msgspec.structs import replace

from gateway import disclosure
from gateway.audit.describe import tell
from gateway.engine import headers, login_answers, records
from gateway.engine.exchange import Answer, BodyPlan, Exchange, Pass, ResponseAction
from gateway.engine.services import Services
from gateway.engine.spending import audit_down, release, spend, withhold
from gateway.policy import bodies
from gateway.policy.request import BasicState
from gateway.policy.response import Outcome, decide_response
from gateway.sessions import forms, ticket
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.vocabulary.decision import Forward, Reason, Withhold
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.limits import Charge
from gateway.vocabulary.messages import Reply, ResponseFacts
from gateway.vocabulary.records import (
    REQUEST_PLACES,
    Extraction,
    RecordsSeen,
    RouteKind,
    Sightings,
    Uninspectable,
    Unreadable,
)

_PASSWORD_FIELD = re.compile(rb"""(?i)<input\b[^>]{0,2000}\btype\s{0,9}=\s{0,9}["']?password\b""")
_TEXTUAL = ("text/", "application/json", "application/xml", "application/xhtml", "application/csv")
_TEXTUAL_SUFFIX = ("+json", "+xml")
_UNSCANNED = ("text/css", "text/javascript")
_ASSETS = ("image/", "font/", "audio/", "video/", *_UNSCANNED)
_ASSET_TYPES = frozenset({
    "application/javascript", "application/x-javascript", "application/ecmascript", "application/wasm",
    "application/font-woff", "application/x-font-woff", "application/x-font-ttf", "application/vnd.ms-fontobject",
})  # fmt: skip
_BODILESS = frozenset({204, 304})
_SMALL_BYTES = 65_536
_REFUSED_BY_APP = frozenset({400, 401, 403, 404, 405, 410})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OF_A_BODY = frozenset({"content-type", "content-encoding", "content-length", "transfer-encoding"})


def is_textual(content_type: str | None) -> bool:
    """Tell whether an answer of this type is read for personal data; no type at all is read too."""
    if content_type is None:
        return True
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _UNSCANNED:
        return False
    return kind.startswith(_TEXTUAL) or kind.endswith(_TEXTUAL_SUFFIX)


def is_document(content_type: str | None) -> bool:
    """Tell whether an answer of this type may show patients and cannot be read: a PDF, an archive, plain bytes."""
    if is_textual(content_type) or content_type is None:
        return False
    kind = content_type.partition(";")[0].strip().lower()
    return not kind.startswith(_ASSETS) and kind not in _ASSET_TYPES


def body_plan(exchange: Exchange, head: ResponseFacts) -> BodyPlan:
    """Choose, before any of it moves, whether an answer is held back whole or streamed."""
    if isinstance(exchange.decision, Forward) and exchange.decision.reason is Reason.PUBLIC:
        return BodyPlan.STREAM
    if exchange.held_whole:
        return BodyPlan.BUFFER
    content_type = head.header("content-type") or ""
    route = exchange.match.route if exchange.match is not None else None
    if exchange.full and (
        (route is not None and route.stream) or content_type.startswith("text/event-stream")
    ):
        exchange.streams_text = is_textual(head.header("content-type"))
        if is_document(head.header("content-type")) and _length(head) is None:
            # It is charged before it leaves, so its size must be known by then.
            return BodyPlan.BUFFER
        packed = head.header("content-encoding") not in {None, "", "identity"}
        return BodyPlan.BUFFER if packed and exchange.streams_text else BodyPlan.METER
    if is_textual(head.header("content-type")) or not exchange.full:
        return BodyPlan.BUFFER
    length = _length(head)
    return BodyPlan.BUFFER if length is not None and length <= _SMALL_BYTES else BodyPlan.METER


async def decide(exchange: Exchange, services: Services, response: ResponseFacts) -> ResponseAction:
    """Decide the buffered (or just begun) answer of *exchange*."""
    decision = exchange.decision
    if not isinstance(decision, Forward):
        raise TypeError("an answer of the app for a request that was not forwarded")
    if decision.reason is Reason.PUBLIC:
        return Pass(headers.back(exchange, response.headers, drop_cookies=True))
    if exchange.login is not None:
        answered = await login_answers.decide(exchange, services, response)
        if answered is not None:
            return answered
    if exchange.full:
        if exchange.revealing:
            return await _revealing(exchange, services, response)
        return await _page(exchange, services, response)
    return await _stranger(exchange, services, response)


async def _revealing(exchange: Exchange, services: Services, response: ResponseFacts) -> ResponseAction:
    match = exchange.match
    route = match.route if match is not None else None
    if match is None or route is None or route.extraction is None:
        raise ValueError("a revealing door without extraction")
    if exchange.facts.method in {"HEAD", "OPTIONS"}:
        return await _reveals_nobody(exchange, services, response)
    if response.status in _REDIRECTS:
        return await _redirected(exchange, services, response)
    seen: RecordsSeen | Uninspectable | None
    if response.status >= 300:
        seen = _named_in_body(exchange, route.extraction, response)
        if seen is None:
            return await _reveals_nobody(exchange, services, response)
    else:
        seen = disclosure.read(route.extraction, exchange.facts, match.captures, response)
    if isinstance(seen, Uninspectable):
        return withhold(
            exchange,
            services,
            decide_response(Outcome(route.name, readable=False)),
            (("why", seen.why.value),),
        )
    patients = [disclosure.pseudonym(services.keys, seen.system, clear) for clear in seen.ids]
    members = tuple(patient.member for patient in patients)
    opened = route.kind is RouteKind.RECORD
    charge = Charge(
        opened=members if opened else (),
        listed=() if opened else members,
        rows=0 if route.kind is RouteKind.RECORD else seen.rows,
        bytes=seen.decoded_bytes,
        exports=1 if route.kind is RouteKind.EXPORT else 0,
    )
    decision = await spend(exchange, services, response, charge, len(members))
    if isinstance(decision, Withhold):
        return withhold(exchange, services, decision)
    named, now_ms = tuple(patient.text for patient in patients), services.clock.now_ms()
    if services.escrow is not None:
        services.escrow.note(named, seen.system, seen.ids, now_ms)
    event = tell(
        EventKind.ACCESS,
        exchange.context(),
        now_ms,
        rule=route.name,
        reason=decision.reason.value,
        status=response.status,
        patients=named,
        opened=opened,
        rows=seen.rows,
        size_bytes=seen.decoded_bytes,
        categories=route.categories,
        sensitivity=route.sensitivity.value,
        detail=_walked(exchange, services, seen) if opened else (),
    )
    if not await records.keep_event(services, event):
        return withhold(exchange, services, audit_down(route.name))
    return release(exchange, services, response, decision)


def _walked(exchange: Exchange, services: Services, seen: RecordsSeen) -> tuple[tuple[str, str], ...]:
    """Return what the entry tells of the order of ids: nothing, unless somebody walks through them."""
    if exchange.account is None or len(seen.ids) != 1:
        return ()
    walk = services.walks.step(exchange.account.id, seen.system, seen.ids[0])
    return () if walk is None else (("walk", walk[0].value), ("walked", str(walk[1])))


async def _redirected(exchange: Exchange, services: Services, response: ResponseFacts) -> ResponseAction:
    """Let a redirect of a revealing door go without its body, which nobody reads and apps leave records in."""
    action = await _reveals_nobody(exchange, services, replace(response, body=b""))
    if not isinstance(action, Pass):
        return action
    lines = tuple(line for line in action.headers if line[0] not in _OF_A_BODY)
    return Answer(Reply(response.status, lines))


def _named_in_body(
    exchange: Exchange, extraction: Extraction, response: ResponseFacts
) -> RecordsSeen | Uninspectable | None:
    """Return whom the body of a refusal names all the same; None when it is a refusal indeed."""
    sources = tuple(source for source in extraction.sources if source.place not in REQUEST_PLACES)
    if not sources:
        return None
    answered = Extraction(
        sources,
        extraction.system,
        normalise=extraction.normalise,
        strip_prefix=extraction.strip_prefix,
        max_bytes=extraction.max_bytes,
        max_ids=extraction.max_ids,
    )
    seen = disclosure.read(answered, exchange.facts, {}, response)
    if isinstance(seen, Uninspectable):
        return seen if seen.why in {Unreadable.TOO_MANY_IDS, Unreadable.TOO_LARGE} else None
    return seen if seen.ids else None


async def _reveals_nobody(exchange: Exchange, services: Services, response: ResponseFacts) -> ResponseAction:
    """Count the probe. A refusal of the app names nobody, unless its page does: then it is a sighting."""
    probe = response.status in _REFUSED_BY_APP or exchange.facts.method == "HEAD"
    return await _sighted(exchange, services, response, probes=1 if probe else 0)


async def _page(exchange: Exchange, services: Services, response: ResponseFacts) -> ResponseAction:
    action = await _sighted(exchange, services, response)
    if exchange.match is not None and exchange.match.kind is RouteKind.LOGOUT and isinstance(action, Pass):
        return await _logged_out(exchange, services, action)
    return action


async def _sighted(
    exchange: Exchange, services: Services, response: ResponseFacts, *, probes: int = 0
) -> ResponseAction:
    """Count personal data on an answer that nobody mapped, and charge it before it leaves."""
    rule = exchange.decision.rule if exchange.decision is not None else "otherwise"
    found = (
        Uninspectable(Unreadable.WRONG_TYPE) if _hides(exchange, response) else _pieces(exchange, response)
    )
    if isinstance(found, Uninspectable):
        unreadable = decide_response(Outcome(rule, readable=False))
        return withhold(exchange, services, unreadable, (("why", found.why.value),))
    seen, whose = found.counted, exchange.session_id or exchange.facts.request_id
    fresh = services.shown.fresh(whose, found.all)
    document = is_document(response.header("content-type"))
    size = (_length(response) or 0) if response.body is None else len(response.body)
    charge = Charge(probes=probes, sightings=fresh, bytes=size if document else 0)
    decision = await spend(exchange, services, response, charge, seen.total)
    if isinstance(decision, Withhold):
        return withhold(exchange, services, decision)
    if seen.total or exchange.revealing or document:
        kind = EventKind.SIGHTED if seen.total else EventKind.ACCESS
        event = tell(
            kind,
            exchange.context(),
            services.clock.now_ms(),
            rule=rule,
            reason=decision.reason.value,
            status=response.status,
            rows=0,
            size_bytes=size if document else None,
            detail=(("nirs", str(seen.nirs)), ("phones", str(seen.phones)), ("emails", str(seen.emails)))
            if seen.total
            else (("probe", "true"),) * probes,
        )
        if not await records.keep_event(services, event):
            return withhold(exchange, services, audit_down(rule))
    if seen.total and exchange.session_id is not None:
        services.shown.keep(whose, found.all)
    return release(exchange, services, response, decision)


def _length(response: ResponseFacts) -> int | None:
    told = response.header("content-length")
    return int(told) if told is not None and told.isdigit() else None


def _hides(exchange: Exchange, response: ResponseFacts) -> bool:
    """Tell whether an answer is a document where nobody said that documents leave, so that nothing would be counted."""
    route = exchange.match.route if exchange.match is not None else None
    if route is not None and route.stream:
        return False
    empty = response.body == b"" or response.header("content-length") == "0"
    bodiless = exchange.facts.method == "HEAD" or response.status in _BODILESS
    return not empty and not bodiless and is_document(response.header("content-type"))


def _count(exchange: Exchange, response: ResponseFacts) -> Sightings | Uninspectable:
    if _hides(exchange, response):
        return Uninspectable(Unreadable.WRONG_TYPE)
    seen = _pieces(exchange, response)
    return seen if isinstance(seen, Uninspectable) else seen.counted


def _pieces(exchange: Exchange, response: ResponseFacts) -> disclosure.Pieces | Uninspectable:
    if response.body is None or not response.body or not is_textual(response.header("content-type")):
        return disclosure.NO_PIECES
    return disclosure.pieces(exchange.facts, response, exchange.app.max_page_bytes)


async def _stranger(exchange: Exchange, services: Services, response: ResponseFacts) -> ResponseAction:
    """Release a stranger's answer when it shows nobody, and remember the cookies it sets on a ticket."""
    rule = exchange.decision.rule if exchange.decision is not None else "otherwise"
    if exchange.sent:
        try:
            door = await services.sessions.door_state(exchange.sent)
        except StoreEmptied:
            return withhold(exchange, services, Withhold(rule, Reason.STORE_EMPTIED, 503, retry_after_s=30))
        except StoreUnavailable:
            return withhold(exchange, services, Withhold(rule, Reason.STORE_DOWN, 503, retry_after_s=5))
        if door.sealed or door.in_flight:
            return withhold(exchange, services, Withhold(rule, Reason.LOGIN_IN_FLIGHT, 409, retry_after_s=1))
    if exchange.credentials.basic is BasicState.AGREES:
        return await login_answers.basic_answer(exchange, services, response)
    seen = _count(exchange, response)
    if isinstance(seen, Uninspectable):
        return withhold(
            exchange,
            services,
            decide_response(Outcome(rule, readable=False)),
            (("why", seen.why.value),),
        )
    too_much = seen.nirs or seen.total > exchange.app.stranger_sightings
    if too_much or _shows_patients(exchange, response) or _is_past_the_form(exchange, response):
        return withhold(exchange, services, Withhold(rule, Reason.NO_SESSION, 401))
    return Pass(headers.back(exchange, response.headers, extra=_ticket(exchange, services, response)))


def _shows_patients(exchange: Exchange, response: ResponseFacts) -> bool:
    """Tell whether an answer for a stranger at a revealing door names patients in its body."""
    match = exchange.match
    if match is None or match.route is None or match.route.extraction is None or response.status >= 300:
        return False
    seen = disclosure.read(match.route.extraction, exchange.facts, {}, response)
    return isinstance(seen, RecordsSeen) and bool(seen.ids)


def _is_past_the_form(exchange: Exchange, response: ResponseFacts) -> bool:
    """Tell whether a login attempt at a revealing door brought back, for cookies of the app, no form again.

    An app that already knows the cookie may take no notice of the attempt and show the record, of which the
    body need not hold the id.
    """
    if not exchange.revealing or exchange.login is None or not exchange.sent or response.status >= 300:
        return False
    data = bodies.decoded(response, exchange.app.max_page_bytes)
    return isinstance(data, Unreadable) or not _PASSWORD_FIELD.search(data)


def _ticket(exchange: Exchange, services: Services, response: ResponseFacts) -> list[tuple[str, str]]:
    given, _ = headers.credentials_given(exchange, response.headers, services)
    if not given:
        return []
    merged = tuple(dict.fromkeys([*given, *exchange.sent]))
    now_s = services.clock.now_ms() // 1000
    text = ticket.issue(services.keys.session, exchange.app.name, merged, now_s)
    return [("set-cookie", ticket.door_cookie(text))]


async def _logged_out(exchange: Exchange, services: Services, action: Pass) -> ResponseAction:
    if exchange.account is not None and exchange.session_id is not None:
        await login_answers.close_session(exchange, services, EventKind.LOGOUT)
    return Pass((*action.headers, ("set-cookie", forms.clear_cookie())))
