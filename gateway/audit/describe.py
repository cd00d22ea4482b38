"""From an exchange to its audit event. Pure: it knows words, not HTTP, files or keys."""

import hashlib
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from gateway.vocabulary.events import AuditEvent, EventKind

DEVICE = "device"
"""Where an event's detail names the device."""

ON_DEVICE = frozenset({EventKind.ACCESS, EventKind.SIGHTED, EventKind.UNSAFE_SENT})


class Context(msgspec.Struct, frozen=True):
    """What every event of one exchange shares. *session* is the short form made by session_label.

    *device* is the pseudonym of the device that the session was opened with; what reveals or asks bears it.
    """

    request_id: str
    policy_id: str
    app: str | None = None
    realm: str | None = None
    route: str | None = None
    route_kind: str | None = None
    method: str | None = None
    client: str | None = None
    client_port: int | None = None
    account: str | None = None
    account_class: str | None = None
    establishment: str | None = None
    session: str | None = None
    device: str | None = None

    def who(
        self, account: str | None, account_class: str | None = None, session: str | None = None
    ) -> "Context":
        """Return the same context for another account."""
        return replace(self, account=account, account_class=account_class, session=session)


@lru_cache(maxsize=8_192)
def session_label(session_id: str) -> str:
    """Return a name for a session that opens nothing: 12 hex digits of its SHA-256."""
    return hashlib.sha256(session_id.encode()).hexdigest()[:12]


def tell(
    kind: EventKind,
    context: Context,
    at_ms: int,
    *,
    rule: str | None = None,
    reason: str | None = None,
    control: str | None = None,
    status: int | None = None,
    patients: tuple[str, ...] = (),
    opened: bool | None = None,
    rows: int | None = None,
    size_bytes: int | None = None,
    categories: tuple[str, ...] = (),
    sensitivity: str | None = None,
    reference: str | None = None,
    detail: tuple[tuple[str, str], ...] = (),
) -> AuditEvent:
    """Return the event *kind* of the exchange *context*."""
    if context.device is not None and kind in ON_DEVICE:
        detail = (*detail, (DEVICE, context.device))
    return AuditEvent(
        kind=kind,
        at_ms=at_ms,
        request_id=context.request_id,
        realm=context.realm,
        account=context.account,
        account_class=context.account_class,
        establishment=context.establishment,
        session=context.session,
        app=context.app,
        route=context.route,
        route_kind=context.route_kind,
        method=context.method,
        status=status,
        client=context.client,
        client_port=context.client_port,
        rule=rule,
        reason=reason,
        control=control,
        patients=patients,
        opened=opened,
        rows=rows,
        bytes=size_bytes,
        categories=categories,
        sensitivity=sensitivity,
        policy_id=context.policy_id,
        reference=reference,
        detail=detail,
    )
