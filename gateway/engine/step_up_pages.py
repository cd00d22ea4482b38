"""A fresh code and a reason within an open session; then it goes on where it was."""

from dataclasses import dataclass

from gateway import telemetry
from gateway.accounts import verification
from gateway.accounts.verification import Refused, Verified
from gateway.audit.describe import session_label
from gateway.disclosure import shows_personal_data
from gateway.engine import records, returning
from gateway.engine.factor_pages import HASH_COST, away, status_of, tell_refused
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
from gateway.vocabulary.messages import Reply
from gateway.vocabulary.need import STEP_UP_NEEDS, Need

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
    if turned is not None:
        return turned
    query = visitor.exchange.facts.query
    sealed = next(iter(params.query_values(query, "to")), "")
    recovery = "recovery" in params.query_values(query, "by")
    return views.step_up(
        visitor.look, token=visitor.token(), to=_kept(sealed), by="recovery" if recovery else "code"
    )


async def take_step_up(visitor: Visitor) -> Reply:
    """Check reason and code; what the account owed is paid for this session, which goes on under a new id."""
    exchange, services, form, account = visitor.exchange, visitor.services, visitor.form, visitor.account
    turned, old_id = _turned_away(visitor), exchange.session_id
    if turned is not None or account is None or form is None or old_id is None:
        return turned or away(visitor)
    given = read_need(form, STEP_UP_NEEDS)
    if given.fault is not None:
        return _again(visitor, given, given.fault, 422)
    found = await check_either(services, exchange.realm, account, form.get("code", ""))
    if isinstance(found, Refused):
        error = tell_refused(visitor, account, found)
        return _again(visitor, given, error, status_of(found), found.retry_after_s or None)
    telemetry.CODES.labels(account.realm, "accepted").inc()
    fresh_id = new_session_id()
    told = (
        *need_detail(given),
        ("by", "code" if found.step is not None else "recovery-code"),
        ("next_session", session_label(fresh_id)),
    )
    kept = found.step is not None or await records.keep(exchange, services, EventKind.RECOVERY_USED)
    if not kept or not await records.keep(exchange, services, EventKind.STEP_UP_GIVEN, detail=told):
        return refusal(exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5)
    try:
        await services.sessions.step_up(account.id, old_id, fresh_id)
    except SessionRefused:
        # Closed or locked while the code was looked at.
        return refusal(exchange, Reason.SESSION_EXPIRED, 401)
    cookie = ("set-cookie", session_cookie(exchange, services, account.id, fresh_id))
    onward = returning.target(exchange, services, form.get("to", ""))
    if found.recovery_left is not None:
        page = views.recovery_used(visitor.look, left=found.recovery_left, next_path=onward)
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


def _again(
    visitor: Visitor, given: Given, error: views.FormError, status: int, retry_after_s: int | None = None
) -> Reply:
    form = visitor.form or {}
    typed = form.get("code", "")
    longer = len([char for char in typed if char.isalnum()]) > _LONGEST_CODE
    return views.step_up(
        visitor.look,
        token=visitor.token(),
        to=_kept(form.get("to", "")),
        chosen=given.need,
        words=given.words,
        by="recovery" if longer else "code",
        error=error,
        retry_after_s=retry_after_s,
        status=status,
    )
