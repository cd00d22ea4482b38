"""Policy: the compiled configuration as one immutable value.

It knows no file, no store and no clock. configuration.compile makes it; the engine swaps it whole.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from gateway.policy.caps import CapRule
from gateway.policy.paths import PathTemplate
from gateway.vocabulary.identity import NameMapping
from gateway.vocabulary.limits import NO_POOLS, LimitSet, Pools
from gateway.vocabulary.logins import LoginRule, ParamTest
from gateway.vocabulary.measures import MeasureRules
from gateway.vocabulary.records import Extraction, RouteKind, Sensitivity

Network = IPv4Network | IPv6Network


class Flow(StrEnum):
    """When the code is asked: after the app's own login, or before it."""

    AFTER_LOGIN = "after-login"
    BEFORE_LOGIN = "before-login"


class Basic(StrEnum):
    """What HTTP Basic credentials are to an app.

    REFUSE: such a request is refused. LOGIN: each request is a login of its user name, which must
    agree with the session's account. SERVICE: as REFUSE, but for the app's service accounts.
    """

    REFUSE = "refuse"
    LOGIN = "login"
    SERVICE = "service"


class Strangers(StrEnum):
    """What a person without session gets on a gated route.

    REDIRECT: sent to the app's login page. SHOW: the request goes upstream without any credential,
    for apps that show their login form in place of the page; what comes back is inspected.
    """

    REDIRECT = "redirect"
    SHOW = "show"


class PathAllowance(StrEnum):
    """Spellings that strict ingress refuses unless an app needs them."""

    ENCODED_SLASH = "encoded-slash"
    ENCODED_PERCENT = "encoded-percent"
    EMPTY_SEGMENT = "empty-segment"
    SEMICOLON = "semicolon"
    BACKSLASH = "backslash"


class StepUp(StrEnum):
    """When a door asks a full session for a fresh code. OWED: when the account owes one and patients are named."""

    OWED = "owed"
    ALWAYS = "always"


class StoreDown(StrEnum):
    """What ``page`` routes do while the store does not answer."""

    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Route:
    """One door of an app. *methods* empty: every method the app accepts; *params* all have to hold.

    *max_upload_bytes*: request bodies up to so many bytes are passed on while they arrive; None: they are held, within
    ``Policy.max_request_bytes``.
    *inspect*: its answers are seen even where an edge check could let its requests pass.
    """

    name: str
    kind: RouteKind
    template: PathTemplate
    methods: frozenset[str] = frozenset()
    params: tuple[ParamTest, ...] = ()
    extraction: Extraction | None = None
    categories: tuple[str, ...] = ()
    sensitivity: Sensitivity = Sensitivity.ADMINISTRATIVE
    websocket: bool = False
    stream: bool = False
    max_upload_bytes: int | None = None
    step_up: StepUp = StepUp.OWED
    inspect: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """A machine that keeps no cookies and has no second factor: held to its networks and its own class."""

    account: str
    networks: tuple[Network, ...]
    account_class: str


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the app is. *ca_file* replaces the system's trust store for https."""

    scheme: str
    host: str
    port: int
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class App:
    """One unmodified application.

    *neutral_cookies* are shell patterns of cookies that carry no identity; every other cookie is a
    credential and goes upstream only if the app itself set it in the same session.
    *public_origin* is ``scheme://host[:port]`` as browsers see it, None when it follows the request.
    *check_path* is one that the app refuses without our assertion: `ecluse doctor` asks for it around the gateway.
    """

    name: str
    title: str
    realm: str
    hosts: tuple[str, ...]
    upstream: Upstream
    flow: Flow
    routes: tuple[Route, ...]
    logins: tuple[LoginRule, ...]
    otherwise: RouteKind
    methods: frozenset[str]
    login_page: str | None
    strangers: Strangers = Strangers.REDIRECT
    basic: Basic = Basic.REFUSE
    services: tuple[Service, ...] = ()
    neutral_cookies: tuple[str, ...] = ()
    path_allowances: frozenset[PathAllowance] = frozenset()
    public_origin: str | None = None
    max_page_bytes: int = 8_000_000
    max_login_body_bytes: int = 65_536
    stranger_sightings: int = 5
    check_path: str | None = None


@dataclass(frozen=True, slots=True)
class FailureBudget:
    """How wrong codes are paid for (NIST SP 800-63B-4, 3.2.2): *free* without delay, then *first_delay_s*
    doubling up to *longest_delay_s*, locked at *lock_at* consecutive failures."""

    free: int = 5
    first_delay_s: int = 30
    longest_delay_s: int = 3_600
    lock_at: int = 50


@dataclass(frozen=True, slots=True)
class SessionRules:
    """Lifetimes on the store's clock; *at_most* per account and app, the oldest one is closed.

    *step_up_s*: how long a fresh code stays fresh.
    """

    idle_s: int = 1_800
    absolute_s: int = 43_200
    at_most: int = 2
    pending_s: int = 300
    step_up_s: int = 3_600


@dataclass(frozen=True, slots=True)
class Realm:
    """A directory of logins shared by several apps.

    *grace_until_ms*: until then accounts that nobody invited pass without a second factor, under the
    limits of *grace_class*; None: never. *quarantine_s*: how long after its enrolment an account has half caps.
    *caps* give other bounds than the class where they fit; *timezone* is that of their hours.
    """

    name: str
    mapping: NameMapping
    classes: dict[str, LimitSet]
    default_class: str
    sessions: SessionRules
    budget: FailureBudget
    invitation_s: int = 604_800
    dormant_s: int = 7_776_000
    grace_until_ms: int | None = None
    grace_class: str | None = None
    quarantine_s: int = 0
    caps: tuple[CapRule, ...] = ()
    timezone: str = "Europe/Paris"


@dataclass(frozen=True, slots=True)
class Body:
    """The regional body whose pages these are: shown to professionals."""

    name: str = ""
    contact: str = ""
    logo_file: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that decides. *policy_id* is a hash of the configuration and stands in every audit event."""

    policy_id: str
    apps: dict[str, App]
    by_host: dict[str, App]
    realms: dict[str, Realm]
    trusted_proxies: tuple[Network, ...]
    prefix: str
    issuer: str
    body: Body
    max_request_bytes: int
    max_header_bytes: int = 32_768
    max_url_bytes: int = 8_192
    store_timeout_ms: int = 800
    drain_s: int = 30
    measures: MeasureRules = field(default_factory=MeasureRules)
    pools: Pools = NO_POOLS

    @property
    def largest_request_bytes(self) -> int:
        """Return the longest request body that any door takes."""
        uploads = (route.max_upload_bytes or 0 for app in self.apps.values() for route in app.routes)
        return max(self.max_request_bytes, *uploads, 0)
