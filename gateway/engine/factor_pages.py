"""The second factor asked, enrolled and proven; then the parked answer is handed over."""

from gateway import telemetry
from gateway.accounts import enrolment, invitation, recovery, totp, verification
from gateway.accounts.store import AttemptFault, InvitationProven
from gateway.accounts.verification import Refusal, Refused
from gateway.engine import devices, records
from gateway.engine.login_answers import hand_over, note_opened, park, session_cookie, unpark
from gateway.engine.replies import home_path, login_path, redirect, refusal, with_headers
from gateway.engine.visitor import Visitor
from gateway.pages import views
from gateway.policy.policy import Flow
from gateway.sessions import ticket
from gateway.sessions.parking import Parked
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.identity import AccountRef, Stage
from gateway.vocabulary.messages import Reply

HASH_COST = recovery.HashCost()


def away(visitor: Visitor) -> Reply:
    """Send somebody who owes nothing here to where they can go on."""
    exchange = visitor.exchange
    if visitor.stage is Stage.FULL:
        return redirect(home_path(exchange.app))
    if exchange.app.flow is Flow.BEFORE_LOGIN:
        return redirect(f"{exchange.policy.prefix}start")
    return redirect(login_path(exchange.app))


def _owes_code(visitor: Visitor) -> bool:
    return visitor.stage is Stage.PENDING and visitor.enrolled


async def show_code(visitor: Visitor) -> Reply:
    """Ask for the code."""
    if visitor.stage is Stage.PENDING and not _owes_code(visitor):
        return redirect(f"{visitor.exchange.policy.prefix}invitation")
    if not _owes_code(visitor):
        return away(visitor)
    return views.code(visitor.look, token=visitor.token())


async def take_code(visitor: Visitor) -> Reply:
    """Check the code; when it is right, open the session and hand over what the app answered."""
    account, form = visitor.account, visitor.form
    if not _owes_code(visitor) or account is None or form is None:
        return away(visitor)
    realm, services = visitor.exchange.realm, visitor.services
    found = await verification.verify_code(
        services.accounts,
        services.keys.sealing,
        account.id,
        form.get("code", ""),
        realm.budget,
        services.clock.now_ms(),
        dormant_s=realm.dormant_s,
    )
    if isinstance(found, Refused):
        error = tell_refused(visitor, account, found)
        return views.code(
            visitor.look,
            token=visitor.token(),
            error=error,
            retry_after_s=found.retry_after_s or None,
            status=status_of(found),
        )
    return await _open(visitor, account, EventKind.CODE_ACCEPTED)


def tell_refused(
    visitor: Visitor, account: AccountRef, found: Refused, *, named: bool = True
) -> views.FormError:
    telemetry.CODES.labels(account.realm, "refused").inc()
    detail = [("why", found.why.value)] + ([] if named else [("account_id", account.id)])
    records.soon(
        visitor.exchange,
        visitor.services,
        EventKind.CODE_REFUSED,
        account=account.name if named else None,
        detail=tuple(detail),
    )
    if found.locked_now:
        records.soon(
            visitor.exchange,
            visitor.services,
            EventKind.ACCOUNT_LOCKED,
            account=account.name,
            detail=(("why", "failure-budget"),),
        )
    # One text for every refusal but the wait, which the person must know and which says nothing of the code.
    return views.FormError.TOO_MANY if found.retry_after_s else views.FormError.WRONG


def status_of(found: Refused) -> int:
    return 429 if found.retry_after_s and found.why is Refusal.DELAYED else 403


async def show_recovery(visitor: Visitor) -> Reply:
    """Ask for a recovery code."""
    if not _owes_code(visitor):
        return away(visitor)
    return views.recovery(visitor.look, token=visitor.token())


async def take_recovery(visitor: Visitor) -> Reply:
    """Use a recovery code up; it works once and the person is told how many are left."""
    account, form = visitor.account, visitor.form
    if not _owes_code(visitor) or account is None or form is None:
        return away(visitor)
    realm = visitor.exchange.realm
    found = await verification.verify_recovery(
        visitor.services.accounts,
        account.id,
        form.get("code", ""),
        realm.budget,
        HASH_COST,
        dormant_s=realm.dormant_s,
    )
    if isinstance(found, Refused):
        error = tell_refused(visitor, account, found)
        return views.recovery(
            visitor.look,
            token=visitor.token(),
            error=error,
            retry_after_s=found.retry_after_s or None,
            status=status_of(found),
        )
    return await _open(visitor, account, EventKind.RECOVERY_USED, recovery_left=found.recovery_left)


async def _open(
    visitor: Visitor,
    account: AccountRef,
    kind: EventKind | None,
    *,
    recovery_left: int | None = None,
    codes: tuple[str, ...] = (),
) -> Reply:
    """Make the session full under a new id, and hand over the parked answer; recorded before it is handed over."""
    exchange, services = visitor.exchange, visitor.services
    old_id = exchange.session_id
    if old_id is None:
        return away(visitor)
    telemetry.CODES.labels(account.realm, "accepted").inc()
    if kind is not None and not await records.keep(exchange, services, kind, account=account.name):
        return refusal(exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5)
    kept = await unpark(services, account.id, old_id)
    device = devices.at_login(exchange, services)
    promoted = await services.sessions.promote(
        account.id, old_id, Stage.FULL, exchange.realm.sessions, link=devices.link(exchange, device)
    )
    if not await note_opened(exchange, services, account, promoted, device):
        return refusal(exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5)
    cookie = ("set-cookie", session_cookie(exchange, services, account.id, promoted.session_id))
    gone = ("set-cookie", ticket.clear_door_cookie())
    if recovery_left is None and not codes:
        return hand_over(exchange, kept, cookie, gone, device.line)
    await park(
        services, account.id, promoted.session_id, kept or Parked(303, home_path(exchange.app), (), None)
    )
    path = f"{exchange.policy.prefix}continue"
    if codes:
        reply = views.recovery_codes(visitor.look, codes=codes, next_path=path)
    else:
        reply = views.recovery_used(visitor.look, left=recovery_left or 0, next_path=path)
    return with_headers(reply, cookie, gone, device.line)


async def go_on(visitor: Visitor) -> Reply:
    """Hand over what was parked, after a page that had to be read first."""
    account, session_id = visitor.account, visitor.exchange.session_id
    if visitor.stage is not Stage.FULL or account is None or session_id is None:
        return away(visitor)
    return hand_over(visitor.exchange, await unpark(visitor.services, account.id, session_id))


async def show_grace(visitor: Visitor) -> Reply:
    """Tell somebody without a factor until when that is enough; the page before the app, once a login."""
    until_ms = visitor.exchange.realm.grace_until_ms
    if visitor.stage is not Stage.FULL or until_ms is None:
        return away(visitor)
    next_path = f"{visitor.exchange.policy.prefix}continue"
    return views.grace(visitor.look, until_ms=until_ms, next_path=next_path)


async def show_invitation(visitor: Visitor) -> Reply:
    """Ask for the invitation; the password alone shows no QR code."""
    if _owes_code(visitor):
        return redirect(f"{visitor.exchange.policy.prefix}code")
    if visitor.stage is not Stage.PENDING:
        return away(visitor)
    if await _proven(visitor) is not None:
        return redirect(f"{visitor.exchange.policy.prefix}enrol")
    return views.invitation(visitor.look, token=visitor.token())


async def take_invitation(visitor: Visitor) -> Reply:
    """Check the invitation code and remember in the session that it was shown."""
    claims, form, services = visitor.exchange.claims, visitor.form, visitor.services
    if visitor.stage is not Stage.PENDING or _owes_code(visitor) or claims is None or form is None:
        return away(visitor)
    account = visitor.account
    name = account.name if account is not None else None
    typed = invitation.code_hash(services.keys.names, claims.account_id, form.get("invitation", ""))
    found = await services.accounts.try_invitation(claims.account_id, typed, visitor.exchange.realm.budget)
    if not isinstance(found, InvitationProven):
        detail = (("why", found.why.value), ("account_id", claims.account_id))
        records.soon(visitor.exchange, services, EventKind.INVITATION_REFUSED, account=name, detail=detail)
        waits = found.why in {AttemptFault.DELAYED, AttemptFault.EVERYBODY_DELAYED}
        return views.invitation(
            visitor.look,
            token=visitor.token(),
            error=views.FormError.TOO_MANY if waits else views.FormError.WRONG,
            retry_after_s=found.retry_after_s if waits else None,
            status=429 if waits else 403,
        )
    if not await records.keep(visitor.exchange, services, EventKind.INVITATION_USED, account=name):
        return refusal(visitor.exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5)
    await services.sessions.note_invitation(
        claims.account_id, claims.session_id, found.invitation_id, visitor.exchange.realm.sessions
    )
    return redirect(f"{visitor.exchange.policy.prefix}enrol")


async def _proven(visitor: Visitor) -> str | None:
    claims = visitor.exchange.claims
    if claims is None:
        return None
    found = await visitor.services.sessions.get(claims.account_id, claims.session_id)
    return found.invitation or None if found is not None else None


async def show_enrolment(visitor: Visitor) -> Reply:
    """Show the secret, which is no factor before one code of it was typed."""
    return await _enrolment(visitor, None, 200)


async def _enrolment(visitor: Visitor, error: views.FormError | None, status: int) -> Reply:
    account, services = visitor.account, visitor.services
    if visitor.stage is not Stage.PENDING or _owes_code(visitor) or account is None:
        return away(visitor)
    proven, session_id = await _proven(visitor), visitor.exchange.session_id
    if proven is None or session_id is None:
        return redirect(f"{visitor.exchange.policy.prefix}invitation")
    randomness = bytes.fromhex(services.entropy.hex(20))
    found = await enrolment.start(
        services.accounts, services.keys.sealing, account.id, session_id, proven, randomness
    )
    if not isinstance(found, enrolment.Candidate):
        return redirect(f"{visitor.exchange.policy.prefix}invitation")
    issuer = visitor.exchange.policy.body.name or visitor.exchange.app.title
    return views.enrol(
        visitor.look,
        token=visitor.token(),
        uri=totp.provisioning_uri(found.secret, account.name, issuer),
        secret=found.secret,
        login=account.name,
        error=error,
        status=status,
    )


async def take_enrolment(visitor: Visitor) -> Reply:
    """Keep the factor when its first code is right, and show the recovery codes once."""
    account, services, form = visitor.account, visitor.services, visitor.form
    if visitor.stage is not Stage.PENDING or _owes_code(visitor) or account is None or form is None:
        return away(visitor)
    proven, session_id = await _proven(visitor), visitor.exchange.session_id
    if proven is None or session_id is None:
        return redirect(f"{visitor.exchange.policy.prefix}invitation")
    found = await enrolment.confirm(
        services.accounts,
        services.keys.sealing,
        account.id,
        session_id,
        proven,
        form.get("code", ""),
        services.clock.now_ms(),
        bytes.fromhex(services.entropy.hex(recovery.RANDOM_BYTES)),
        HASH_COST,
    )
    if isinstance(found, enrolment.EnrolmentRefused):
        wrong = found.why is enrolment.EnrolmentFault.WRONG_CODE
        kind = EventKind.CODE_REFUSED if wrong else EventKind.ENROLMENT_DENIED
        detail = (("why", found.why.value),)
        records.soon(visitor.exchange, services, kind, account=account.name, detail=detail)
        if wrong:
            return await _enrolment(visitor, views.FormError.WRONG, 403)
        if found.why is enrolment.EnrolmentFault.TOO_LATE:
            return await _enrolment(visitor, views.FormError.EXPIRED, 403)
        return redirect(f"{visitor.exchange.policy.prefix}invitation")
    if not await records.keep(visitor.exchange, services, EventKind.ENROLLED, account=account.name):
        # A factor that the log does not know of is no factor: a new invitation is needed.
        await services.accounts.reset(account.id)
        return refusal(visitor.exchange, Reason.AUDIT_DOWN, 503, retry_after_s=5)
    return await _open(visitor, account, None, codes=found.recovery_codes)
