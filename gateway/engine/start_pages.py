"""before-login: who somebody is and the second factor first, the app's own password next."""

from gateway.accounts import invitation, names
from gateway.accounts.store import AttemptFault, InvitationProven
from gateway.accounts.verification import Refused
from gateway.engine import devices, records
from gateway.engine.browsers import browser_label
from gateway.engine.factor_pages import away, status_of, tell_refused
from gateway.engine.login_answers import note_opened, relative, session_cookie
from gateway.engine.replies import redirect, refusal
from gateway.engine.step_up_pages import check_either
from gateway.engine.visitor import Visitor
from gateway.pages import views
from gateway.policy import params
from gateway.policy.policy import Basic, Flow
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.identity import AccountRef, Stage
from gateway.vocabulary.messages import Reply


async def show_start(visitor: Visitor) -> Reply:
    """before-login: ask for name and code, or for name and invitation."""
    exchange = visitor.exchange
    if exchange.app.flow is not Flow.BEFORE_LOGIN or visitor.stage is Stage.FULL:
        return away(visitor)
    if visitor.stage is Stage.PENDING:
        return redirect(f"{exchange.policy.prefix}enrol")
    query = exchange.facts.query
    by = next(iter(params.query_values(query, "by")), "code")
    wanted = next(iter(params.query_values(query, "next")), "/")
    kind = by if by in {"recovery", "invitation"} else "code"
    return views.start(visitor.look, token=visitor.token(), next=relative(wanted), by=kind)  # type: ignore[arg-type]


async def take_start(visitor: Visitor) -> Reply:
    """before-login: check name and code; the app's own login, under the same name, is owed next."""
    exchange, services, form = visitor.exchange, visitor.services, visitor.form
    if exchange.app.flow is not Flow.BEFORE_LOGIN or form is None:
        return away(visitor)
    wanted = relative(form.get("next", "/"))
    by = "invitation" if "invitation" in form else "code"
    try:
        ref = names.account_ref(
            form.get("login", ""), exchange.realm.name, exchange.realm.mapping, services.keys.names
        )
    except names.NameRefused:
        return _start_again(visitor, by, wanted, views.FormError.WRONG, None, 403)
    if by == "invitation":
        return await _start_invited(visitor, ref, wanted, form["invitation"])
    typed = form.get("code", "")
    found = await check_either(services, exchange.realm, ref, typed)
    if isinstance(found, Refused):
        known = await records.known_name(services, ref)
        error = tell_refused(visitor, ref, found, named=known is not None)
        return _start_again(visitor, by, wanted, error, found.retry_after_s or None, status_of(found))
    kind = EventKind.CODE_ACCEPTED if found.step is not None else EventKind.RECOVERY_USED
    if not await records.keep(exchange, services, kind, account=ref.name):
        return refusal(exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5)
    # With Basic the app checks the password on every request, so nothing more is owed than the agreement of names.
    stage = Stage.FULL if exchange.app.basic is Basic.LOGIN else Stage.CODE_FIRST
    return await _started(visitor, ref, stage, wanted, None)


async def _start_invited(visitor: Visitor, ref: AccountRef, wanted: str, typed: str) -> Reply:
    services = visitor.services
    hashed = invitation.code_hash(services.keys.names, ref.id, typed)
    found = await services.accounts.try_invitation(ref.id, hashed, visitor.exchange.realm.budget)
    if not isinstance(found, InvitationProven):
        known = await records.known_name(services, ref)
        detail = (("why", found.why.value), ("account_id", ref.id))
        records.soon(visitor.exchange, services, EventKind.INVITATION_REFUSED, account=known, detail=detail)
        waits = found.why in {AttemptFault.DELAYED, AttemptFault.EVERYBODY_DELAYED}
        error = views.FormError.TOO_MANY if waits else views.FormError.WRONG
        retry = found.retry_after_s if waits else None
        return _start_again(visitor, "invitation", wanted, error, retry, 429 if waits else 403)
    if not await records.keep(visitor.exchange, services, EventKind.INVITATION_USED, account=ref.name):
        return refusal(visitor.exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5)
    return await _started(visitor, ref, Stage.INVITED_FIRST, wanted, found.invitation_id)


def _start_again(
    visitor: Visitor, by: str, wanted: str, error: views.FormError, retry_after_s: int | None, status: int
) -> Reply:
    return views.start(
        visitor.look,
        token=visitor.token(),
        error=error,
        next=wanted,
        by="invitation" if by == "invitation" else "code",
        retry_after_s=retry_after_s,
        status=status,
    )


async def _started(
    visitor: Visitor, ref: AccountRef, stage: Stage, wanted: str, invitation_id: str | None
) -> Reply:
    exchange, services = visitor.exchange, visitor.services
    device = devices.at_login(exchange, services) if stage is Stage.FULL else None
    opened = await services.sessions.open(
        ref.id,
        exchange.app.name,
        stage,
        exchange.realm.sessions,
        address=exchange.facts.client_address,
        agent=browser_label(exchange.facts.header("user-agent")),
        invitation=invitation_id or "",
        link=None if device is None else devices.link(exchange, device),
    )
    cookie = ("set-cookie", session_cookie(exchange, services, ref.id, opened.session_id))
    if device is None:
        return redirect(wanted, cookie)
    if not await note_opened(exchange, services, ref, opened, device):
        return refusal(exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5)
    return redirect(wanted, cookie, device.line)
