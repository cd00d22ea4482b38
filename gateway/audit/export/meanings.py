"""What each kind of event means to somebody who knows syslog and not this gateway."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.audit.export.facts import Facts
from gateway.vocabulary.events import EventKind


class Outcome(StrEnum):
    """Whether what was asked for was done."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Meaning:
    """*title* in plain ASCII, *severity* as in RFC 5424, 6.2.1: 3 error, 4 warning, 5 notice, 6 informational."""

    title: str
    severity: int
    outcome: Outcome


_OK, _NO, _UNKNOWN = Outcome.SUCCESS, Outcome.FAILURE, Outcome.UNKNOWN

MEANINGS: Final[dict[EventKind, Meaning]] = {
    EventKind.ACCESS: Meaning("Patient data shown", 6, _OK),
    EventKind.WITHHELD: Meaning("Answer withheld", 4, _NO),
    EventKind.REFUSED: Meaning("Request refused", 5, _NO),
    EventKind.CHALLENGED: Meaning("Login or code asked for", 6, _NO),
    EventKind.UNSAFE_SENT: Meaning("Change of patient data sent to the app", 6, _OK),
    EventKind.LOGIN_SEEN: Meaning("Password accepted by the app", 6, _OK),
    EventKind.LOGIN_FAILED: Meaning("Password refused by the app", 5, _NO),
    EventKind.LOGOUT: Meaning("Logout", 6, _OK),
    EventKind.CODE_ACCEPTED: Meaning("Second factor accepted", 6, _OK),
    EventKind.CODE_REFUSED: Meaning("Second factor refused", 4, _NO),
    EventKind.RECOVERY_USED: Meaning("Recovery code used", 5, _OK),
    EventKind.INVITED: Meaning("Account invited", 5, _OK),
    EventKind.INVITATION_USED: Meaning("Invitation used", 5, _OK),
    EventKind.INVITATION_REFUSED: Meaning("Invitation code refused", 4, _NO),
    EventKind.ENROLMENT_DENIED: Meaning("Right password of somebody who was not invited", 4, _NO),
    EventKind.ENROLLED: Meaning("Second factor enrolled", 5, _OK),
    EventKind.FACTOR_RESET: Meaning("Second factor reset", 5, _OK),
    EventKind.ACCOUNT_LOCKED: Meaning("Account locked", 4, _OK),
    EventKind.ACCOUNT_UNLOCKED: Meaning("Account unlocked", 5, _OK),
    EventKind.SESSION_OPENED: Meaning("Session opened", 6, _OK),
    EventKind.SESSION_CLOSED: Meaning("Session closed", 6, _OK),
    EventKind.NEAR_LIMIT: Meaning("A limit is near", 5, _OK),
    EventKind.WOULD: Meaning("Observed control would have refused", 5, _OK),
    EventKind.SIGHTED: Meaning("Personal data on an unmapped page", 4, _OK),
    EventKind.STREAM_CUT: Meaning("Stream cut", 5, _NO),
    EventKind.FAIL_CLOSED: Meaning("Refused after a fault of the gateway", 3, _NO),
    EventKind.CONFIG_LOADED: Meaning("Configuration in force", 5, _OK),
    EventKind.CONFIG_REFUSED: Meaning("Configuration refused", 4, _NO),
    EventKind.CONFIG_WEAKENED: Meaning("Weaker configuration in force", 4, _OK),
    EventKind.STARTED: Meaning("Gateway started", 5, _OK),
    EventKind.STOPPED: Meaning("Gateway stopped", 5, _OK),
    EventKind.STORE_ADOPTED: Meaning("Store adopted", 4, _OK),
    EventKind.KEYS_MADE: Meaning("Keys made", 5, _OK),
    EventKind.BACKUP_MADE: Meaning("Backup made", 5, _OK),
    EventKind.BACKUP_RESTORED: Meaning("Backup restored", 4, _OK),
    EventKind.AUDIT_QUERIED: Meaning("Audit log consulted", 5, _OK),
    EventKind.AUDIT_PURGED: Meaning("Audit entries older than the retention dropped", 4, _OK),
    EventKind.RETENTION_SET: Meaning("Retention of the audit log stated", 5, _OK),
    EventKind.AUDIT_IDENTIFIED: Meaning("Pseudonyms turned back into patients", 4, _OK),
    EventKind.AUDIT_PROVED: Meaning("Proof of an audit entry taken out", 5, _OK),
    EventKind.CHECKPOINT_CONTRADICTED: Meaning("A kept checkpoint contradicts the audit log", 3, _NO),
    EventKind.STEP_UP_ASKED: Meaning("Fresh code asked for", 5, _NO),
    EventKind.STEP_UP_GIVEN: Meaning("Fresh code and reason given", 5, _OK),
    EventKind.BREAK_GLASS: Meaning("Hard bound passed by break-glass", 4, _OK),
    EventKind.BREAK_GLASS_REVIEWED: Meaning("Break-glass reviewed", 5, _OK),
    EventKind.SIGNALLED: Meaning("Something looks wrong in the use of an account", 4, _OK),
    EventKind.CODE_DEMANDED: Meaning("Fresh second factor demanded from an account", 4, _OK),
    EventKind.CANARY_CHANGED: Meaning("Decoy set or removed", 5, _OK),
    EventKind.POSTURE_CHANGED: Meaning("Strict posture taken or left", 4, _OK),
    EventKind.PLAN_BLANC: Meaning("Plan blanc begun or ended for an establishment", 4, _OK),
    EventKind.ALERT_ACKNOWLEDGED: Meaning("Alert acknowledged", 5, _OK),
    EventKind.GAP: Meaning("Audit log resumed after an interruption", 4, _UNKNOWN),
}
_STRANGE: Final = Meaning("Event of another version", 5, _UNKNOWN)


def known_kind(facts: Facts) -> EventKind | None:
    """Return the kind of *facts*; None for a word of another version."""
    return EventKind(facts.kind) if facts.kind in EventKind else None


def meaning_of(facts: Facts) -> Meaning:
    """Return what *facts* means; an event of an unknown kind is told all the same."""
    kind = known_kind(facts)
    return _STRANGE if kind is None else MEANINGS.get(kind, _STRANGE)


def outcome_of(facts: Facts) -> Outcome:
    """Return how *facts* ended. An access that the app refused and that showed nobody is a failure."""
    refused = facts.status is not None and facts.status >= 400 and facts.patient is None
    return _NO if facts.kind == EventKind.ACCESS and refused else meaning_of(facts).outcome
