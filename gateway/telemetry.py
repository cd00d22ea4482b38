"""Logs for operators and numbers for Prometheus. Neither ever holds a secret, a login or a patient."""

import asyncio
import logging
import os
import sys
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from itertools import accumulate
from typing import Any, Final, TextIO, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from structlog.typing import FilteringBoundLogger

REGISTRY: Final = CollectorRegistry()

_STORE_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.8, 1.0)
_SLOW_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Duration:
    """How often something took how long, in the buckets of its `Durations`."""

    __slots__ = ("_bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, took_s: float) -> None:
        """Count *took_s*."""
        self.counts[bisect_left(self._bounds_s, took_s)] += 1
        self.sum_s += took_s


class Durations(Collector):
    """A histogram of seconds with one label, or none. Counted several times in each exchange, so it takes no lock:
    one thread counts, and whoever reads may miss what is being counted."""

    def __init__(
        self,
        name: str,
        text: str,
        bounds_s: tuple[float, ...],
        label: str | None = None,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._name, self._text, self._bounds_s, self._label = name, text, bounds_s, label
        self._by: dict[str, Duration] = {}
        if label is None:
            self.by("")
        registry.register(self)

    def by(self, value: str = "") -> Duration:
        """Return what is counted for *value* of the label."""
        found = self._by.get(value)
        if found is None:
            found = self._by[value] = Duration(self._bounds_s)
        return found

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Return nothing but the name, which the registry guards."""
        return [HistogramMetricFamily(self._name, self._text)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return what was counted so far."""
        labels = [self._label] if self._label is not None else []
        family = HistogramMetricFamily(self._name, self._text, labels=labels)
        bounds = [*(str(bound) for bound in self._bounds_s), "+Inf"]
        for value, one in list(self._by.items()):
            counted = list(zip(bounds, accumulate(one.counts), strict=True))
            family.add_metric([value] if labels else [], counted, one.sum_s)
        return [family]


class Tally:
    """How often something happened."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def inc(self) -> None:
        """Count one more."""
        self.count += 1


class Tallies(Collector):
    """A counter with labels. As `Durations`, it takes no lock: one thread counts."""

    def __init__(
        self, name: str, text: str, labels: tuple[str, ...], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._by: dict[tuple[str, ...], Tally] = {}
        registry.register(self)

    def by(self, *values: str) -> Tally:
        """Return what is counted for *values* of the labels, in their order."""
        found = self._by.get(values)
        if found is None:
            found = self._by[values] = Tally()
        return found

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Return nothing but the name, which the registry guards."""
        return [CounterMetricFamily(self._name, self._text)]

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Return what was counted so far."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for values, tally in list(self._by.items()):
            family.add_metric(values, tally.count)
        return [family]


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"ecluse_{name}", text, labels, registry=REGISTRY)


REQUESTS = Tallies("ecluse_requests", "Requests by decision.", ("app", "kind", "decision", "reason"))
WITHHELD = _counter("withheld_total", "Answers withheld, by the control that did so.", "app", "control")
LOGINS = _counter("logins_total", "Logins of the apps, by outcome.", "app", "outcome")
CODES = _counter("codes_total", "Codes typed, by outcome.", "realm", "outcome")
STORE_SECONDS = Durations("ecluse_store_seconds", "Time of one store call.", _STORE_BUCKETS, "call")
STORE_FAILURES = _counter("store_failures_total", "Store calls without an answer.")
STORE_CONFIRMS = Gauge(
    "ecluse_store_confirms",
    "1 while enough replicas confirm what a failover must not undo, or none are asked for.",
    registry=REGISTRY,
)
STORE_CONFIRMS.set(1)
AUDIT_SECONDS = Durations(
    "ecluse_audit_seconds", "Wait until an audit event is durable.", _STORE_BUCKETS
).by()
AUDIT_FAILURES = _counter("audit_failures_total", "Audit events that could not be made durable.")
COLLECTOR_BACKLOG = Gauge(
    "ecluse_collector_backlog",
    "Signed audit entries that the collector is not known to have.",
    ("writer",),
    registry=REGISTRY,
)
COLLECTOR_SENT = _counter("collector_sent_total", "Audit entries known to have arrived.", "writer")
COLLECTOR_FAILURES = _counter("collector_failures_total", "Connections to the collector that failed.")
ESCROW_FAILURES = _counter("escrow_failures_total", "Batches that could not be written to the escrow.")
ESCROW_DROPPED = _counter(
    "escrow_dropped_total", "Patients that the escrow had no room to note, or whose batch was dropped."
)
UPSTREAM_SECONDS = Durations(
    "ecluse_upstream_seconds", "Time until an app's answer was complete.", _SLOW_BUCKETS, "app"
)
UPSTREAM_FAILURES = _counter("upstream_failures_total", "Exchanges in which an app did not answer.", "app")
HOOK_FAULTS = _counter("hook_faults_total", "Faults of the gateway's own, answered with 503.")
CONFIG_RELOADS = _counter("config_reload_total", "Reloads of the configuration, by result.", "result")
SIGNALS = _counter("signals_total", "Signals that fired, of the watching process.", "signal", "mode")
WATCH_LAG_S = Gauge(
    "ecluse_watch_lag_seconds", "Age of the last entry that was watched, when it was read.", registry=REGISTRY
)
WATCH_FAILURES = _counter("watch_failures_total", "Acts and entries of the watching process that failed.")
ALERT_FAILURES = _counter("alert_failures_total", "Alerts that a channel did not take.", "channel")
PUBLISH_FAILURES = _counter(
    "publish_failures_total",
    "Checkpoints that a destination away from the machine did not take.",
    "destination",
)
PUBLISHED_ENTRIES = Gauge(
    "ecluse_published_entries",
    "Entries of a log that the last checkpoint taken by a destination covers.",
    ("origin", "destination"),
    registry=REGISTRY,
)
POSTURE_STRICT = Gauge("ecluse_posture_strict", "1 while the posture is strict.", registry=REGISTRY)
PLANS_BLANCS = Gauge("ecluse_plans_blancs", "Establishments under a plan blanc.", registry=REGISTRY)
WORKERS = Gauge("ecluse_workers", "Workers of this node, by state.", ("state",), registry=REGISTRY)
WORKER_RESTARTS = _counter(
    "worker_restarts_total", "Workers that another one was begun for, by cause.", "why"
)
CONFIG_INFO = Gauge("ecluse_config_info", "1 for the policy in force.", ("policy_id",), registry=REGISTRY)
ProcessCollector(registry=REGISTRY)


def show_policy(policy_id: str) -> None:
    """Make *policy_id* the one that ``ecluse_config_info`` shows."""
    CONFIG_INFO.clear()
    CONFIG_INFO.labels(policy_id).set(1)


_SECRET_NAMES: Final = frozenset(
    {"key", "keys", "code", "codes", "pin", "body", "query", "url", "uri", "path"}
)
_SECRET_PARTS: Final = frozenset({
    *("password", "passwd", "passphrase", "secret", "secrets", "token", "cookie", "cookies", "headers"),
    *("authorization", "credential", "credentials", "otp", "totp", "otpauth", "recovery", "jwt", "bearer"),
    *("assertion", "patient", "patients", "nir", "nom", "prenom", "firstname", "lastname", "phone", "email"),
})  # fmt: skip
_SCALARS: Final = (str, int, float, bool, type(None))
_LONGEST_TEXT: Final = 1_000


def withhold_secrets(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop the fields whose names speak of secrets or of people, and say which ones in ``withheld``.

    A structlog processor. Texts are bounded; values that are neither text nor number are dropped too,
    since their repr could hold anything.
    """
    dropped = [
        name
        for name, value in event.items()
        if name not in {"exc_info", "exception"}
        and (_speaks_of_secrets(name) or not isinstance(value, _SCALARS))
    ]
    for name in dropped:
        del event[name]
    for name, value in event.items():
        if isinstance(value, str) and len(value) > _LONGEST_TEXT:
            event[name] = value[:_LONGEST_TEXT] + "…"
    if dropped:
        event["withheld"] = " ".join(sorted(dropped))
    return event


def _speaks_of_secrets(name: str) -> bool:
    lowered = name.lower()
    return lowered in _SECRET_NAMES or not _SECRET_PARTS.isdisjoint(lowered.split("_"))


def _where_only(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # A fault's message may quote what a client sent, so the log tells its type and where it arose.
    info = event.pop("exc_info", None)
    fault = info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else None
    if info is True:
        fault = sys.exception()
    if isinstance(fault, BaseException):
        event.update(describe_fault(fault))
    return event


def describe_fault(fault: BaseException) -> dict[str, str]:
    """Return the type of *fault* and the places it passed, ``file.py:12 file.py:40``; not its message."""
    places, trace = [], fault.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename.replace(os.sep, "/").split("/")
        places.append(f"{'/'.join(name[-2:])}:{trace.tb_lineno}")
        trace = trace.tb_next
    return {"fault": type(fault).__name__, "at": " ".join(places[-8:])}


class _OtherLibraries(logging.Handler):
    """Tells that a library had something to say, and where; its text may quote a client and is left out."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line for *record*."""
        fields: dict[str, str] = {"logger": record.name, "at": f"{record.module}:{record.lineno}"}
        if record.exc_info is not None and record.exc_info[1] is not None:
            fields |= describe_fault(record.exc_info[1])
        log().log(record.levelno, "library_message", **fields)


def configure(
    stream: TextIO | None = None, *, level: int = logging.INFO, environment: Mapping[str, str] | None = None
) -> None:
    """Send logs to *stream*, standard error by default: JSON lines, or a readable form on a terminal.

    Colours are left out when ``NO_COLOR`` is set (no-color.org). Messages of other libraries, from
    warnings up, are told by their place and without their text.
    """
    _send_to(stream, level, environment if environment is not None else os.environ)
    logging.root.handlers = [_OtherLibraries()]
    logging.root.setLevel(logging.WARNING)


def _send_to(stream: TextIO | None, level: int, environment: Mapping[str, str]) -> None:
    renderer: Any = structlog.processors.JSONRenderer(ensure_ascii=False)
    # Looked up late: a command may run with its standard error closed or redirected.
    shown_on = stream if stream is not None else sys.stderr
    if shown_on is not None and not shown_on.closed and shown_on.isatty():
        colours = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
        renderer = structlog.dev.ConsoleRenderer(colors=colours)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _where_only,
            withhold_secrets,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.WriteLogger(stream if stream is not None else sys.stderr),
        cache_logger_on_first_use=False,
    )


def log_as(worker: int) -> None:
    """Have every line of this context tell that it is of *worker*."""
    structlog.contextvars.bind_contextvars(worker=worker)


def log() -> FilteringBoundLogger:
    """Return the logger. Events are constant words in snake_case; what varies goes into fields."""
    return cast("FilteringBoundLogger", structlog.get_logger())


# From the first import on, nothing is logged that has not passed the processors above.
_send_to(None, logging.INFO, os.environ)

_MOST_HEAD_BYTES: Final = 8_192
_HEAD_TIMEOUT_S: Final = 5.0
_STATUS_TEXT: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}
_TEXT_TYPE: Final = "text/plain; charset=utf-8"
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


async def _own_metrics() -> bytes:
    return generate_latest(REGISTRY)


async def serve_metrics(
    address: str,
    port: int,
    ready: Callable[[], bool],
    metrics: Callable[[], Awaitable[bytes]] = _own_metrics,
) -> asyncio.Server:
    """Answer ``/metrics``, ``/healthz`` and ``/readyz`` until the server is closed; *port* 0 is any.

    *ready* tells whether the gateway can serve: 200 when it can, 503 when not. *metrics* gives what ``/metrics``
    answers, this process's own by default.

    Raises:
        OSError: the port cannot be had.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            status, kind, body = await _answer(head, ready, metrics)
            lines = (
                f"HTTP/1.1 {status} {_STATUS_TEXT[status]}",
                f"Content-Type: {kind}",
                f"Content-Length: {len(body)}",
                "Cache-Control: no-store",
                "X-Content-Type-Options: nosniff",
                "Connection: close",
            )
            writer.write("\r\n".join((*lines, "", "")).encode() + body)
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            # A probe that went away or sent no request is no event.
            pass
        finally:
            writer.close()

    return await asyncio.start_server(answer, address, port, limit=_MOST_HEAD_BYTES)


async def _answer(
    head: bytes, ready: Callable[[], bool], metrics: Callable[[], Awaitable[bytes]]
) -> tuple[int, str, bytes]:
    method, _, rest = head.split(b"\r\n", 1)[0].partition(b" ")
    target, _, version = rest.partition(b" ")
    if not version.startswith(b"HTTP/1."):
        return 400, _TEXT_TYPE, b"bad request\n"
    if method != b"GET":
        return 405, _TEXT_TYPE, b"only GET\n"
    match target:
        case b"/metrics":
            return 200, _METRICS_TYPE, await metrics()
        case b"/healthz":
            return 200, _TEXT_TYPE, b"alive\n"
        case b"/readyz":
            return (200, _TEXT_TYPE, b"ready\n") if ready() else (503, _TEXT_TYPE, b"not ready\n")
        case _:
            return 404, _TEXT_TYPE, b"not found\n"
