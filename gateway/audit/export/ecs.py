"""Elastic Common Schema 8.17, one JSON object a line. Pure."""

import json
from ipaddress import ip_address
from typing import Any, Final

from gateway.audit.export.facts import PRODUCT, Facts, Observer
from gateway.audit.export.meanings import known_kind, meaning_of, outcome_of
from gateway.vocabulary.events import EventKind

ECS_VERSION: Final = "8.17.0"

_WEB: Final = ("event", "web", ("access",))
_AUTHENTICATION: Final = ("event", "authentication", ("info",))
_IAM: Final = ("event", "iam", ("user", "change"))
_CONFIGURATION: Final = ("event", "configuration", ("change",))

CATEGORIES: Final[dict[EventKind, tuple[str, str, tuple[str, ...]]]] = {
    EventKind.ACCESS: _WEB,
    EventKind.WITHHELD: ("alert", "web", ("access",)),
    EventKind.REFUSED: _WEB,
    EventKind.CHALLENGED: _WEB,
    EventKind.UNSAFE_SENT: _WEB,
    EventKind.LOGIN_SEEN: ("event", "authentication", ("start",)),
    EventKind.LOGIN_FAILED: ("event", "authentication", ("start",)),
    EventKind.LOGOUT: ("event", "authentication", ("end",)),
    EventKind.CODE_ACCEPTED: _AUTHENTICATION,
    EventKind.CODE_REFUSED: _AUTHENTICATION,
    EventKind.RECOVERY_USED: _AUTHENTICATION,
    EventKind.INVITED: ("event", "iam", ("user", "creation")),
    EventKind.INVITATION_USED: _IAM,
    EventKind.INVITATION_REFUSED: _AUTHENTICATION,
    EventKind.ENROLMENT_DENIED: ("alert", "authentication", ("info",)),
    EventKind.ENROLLED: _IAM,
    EventKind.FACTOR_RESET: _IAM,
    EventKind.ACCOUNT_LOCKED: _IAM,
    EventKind.ACCOUNT_UNLOCKED: _IAM,
    EventKind.SESSION_OPENED: ("event", "session", ("start",)),
    EventKind.SESSION_CLOSED: ("event", "session", ("end",)),
    EventKind.NEAR_LIMIT: ("alert", "web", ("info",)),
    EventKind.WOULD: ("alert", "web", ("info",)),
    EventKind.SIGHTED: ("alert", "web", ("access",)),
    EventKind.STREAM_CUT: ("event", "network", ("end",)),
    EventKind.FAIL_CLOSED: ("event", "web", ("error",)),
    EventKind.CONFIG_LOADED: _CONFIGURATION,
    EventKind.CONFIG_REFUSED: _CONFIGURATION,
    EventKind.CONFIG_WEAKENED: _CONFIGURATION,
    EventKind.STARTED: ("event", "process", ("start",)),
    EventKind.STOPPED: ("event", "process", ("end",)),
    EventKind.STORE_ADOPTED: _CONFIGURATION,
    EventKind.KEYS_MADE: _CONFIGURATION,
    EventKind.BACKUP_MADE: ("event", "database", ("access",)),
    EventKind.BACKUP_RESTORED: ("event", "database", ("change",)),
    EventKind.AUDIT_QUERIED: ("event", "database", ("access",)),
    EventKind.AUDIT_PURGED: ("event", "database", ("change",)),
    EventKind.RETENTION_SET: _CONFIGURATION,
    EventKind.AUDIT_IDENTIFIED: ("event", "database", ("access",)),
    EventKind.AUDIT_PROVED: ("event", "database", ("access",)),
    EventKind.CHECKPOINT_CONTRADICTED: ("alert", "database", ("info",)),
    EventKind.STEP_UP_ASKED: _WEB,
    EventKind.STEP_UP_GIVEN: _AUTHENTICATION,
    EventKind.BREAK_GLASS: ("alert", "authentication", ("info",)),
    EventKind.BREAK_GLASS_REVIEWED: _IAM,
    EventKind.SIGNALLED: ("alert", "intrusion_detection", ("info",)),
    EventKind.CODE_DEMANDED: _IAM,
    EventKind.CANARY_CHANGED: _CONFIGURATION,
    EventKind.POSTURE_CHANGED: _CONFIGURATION,
    EventKind.PLAN_BLANC: _CONFIGURATION,
    EventKind.ALERT_ACKNOWLEDGED: ("event", "intrusion_detection", ("info",)),
    EventKind.GAP: ("event", "process", ("info",)),
}
"""``event.kind``, the ``event.category`` and its ``event.type``, each an allowed value of ECS."""


def render(facts: Facts, observer: Observer) -> str:
    """Return *facts* as one line of ASCII JSON. What ECS has no field for stands under ``ecluse``."""
    kind, category, types = CATEGORIES.get(known_kind(facts) or EventKind.GAP, ("event", "web", ("info",)))
    actor = facts.operator or facts.account
    target = facts.account if facts.operator else None
    told: dict[str, Any] = {
        "@timestamp": facts.at,
        "ecs": {"version": ECS_VERSION},
        "message": meaning_of(facts).title,
        "event": {
            "kind": kind,
            "category": [category],
            "type": list(types),
            "action": facts.kind,
            "outcome": outcome_of(facts).value,
            "dataset": "ecluse.audit",
            "module": PRODUCT,
            "id": facts.message_id,
            "sequence": facts.seq,
            "reason": facts.reason,
        },
        "user": {
            "name": actor,
            "domain": None if facts.operator else facts.realm,
            "roles": [facts.account_class] if facts.account_class and not facts.operator else None,
            "target": {"name": target, "domain": facts.realm if target else None},
        },
        "source": {"address": facts.client, "ip": _ip(facts.client), "port": facts.client_port},
        "http": {
            "request": {"method": facts.method, "id": facts.request_id},
            "response": {"status_code": facts.status, "body": {"bytes": facts.bytes}},
        },
        "service": {"name": facts.app, "address": observer.addresses.get(facts.app or "")},
        "organization": {"id": facts.establishment, "name": observer.site or None},
        "rule": {"name": facts.rule},
        "observer": {
            "vendor": "Ecluse",
            "product": PRODUCT,
            "version": observer.version or None,
            "hostname": observer.host,
            "type": "proxy",
        },
        PRODUCT: {
            "event_id": facts.event_id,
            "writer": facts.writer,
            "route": facts.route,
            "route_kind": facts.route_kind,
            "patient": facts.patient,
            "patient_place": facts.place if facts.patient else None,
            "patients": facts.patients or None,
            "opened": facts.opened,
            "rows": facts.rows,
            "categories": list(facts.categories) or None,
            "sensitivity": facts.sensitivity,
            "control": facts.control,
            "reference": facts.reference,
            "session": facts.session,
            "policy_id": facts.policy_id,
            "detail": [{"name": name, "value": text} for name, text in facts.detail] or None,
        },
    }
    return json.dumps(_present(told), separators=(",", ":"))


def _ip(client: str | None) -> str | None:
    try:
        return str(ip_address(client)) if client else None
    except ValueError:
        return None


def _present(values: dict[str, Any]) -> dict[str, Any]:
    """Return *values* without what is not there."""
    made = {name: _present(value) if isinstance(value, dict) else value for name, value in values.items()}
    return {name: value for name, value in made.items() if value is not None and value != {}}
