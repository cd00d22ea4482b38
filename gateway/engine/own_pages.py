"""The gateway's own pages under the reserved prefix: who may stand where, and what a form may do."""

import json
from collections.abc import Awaitable, Callable

from gateway.engine import factor_pages, records, session_pages, start_pages, step_up_pages
from gateway.engine.exchange import Exchange
from gateway.engine.gather import cookies_of, limits_for, read_claims
from gateway.engine.login_answers import is_enrolled
from gateway.engine.replies import look, refusal
from gateway.engine.services import Services
from gateway.engine.visitor import Visitor
from gateway.lookups import EnterQuestion, enter
from gateway.pages import views
from gateway.policy import params
from gateway.sessions.assertion import jwks
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.identity import AccountRef, Stage
from gateway.vocabulary.messages import Reply

_MAX_FORM_BYTES = 8_192
_FIELDS = ("token", "code", "login", "invitation", "session", "next", "need", "words", "to")
_OPEN = frozenset({"start"})
"""Pages that ask who somebody is; there is no session yet that a token could be tied to."""

Page = Callable[[Visitor], Awaitable[Reply]]

_GET: dict[str, Page] = {
    "": session_pages.home,
    "code": factor_pages.show_code,
    "recovery": factor_pages.show_recovery,
    "invitation": factor_pages.show_invitation,
    "enrol": factor_pages.show_enrolment,
    "continue": factor_pages.go_on,
    "grace": factor_pages.show_grace,
    "start": start_pages.show_start,
    "step-up": step_up_pages.show_step_up,
    "break-glass": step_up_pages.show_break_glass,
    "sessions": session_pages.show_sessions,
    "logout": session_pages.show_signed_out,
}
_POST: dict[str, Page] = {
    "code": factor_pages.take_code,
    "recovery": factor_pages.take_recovery,
    "invitation": factor_pages.take_invitation,
    "enrol": factor_pages.take_enrolment,
    "start": start_pages.take_start,
    "step-up": step_up_pages.take_step_up,
    "break-glass": step_up_pages.take_break_glass,
    "sessions": session_pages.close_sessions,
    "logout": session_pages.log_out,
}


async def serve(exchange: Exchange, services: Services) -> Reply:
    """Answer a request below the prefix. Nothing of it goes upstream."""
    facts = exchange.facts
    name = facts.path.removeprefix(exchange.policy.prefix)
    if facts.method in {"GET", "HEAD"}:
        fixed = _fixed(exchange, services, name)
        if fixed is not None:
            return fixed
    table = {"GET": _GET, "HEAD": _GET, "POST": _POST}.get(facts.method)
    page = table.get(name) if table is not None else None
    if page is None:
        known = name in _GET or name in _POST
        return refused(
            exchange,
            services,
            Reason.UNKNOWN_METHOD if known else Reason.ROUTE_BLOCKED,
            405 if known else 404,
        )
    visitor = await _visitor(exchange, services, name)
    if facts.method == "POST" and not visitor.form_is_ours():
        return refused(exchange, services, Reason.FORM_REFUSED, 403, rule=name)
    return await page(visitor)


def refused(
    exchange: Exchange,
    services: Services,
    reason: Reason,
    status: int,
    *,
    rule: str | None = None,
    retry_after_s: int | None = None,
) -> Reply:
    """Tell the log of a request below the prefix that is refused, and return its page."""
    reference = exchange.facts.request_id[:8]
    records.soon(
        exchange, services, EventKind.REFUSED, reason=reason, status=status, rule=rule, reference=reference
    )
    return refusal(exchange, reason, status, retry_after_s=retry_after_s)


def _fixed(exchange: Exchange, services: Services, name: str) -> Reply | None:
    if name == "style.css":
        return views.stylesheet()
    if name == "logo":
        return views.logo(exchange.policy.body)
    if name == "jwks.json":
        document = json.dumps(jwks(services.keys.assertion)).encode()
        headers = (("content-type", "application/jwk-set+json"), ("cache-control", "public, max-age=300"))
        return Reply(200, headers, document)
    return None


async def _visitor(exchange: Exchange, services: Services, page: str) -> Visitor:
    """Find out whose page this is; a cookie that is not ours, or a dead session, is nobody's."""
    now_s = services.clock.now_ms() // 1000
    claims = exchange.claims = read_claims(exchange, services, now_s)
    form: dict[str, str] | None = {}
    if exchange.facts.method == "POST":
        form = _form(exchange)
    if claims is not None:
        rules = exchange.realm.sessions
        question = EnterQuestion(
            account_id=claims.account_id,
            session_id=claims.session_id,
            app=exchange.app.name,
            credentials=cookies_of(exchange, services).hashes,
            idle_ms=rules.idle_s * 1000,
            absolute_ms=rules.absolute_s * 1000,
            pending_ms=rules.pending_s * 1000,
            spend_request=False,
            measures=exchange.policy.measures,
        )
        exchange.entered = await enter(
            services.store,
            question,
            lambda name, establishment: limits_for(exchange, name, establishment),
            services.classes,
        )
        if exchange.entered.login is not None:
            exchange.account = AccountRef(exchange.realm.name, exchange.entered.login, claims.account_id)
            exchange.account_class = exchange.entered.account_class
    visitor = Visitor(exchange, services, page, form, needs_token=page not in _OPEN, look=look(exchange))
    if visitor.stage is Stage.PENDING and claims is not None:
        account = await services.accounts.get(claims.account_id)
        visitor.enrolled = is_enrolled(exchange, services, account)
    return visitor


def _form(exchange: Exchange) -> dict[str, str] | None:
    """Return the fields of a posted form, each given once; None when it is none of ours."""
    body = exchange.facts.body or b""
    kind = (exchange.facts.header("content-type") or "").partition(";")[0].strip().lower()
    if len(body) > _MAX_FORM_BYTES or kind != "application/x-www-form-urlencoded":
        return None
    fields = {}
    for name in _FIELDS:
        try:
            values = params.form_values(exchange.facts, name)
        except params.BodyUnreadable:
            return None
        if len(values) > 1:
            return None
        if values:
            fields[name] = values[0]
    return fields
