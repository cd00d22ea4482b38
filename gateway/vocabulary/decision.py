"""Decisions as values: each names its rule and its reason, so that forgetting one shows."""

from enum import StrEnum

import msgspec

from gateway.vocabulary.limits import Control


class Reason(StrEnum):
    """Why. Values go unchanged to the audit log, the metrics and the pages' catalogue of texts."""

    PUBLIC = "public"
    OWN_PAGE = "own-page"
    STRANGER_AT_LOGIN = "stranger-at-login"
    STRANGER_SHOWN = "stranger-shown"
    SESSION_FULL = "session-full"
    SERVICE_ACCOUNT = "service-account"
    UNVERIFIED_ALLOWED = "unverified-allowed"

    NO_SESSION = "no-session"
    SESSION_EXPIRED = "session-expired"
    CODE_OWED = "code-owed"
    ENROLMENT_OWED = "enrolment-owed"
    LOGIN_OWED = "login-owed"
    BINDING_BROKEN = "binding-broken"
    STEP_UP_OWED = "step-up-owed"

    MALFORMED_REQUEST = "malformed-request"
    UNKNOWN_HOST = "unknown-host"
    UNKNOWN_METHOD = "unknown-method"
    ROUTE_BLOCKED = "route-blocked"
    ALIAS_OF_PROTECTED = "alias-of-protected"
    UPGRADE_REFUSED = "upgrade-refused"
    MISROUTED = "misrouted"
    """The front proxy asked the edge about what the inspector has to see."""
    BASIC_REFUSED = "basic-refused"
    FOREIGN_CREDENTIAL = "foreign-credential"
    NAME_REFUSED = "name-refused"
    NAMES_DISAGREE = "names-disagree"
    NETWORK_REFUSED = "network-refused"
    FORM_REFUSED = "form-refused"
    ACCOUNT_LOCKED = "account-locked"
    ACCOUNT_RETIRED = "account-retired"
    NOT_INVITED = "not-invited"
    LOGIN_IN_FLIGHT = "login-in-flight"
    LIMIT = "limit"
    CAP = "cap"
    BREAK_GLASS_SPENT = "break-glass-spent"
    UNINSPECTABLE = "uninspectable"
    STORE_DOWN = "store-down"
    STORE_EMPTIED = "store-emptied"
    AUDIT_DOWN = "audit-down"
    UPSTREAM_DOWN = "upstream-down"
    UPSTREAM_UPGRADE = "upstream-upgrade"
    STOPPING = "stopping"
    FAULT = "fault"

    REVEALS_NOBODY = "reveals-nobody"
    WITHIN_CAPS = "within-caps"
    PARKED = "parked"
    LOGIN_FAILED = "login-failed"


class Prompt(StrEnum):
    """Which page a challenge leads to."""

    LOGIN = "login"
    """The application's own login."""
    CODE = "code"
    INVITATION = "invitation"
    START = "start"
    """Name and code, in before-login apps."""
    STEP_UP = "step-up"
    """A fresh code and the reason, within an open session."""


class Forward(msgspec.Struct, frozen=True):
    """Send it upstream. *rule* names the route or rule that allowed it."""

    rule: str
    reason: Reason
    near: tuple[Control, ...] = ()
    would: tuple[Control, ...] = ()
    would_ask: tuple[Control, ...] = ()


class Challenge(msgspec.Struct, frozen=True):
    """Ask the person for something first. *control*: it is past its soft bound."""

    rule: str
    reason: Reason
    prompt: Prompt
    control: Control | None = None


class Refuse(msgspec.Struct, frozen=True):
    """Answer ourselves; nothing goes upstream. *status* is an HTTP status, *retry_after_s* at least 1."""

    rule: str
    reason: Reason
    status: int
    control: Control | None = None
    retry_after_s: int | None = None
    would: tuple[Control, ...] = ()
    would_ask: tuple[Control, ...] = ()


RequestDecision = Forward | Challenge | Refuse


class Release(msgspec.Struct, frozen=True):
    """Let the application's answer leave."""

    rule: str
    reason: Reason
    near: tuple[Control, ...] = ()
    would: tuple[Control, ...] = ()
    would_ask: tuple[Control, ...] = ()


class Withhold(msgspec.Struct, frozen=True):
    """Keep the application's answer; send our own page with *status* instead."""

    rule: str
    reason: Reason
    status: int
    control: Control | None = None
    retry_after_s: int | None = None
    would: tuple[Control, ...] = ()
    would_ask: tuple[Control, ...] = ()


ResponseDecision = Release | Withhold
