"""What the unmodified app answered to a login, and what the person owes before that answer is theirs."""

from contextlib import suppress
from urllib.parse import urlsplit

from gateway import logins, telemetry
from gateway.accounts.account import Account
from gateway.accounts.names import NameRefused, account_ref
from gateway.accounts.store import ChangeRefused
from gateway.audit.describe import session_label
from gateway.engine import devices, headers, records
from gateway.engine.browsers import browser_label
from gateway.engine.devices import Device
from gateway.engine.exchange import Answer, Exchange, Pass, ResponseAction
from gateway.engine.replies import home_path, look, own_origin, redirect, refusal, wants_html, with_headers
from gateway.engine.services import Services
from gateway.pages import views
from gateway.pages.problem import problem
from gateway.policy.policy import Flow
from gateway.sessions import forms, parking, ticket, token
from gateway.sessions.parking import Parked
from gateway.sessions.store import Opened, SessionRefused
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.identity import AccountRef, SessionClaims, Stage, Standing
from gateway.vocabulary.messages import Reply, ResponseFacts
from gateway.vocabulary.records import RouteKind

_MAX_LOCATION = 4_096


async def decide(exchange: Exchange, services: Services, response: ResponseFacts) -> ResponseAction | None:
    """Park a successful login, or return None: the answer is an ordinary one and takes the ordinary way."""
    rule = exchange.login
    if rule is None:
        raise ValueError("no login was attempted")
    succeeded = logins.outcome(rule, exchange.facts, response) is logins.Outcome.SUCCESS
    telemetry.LOGINS.labels(exchange.app.name, "success" if succeeded else "failure").inc()
    try:
        await _close_door(exchange, services, succeeded=succeeded)
        if not succeeded:
            known = await records.known_name(services, exchange.typed)
            records.soon(
                exchange,
                services,
                EventKind.LOGIN_FAILED,
                rule=rule.name,
                status=response.status,
                account=known,
            )
            return None
        return await _succeeded(exchange, services, response)
    except SessionRefused as refused:
        locked = refused.standing is not None
        reason = Reason.ACCOUNT_LOCKED if locked else Reason.SESSION_EXPIRED
        records.soon(exchange, services, EventKind.REFUSED, reason=reason, status=403 if locked else 401)
        return Answer(refusal(exchange, reason, 403 if locked else 401))
    except StoreEmptied:
        return Answer(refusal(exchange, Reason.STORE_EMPTIED, 503, retry_after_s=30))
    except StoreUnavailable:
        return Answer(refusal(exchange, Reason.STORE_DOWN, 503, retry_after_s=5))


async def _close_door(exchange: Exchange, services: Services, *, succeeded: bool) -> None:
    if exchange.attempt_open:
        exchange.attempt_open = False
        await services.sessions.door_end(exchange.sent, success=succeeded)


async def abandon(exchange: Exchange, services: Services) -> None:
    """Settle an exchange whose answer was never seen.

    A login may have succeeded, for a name that only its answer tells, so its cookies stay sealed and
    the session is closed; so is one that the app was asked to end.
    """
    nameless = exchange.login is not None and exchange.typed is None
    if nameless or (exchange.match is not None and exchange.match.kind is RouteKind.LOGOUT):
        await leave_session(exchange, services)
    if exchange.attempt_open:
        await _close_door(exchange, services, succeeded=True)


async def _succeeded(
    exchange: Exchange, services: Services, response: ResponseFacts
) -> ResponseAction | None:
    ref = _who(exchange, services, response)
    if ref is None:
        await leave_session(exchange, services)
        records.soon(exchange, services, EventKind.REFUSED, reason=Reason.NAME_REFUSED, status=403)
        return Answer(refusal(exchange, Reason.NAME_REFUSED, 403))
    rule = exchange.login.name if exchange.login is not None else None
    if not await records.keep(exchange, services, EventKind.LOGIN_SEEN, rule=rule, account=ref.name):
        return Answer(refusal(exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5))
    if exchange.app.flow is Flow.BEFORE_LOGIN:
        return await _after_code(exchange, services, response, ref)
    return await _before_code(exchange, services, response, ref)


def _who(exchange: Exchange, services: Services, response: ResponseFacts) -> AccountRef | None:
    if exchange.typed is not None:
        return exchange.typed
    if exchange.login is None:
        return None
    typed = logins.account_name(exchange.login, exchange.facts, response)
    if isinstance(typed, logins.NameFault):
        return None
    try:
        return account_ref(typed, exchange.realm.name, exchange.realm.mapping, services.keys.names)
    except NameRefused:
        return None


async def _before_code(
    exchange: Exchange, services: Services, response: ResponseFacts, ref: AccountRef
) -> ResponseAction:
    """after-login: the password was right; the code, or the enrolment, is still owed."""
    account = await services.accounts.get(ref.id)
    if account is not None and account.standing in {Standing.LOCKED, Standing.RETIRED}:
        reason = Reason.ACCOUNT_LOCKED if account.standing is Standing.LOCKED else Reason.ACCOUNT_RETIRED
        records.soon(exchange, services, EventKind.REFUSED, reason=reason, status=403, account=ref.name)
        return Answer(refusal(exchange, reason, 403))
    await leave_session(exchange, services)
    enrolled = is_enrolled(exchange, services, account)
    if account is None or account.standing is Standing.ABSENT:
        graced = await _grace(exchange, services, response, ref)
        if graced is not None:
            return graced
        records.soon(
            exchange, services, EventKind.ENROLMENT_DENIED, reason=Reason.NOT_INVITED, account=ref.name
        )
    opened = await services.sessions.open(
        ref.id,
        exchange.app.name,
        Stage.PENDING,
        exchange.realm.sessions,
        jar=_jar(exchange, services, response),
        address=exchange.facts.client_address,
        agent=browser_label(exchange.facts.header("user-agent")),
    )
    await park(services, ref.id, opened.session_id, parked(exchange, response))
    return _ask(exchange, services, ref, opened.session_id, "code" if enrolled else "invitation", response)


async def _grace(
    exchange: Exchange, services: Services, response: ResponseFacts, ref: AccountRef
) -> ResponseAction | None:
    """Until the roll-out's deadline, let somebody in whom nobody invited yet: low caps, and a notice first."""
    realm = exchange.realm
    over = realm.grace_until_ms is None or services.clock.now_ms() >= realm.grace_until_ms
    if over or realm.grace_class is None:
        return None
    noted = await services.accounts.note(ref, realm.grace_class)
    if isinstance(noted, ChangeRefused):
        return None
    device = devices.at_login(exchange, services)
    opened = await services.sessions.open(
        ref.id,
        exchange.app.name,
        Stage.FULL,
        realm.sessions,
        jar=_jar(exchange, services, response),
        address=exchange.facts.client_address,
        agent=browser_label(exchange.facts.header("user-agent")),
        link=devices.link(exchange, device),
    )
    if not await note_opened(exchange, services, ref, opened, device):
        return Answer(refusal(exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5))
    await park(services, ref.id, opened.session_id, parked(exchange, response))
    return _ask(exchange, services, ref, opened.session_id, "grace", response, device.line)


def is_enrolled(exchange: Exchange, services: Services, account: Account | None) -> bool:
    """Tell whether *account* has a factor that may still be used; a dormant one needs a new invitation."""
    return account is not None and account.is_enrolled(services.clock.now_ms(), exchange.realm.dormant_s)


async def _after_code(
    exchange: Exchange, services: Services, response: ResponseFacts, ref: AccountRef
) -> ResponseAction | None:
    """before-login: the code was right first; now the app agrees on the name, or it does not."""
    if exchange.account is None or exchange.session_id is None or exchange.account.id != ref.id:
        await leave_session(exchange, services)
        records.soon(exchange, services, EventKind.REFUSED, reason=Reason.NAMES_DISAGREE, account=ref.name)
        return Answer(refusal(exchange, Reason.NAMES_DISAGREE, 403))
    jar = _jar(exchange, services, response)
    if exchange.stage is Stage.FULL:
        exchange.jar_extra = jar
        return None
    if exchange.stage is Stage.INVITED_FIRST:
        promoted = await services.sessions.promote(
            ref.id, exchange.session_id, Stage.PENDING, exchange.realm.sessions, add_jar=jar
        )
        await park(services, ref.id, promoted.session_id, parked(exchange, response))
        return _ask(exchange, services, ref, promoted.session_id, "enrol", response)
    device = devices.at_login(exchange, services)
    promoted = await services.sessions.promote(
        ref.id,
        exchange.session_id,
        Stage.FULL,
        exchange.realm.sessions,
        add_jar=jar,
        link=devices.link(exchange, device),
    )
    if not await note_opened(exchange, services, ref, promoted, device):
        return Answer(refusal(exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5))
    cookie = ("set-cookie", session_cookie(exchange, services, ref.id, promoted.session_id))
    extra = [cookie, device.line]
    return Pass(headers.back(exchange, response.headers, extra=extra))


async def basic_answer(exchange: Exchange, services: Services, response: ResponseFacts) -> ResponseAction:
    """INVITED_FIRST with Basic: anything but a refusal shows that the password was right; enrol before seeing it."""
    ref, session_id = exchange.account, exchange.session_id
    if response.status in {401, 403} or ref is None or session_id is None:
        return Pass(headers.back(exchange, response.headers, drop_cookies=True))
    promoted = await services.sessions.promote(ref.id, session_id, Stage.PENDING, exchange.realm.sessions)
    await park(services, ref.id, promoted.session_id, Parked(303, exchange.facts.path, (), None))
    return _ask(exchange, services, ref, promoted.session_id, "enrol", response)


def _jar(exchange: Exchange, services: Services, response: ResponseFacts) -> tuple[str, ...]:
    """Return the credentials that are this login's: those the app kept, those it set, and its bearer token."""
    given, _ = headers.credentials_given(exchange, response.headers, services)
    jar = [*exchange.sent, *given]
    if exchange.login is not None and exchange.login.bearer is not None:
        value = logins.bearer(exchange.login, response)
        if value is not None:
            jar.append(headers.bearer_hash(exchange, services, value))
    return tuple(dict.fromkeys(jar))


def parked(exchange: Exchange, response: ResponseFacts) -> Parked:
    """Return what of the app's answer is kept until the code was right: where to go, and its cookies.

    A body is never kept: an answer that was no redirect is asked for again by GET, and then inspected
    like any other.
    """
    cookies = tuple(
        value for value in response.header_values("set-cookie") if not headers.is_own_cookie(value)
    )
    location = response.header("location")
    if 300 <= response.status < 400 and location is not None and len(location) <= _MAX_LOCATION:
        return Parked(response.status, location, cookies, None)
    landing = exchange.login.landing if exchange.login is not None else None
    return Parked(303, landing or exchange.facts.path, cookies, None)


def _ask(
    exchange: Exchange,
    services: Services,
    ref: AccountRef,
    session_id: str,
    page: str,
    response: ResponseFacts,
    *more: tuple[str, str],
) -> ResponseAction:
    path = exchange.policy.prefix + page
    cookie = ("set-cookie", session_cookie(exchange, services, ref.id, session_id))
    gone = ("set-cookie", ticket.clear_door_cookie())
    if wants_html(exchange) or 300 <= response.status < 400:
        return Answer(redirect(path, cookie, gone, *more))
    reply = problem(
        reason=Reason.CODE_OWED,
        status=401,
        reference=exchange.facts.request_id[:8],
        prompt_path=path,
    )
    return Answer(with_headers(reply, cookie, gone, *more))


def session_cookie(exchange: Exchange, services: Services, account_id: str, session_id: str) -> str:
    """Return the Set-Cookie line of a session, good for its absolute lifetime at most."""
    now_s, lifetime_s = services.clock.now_ms() // 1000, exchange.realm.sessions.absolute_s
    claims = SessionClaims(session_id, account_id, exchange.app.name, now_s + lifetime_s)
    text = token.issue(services.keys.session, claims, now_s)
    return forms.session_cookie(text, lifetime_s)


async def note_opened(
    exchange: Exchange, services: Services, ref: AccountRef, opened: Opened, device: Device
) -> bool:
    """Record that a session is open, on which device, and what it closed; False when the log cannot take it."""
    for old in opened.closed:
        why = (("closed", session_label(old)), ("why", "at-most"))
        records.soon(exchange, services, EventKind.SESSION_CLOSED, account=ref.name, detail=why)
    session = ("session", session_label(opened.session_id))
    detail = (session, ("device", device.label), ("device_new", "true" if device.new else "false"))
    return await records.keep(exchange, services, EventKind.SESSION_OPENED, account=ref.name, detail=detail)


async def close_session(exchange: Exchange, services: Services, kind: EventKind) -> None:
    """Close the live session of *exchange* and record it."""
    if exchange.account is None or exchange.session_id is None:
        return
    records.soon(exchange, services, kind)
    await services.sessions.close(exchange.account.id, exchange.session_id)


async def leave_session(exchange: Exchange, services: Services) -> None:
    """Close the full session that *exchange* came with; it goes on without one."""
    if exchange.stage is Stage.FULL and exchange.session_id is not None:
        await close_session(exchange, services, EventKind.SESSION_CLOSED)
        exchange.claims = None


async def park(services: Services, account_id: str, session_id: str, kept: Parked) -> None:
    """Keep the app's answer sealed until the code was right."""
    sealed = parking.seal(services.keys.sealing, kept, account_id, session_id)
    await services.sessions.park(account_id, session_id, sealed)


async def unpark(services: Services, account_id: str, session_id: str) -> Parked | None:
    """Return the parked answer once; None when it has expired or was handed over."""
    sealed = await services.sessions.unpark(account_id, session_id)
    return None if sealed is None else parking.unseal(services.keys.sealing, sealed, account_id, session_id)


def relative(location: str) -> str:
    """Return *location* when it is a path of the same host, else ``/``."""
    parts = urlsplit(location)
    unsafe = (
        parts.scheme or parts.netloc or not location.startswith("/") or location.startswith(("//", "/\\"))
    )
    strange = any(not "!" <= char <= "~" or char == "\\" for char in location)
    if unsafe or strange or len(location) > _MAX_LOCATION:
        return "/"
    return location


def hand_over(exchange: Exchange, kept: Parked | None, *extra: tuple[str, str]) -> Reply:
    """Return the parked answer as the browser gets it at last; the start page when it was not kept.

    Where it leads to another origin the browser is sent on by a page: a form's answer may not redirect
    there, since ``form-action`` covers redirects too.
    """
    if kept is None:
        return redirect(home_path(exchange.app), *extra)
    location = kept.location or "/"
    cookies = tuple(("set-cookie", value) for value in kept.set_cookies)
    parts = urlsplit(location)
    if parts.netloc and f"{parts.scheme or exchange.facts.scheme}://{parts.netloc}" != own_origin(exchange):
        absolute = location if parts.scheme else f"{exchange.facts.scheme}:{location}"
        with suppress(ValueError):
            return with_headers(views.onward(look(exchange), location=absolute), *cookies, *extra)
    return redirect(location, *cookies, *extra)
