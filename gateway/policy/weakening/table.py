"""Which way each field of a policy goes. A field that is not here makes a test fail."""

from typing import Final

from gateway.policy.caps import CapBound, CapRule
from gateway.policy.policy import (
    App,
    Basic,
    Body,
    FailureBudget,
    Policy,
    Realm,
    Route,
    Service,
    SessionRules,
    StepUp,
    Strangers,
    Upstream,
)
from gateway.policy.weakening.changes import Effect, Field, Table, Way
from gateway.vocabulary.identity import NameMapping
from gateway.vocabulary.limits import BreakGlass, Clusters, Limit, LimitSet, Mode, Pools
from gateway.vocabulary.logins import AccountSource, LoginRule, ParamTest, ResponseTest
from gateway.vocabulary.measures import MeasureRules, PlanBlancRule, StrictRule
from gateway.vocabulary.records import Extraction, RouteKind, Sensitivity, Source

KIND_RANKS: Final = {
    RouteKind.PUBLIC: 0,
    RouteKind.LOGIN: 1,
    RouteKind.LOGOUT: 1,
    RouteKind.PAGE: 2,
    RouteKind.LISTING: 3,
    RouteKind.EXPORT: 4,
    RouteKind.RECORD: 5,
    RouteKind.BLOCKED: 6,
}
"""How much a door asks: nothing; a login; a session; patients counted in part, counted as exports, counted whole."""
MODE_RANKS: Final = {Mode.OBSERVE: 0, Mode.SOFT: 1, Mode.ENFORCE: 2}

_WEAK, _STRONG, _NEITHER = Effect.WEAKER, Effect.STRONGER, Effect.NEITHER
_LABEL = Field(Way.NEITHER, "a name, which decides nothing")
_KEY = Field(Way.KEY, "what it is told apart by")


def _weakens(why: str, none: Effect = _WEAK) -> Field:
    return Field(Way.WEAKENS, why, none)


def _strengthens(why: str, none: Effect = _WEAK) -> Field:
    return Field(Way.STRENGTHENS, why, none)


def _unknown(why: str) -> Field:
    return Field(Way.UNKNOWN, f"{why}: nobody can tell, so it counts as weaker")


def _neither(why: str) -> Field:
    return Field(Way.NEITHER, why)


def _part(why: str, added: Effect = _WEAK, removed: Effect = _WEAK) -> Field:
    return Field(Way.PART, why, added=added, removed=removed)


def _elsewhere(where: str) -> Field:
    return Field(Way.ELSEWHERE, where)


_LOGINS = "which requests and answers are a login, and of whom"
_READS = "where an answer names its patients"
_NAMES = "which logins are one person"
_CAPS = "the bounds that hold somebody at a place and time are compared instead"
_DOORS = "requests are tried at both configurations instead"

TABLE: Final[Table] = {
    Policy: {
        "policy_id": Field(Way.KEY, "follows from everything else"),
        "apps": _part("what the gateway opens a way to", _WEAK, _STRONG),
        "by_host": _elsewhere("hosts are compared by the application that answers there"),
        "realms": _part("a directory that nobody uses until an application names it", _NEITHER, _NEITHER),
        "trusted_proxies": _weakens("who may say which address a client has"),
        "prefix": _neither("where the gateway's own pages stand; they ask the same"),
        "issuer": _neither("the name in assertions and authenticator apps; applications refuse one they do not know"),
        "body": _part("a name on pages"),
        "max_request_bytes": _weakens("how large an upload is taken"),
        "max_header_bytes": _weakens("how large a head is taken"),
        "max_url_bytes": _weakens("how long an address is taken"),
        "store_timeout_ms": _neither("a store that does not answer in time refuses, whatever the time"),
        "drain_s": _neither("how long what is under way may take at a stop"),
        "measures": _part("what operators may put in force"),
        "pools": _part("what holds accounts that are counted together"),
    },
    App: {
        "name": _KEY,
        "title": _LABEL,
        "realm": _unknown("whose accounts, factors and caps hold"),
        "hosts": _elsewhere("told with by_host"),
        "upstream": _part("where requests go"),
        "flow": _neither("the code after the password or before it: both are asked"),
        "routes": _elsewhere("doors"),
        "logins": _part(f"{_LOGINS}: nobody can tell, so it counts as weaker"),
        "otherwise": Field(Way.RANKED, "what a door that nobody declared asks", ranks=KIND_RANKS),
        "methods": _weakens("which methods reach the application"),
        "login_page": _neither("where strangers are led, within the application"),
        "strangers": Field(
            Way.RANKED,
            "what reaches the application without a session",
            ranks={Strangers.SHOW: 0, Strangers.REDIRECT: 1},
        ),
        "basic": Field(
            Way.RANKED,
            "whether a password in each request may stand for a login",
            ranks={Basic.SERVICE: 0, Basic.LOGIN: 0, Basic.REFUSE: 1},
        ),
        "services": _part("a machine that has no second factor", _WEAK, _STRONG),
        "neutral_cookies": _weakens("which cookies pass without belonging to a session"),
        "path_allowances": _weakens("which spellings of a path are taken"),
        "public_origin": _unknown("from which origin forms are believed"),
        "max_page_bytes": _weakens("how large an answer may leave"),
        "max_login_body_bytes": _weakens("how large a login may be"),
        "check_path": _neither("which path is asked for around the gateway, to try that it is refused"),
        "stranger_sightings": _weakens("how much personal data a stranger may be shown"),
    },
    Upstream: {
        "scheme": Field(
            Way.RANKED, "whether the way to the application is encrypted", ranks={"http": 0, "https": 1}
        ),
        "host": _unknown("where requests go"),
        "port": _unknown("where requests go"),
        "ca_file": _unknown("whose certificates the application may show"),
    },
    Service: {
        "account": _KEY,
        "networks": _weakens("from where a machine without second factor may come"),
        "account_class": _unknown("which caps hold the machine"),
    },
    Route: {
        "name": _KEY,
        "kind": Field(Way.RANKED, "what the door asks, and what is counted there", ranks=KIND_RANKS),
        "template": _elsewhere(_DOORS),
        "methods": _elsewhere(_DOORS),
        "params": _elsewhere(_DOORS),
        "extraction": _part(_READS),
        "categories": _strengthens("which kinds of data the log says were shown"),
        "sensitivity": Field(
            Way.RANKED,
            "whether the log says that medical data was shown",
            ranks={Sensitivity.ADMINISTRATIVE: 0, Sensitivity.MEDICAL: 1},
        ),
        "websocket": _weakens("whether a socket may be opened"),
        "stream": _weakens("whether an answer leaves before it was read whole"),
        "step_up": Field(
            Way.RANKED, "when a fresh code is asked for", ranks={StepUp.OWED: 0, StepUp.ALWAYS: 1}
        ),
        "max_upload_bytes": _weakens("how large an upload is passed on while it arrives", none=_STRONG),
        "inspect": _strengthens("whether its answers are seen where an edge could let requests pass"),
    },
    Extraction: {
        "sources": _unknown(_READS),
        "system": _unknown("which patients are the same"),
        "normalise": _unknown("which patients are the same"),
        "strip_prefix": _unknown("which patients are the same"),
        "first_only": _weakens("whether one place of ids is enough"),
        "may_be_empty": _weakens("whether an answer that names nobody may leave"),
        "max_bytes": _weakens("how large an answer that names patients may be"),
        "max_ids": _weakens("how many patients one answer may name"),
    },
    LoginRule: {
        "name": _KEY,
        "methods": _unknown(_LOGINS),
        "path_template": _unknown(_LOGINS),
        "params": _unknown(_LOGINS),
        "account": _unknown(_LOGINS),
        "success": _unknown(_LOGINS),
        "failure": _unknown(_LOGINS),
        "bearer": _unknown("which token is bound to the session"),
        "landing": _neither("where a browser goes after the code"),
    },
    Realm: {
        "name": _KEY,
        "mapping": _part(_NAMES),
        "classes": _elsewhere(_CAPS),
        "default_class": _elsewhere(_CAPS),
        "sessions": _part("how long a session lives"),
        "budget": _part("how wrong codes are paid for"),
        "invitation_s": _weakens("how long an invitation enrols"),
        "dormant_s": _weakens("how long an unused account stays open"),
        "grace_until_ms": _weakens("until when people pass without a second factor", _STRONG),
        "grace_class": _unknown("which caps hold people without a second factor"),
        "quarantine_s": _strengthens("how long a new factor has half of every cap"),
        "caps": _elsewhere(_CAPS),
        "timezone": _elsewhere(_CAPS),
    },
    NameMapping: {
        name: _unknown(_NAMES)
        for name in ("strip_domains", "email_domains", "strip_prefixes", "drop", "replace", "scripts", "max_length")
    },
    SessionRules: {
        "idle_s": _weakens("how long a session lives without a request"),
        "absolute_s": _weakens("how long a session lives in all"),
        "at_most": _weakens("how many sessions one person has at once"),
        "pending_s": _weakens("how long a right password waits for its code"),
        "step_up_s": _weakens("how long a fresh code stays fresh"),
    },
    FailureBudget: {
        "free": _weakens("how many wrong codes cost nothing"),
        "first_delay_s": _strengthens("how long a wrong code has to wait"),
        "longest_delay_s": _strengthens("how long a wrong code has to wait"),
        "lock_at": _weakens("how many wrong codes lock an account"),
    },
    Body: {"name": _LABEL, "contact": _LABEL, "logo_file": _LABEL},
    LimitSet: {
        "name": _KEY,
        "limits": _elsewhere(_CAPS),
        "listed_weight_milli": _strengthens("what a listed patient weighs"),
        "break_glass": _part("how far somebody may go past a hard bound", _WEAK, _STRONG),
    },
    BreakGlass: {
        "patients": _weakens("how many patients an emergency access gives"),
        "for_s": _weakens("how long an emergency access lasts"),
        "per_24h": _weakens("how often there may be one"),
    },
    Limit: {
        "control": _KEY,
        "hard": _weakens("past which nothing leaves"),
        "mode": Field(Way.RANKED, "whether the bound is acted on", ranks=MODE_RANKS),
        "soft": _weakens("past which a fresh code is asked for"),
    },
    CapRule: {
        name: _elsewhere(_CAPS)
        for name in ("name", "bounds", "classes", "apps", "establishments", "hours", "days")
    },
    CapBound: {name: _elsewhere(_CAPS) for name in ("control", "hard", "soft", "mode")},
    Pools: {
        "limits": _part("what holds a device, a cluster, an establishment, the site", _STRONG, _WEAK),
        "clusters": _part("which accounts are counted together"),
        "least_accounts": _weakens("how many accounts' caps a device and a cluster always have"),
    },
    Clusters: {
        "accounts_most": _strengthens("how many accounts one cluster counts together"),
        "linked_s": _strengthens("how long two accounts that shared a device are counted together"),
    },
    MeasureRules: {
        "strict": _part("what the strict posture does"),
        "plan_blanc": _part("what a plan blanc does"),
    },
    StrictRule: {
        "caps_share_milli": _weakens("how much of every cap the strict posture leaves"),
        "idle_s": _weakens("how long a session lives without a request under the strict posture"),
        "absolute_s": _weakens("how long a session lives under the strict posture"),
    },
    PlanBlancRule: {
        "times_milli": _weakens("how far a plan blanc raises caps"),
        "raises": _weakens("which caps a plan blanc raises"),
        "ceilings": _weakens("up to where a plan blanc raises caps"),
    },
}  # fmt: skip
"""By dataclass, by field."""

WHOLE: Final = frozenset({AccountSource, ParamTest, ResponseTest, Source})
"""Dataclasses inside of fields that are judged as one value."""
