"""The shape of the main file. The docstring under each key is its line in docs/configuration.md."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from gateway.configuration.schema_alerts import AlertsSpec
from gateway.configuration.schema_edge import EdgeSpec
from gateway.configuration.schema_measures import PlanBlancSpec, PostureSpec
from gateway.configuration.schema_offsite import PublishSpec, WitnessSpec
from gateway.configuration.schema_pools import PoolsSpec
from gateway.configuration.schema_signals import SignalsSpec
from gateway.configuration.words import (
    Address,
    AgeRecipient,
    BaseUrl,
    Bytes,
    CollectorUrl,
    FilePath,
    ListenPort,
    Name,
    NetworkText,
    Port,
    Prefix,
    Scalar,
    Seconds,
    Text,
    TimeZone,
    WorkerCount,
)
from gateway.vocabulary.limits import Mode

__all__ = ["BaseUrl", "ClassSpec", "GatewaySpec", "LimitSpec", "MainFile", "RealmSpec", "Spec", "datetime"]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS = rf"^{_TIME}-({_TIME}|24:00)$"

Hard = Annotated[int, Field(gt=0, le=1_000_000_000_000)]


class Spec(BaseModel):
    """A mapping of the configuration: unknown keys are faults, values keep their YAML type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


def whole_as(key: str) -> BeforeValidator:
    """Return the sugar that reads a bare value as ``{key: value}``."""
    return BeforeValidator(lambda value: value if isinstance(value, dict) else {key: value})


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


ONE_OR_MORE = BeforeValidator(_as_list)
"""The sugar that reads a bare value as a list of one."""


class TlsSpec(Spec):
    """The gateway's own TLS, for small sites; otherwise nginx or HAProxy stands in front."""

    certificate: FilePath
    """PEM file of the certificate and its chain."""
    key: FilePath
    """PEM file of its private key, readable by the gateway's user only."""


class ListenSpec(Spec):
    """Where the gateway listens."""

    address: Address = "127.0.0.1"
    """IP address to listen on; anything but a loopback address should have `tls`."""
    port: ListenPort = 8443
    """TCP port; 0 lets the system choose one."""
    tls: TlsSpec | None = None
    """The gateway's own certificate; without it plain HTTP is spoken, to a proxy on the same machine."""


class MetricsSpec(Spec):
    """Prometheus metrics and health answers, on a port of their own."""

    address: Address = "127.0.0.1"
    """IP address to listen on."""
    port: Port
    """TCP port of `/metrics`, `/healthz` and `/readyz`."""


class GatewaySpec(Spec):
    """The process itself."""

    listen: ListenSpec = ListenSpec()
    """Where the gateway listens."""
    trusted_proxies: list[NetworkText] = []
    """Networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    prefix: Prefix = "/.ecluse/"
    """Path of the gateway's own pages on every app; no app route may stand under it."""
    issuer: Text = "Ecluse"
    """Name shown beside the login in authenticator apps, and issuer of `X-Ecluse-Assertion`."""
    state_dir: FilePath = "/var/lib/ecluse"
    """Folder of the process id, the embedded store and the store's marker."""
    keys_dir: FilePath = "/etc/ecluse/keys"
    """Folder of the keys that `ecluse keys init` makes."""
    metrics: MetricsSpec | None = None
    """Metrics and health answers; none are served without it."""
    edge: EdgeSpec | None = None
    """The check for a front proxy; none is answered without it."""
    drain_s: Annotated[int, Field(ge=0, le=3_600)] = 30
    """Seconds that exchanges under way may take to finish when the gateway stops."""
    workers: WorkerCount | None = None
    """Inspectors on the one port, under a supervisor; `auto`: one a core. One process without it when left out."""
    worker_memory_bytes: Annotated[int, Field(ge=50_000_000)] | None = None
    """Resident memory past which a worker is drained and replaced by a fresh one; no bound when left out."""
    max_request_bytes: Bytes = 10_000_000
    """Longest request body; a longer one is refused with 413."""
    max_header_bytes: Annotated[int, Field(ge=1_024, le=1_048_576)] = 32_768
    """Longest block of request header lines; a longer one is refused with 431."""
    max_url_bytes: Annotated[int, Field(ge=256, le=65_536)] = 8_192
    """Longest request target; a longer one is refused with 414."""


class StoreSpec(Spec):
    """Where accounts, sessions and counters are kept."""

    url: Annotated[str, Field(min_length=1, max_length=1_000)] = "embedded"
    """`embedded`, or the address of a Valkey or Redis 7 or newer: `redis://`, `rediss://` or `unix://`.
    Behind Sentinels: `sentinel://h1:26379,h2:26379,h3:26379/NAME`; nodes of a Cluster: `cluster://h1:6379,h2:6379,h3:6379`;
    `sentinels://` or `clusters://` where all of them speak TLS."""
    password_file: FilePath | None = None
    """File of mode 0600 that holds the store's password and nothing else; passwords never stand in `url`."""
    sentinel_password_file: FilePath | None = None
    """File of mode 0600 that holds the password of the Sentinels, when they have one of their own."""
    ca_file: FilePath | None = None
    """PEM file of the authorities that signed the certificates of a `rediss://`, `sentinels://` or `clusters://` store,
    instead of the system's."""
    replicas: Annotated[int, Field(ge=0, le=8)] | None = None
    """How many replicas must have the use of a code, a lock, an enrolment and the like before it counts; it is refused
    with fewer. When left out: 1 behind Sentinels or in a Cluster, else 0."""
    timeout_ms: Annotated[int, Field(ge=10, le=10_000)] = 800
    """Longest wait for the store; after that the exchange is refused with 503."""


class CollectorSpec(Spec):
    """Where `ecluse audit ship` sends the log, such as a SIEM."""

    url: CollectorUrl
    """`tls://host:6514`; or `tcp://`, in clear; or `udp://`, in clear and with losses that nobody sees."""
    format: Literal["ecs", "syslog", "cef", "fhir", "atna", "ans"] = "syslog"
    """Form of each event, inside RFC 5424: `ecs`, `syslog` (structured data), `cef`, `fhir`, `atna` or `ans`."""
    ca_file: FilePath | None = None
    """PEM file of the authorities that may have signed the collector's certificate; the system's when left out."""
    certificate: FilePath | None = None
    """PEM file of our certificate, for a collector that asks who we are."""
    key: FilePath | None = None
    """PEM file of its private key."""


class EscrowSpec(Spec):
    """Who may turn pseudonyms back: ids in clear, encrypted so that this machine cannot read them."""

    recipients: Annotated[list[AgeRecipient], Field(min_length=1, max_length=16)]
    """Public keys of age, `age1...`, of the data-protection officer and a deputy; their identities stay elsewhere."""


class AuditSpec(Spec):
    """The audit log."""

    dir: FilePath | None = None
    """Folder of the log; `audit` inside `gateway.state_dir` when left out."""
    segment_bytes: Annotated[int, Field(ge=65_536, le=10_000_000_000)] = 64_000_000
    """Size at which a new segment file is begun; a new day begins one too."""
    node: Name | None = None
    """Name of this node where several write logs: makes them `gateway.NAME` and `operator.NAME`."""
    also: list[FilePath] = []
    """Log folders of the other nodes, mounted or copied: questions are put to all of them as to one log."""
    keeper: Literal["on", "off"] = "on"
    """`on`: `ecluse serve` runs `ecluse audit keep` beside it; `off`: you run it, as a service or a timer."""
    engine: Annotated[str, Field(min_length=1, max_length=1_000)] = "duckdb"
    """What answers for the archive: `duckdb`, or `clickhouse://user@host:8443/database`, which it was loaded into."""
    engine_password_file: FilePath | None = None
    """File of mode 0600 that holds the password of the ClickHouse user and nothing else."""
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = 365
    """Days after which `ecluse audit purge` drops entries: 183, 365, 1095, or another with `retention_reason`."""
    retention_reason: Annotated[str, Field(max_length=500)] = ""
    """Why entries are kept so long; recorded with each purge and each start. Needed for other than the three."""
    publish: list[PublishSpec] = []
    """Places away from the machine that keep the checkpoints; `ecluse audit publish` brings them there."""
    publish_every_s: Annotated[int, Field(ge=10, le=86_400)] = 300
    """Seconds between two checkpoints brought to `publish` and `witnesses`."""
    witnesses: list[WitnessSpec] = []
    """Neighbours that cosign the checkpoints, so that nobody here can rewrite the log unseen."""
    enterprise_id: Annotated[int, Field(ge=1, le=4_294_967_295)] = 32_473
    """Your IANA private enterprise number, for syslog's structured data; the default is the one for examples."""
    collector: CollectorSpec | None = None
    """Where `ecluse audit ship` sends the log, such as a SIEM."""
    escrow: EscrowSpec | None = None
    """Who may turn pseudonyms back with `ecluse audit identify`; nobody can without it."""


class BodySpec(Spec):
    """The regional body whose pages these are."""

    name: Annotated[str, Field(max_length=200)] = ""
    """Name shown on every page."""
    contact: Annotated[str, Field(max_length=500)] = ""
    """Whom a professional calls or writes to when something is refused."""
    logo: FilePath | None = None
    """SVG or PNG file shown on every page."""


class NamesSpec(Spec):
    """How the apps of the realm collapse logins: must follow them, or two names are one person."""

    strip_domains: list[Text] = []
    """Windows domains: `CHU` makes `CHU\\login` the same as `login`."""
    email_domains: list[Text] = []
    """Mail domains: `chu.example` makes `login@chu.example` the same as `login`."""
    strip_prefixes: list[Text] = []
    """Prefixes the apps ignore, such as `ext-`."""
    drop: Annotated[str, Field(max_length=64)] = ""
    """Characters the apps ignore, each removed, such as `_.`."""
    replace: dict[Text, Annotated[str, Field(max_length=16)]] = {}
    """Characters the apps read as others, such as `é: e`."""
    scripts: list[Annotated[str, Field(pattern=r"^[A-Z]+$")]] = Field(default=["LATIN"], min_length=1)
    """Unicode scripts a login may be written in; look-alikes from other scripts are refused."""
    max_length: Annotated[int, Field(ge=1, le=1_024)] = 128
    """Longest login, in characters."""


class SessionsSpec(Spec):
    """Lifetimes of sessions, on the store's clock."""

    idle_s: Seconds = 1_800
    """Seconds without a request after which a session ends."""
    absolute_s: Seconds = 43_200
    """Seconds after which a session ends whatever happens."""
    at_most: Annotated[int, Field(ge=1, le=100)] = 2
    """Sessions one account may have in one app; the oldest is closed."""
    pending_s: Annotated[int, Field(ge=30, le=3_600)] = 300
    """Seconds between the app's password and the code."""
    step_up_s: Seconds = 3_600
    """Seconds for which a fresh code stays fresh: for doors with `step_up: always`."""


class FailuresSpec(Spec):
    """How wrong codes are paid for (NIST SP 800-63B-4, 3.2.2)."""

    free: Annotated[int, Field(ge=1, le=20)] = 5
    """Wrong codes without delay."""
    first_delay_s: Annotated[int, Field(ge=1, le=3_600)] = 30
    """Delay after them, doubled by each further one."""
    longest_delay_s: Annotated[int, Field(ge=1, le=86_400)] = 3_600
    """Longest delay."""
    lock_at: Annotated[int, Field(ge=2, le=100)] = 50
    """Consecutive wrong codes that lock the account (at most 100, as NIST asks)."""


class LimitValue(Spec):
    """One limit: a whole number, which is the hard one, or numbers and a mode."""

    hard: Hard
    """What no account of the class exceeds."""
    soft: Annotated[int, Field(ge=0, le=1_000_000_000_000)] | None = None
    """Past it a fresh code and a reason are asked for; the class's `soft_share` of `hard` when left out."""
    mode: Mode | None = None
    """`enforce`, `soft` or `observe`; the class's `mode` when left out."""


LimitSpec = Annotated[LimitValue, whole_as("hard")]


class LimitsSpec(Spec):
    """One limit or cap for each control."""

    requests_10s: LimitSpec | None = None
    """Requests per 10 seconds."""
    patients_10min: LimitSpec | None = None
    """Distinct patients per 10 minutes."""
    patients_1h: LimitSpec | None = None
    """Distinct patients per hour."""
    patients_24h: LimitSpec | None = None
    """Distinct patients per 24 hours, rolling."""
    patients_7d: LimitSpec | None = None
    """Distinct patients per 7 days, rolling."""
    rows_1h: LimitSpec | None = None
    """Rows listed per hour."""
    bytes_1h: LimitSpec | None = None
    """Bytes received on record, listing and export routes per hour."""
    exports_24h: LimitSpec | None = None
    """Exports per 24 hours."""
    probes_1h: LimitSpec | None = None
    """Answers 400, 401, 403, 404, 405 and 410, and answers to HEAD, on routes that name patients, per hour."""
    sightings_1h: LimitSpec | None = None
    """NIRs, phone numbers and e-mail addresses seen on routes nobody mapped, per hour; again in a session is free."""


class ClassSpec(LimitsSpec):
    """One class of accounts: every limit left out comes from the class it is `based_on`."""

    based_on: Literal["standard", "heavy", "grace"] = "standard"
    """Built-in class whose numbers fill in what is left out."""
    mode: Mode = Mode.ENFORCE
    """`enforce`; `soft` asks for a fresh code and only records what the hard bound would refuse; `observe` only
    records. For all limits of the class that do not say otherwise."""
    soft_share: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    """Where soft bounds lie that are not written, as a share of the hard one; 1: nobody is asked. When left out: half
    for written limits, those of the built-in class for the others."""
    listed_weight: Annotated[float, Field(ge=0, le=1, strict=False)] = 0.2
    """What a listed patient weighs beside an opened one, in steps of 0.001."""
    break_glass: bool = False
    """Whether somebody at a hard bound on patients may go on for a while, with a fresh code and a coded reason."""
    break_glass_patients: Annotated[int, Field(ge=1, le=10_000)] = 50
    """How many patients more."""
    break_glass_s: Seconds = 3_600
    """For how many seconds."""
    break_glass_per_24h: Annotated[int, Field(ge=1, le=24)] = 2
    """How often in any 24 hours."""


class CapRuleSpec(LimitsSpec):
    """Other bounds for a class, an app, an establishment or a time of day, or for several of these together."""

    name: Name
    """Name of the rule: `ecluse limits show` tells it beside the numbers it gives."""
    class_: Annotated[list[Name], ONE_OR_MORE] = Field(default=[], alias="class")
    """Class or classes it is for; all when left out."""
    app: Annotated[list[Name], ONE_OR_MORE] = []
    """App or apps it is for; all when left out."""
    establishment: Annotated[list[Annotated[Scalar, Field(min_length=1, max_length=200)]], ONE_OR_MORE] = []
    """Establishment or establishments it is for, as accounts are labelled; all when left out."""
    hours: Annotated[str, Field(pattern=_HOURS)] | None = None
    """Time of day it is for, such as `21:00-07:00`, on the clocks of `timezone`; always when left out."""
    days: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], ONE_OR_MORE] = []
    """Days on which its hours begin, such as `[sat, sun]`; all when left out."""


class GraceSpec(Spec):
    """The roll-out: accounts that nobody invited yet."""

    until: Annotated[AwareDatetime, Field(strict=False)]
    """Date and time with zone, such as `2027-01-31T00:00:00+01:00`: until then they pass without a code."""
    class_: Name = Field(default="grace", alias="class")
    """Class whose limits hold them meanwhile."""


class RealmSpec(Spec):
    """A directory of logins shared by several apps: one person, one account."""

    names: NamesSpec = NamesSpec()
    """How logins collapse into one name."""
    sessions: SessionsSpec = SessionsSpec()
    """Lifetimes of sessions."""
    failures: FailuresSpec = FailuresSpec()
    """The budget of wrong codes."""
    default_class: Name = "standard"
    """Class of accounts that were invited without one."""
    classes: dict[Name, ClassSpec] = {}
    """Classes of accounts; `standard`, `heavy` and `grace` exist without being written."""
    caps: list[CapRuleSpec] = []
    """Other bounds by class, app, establishment and time of day; the most specific rule wins."""
    timezone: TimeZone = "Europe/Paris"
    """Where the hours of `caps` are local; summer time is followed."""
    invitation_s: Seconds = 604_800
    """Seconds an invitation is good for."""
    dormant_s: Seconds = 7_776_000
    """Seconds without login after which an account needs a new invitation."""
    quarantine_s: Annotated[int, Field(ge=0, le=2_592_000)] = 86_400
    """Seconds after its enrolment for which an account has half of every cap; 0: none."""
    grace: GraceSpec | None = None
    """Roll-out period; without it an account that nobody invited is refused."""


class MainFile(Spec):
    """The main file, usually `/etc/ecluse/ecluse.yaml`."""

    version: Literal[1]
    """Version of this language: 1."""
    gateway: GatewaySpec = GatewaySpec()
    """The process itself."""
    store: StoreSpec = StoreSpec()
    """Where accounts, sessions and counters are kept."""
    audit: AuditSpec = AuditSpec()
    """The audit log."""
    pools: PoolsSpec = PoolsSpec()
    """Patients counted together, by device, by cluster of accounts, by establishment and for everybody."""
    signals: SignalsSpec = SignalsSpec()
    """What looks wrong in the log, and when an account is asked for a code, or locked."""
    alerts: AlertsSpec = AlertsSpec()
    """Who is told at once when signals act, or an operator takes a measure."""
    posture: PostureSpec = PostureSpec()
    """What the strict posture does, while it is in force."""
    plan_blanc: PlanBlancSpec = PlanBlancSpec()
    """What a plan blanc does, while an establishment has one."""
    body: BodySpec = BodySpec()
    """The regional body whose pages these are."""
    realms: dict[Name, Any] = Field(min_length=1)
    """Directories of logins, by name."""
    include: list[FilePath] = []
    """Files of one app each, named by the file's stem: `apps/demo.yaml`, `apps/*.yaml`."""
    apps: dict[Name, Any] = {}
    """Apps written in the main file, by name."""
