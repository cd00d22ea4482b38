"""The closed catalogue of audit events."""

from enum import StrEnum

import msgspec


class EventKind(StrEnum):
    """What an audit event tells. Values are stable: they stand in files that outlive this program."""

    ACCESS = "access"
    """A response that revealed patients was released, or its probe was counted."""
    WITHHELD = "withheld"
    REFUSED = "refused"
    CHALLENGED = "challenged"
    UNSAFE_SENT = "unsafe-sent"
    """An unsafe method on a revealing route, recorded before it goes upstream."""
    LOGIN_SEEN = "login-seen"
    LOGIN_FAILED = "login-failed"
    LOGOUT = "logout"
    CODE_ACCEPTED = "code-accepted"
    CODE_REFUSED = "code-refused"
    RECOVERY_USED = "recovery-used"
    INVITED = "invited"
    INVITATION_USED = "invitation-used"
    INVITATION_REFUSED = "invitation-refused"
    ENROLMENT_DENIED = "enrolment-denied"
    ENROLLED = "enrolled"
    FACTOR_RESET = "factor-reset"
    ACCOUNT_LOCKED = "account-locked"
    ACCOUNT_UNLOCKED = "account-unlocked"
    SESSION_OPENED = "session-opened"
    SESSION_CLOSED = "session-closed"
    NEAR_LIMIT = "near-limit"
    WOULD = "would"
    """A control in observe mode would have refused or withheld."""
    SIGHTED = "sighted"
    STREAM_CUT = "stream-cut"
    FAIL_CLOSED = "fail-closed"
    CONFIG_LOADED = "config-loaded"
    CONFIG_REFUSED = "config-refused"
    CONFIG_WEAKENED = "config-weakened"
    """Weaker rules came into force: an operator accepted that, or the gateway began with them. *detail* names them."""
    STARTED = "started"
    STOPPED = "stopped"
    STORE_ADOPTED = "store-adopted"
    BACKUP_MADE = "backup-made"
    BACKUP_RESTORED = "backup-restored"
    KEYS_MADE = "keys-made"
    AUDIT_QUERIED = "audit-queried"
    AUDIT_PURGED = "audit-purged"
    """An operator dropped entries older than the retention; their leaf hashes stay."""
    RETENTION_SET = "retention-set"
    """How long entries are kept, and why, as the configuration has it."""
    AUDIT_IDENTIFIED = "audit-identified"
    """Pseudonyms were turned back into ids for somebody, who said why."""
    GAP = "gap"
    """The writer recovered after a crash or an interruption."""
    AUDIT_PROVED = "audit-proved"
    CHECKPOINT_CONTRADICTED = "checkpoint-contradicted"
    """A witness, or a place that keeps checkpoints, knows another past of a log than the log now has."""
    STEP_UP_ASKED = "step-up-asked"
    """Somebody with a session was asked for a fresh code and a reason; what was asked for did not leave."""
    STEP_UP_GIVEN = "step-up-given"
    """The fresh code was right; the coded reason stands beside it."""
    BREAK_GLASS = "break-glass"
    """Somebody went past a hard bound for a while, with a fresh code and a coded reason: to be reviewed."""
    BREAK_GLASS_REVIEWED = "break-glass-reviewed"
    """An operator has judged a break-glass; *reference* is that of its event."""
    SIGNALLED = "signalled"
    """Something looked wrong in an account's use: which signal (*rule*), with its figures."""
    CODE_DEMANDED = "code-demanded"
    """Signals added up: the account owes a fresh code."""
    CANARY_CHANGED = "canary-changed"
    """An operator set or removed a decoy; which patient it is stands nowhere in the log."""
    POSTURE_CHANGED = "posture-changed"
    """An operator made the posture strict, or normal again."""
    PLAN_BLANC = "plan-blanc"
    """An operator raised the caps of an establishment for a while, or ended that early."""
    ALERT_ACKNOWLEDGED = "alert-acknowledged"
    """Somebody has looked at an alert (*reference*), and says what came of it."""


class AuditEvent(msgspec.Struct, frozen=True):
    """One journal entry before it has a place in the log.

    *at_ms* Unix milliseconds. *account* is the canonical login of the acting professional or of the
    account acted upon, *operator* the local user of a command. *patients* are pseudonyms
    (``<kid>:<32 hex>``), *opened* tells whether they were opened or listed. *client* is the resolved
    client address. *detail* holds a few short, non-personal strings.
    """

    kind: EventKind
    at_ms: int
    request_id: str | None = None
    realm: str | None = None
    account: str | None = None
    account_class: str | None = None
    establishment: str | None = None
    operator: str | None = None
    session: str | None = None
    app: str | None = None
    route: str | None = None
    route_kind: str | None = None
    method: str | None = None
    status: int | None = None
    client: str | None = None
    client_port: int | None = None
    rule: str | None = None
    reason: str | None = None
    control: str | None = None
    patients: tuple[str, ...] = ()
    opened: bool | None = None
    rows: int | None = None
    bytes: int | None = None
    categories: tuple[str, ...] = ()
    sensitivity: str | None = None
    policy_id: str | None = None
    reference: str | None = None
    detail: tuple[tuple[str, str], ...] = ()
