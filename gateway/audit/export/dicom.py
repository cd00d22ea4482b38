"""DICOM codes of each kind of event (PS3.15, A.5.3; PS3.16, context groups 400 and 401): for FHIR and ATNA alike."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.audit.export.facts import Facts
from gateway.audit.export.meanings import Outcome, known_kind, outcome_of
from gateway.vocabulary.events import EventKind

SYSTEM: Final = "http://dicom.nema.org/resources/ontology/DCM"


class Code(StrEnum):
    """A DICOM code."""

    APPLICATION_ACTIVITY = "110100"
    AUDIT_LOG_USED = "110101"
    PATIENT_RECORD = "110110"
    QUERY = "110112"
    SECURITY_ALERT = "110113"
    USER_AUTHENTICATION = "110114"
    APPLICATION_START = "110120"
    APPLICATION_STOP = "110121"
    LOGIN = "110122"
    LOGOUT = "110123"
    EMERGENCY_OVERRIDE = "110127"
    SECURITY_CONFIGURATION = "110129"
    RESTRICTED_FUNCTION = "110132"
    RECORDING_STARTED = "110134"
    USER_SECURITY_CHANGED = "110137"
    APPLICATION = "110150"
    DESTINATION_ROLE = "110152"
    SOURCE_ROLE = "110153"


MEANINGS: Final[dict[Code, str]] = {
    Code.APPLICATION_ACTIVITY: "Application Activity",
    Code.AUDIT_LOG_USED: "Audit Log Used",
    Code.PATIENT_RECORD: "Patient Record",
    Code.QUERY: "Query",
    Code.SECURITY_ALERT: "Security Alert",
    Code.USER_AUTHENTICATION: "User Authentication",
    Code.APPLICATION_START: "Application Start",
    Code.APPLICATION_STOP: "Application Stop",
    Code.LOGIN: "Login",
    Code.LOGOUT: "Logout",
    Code.EMERGENCY_OVERRIDE: "Emergency Override Started",
    Code.SECURITY_CONFIGURATION: "Security Configuration",
    Code.RESTRICTED_FUNCTION: "Use of Restricted Function",
    Code.RECORDING_STARTED: "Audit Recording Started",
    Code.USER_SECURITY_CHANGED: "User security Attributes Changed",
    Code.APPLICATION: "Application",
    Code.DESTINATION_ROLE: "Destination Role ID",
    Code.SOURCE_ROLE: "Source Role ID",
}


@dataclass(frozen=True, slots=True)
class Coded:
    """An event in DICOM's words: its *event* id, the *type* within it, and the *action* (C, R, U, D or E)."""

    event: Code
    type: Code | None
    action: str


_ALERT: Final = Coded(Code.SECURITY_ALERT, Code.RESTRICTED_FUNCTION, "E")
_LOGIN: Final = Coded(Code.USER_AUTHENTICATION, Code.LOGIN, "E")
_LOGOUT: Final = Coded(Code.USER_AUTHENTICATION, Code.LOGOUT, "E")
_USER_CHANGED: Final = Coded(Code.SECURITY_ALERT, Code.USER_SECURITY_CHANGED, "U")
_CONFIGURED: Final = Coded(Code.SECURITY_ALERT, Code.SECURITY_CONFIGURATION, "U")

CODES: Final[dict[EventKind, Coded]] = {
    EventKind.ACCESS: Coded(Code.PATIENT_RECORD, None, "R"),
    EventKind.WITHHELD: _ALERT,
    EventKind.REFUSED: _ALERT,
    EventKind.CHALLENGED: _ALERT,
    EventKind.UNSAFE_SENT: _ALERT,
    EventKind.LOGIN_SEEN: _LOGIN,
    EventKind.LOGIN_FAILED: _LOGIN,
    EventKind.LOGOUT: _LOGOUT,
    EventKind.CODE_ACCEPTED: _LOGIN,
    EventKind.CODE_REFUSED: _LOGIN,
    EventKind.RECOVERY_USED: _LOGIN,
    EventKind.INVITED: _USER_CHANGED,
    EventKind.INVITATION_USED: _USER_CHANGED,
    EventKind.INVITATION_REFUSED: _LOGIN,
    EventKind.ENROLMENT_DENIED: _LOGIN,
    EventKind.ENROLLED: _USER_CHANGED,
    EventKind.FACTOR_RESET: _USER_CHANGED,
    EventKind.ACCOUNT_LOCKED: _USER_CHANGED,
    EventKind.ACCOUNT_UNLOCKED: _USER_CHANGED,
    EventKind.SESSION_OPENED: _LOGIN,
    EventKind.SESSION_CLOSED: _LOGOUT,
    EventKind.NEAR_LIMIT: _ALERT,
    EventKind.WOULD: _ALERT,
    EventKind.SIGHTED: _ALERT,
    EventKind.STREAM_CUT: _ALERT,
    EventKind.FAIL_CLOSED: _ALERT,
    EventKind.CONFIG_LOADED: _CONFIGURED,
    EventKind.CONFIG_REFUSED: _CONFIGURED,
    EventKind.CONFIG_WEAKENED: _CONFIGURED,
    EventKind.STARTED: Coded(Code.APPLICATION_ACTIVITY, Code.APPLICATION_START, "E"),
    EventKind.STOPPED: Coded(Code.APPLICATION_ACTIVITY, Code.APPLICATION_STOP, "E"),
    EventKind.STORE_ADOPTED: _CONFIGURED,
    EventKind.KEYS_MADE: _CONFIGURED,
    EventKind.BACKUP_MADE: _CONFIGURED,
    EventKind.BACKUP_RESTORED: _CONFIGURED,
    EventKind.AUDIT_QUERIED: Coded(Code.AUDIT_LOG_USED, None, "R"),
    EventKind.AUDIT_PURGED: Coded(Code.AUDIT_LOG_USED, None, "D"),
    EventKind.RETENTION_SET: _CONFIGURED,
    EventKind.AUDIT_IDENTIFIED: Coded(Code.AUDIT_LOG_USED, None, "R"),
    EventKind.AUDIT_PROVED: Coded(Code.AUDIT_LOG_USED, None, "R"),
    EventKind.CHECKPOINT_CONTRADICTED: _ALERT,
    EventKind.STEP_UP_ASKED: _ALERT,
    EventKind.STEP_UP_GIVEN: _LOGIN,
    EventKind.BREAK_GLASS: Coded(Code.SECURITY_ALERT, Code.EMERGENCY_OVERRIDE, "E"),
    EventKind.BREAK_GLASS_REVIEWED: _ALERT,
    EventKind.SIGNALLED: _ALERT,
    EventKind.CODE_DEMANDED: _USER_CHANGED,
    EventKind.CANARY_CHANGED: _CONFIGURED,
    EventKind.POSTURE_CHANGED: _CONFIGURED,
    EventKind.PLAN_BLANC: Coded(Code.SECURITY_ALERT, Code.EMERGENCY_OVERRIDE, "E"),
    EventKind.ALERT_ACKNOWLEDGED: _ALERT,
    EventKind.GAP: Coded(Code.SECURITY_ALERT, Code.RECORDING_STARTED, "E"),
}
_QUERY: Final = Coded(Code.QUERY, None, "E")


def coded(facts: Facts) -> Coded:
    """Return *facts* in DICOM's words; a list or an export is a query, an unknown kind an alert."""
    kind = known_kind(facts)
    if kind is EventKind.ACCESS and is_query(facts):
        return _QUERY
    return _ALERT if kind is None else CODES.get(kind, _ALERT)


def is_query(facts: Facts) -> bool:
    """Tell whether *facts* is a list or an export rather than the opening of one record."""
    return facts.opened is False or (facts.opened is None and facts.route_kind in {"listing", "export"})


def outcome_code(facts: Facts) -> str:
    """Return the event outcome indicator: ``0`` success (or not known), ``4`` minor failure."""
    return "4" if outcome_of(facts) is Outcome.FAILURE else "0"
