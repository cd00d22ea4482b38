"""A fresh code and a reason within an open session: past a soft bound, or by break-glass past a hard one."""

from dataclasses import dataclass

from gateway import telemetry
from gateway.accounts import verification
from gateway.accounts.store import GlassRefused
from gateway.accounts.verification import Refused, Verified
from gateway.audit.describe import session_label
from gateway.disclosure import shows_personal_data
from gateway.engine import records, returning
from gateway.engine.factor_pages import HASH_COST, away, status_of, tell_refused
from gateway.engine.gather import limits_for
from gateway.engine.login_answers import session_cookie
from gateway.engine.replies import redirect, refusal, with_headers
from gateway.engine.services import Services
from gateway.engine.visitor import Visitor
from gateway.pages import views
from gateway.policy import params
from gateway.policy.policy import Realm
from gateway.sessions.store import SessionRefused, new_session_id
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.identity import AccountRef
from gateway.vocabulary.limits import BreakGlass
from gateway.vocabulary.messages import Reply
from gateway.vocabulary.need import BREAK_GLASS_NEEDS, STEP_UP_NEEDS, Need

_MOST_WORDS = 120
_LONGEST_CODE = 10
_LONGEST_SEALED = 4_096


@dataclass(frozen=True, slots=True)
class Given:
    """What the form said of the reason."""

    need: Need | None
    words: str
    fault: views.FormError | None


async def show_step_up(visitor: Visitor) -> Reply:
    """Ask for a fresh code and a reason."""
    turned = _turned_away(visitor)
    return _shown(visitor) if turned is None else turned


async def take_step_up(visitor: Visitor) -> Reply:
    """Check reason and code; what the account owed is paid for this session, which goes on under a new id."""
    turned = _turned_away(visitor)
    if turned is not None:
        return turned
    checked = await _checked(visitor, STEP_UP_NEEDS)
    if isinstance(checked, Reply):
        return checked
    if not await records.keep(
        visitor.exchange, visitor.services, EventKind.STEP_UP_GIVEN, detail=checked.detail
    ):
        return refusal(visitor.exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5)
    return await _gone_on(visitor, checked)


async def show_break_glass(visitor: Visitor) -> Reply:
    """Ask for a fresh code and a reason to go past a hard bound, if that may still be done today."""
    turned = await _no_more(visitor)
    return _shown(visitor) if turned is None else turned


async def take_break_glass(visitor: Visitor) -> Reply:
    """Check reason and code, record it, and allow some patients more for a while; it is reviewed afterwards."""
    exchange, services, account = visitor.exchange, visitor.services, visitor.account
    rule, turned = _rule(visitor), await _no_more(visitor)
    if turned is not None or rule is None or account is None:
        return turned or away(visitor)
    checked = await _checked(visitor, BREAK_GLASS_NEEDS)
    if isinstance(checked, Reply):
        return checked
    told = (*checked.detail, ("patients", str(rule.patients)), ("for_s", str(rule.for_s)))
    reference = exchange.facts.request_id[:8]
    if not await records.keep(exchange, services, EventKind.BREAK_GLASS, reference=reference, detail=told):
        return refusal(exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5)
    broken = await services.accounts.break_glass(account.id, rule)
    if isinstance(broken, GlassRefused):
        # Another window of the same person was faster.
        return _spent(visitor, broken.retry_after_s)
    return await _gone_on(visitor, checked)


@dataclass(frozen=True, slots=True)
class _Checked:
    """The code was right. *detail* is for the event, *fresh_id* the session's next id."""

    detail: tuple[tuple[str, str], ...]
    fresh_id: str
    recovery_left: int | None


async def _checked(visitor: Visitor, needs: tuple[Need, ...]) -> _Checked | Reply:
    """Read the reason, then look at the code; the page again when either is not good."""
    exchange, services, form, account = visitor.exchange, visitor.services, visitor.form, visitor.account
    if account is None or form is None:
        return away(visitor)
    given = read_need(form, needs)
    if given.fault is not None:
        return _shown(visitor, given, given.fault, 422)
    found = await check_either(services, exchange.realm, account, form.get("code", ""))
    if isinstance(found, Refused):
        error = tell_refused(visitor, account, found)
        return _shown(visitor, given, error, status_of(found), found.retry_after_s or None)
    telemetry.CODES.labels(account.realm, "accepted").inc()
    fresh_id = new_session_id()
    detail = (
        *need_detail(given),
        ("by", "code" if found.step is not None else "recovery-code"),
        ("next_session", session_label(fresh_id)),
    )
    if found.step is None and not await records.keep(exchange, services, EventKind.RECOVERY_USED):
        return refusal(exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5)
    return _Checked(detail, fresh_id, found.recovery_left)


async def _gone_on(visitor: Visitor, checked: _Checked) -> Reply:
    """Let the session go on under its new id, to where the person was."""
    exchange, services, account = visitor.exchange, visitor.services, visitor.account
    if account is None or exchange.session_id is None:
        return away(visitor)
    try:
        await services.sessions.step_up(account.id, exchange.session_id, checked.fresh_id)
    except SessionRefused:
        # Closed or locked while the code was looked at.
        return refusal(exchange, Reason.SESSION_EXPIRED, 401)
    cookie = ("set-cookie", session_cookie(exchange, services, account.id, checked.fresh_id))
    onward = returning.target(exchange, services, (visitor.form or {}).get("to", ""))
    if checked.recovery_left is not None:
        page = views.recovery_used(visitor.look, left=checked.recovery_left, next_path=onward)
        return with_headers(page, cookie)
    return redirect(onward, cookie)


async def check_either(
    services: Services, realm: Realm, account: AccountRef, typed: str
) -> Verified | Refused:
    """Check what was typed as a code or, when it is longer than one, as a recovery code; one budget for both.

    Raises:
        SealBroken, SecretUnusable, StoreUnavailable, StoreEmptied: nobody is let in.
    """
    if len([char for char in typed if char.isalnum()]) <= _LONGEST_CODE:
        return await verification.verify_code(
            services.accounts,
            services.keys.sealing,
            account.id,
            typed,
            realm.budget,
            services.clock.now_ms(),
            dormant_s=realm.dormant_s,
        )
    return await verification.verify_recovery(
        services.accounts, account.id, typed, realm.budget, HASH_COST, dormant_s=realm.dormant_s
    )


def read_need(form: dict[str, str], needs: tuple[Need, ...]) -> Given:
    """Read the coded reason and the words beside it; what looks like a patient's is not taken.

    The words stay in the log for years, so a number that could be anybody's has no place there.
    """
    words = " ".join(form.get("words", "").split())
    need = next((each for each in needs if each == form.get("need")), None)
    if need is None or (need is Need.OTHER and not words):
        return Given(need, words[:_MOST_WORDS], views.FormError.NEED)
    strange = not words.isprintable() or len(words) > _MOST_WORDS or shows_personal_data(words)
    return Given(need, words[:_MOST_WORDS], views.FormError.PERSONAL if strange else None)


def need_detail(given: Given) -> tuple[tuple[str, str], ...]:
    """Return the reason as an audit event keeps it."""
    words = (("words", given.words),) if given.words else ()
    return (("need", given.need.value if given.need is not None else ""), *words)


def _turned_away(visitor: Visitor) -> Reply | None:
    """Return where somebody goes who has no open session here, or no factor to be asked for."""
    if not visitor.bound or visitor.account is None:
        return away(visitor)
    entered = visitor.exchange.entered
    if entered is None or not entered.enrolled:
        return refusal(visitor.exchange, Reason.STEP_UP_OWED, 403)
    return None


def _kept(sealed: str) -> str:
    # What is not of our shape is not repeated on a page.
    plain = all(char.isalnum() or char in "-_." for char in sealed)
    return sealed if sealed.isascii() and plain and len(sealed) <= _LONGEST_SEALED else ""


def _shown(
    visitor: Visitor,
    given: Given | None = None,
    error: views.FormError | None = None,
    status: int = 200,
    retry_after_s: int | None = None,
) -> Reply:
    """Return the page of this visitor, with what was typed into it before but for the code."""
    form, query = visitor.form or {}, visitor.exchange.facts.query
    recovery = "recovery" in params.query_values(query, "by")
    if form:
        recovery = len([char for char in form.get("code", "") if char.isalnum()]) > _LONGEST_CODE
    return views.step_up(
        visitor.look,
        token=visitor.token(),
        to=_kept(form.get("to", "") or next(iter(params.query_values(query, "to")), "")),
        emergency=visitor.page == "break-glass",
        chosen=given.need if given is not None else None,
        words=given.words if given is not None else "",
        by="recovery" if recovery else "code",
        error=error,
        retry_after_s=retry_after_s,
        status=status,
    )


def _rule(visitor: Visitor) -> BreakGlass | None:
    # Rules change bounds and nothing else, so the class alone tells.
    return limits_for(visitor.exchange, visitor.exchange.account_class, None).break_glass


async def _no_more(visitor: Visitor) -> Reply | None:
    """Return the page for whom no emergency access is left or meant; None when it may be asked for."""
    turned, rule = _turned_away(visitor), _rule(visitor)
    if turned is not None or visitor.account is None:
        return turned or away(visitor)
    account = await visitor.services.accounts.get(visitor.account.id)
    now_ms = visitor.services.clock.now_ms()
    if rule is None or account is None or account.glass_left(now_ms, rule.per_24h) < 1:
        return _spent(visitor, None)
    return None


def _spent(visitor: Visitor, retry_after_s: int | None) -> Reply:
    reason, reference = Reason.BREAK_GLASS_SPENT, visitor.exchange.facts.request_id[:8]
    records.soon(
        visitor.exchange,
        visitor.services,
        EventKind.REFUSED,
        reason=reason,
        status=429,
        reference=reference,
    )
    return refusal(visitor.exchange, reason, 429, retry_after_s=retry_after_s or None)
