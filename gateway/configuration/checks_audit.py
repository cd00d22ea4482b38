"""Faults between the parts of what is said about the audit log. Pure."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.configuration.faults import Location, Problem
from gateway.configuration.schema import AuditSpec, CollectorSpec
from gateway.configuration.words import is_here

RETENTION_PRESETS = (183, 365, 1_095)
"""Six months and a year, the usual bounds; three years, for internal control (CNIL, délibération 2021-122)."""


def check_audit(audit: AuditSpec) -> Iterator[Problem]:
    """Yield the faults of what is said about the audit log, but for its places away from the machine."""
    if audit.also and audit.node is None:
        yield Problem(
            ("audit", "also"),
            "other nodes write logs too, and this one has no name",
            "write audit.node, another on each node",
        )
    for index, folder in enumerate(audit.also):
        if folder == audit.dir or folder in audit.also[:index]:
            yield Problem(("audit", "also", index), "this folder is read already", "take it out")
    yield from _check_engine(audit)
    if audit.retention_days not in RETENTION_PRESETS and not audit.retention_reason.strip():
        yield Problem(
            ("audit", "retention_days"),
            f"{audit.retention_days} days is none of {', '.join(map(str, RETENTION_PRESETS))}",
            "write one of them, or say why under audit.retention_reason",
        )
    if audit.collector is not None:
        yield from _check_collector(audit.collector)


def _check_collector(collector: CollectorSpec) -> Iterator[Problem]:
    at: Location = ("audit", "collector")
    for key in ("ca_file", "certificate", "key"):
        if getattr(collector, key) is not None and not collector.url.startswith("tls://"):
            yield Problem((*at, key), "this is for tls:// only", "take it out, or write tls:// in url")
    if (collector.certificate is None) != (collector.key is None):
        yield Problem(at, "certificate and key stand together or not at all", "write both")


def _check_engine(audit: AuditSpec) -> Iterator[Problem]:
    if audit.engine == "duckdb":
        if audit.engine_password_file is not None:
            yield Problem(("audit", "engine_password_file"), "duckdb has no password", "take it out")
        return
    at = ("audit", "engine")
    try:
        parts = urlsplit(audit.engine)
        host, password = parts.hostname, parts.password
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        host, password, parts = None, None, urlsplit("")
    if parts.scheme != "clickhouse" or not host:
        yield Problem(at, "this is no engine", "write duckdb, or clickhouse://user@host:8443/database")
        return
    if password is not None:
        yield Problem(
            at,
            "a password stands in the address",
            "put it alone in a file of mode 0600, named by audit.engine_password_file",
        )
    if parts.query == "secure=0" and not is_here(host):
        yield Problem(
            at, "the trail would travel without TLS", "take secure=0 out: it is for this machine alone"
        )
    elif parts.query not in {"", "secure=0"}:
        yield Problem(at, f"unknown settings {parts.query!r}", "take them out")
