"""What of the settings keeps watch, and what opens the gateway: without secrets, with the direction of each part."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gateway.configuration.settings import AlertSettings, EdgeSettings, PublishSettings, Settings
from gateway.policy.weakening.changes import Effect, Field, Table, Way
from gateway.vocabulary.signals import Rules, SignalMode, SignalRule

_WEAK, _STRONG = Effect.WEAKER, Effect.STRONGER


@dataclass(frozen=True, slots=True)
class Oversight:
    """Places are told without user, password, token, path or query."""

    listens: str
    encrypted: bool
    metrics: str | None
    edge_listens: frozenset[str]
    edge_secret: bool
    folders: tuple[str, ...]
    store: str
    store_replicas: int
    watcher: bool
    rules: Rules
    alerts_to: frozenset[str]
    alerts_again_after_s: int
    alerts_at_most_per_hour: int
    retention_days: int
    published_to: frozenset[str]
    publish_every_s: int
    witnesses: frozenset[str]
    collectors: frozenset[str]
    escrow_recipients: frozenset[str]


FROM_SETTINGS: Final = {
    "config_path": None,
    "listen_address": "listens",
    "listen_port": "listens",
    "state_dir": "folders",
    "keys_dir": "folders",
    "audit_dir": "folders",
    "store_url": "store",
    "store_timeout_ms": None,
    "store_replicas": "store_replicas",
    "segment_bytes": None,
    "audit_node": None,
    "audit_also": None,
    "audit_engine": None,
    "keeper": None,
    "watcher": "watcher",
    "rules": "rules",
    "alerts": "alerts_to",
    "retention_days": "retention_days",
    "retention_reason": None,
    "publish": "published_to",
    "publish_every_s": "publish_every_s",
    "witnesses": "witnesses",
    "enterprise_id": None,
    "collector": "collectors",
    "escrow_recipients": "escrow_recipients",
    "tls_certificate": "encrypted",
    "tls_key": "encrypted",
    "edge": "edge_listens",
    "metrics_address": "metrics",
    "metrics_port": "metrics",
    "workers": None,
    "worker_memory_bytes": None,
}
"""Where each setting went. None: how it is served, stored or asked, which lets nobody see more and hides nothing."""


def oversight_of(settings: Settings) -> Oversight:
    """Return what of *settings* keeps watch."""
    alerts, edge = settings.alerts, settings.edge
    return Oversight(
        listens=f"{settings.listen_address}:{settings.listen_port}",
        encrypted=settings.tls_certificate is not None,
        metrics=f"{settings.metrics_address}:{settings.metrics_port}"
        if settings.metrics_port is not None
        else None,
        edge_listens=_edge(edge) if edge is not None else frozenset(),
        edge_secret=edge is None or edge.secret is not None,
        folders=(str(settings.state_dir), str(settings.keys_dir), str(settings.audit_dir)),
        store=_place(settings.store_url),
        store_replicas=settings.store_replicas,
        watcher=settings.watcher,
        rules=settings.rules,
        alerts_to=_channels(alerts),
        alerts_again_after_s=alerts.again_after_s,
        alerts_at_most_per_hour=alerts.at_most_per_hour,
        retention_days=settings.retention_days,
        published_to=frozenset(_published(one) for one in settings.publish),
        publish_every_s=settings.publish_every_s,
        witnesses=frozenset(f"{_place(one.url)} {one.key}" for one in settings.witnesses),
        collectors=frozenset({settings.collector.url} if settings.collector is not None else ()),
        escrow_recipients=frozenset(settings.escrow_recipients),
    )


def _edge(edge: EdgeSettings) -> frozenset[str]:
    places = {str(edge.socket) if edge.socket is not None else None}
    places.add(f"{edge.address}:{edge.port}" if edge.port is not None else None)
    return frozenset(place for place in places if place is not None)


def _channels(alerts: AlertSettings) -> frozenset[str]:
    found = set()
    if alerts.mail is not None:
        found |= {f"mail by {alerts.mail.host} to {one}" for one in alerts.mail.recipients}
    if alerts.webhook is not None:
        found.add(f"webhook {_place(alerts.webhook.url)}")
    if alerts.syslog is not None:
        found.add(f"syslog {alerts.syslog.scheme}://{alerts.syslog.host}:{alerts.syslog.port}")
    return frozenset(found)


def _published(one: PublishSettings) -> str:
    if one.directory is not None:
        return str(one.directory)
    return _place(one.url) if one.url is not None else f"bucket {one.bucket}/{one.prefix}"


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else url


def _weakens(why: str) -> Field:
    return Field(Way.WEAKENS, why)


def _strengthens(why: str) -> Field:
    return Field(Way.STRENGTHENS, why)


def _unknown(why: str) -> Field:
    return Field(Way.UNKNOWN, f"{why}: nobody can tell, so it counts as weaker")


DIRECTIONS: Final[Table] = {
    Oversight: {
        "listens": _unknown("who can reach the gateway"),
        "encrypted": _strengthens("whether the gateway speaks TLS itself"),
        "metrics": _unknown("who can read the figures"),
        "edge_listens": _weakens("where a front proxy may ask"),
        "edge_secret": _strengthens("whether a front proxy has to show a secret"),
        "folders": _unknown("where state, keys and log are"),
        "store": _unknown("where accounts, sessions and counts are"),
        "store_replicas": _strengthens("how many copies confirm what must not be undone"),
        "watcher": _strengthens("whether the log is judged as it grows"),
        "rules": Field(Way.PART, "when the watcher acts"),
        "alerts_to": _strengthens("who is told at once"),
        "alerts_again_after_s": _weakens("how long a repeated alert is held back"),
        "alerts_at_most_per_hour": _strengthens("how many alerts are sent"),
        "retention_days": _strengthens("how long entries of the log are kept"),
        "published_to": _strengthens("who else keeps checkpoints of the log"),
        "publish_every_s": _weakens("how long the log is without a copy of its checkpoint"),
        "witnesses": _strengthens("who refuses a log that rewrites its past"),
        "collectors": _strengthens("who else has the log"),
        "escrow_recipients": _weakens("who can turn pseudonyms back into patients"),
    },
    Rules: {
        "signals": Field(Way.PART, "which patterns are looked for", added=_STRONG, removed=_WEAK),
        "timezone": _unknown("which hours are unusual"),
        "ask_at": _weakens("from which score a code is asked for"),
        "lock_at": _weakens("from which score an account is locked"),
        "ask_for_s": _strengthens("how long a code stays owed"),
        "settled_s": _weakens("how long a code answers for what was seen"),
        "act_within_s": _strengthens("how late the watcher still acts"),
        "walk_patients": _weakens("how many patients along their numbers are a walk"),
        "paced_patients": _weakens("how many openings are judged for their pace"),
        "fast_ms": _strengthens("what is too fast"),
        "regular_percent": _strengthens("what is too regular"),
        "searches_1h": _weakens("how many searches are many"),
        "breadth_times": _weakens("how far above the class is much"),
        "breadth_least": _weakens("how many patients are much at least"),
        "known_logins": _weakens("how many logins make a device usual"),
    },
    SignalRule: {
        "mode": Field(
            Way.RANKED,
            "whether a signal is looked for, and acted on",
            ranks={SignalMode.OFF: 0, SignalMode.OBSERVE: 1, SignalMode.ACT: 2},
        ),
        "weight": _strengthens("what a signal counts"),
        "lasts_s": _strengthens("how long a signal counts"),
    },
}
"""By dataclass, by field."""
