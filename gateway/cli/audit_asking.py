"""What commands that read the journals share: where those stand, which patients are meant, and the record of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.operator import local_user, operator_log
from gateway.audit.query import Question, pseudonyms
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_FAULT, fail
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.clock import SystemClock
from gateway.configuration import KeysRefused, Loaded, load_keys
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import Keys

_PROGRESS_AFTER_S = 1.0
_PROGRESS_EVERY = 1_000
_PSEUDONYM_TAIL = 33


@dataclass(frozen=True, slots=True)
class Place:
    """The journals in *directory*. Without *keys* they are a copy, whose consultation nobody records."""

    directory: Path
    keys: Keys | None = None
    loaded: Loaded | None = None


def directory_options(command: Any) -> Any:
    """Add ``--reason``, ``--audit-dir``, ``--keys-dir`` and ``--copy``."""
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
        help="Folder of the journals, in place of the configuration's.",
    )(command)
    return click.option("--reason", "why", help="Why you ask: recorded with the consultation.")(command)


def place_of(audit_dir: Path | None, keys_dir: Path | None, config_path: str, *, is_copy: bool) -> Place:
    """Return the journals that the options mean; say what is missing and leave with 2."""
    if audit_dir is None:
        if is_copy:
            raise click.UsageError("--copy says that --audit-dir is a copy: give --audit-dir too.")
        loaded = load_or_exit(config_path)
        return Place(loaded.settings.audit_dir, keys_or_exit(loaded.settings), loaded)
    if is_copy:
        return Place(audit_dir, _keys(keys_dir) if keys_dir is not None else None)
    if keys_dir is None:
        raise click.UsageError(
            "Consultations are recorded: give --keys-dir, or --copy when --audit-dir is a copy."
        )
    return Place(audit_dir, _keys(keys_dir))


def patients_of(patients: tuple[str, ...], system: str | None, keys: Keys | None) -> tuple[str, ...]:
    """Return the pseudonyms of *patients*, ids in clear when *system* names their numbering."""
    if system is None:
        if any(":" not in patient for patient in patients):
            raise click.UsageError("--patient takes a pseudonym (kid:hex), or an id in clear with --system.")
        return patients
    if keys is None:
        raise click.UsageError("An id in clear needs the pseudonyms key: give --keys-dir.")
    return tuple(name for patient in patients for name in pseudonyms(keys.pseudonyms, system, patient))


def record(
    directory: Path, keys: Keys, act: str, why: str | None, question: Question, *detail: tuple[str, str]
) -> None:
    """Record that somebody reads the log, before anything is shown; leave with 2 when that cannot be done."""
    if not why:
        raise click.UsageError("Consultations are recorded with their reason: give --reason TEXT.")
    asked = [
        (name, ", ".join(value) if isinstance(value, tuple) else str(value))
        for name in Question.__dataclass_fields__
        if name not in {"patients", "reference"} and (value := getattr(question, name))
    ]
    event = AuditEvent(
        EventKind.AUDIT_QUERIED,
        SystemClock().now_ms(),
        operator=local_user(),
        patients=tuple(name for name in question.patients if len(name) > _PSEUDONYM_TAIL),
        reference=question.reference,
        detail=(("act", act), ("reason", why), *detail, *asked),
    )
    try:
        with operator_log(directory, LOG_NAME, keys.checkpoint) as log:
            log.record(event)
    except AuditUnavailable as error:
        fail(f"the consultation could not be recorded, so it is refused: {error}", EXIT_FAULT)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Give a way to tell how far reading is; nothing is shown during the first second, nor off a terminal."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), TextColumn("{task.completed:,} events"), TimeElapsedColumn()
    bar = Progress(*columns, console=console, transient=True, auto_refresh=False)
    task = bar.add_task(what)

    def advance(count: int) -> None:
        if count % _PROGRESS_EVERY:
            return
        bar.update(task, completed=count)
        if console.is_terminal and (bar.tasks[0].elapsed or 0.0) > _PROGRESS_AFTER_S:
            bar.start()
            bar.refresh()

    try:
        yield advance
    finally:
        bar.stop()


def _keys(keys_dir: Path) -> Keys:
    try:
        return load_keys(keys_dir)
    except KeysRefused as error:
        fail(str(error), EXIT_FAULT)
