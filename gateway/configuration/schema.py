"""The shape of the main file. The docstring under each key is its line in docs/configuration.md."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.configuration.schema_alerts import AlertsSpec
from gateway.configuration.schema_edge import EdgeSpec
from gateway.configuration.schema_measures import PlanBlancSpec, PostureSpec
from gateway.configuration.schema_metrics import MetricsSpec
from gateway.configuration.schema_offsite import PublishSpec, WitnessSpec
from gateway.configuration.schema_pools import PoolsSpec
from gateway.configuration.schema_signals import SignalsSpec
from gateway.configuration.schema_store import StoreSpec
from gateway.configuration.spec import Spec
from gateway.configuration.words import (
    Address,
    AgeRecipient,
    Bytes,
    CollectorUrl,
    FilePath,
    ListenPort,
    Name,
    NetworkText,
    Prefix,
    Text,
    WorkerCount,
)


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
    """Resident memory past which a worker, or a process of the edge, is drained and replaced by a fresh one; no bound
    when left out."""
    max_request_bytes: Bytes = 10_000_000
    """Longest request body; a longer one is refused with 413."""
    max_header_bytes: Annotated[int, Field(ge=1_024, le=1_048_576)] = 32_768
    """Longest block of request header lines; a longer one is refused with 431."""
    max_url_bytes: Annotated[int, Field(ge=256, le=65_536)] = 8_192
    """Longest request target; a longer one is refused with 414."""


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
