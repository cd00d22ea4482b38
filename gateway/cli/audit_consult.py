"""What every consultation of the trail shares: where it is, who may ask, the record of the asking, the wait."""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import duckdb
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from gateway.audit import files, query
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.cluster import Cluster, ClusterUnavailable, connect
from gateway.audit.drafts import NotWritten
from gateway.audit.files import LogDamaged
from gateway.audit.manifest import ManifestDamaged
from gateway.audit.operator import local_user, operator_log
from gateway.audit.query import Row
from gateway.audit.question import Question, pseudonyms
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_FAULT, fail
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.clock import SystemClock
from gateway.configuration import KeysRefused, Loaded, load_keys
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import Keys

_BAR_AFTER_S = 1.0
_SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PSEUDONYM_TAIL = len(":") + 32


def moment(text: str) -> int:
    """Return Unix milliseconds of *text*: RFC 3339 (UTC unless it says otherwise), a date, or 90m, 24h, 7d ago."""
    if text[:-1].isascii() and text[:-1].isdigit() and text[-1] in _SPANS:
        span = timedelta(**{_SPANS[text[-1]]: int(text[:-1])})
        return SystemClock().now_ms() - round(span.total_seconds() * 1000)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no moment: write 2026-09-14, 2026-09-14T08:30:00+02:00, or 24h"
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return round(found.timestamp() * 1000)


def consult_options(command: Any) -> Any:
    """Add the options that say where the trail is and why it is asked."""
    command = click.option(
        "--copy",
        "is_copy",
        is_flag=True,
        help="--audit-dir is a copy away from the gateway: this consultation is not recorded.",
    )(command)
    command = click.option(
        "--keys-dir", type=click.Path(path_type=Path), help="Keys, with --audit-dir and no configuration."
    )(command)
    command = click.option(
        "--audit-dir",
        type=click.Path(path_type=Path),
        help="Folder of the trail, in place of the configuration's.",
    )(command)
    return click.option("--reason", "why", help="Why you ask: recorded with the consultation.")(command)


def period_options(since: str | None = None) -> Callable[[Any], Any]:
    """Add ``--from`` and ``--to``; without ``--from``, *since* is taken."""

    def add(command: Any) -> Any:
        command = click.option("--to", "to_ms", type=moment, help="Before this moment.")(command)
        return click.option(
            "--from",
            "from_ms",
            type=moment,
            default=since,
            show_default=since is not None,
            help="From this moment on: 2026-09-14, RFC 3339, or 24h.",
        )(command)

    return add


@dataclass(frozen=True, slots=True)
class Consultation:
    """The trail that is asked: *places*, this node's first, and the keys of who may record and resolve.

    *loaded* is the configuration, where there is one.
    """

    places: tuple[Path, ...]
    keys: Keys | None
    node: str | None = None
    is_copy: bool = False
    loaded: Loaded | None = None

    @property
    def titles(self) -> Mapping[str, str]:
        """Return the names of the apps for people, where a configuration gives them."""
        apps = self.loaded.policy.apps if self.loaded is not None else {}
        return {name: app.title for name, app in apps.items() if app.title}

    def ask(self, question: Question) -> Iterator[Row]:
        """Yield the events that answer *question*."""
        return query.ask(self.places, question, cluster=self._cluster())

    def accesses(self, question: Question) -> Iterator[Row]:
        """Yield one row per event that answers *question* and patient it names."""
        return query.accesses(self.places, question, cluster=self._cluster())

    def grouped(self, question: Question, columns: Sequence[str], by: str = "patients") -> list[Row]:
        """Return the counts of *question* for each value of *columns*."""
        return query.grouped(self.places, question, columns, by=by, cluster=self._cluster())

    def _cluster(self) -> Cluster | None:
        if self.loaded is None or self.loaded.settings.audit_engine == "duckdb":
            return None
        return connect(self.loaded.settings.audit_engine)

    def resolve(self, patients: Iterable[str], system: str | None) -> tuple[str, ...]:
        """Return the pseudonyms of *patients* under every key; ``-`` stands for lines of standard input.

        Raises:
            click.UsageError: an id in clear without *system* or without keys.
        """
        named = [one for each in patients for one in (_lines() if each == "-" else [each])]
        if system is None:
            if any(":" not in patient for patient in named):
                raise click.UsageError(
                    "A patient is given as pseudonym (kid:hex), or as the id in clear with --system."
                )
            return tuple(named)
        if self.keys is None:
            raise click.UsageError("An id in clear needs the pseudonyms key: give --keys-dir.")
        ring = self.keys.pseudonyms
        return tuple(name for patient in named for name in pseudonyms(ring, system, patient))

    def record(self, act: str, why: str | None, question: Question, **more: object) -> None:
        """Record that *question* is asked, before it is answered; leave with 2 when that cannot be done.

        *act* names the command, *more* what shapes the answer.

        Raises:
            click.UsageError: no reason was given.
        """
        if self.is_copy or self.keys is None:
            return
        if not why:
            raise click.UsageError("Consultations are recorded with their reason: give --reason TEXT.")
        fields = {name: getattr(question, name) for name in Question.__slots__} | more
        asked = [
            (name, ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value))
            for name, value in sorted(fields.items())
            if name not in {"patients", "reference"} and value not in (None, False, (), [])
        ]
        event = AuditEvent(
            EventKind.AUDIT_QUERIED,
            SystemClock().now_ms(),
            operator=local_user(),
            patients=tuple(name for name in question.patients if len(name) > _PSEUDONYM_TAIL),
            reference=question.reference,
            detail=(("act", act), ("reason", why), *asked),
        )
        try:
            with operator_log(self.places[0], LOG_NAME, self.keys.checkpoint, node=self.node) as log:
                log.record(event)
        except AuditUnavailable as error:
            fail(f"the consultation could not be recorded, so it is refused: {error}", EXIT_FAULT)


def open_consultation(
    audit_dir: Path | None, keys_dir: Path | None, config_path: str, *, is_copy: bool
) -> Consultation:
    """Find the trail and the keys.

    Raises:
        click.UsageError: neither a configuration nor keys nor a copy.
    """
    if audit_dir is None:
        if is_copy:
            raise click.UsageError("--copy says that --audit-dir is a copy: give --audit-dir too.")
        loaded = load_or_exit(config_path)
        settings = loaded.settings
        _expect_logs(settings.audit_also)
        return Consultation(settings.audit_dirs, keys_or_exit(settings), settings.audit_node, loaded=loaded)
    keys = None
    if keys_dir is not None:
        try:
            keys = load_keys(keys_dir)
        except KeysRefused as error:
            fail(str(error), EXIT_FAULT)
    elif not is_copy:
        raise click.UsageError(
            "Consultations are recorded: give --keys-dir, or --copy when --audit-dir is a copy."
        )
    return Consultation((audit_dir,), keys, is_copy=is_copy)


def _expect_logs(others: Sequence[Path]) -> None:
    # A folder that is not mounted looks like one in which nothing happened.
    for place in others:
        try:
            found = files.log_directories(place)
        except OSError as error:
            fail(f"audit.also: {place} cannot be read: {error.strerror}", EXIT_FAULT)
        if not found:
            fail(
                f"audit.also: {place} holds no log, so the answer would not be whole: mount the log of that node, or "
                "take the folder out",
                EXIT_FAULT,
            )


@contextmanager
def reading(consultation: Consultation) -> Iterator[None]:
    """Turn what goes wrong while the trail is read, or its answer written, into one sentence and exit code 2."""
    where = ", ".join(map(str, consultation.places))
    try:
        yield
    except BrokenPipeError:
        raise
    except (ClusterUnavailable, NotWritten) as error:
        fail(str(error), EXIT_FAULT)
    except (OSError, LogDamaged, ManifestDamaged, duckdb.Error) as error:
        fail(f"the trail in {where} cannot be read: {why_unread(error)}", EXIT_FAULT)


def why_unread(error: Exception) -> str:
    """Return in one line what *error*, met while the trail was read, says without repeating an entry."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return "the answer needs more room than there is: ask for a shorter period, or for less"
    if isinstance(error, duckdb.Error) and not isinstance(error, duckdb.IOException):
        # Its words may repeat an entry.
        return f"the engine refuses ({type(error).__name__})"
    return next(iter(str(error).splitlines()), type(error).__name__)


def patiently[T](work: Callable[[], T]) -> T:
    """Do *work*; past one second a bar on a terminal's standard error tells that it goes on."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return work()
    columns = TextColumn("Reading the trail"), BarColumn(), TimeElapsedColumn()
    with_bar = Progress(*columns, console=console, transient=True)
    with_bar.add_task("", total=None)
    timer = threading.Timer(_BAR_AFTER_S, with_bar.start)
    timer.start()
    try:
        return work()
    finally:
        timer.cancel()
        timer.join()
        with_bar.stop()


def flowing[T](rows: Iterator[T]) -> Iterator[T]:
    """Yield *rows*, waiting patiently for the first one."""
    end = object()
    first: Any = patiently(lambda: next(rows, end))
    if first is not end:
        yield first
        yield from rows


def _lines() -> list[str]:
    return [line for text in sys.stdin if (line := text.strip())]
