"""Settings: what one process needs to run, and nothing that decides."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gateway.policy.policy import Policy
from gateway.vocabulary.running import Door, RunFiles
from gateway.vocabulary.signals import Rules


@dataclass(frozen=True, slots=True)
class PublishSettings:
    """One place away from the machine: exactly one of *directory*, *url* and *bucket* is set.

    *token* and *secret* are kept out of the repr.
    """

    directory: Path | None = None
    url: str | None = None
    ca_file: Path | None = None
    token: str | None = field(default=None, repr=False)
    bucket: str | None = None
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """A witness to ask. *key* is the text form of its verifier key."""

    url: str
    key: str
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Collector:
    """Where the log is sent. *scheme* is tls, tcp or udp, *form* a format's name; paths are absolute.

    *certificate* and *key* are PEM files, both set or both None. Without *ca_file* the system's authorities hold.
    """

    scheme: str
    host: str
    port: int
    form: str
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def url(self) -> str:
        """Return its address as the configuration has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class MailSettings:
    """Where mail goes; *password* is kept out of the repr."""

    host: str
    port: int
    security: str
    sender: str
    recipients: tuple[str, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    names: bool = False


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """A web address; *secret* is kept out of the repr."""

    url: str
    secret: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    names: bool = False


@dataclass(frozen=True, slots=True)
class SyslogSettings:
    """A syslog collector: *scheme* is tls, tcp or udp."""

    scheme: str
    host: str
    port: int
    ca_file: Path | None = None
    names: bool = False


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Whom to tell at once, how often, and where."""

    again_after_s: int = 3_600
    at_most_per_hour: int = 20
    mail: MailSettings | None = None
    webhook: WebhookSettings | None = None
    syslog: SyslogSettings | None = None


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """The front proxy's side. *address* None: every address. The files are looked at by the proxy alone."""

    certificate: Path
    key: Path
    address: str | None = None
    https_port: int = 443
    http_port: int = 80


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """Where the check listens, *socket*, *port* or both, and whom it believes; *secret* is kept out of the repr."""

    socket: Path | None = None
    group: str | None = None
    address: str = "127.0.0.1"
    port: int | None = None
    secret: str | None = field(default=None, repr=False)
    processes: int = 1
    beside: bool = False
    metrics_address: str = "127.0.0.1"
    metrics_port: int | None = None
    front: FrontSettings | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Where this process listens, keeps its state and finds its store.

    Paths are absolute. *store_url* is ``embedded`` or an address as valkey.address.read_address takes it; it may
    carry passwords and is therefore kept out of the repr. *tls_certificate* and
    *tls_key* are PEM files, both set or both None. *metrics_port* is None when no metrics are served.
    *audit_node* is None where one node writes alone; *audit_also* are the log folders of the others.
    *audit_engine* is ``duckdb`` or a ``clickhouse://`` address, which may carry a password too.
    *workers* is None for one process without supervisor; *worker_memory_bytes* None for no bound.
    *escrow_recipients* are public keys of age; empty: no escrow is kept.
    """

    config_path: Path
    listen_address: str
    listen_port: int
    state_dir: Path
    keys_dir: Path
    audit_dir: Path
    store_url: str = field(default="embedded", repr=False)
    store_timeout_ms: int = 800
    store_replicas: int = 0
    segment_bytes: int = 64_000_000
    audit_node: str | None = None
    audit_also: tuple[Path, ...] = ()
    audit_engine: str = field(default="duckdb", repr=False)
    keeper: bool = True
    watcher: bool = True
    rules: Rules = field(default_factory=Rules)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    retention_days: int = 365
    retention_reason: str = ""
    publish: tuple[PublishSettings, ...] = ()
    publish_every_s: int = 300
    witnesses: tuple[WitnessSettings, ...] = ()
    enterprise_id: int = 32_473
    collector: Collector | None = None
    escrow_recipients: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    edge: EdgeSettings | None = None
    metrics_address: str = "127.0.0.1"
    metrics_port: int | None = None
    workers: int | Literal["auto"] | None = None
    worker_memory_bytes: int | None = None

    @property
    def embedded_store(self) -> bool:
        """Tell whether the gateway keeps its own store."""
        return self.store_url == "embedded"

    @property
    def edge_beside(self) -> bool:
        """Tell whether the serving process runs the check beside it."""
        return self.edge is not None and self.edge.beside

    @property
    def audit_dirs(self) -> tuple[Path, ...]:
        """Return the log folders of every node, this one's first."""
        return (self.audit_dir, *self.audit_also)

    def run_files(self, door: Door) -> RunFiles:
        """Return where *door* tells the commands beside it how it is."""
        return RunFiles(self.state_dir, door)

    @property
    def pid_file(self) -> Path:
        """Return where the serving process of the inspector writes its process id."""
        return self.run_files(Door.INSPECTOR).pid

    @property
    def cursors_dir(self) -> Path:
        """Return where the shipping process notes what the collector has."""
        return self.state_dir / "collector"

    @property
    def canaries_dir(self) -> Path:
        """Return where it stands which patients are decoys."""
        return self.state_dir / "canaries"

    @property
    def alerts_dir(self) -> Path:
        """Return where alerts are kept until they have arrived, and after."""
        return self.state_dir / "alerts"

    @property
    def watch_dir(self) -> Path:
        """Return where the watcher keeps what it has learned, and how far it has read."""
        return self.state_dir / "watch"

    @property
    def reload_file(self) -> Path:
        """Return where the inspector writes the outcome of its last reload, as JSON."""
        return self.run_files(Door.INSPECTOR).reload

    @property
    def in_force_file(self) -> Path:
        """Return where the serving process writes the policy in force, as JSON without secrets."""
        return self.state_dir / "in-force.json"


@dataclass(frozen=True, slots=True)
class Loaded:
    """One configuration, read and checked: the rules, and the process that applies them."""

    policy: Policy
    settings: Settings
