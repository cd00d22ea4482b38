"""Settings: what one process needs to run, and nothing that decides."""

from dataclasses import dataclass, field
from pathlib import Path

from gateway.policy.policy import Policy


@dataclass(frozen=True, slots=True)
class Settings:
    """Where this process listens, keeps its state and finds its store.

    Paths are absolute. *store_url* is ``embedded`` or a ``redis://``, ``rediss://`` or ``unix://``
    address; it may carry a password and is therefore kept out of the repr. *tls_certificate* and
    *tls_key* are PEM files, both set or both None. *metrics_port* is None when no metrics are served.
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
    segment_bytes: int = 64_000_000
    escrow_recipients: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    metrics_address: str = "127.0.0.1"
    metrics_port: int | None = None

    @property
    def embedded_store(self) -> bool:
        """Tell whether the gateway keeps its own store."""
        return self.store_url == "embedded"

    @property
    def pid_file(self) -> Path:
        """Return where the serving process writes its process id."""
        return self.state_dir / "ecluse.pid"

    @property
    def reload_file(self) -> Path:
        """Return where the serving process writes the outcome of the last reload, as JSON."""
        return self.state_dir / "reload.json"


@dataclass(frozen=True, slots=True)
class Loaded:
    """One configuration, read and checked: the rules, and the process that applies them."""

    policy: Policy
    settings: Settings
