"""What of an exchange goes into the audit log, and when it must be there before anything leaves."""

import asyncio
from collections.abc import Iterable

from gateway import telemetry
from gateway.audit.describe import tell
from gateway.audit.writer import AuditUnavailable
from gateway.engine.exchange import Exchange
from gateway.engine.services import Services
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.identity import AccountRef
from gateway.vocabulary.limits import Control


def soon(
    exchange: Exchange,
    services: Services,
    kind: EventKind,
    *,
    rule: str | None = None,
    reason: Reason | None = None,
    status: int | None = None,
    control: Control | None = None,
    reference: str | None = None,
    account: str | None = None,
    detail: tuple[tuple[str, str], ...] = (),
) -> None:
    """Record an event that holds nothing back: refusals and challenges reveal nobody."""
    services.audit.append_soon(
        _event(exchange, services, kind, rule, reason, status, control, reference, account, detail)
    )


async def keep(
    exchange: Exchange,
    services: Services,
    kind: EventKind,
    *,
    rule: str | None = None,
    reason: Reason | None = None,
    status: int | None = None,
    account: str | None = None,
    detail: tuple[tuple[str, str], ...] = (),
) -> bool:
    """Record an event and wait until it is durable. False: it is not, and nothing may be built on it."""
    return await keep_event(
        services, _event(exchange, services, kind, rule, reason, status, None, None, account, detail)
    )


async def keep_event(services: Services, event: AuditEvent) -> bool:
    """Wait until *event* is durable; False when the log cannot take it."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    try:
        await services.audit.append(event)
    except AuditUnavailable:
        telemetry.AUDIT_FAILURES.inc()
        return False
    finally:
        telemetry.AUDIT_SECONDS.observe(loop.time() - began_s)
    return True


def _event(
    exchange: Exchange,
    services: Services,
    kind: EventKind,
    rule: str | None,
    reason: Reason | None,
    status: int | None,
    control: Control | None,
    reference: str | None,
    account: str | None,
    detail: tuple[tuple[str, str], ...],
) -> AuditEvent:
    context = exchange.context()
    if account is not None:
        context = context.who(account)
    elif context.account is None and exchange.typed is not None:
        # A password typed into the name's field is read as a name: it is told by its keyed hash alone.
        detail = (*detail, ("account_id", exchange.typed.id))
    return tell(
        kind,
        context,
        services.clock.now_ms(),
        rule=rule,
        reason=reason.value if reason is not None else None,
        status=status,
        control=control.value if control is not None else None,
        reference=reference,
        detail=detail,
    )


def note_controls(
    exchange: Exchange,
    services: Services,
    near: Iterable[Control],
    would: Iterable[Control],
    would_ask: Iterable[Control] = (),
) -> None:
    """Record the controls that this exchange brought near their bound, would have crossed, or would have asked for."""
    for control in near:
        soon(exchange, services, EventKind.NEAR_LIMIT, control=control)
    for control in would:
        soon(exchange, services, EventKind.WOULD, control=control)
    for control in would_ask:
        soon(exchange, services, EventKind.WOULD, reason=Reason.STEP_UP_OWED, control=control)


async def known_name(services: Services, ref: AccountRef | None) -> str | None:
    """Return the name of *ref* if an operator knows it; None for what anybody may have typed instead.

    Raises:
        StoreUnavailable, StoreEmptied: nobody can tell.
    """
    if ref is None or await services.accounts.get(ref.id) is None:
        return None
    return ref.name
