"""``ecluse audit``: query, follow and verify the journals."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import duckdb
import msgspec
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME, Checkpoint, CheckpointRefused, VerifierKey, parse_verifier_key
from gateway.audit.encoding import visible
from gateway.audit.files import LogDamaged
from gateway.audit.operator import local_user, operator_log
from gateway.audit.query import Question, ask, follow, pseudonyms
from gateway.audit.verify import Broken, CannotRead, Verified, open_checkpoint, verify_log
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.audit_identify import identify
from gateway.cli.audit_output import print_csv, print_table, told, verdict, verdict_values
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.clock import SystemClock
from gateway.configuration import KeysRefused, load_keys
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import Keys

_TABLE_ROWS = 200
_PROGRESS_AFTER_S = 1.0
_FOLLOW_EVERY_S = 0.5
_SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


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


def _directory_options(command: Any) -> Any:
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


@click.group(epilog="Example:  ecluse audit query --account dr.martin --from 24h --reason 'ticket 1432'")
def audit() -> None:
    """Query, follow and verify the audit log."""


@audit.command(
    epilog="Example:  ecluse audit query --patient 4711 --system urn:oid:1.2.250.1.999 --from 7d --reason 'art. 15'"
)
@click.option("--account", "accounts", multiple=True, help="Canonical login.")
@click.option("--realm")
@click.option("--patient", "patients", multiple=True, help="Pseudonym, or the id in clear with --system.")
@click.option("--system", help="Numbering of the ids in clear, as the routes name it.")
@click.option("--app", "apps", multiple=True)
@click.option("--establishment", "establishments", multiple=True)
@click.option("--kind", "kinds", multiple=True, type=click.Choice([kind.value for kind in EventKind]))
@click.option(
    "--outcome", "outcomes", multiple=True, help="Reason or control of the event, such as cap or code-owed."
)
@click.option("--request", "request_id", help="Request id.")
@click.option("--reference", help="Reference shown on a page.")
@click.option("--from", "from_ms", type=moment, help="From this moment on: 2026-09-14, RFC 3339, or 24h.")
@click.option("--to", "to_ms", type=moment, help="Before this moment.")
@click.option(
    "--limit", type=click.IntRange(min=1), help=f"At most so many events; a table shows {_TABLE_ROWS}."
)
@click.option("--newest", is_flag=True, help="The last ones first.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@_directory_options
@config_option
@json_option
def query(
    patients: tuple[str, ...],
    system: str | None,
    limit: int | None,
    as_csv: bool,
    as_json: bool,
    why: str | None,
    audit_dir: Path | None,
    keys_dir: Path | None,
    is_copy: bool,
    config_path: str,
    **filters: Any,
) -> int:
    """Ask the journals: who saw whom, when, through which app. The consultation itself is recorded."""
    directory, keys = _place(audit_dir, keys_dir, config_path, is_copy=is_copy)
    as_table = not (as_json or as_csv)
    question = Question(
        patients=_resolve(patients, system, keys),
        limit=limit if limit is not None else (_TABLE_ROWS + 1 if as_table else None),
        **filters,
    )
    _record(directory, keys, "query", why, question, is_copy=is_copy)
    try:
        found = ask(directory, question)
        if as_json:
            for event in found:
                click.echo(msgspec.json.encode(event).decode())
        elif as_csv:
            print_csv(found)
        else:
            print_table(list(found), _TABLE_ROWS if limit is None else limit)
    except (OSError, LogDamaged, duckdb.Error) as error:
        fail(f"the journals in {directory} cannot be read: {error}", EXIT_FAULT)
    return EXIT_DONE


@audit.command("follow", epilog="Example:  ecluse audit follow --json --reason 'watch'")
@click.option("--from-start", is_flag=True, help="Begin with the first entry of each journal.")
@_directory_options
@config_option
@json_option
def follow_command(
    from_start: bool,
    as_json: bool,
    why: str | None,
    audit_dir: Path | None,
    keys_dir: Path | None,
    is_copy: bool,
    config_path: str,
) -> int:
    """Show events as they are written, until Ctrl-C. The consultation itself is recorded."""
    directory, keys = _place(audit_dir, keys_dir, config_path, is_copy=is_copy)
    _record(directory, keys, "follow", why, Question(), is_copy=is_copy)
    resting = threading.Event()

    def again() -> bool:
        sys.stdout.flush()
        resting.wait(_FOLLOW_EVERY_S)
        return True

    try:
        for event in follow(directory, again, from_start=from_start):
            click.echo(msgspec.json.encode(event).decode() if as_json else told(event))
    except (OSError, LogDamaged) as error:
        fail(f"the journals in {directory} cannot be read: {error}", EXIT_FAULT)
    except KeyboardInterrupt:
        return EXIT_DONE
    return EXIT_DONE


@audit.command(
    epilog="Example:  ecluse audit verify /var/lib/ecluse/audit --key ecluse+1a2b3c4d+AW... --against kept/checkpoint"
)
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--key", "key_texts", multiple=True, help="Verifier key, as `ecluse keys show` prints it.")
@click.option(
    "--against",
    "exported_paths",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint file kept elsewhere: shows a log put back to an old state.",
)
@config_option
@json_option
def verify(
    directory: Path | None,
    key_texts: tuple[str, ...],
    exported_paths: tuple[Path, ...],
    config_path: str,
    as_json: bool,
) -> int:
    """Check journals from their files alone; name the first bad entry of each. 0 sound, 1 broken, 2 unreadable."""
    try:
        keys = [parse_verifier_key(text) for text in key_texts]
    except CheckpointRefused as error:
        raise click.BadParameter(str(error), param_hint="--key") from None
    if directory is None or not keys:
        loaded = load_or_exit(config_path)
        directory = directory or loaded.settings.audit_dir
        keys = keys or list(files.verifier_keys(keys_or_exit(loaded.settings).checkpoint, LOG_NAME))
    try:
        exported = _open_exported(exported_paths, keys)
        logs = _logs(directory)
        with _progress() as progress:
            results = [_verify_one(log, keys, exported, progress(log.name)) for log in logs]
    except (CannotRead, OSError) as error:
        fail(str(error), EXIT_FAULT)
    # An exported checkpoint without a log says that the whole log is gone.
    results += [
        Broken(
            directory, directory, None, 0, f"the log {origin!r}, of which a checkpoint was kept, is missing"
        )
        for origin in exported
        if origin.rpartition("/")[2] not in {log.name for log in logs}
    ]
    for result in results:
        click.echo(msgspec.json.encode(verdict_values(result)).decode() if as_json else verdict(result))
    return EXIT_REFUSED if any(isinstance(result, Broken) for result in results) else EXIT_DONE


audit.add_command(identify)


def _logs(directory: Path) -> list[Path]:
    logs = files.log_directories(directory)
    if not logs:
        raise CannotRead(f"{directory} holds no audit log: give the directory of one writer, or of all")
    return logs


def _verify_one(
    log: Path, keys: list[VerifierKey], exported: dict[str, list[Checkpoint]], progress: Callable[[int], None]
) -> Verified | Broken:
    kept = [
        checkpoint
        for origin, each in exported.items()
        if origin.rpartition("/")[2] == log.name
        for checkpoint in each
    ]
    result = verify_log(log, keys, exported=kept[0] if kept else None, progress=progress)
    for checkpoint in kept[1:]:
        if isinstance(result, Broken):
            break
        result = verify_log(log, keys, exported=checkpoint, progress=progress)
    return result


def _open_exported(paths: tuple[Path, ...], keys: list[VerifierKey]) -> dict[str, list[Checkpoint]]:
    exported: dict[str, list[Checkpoint]] = {}
    for path in paths:
        try:
            checkpoint = open_checkpoint(path.read_bytes(), keys)
        except CheckpointRefused as error:
            raise CannotRead(f"{path}: {error}") from error
        exported.setdefault(checkpoint.origin, []).append(checkpoint)
    return exported


@contextmanager
def _progress() -> Iterator[Callable[[str], Callable[[int], None]]]:
    """Give a way to tell how far reading is; nothing is shown during the first second, nor off a terminal."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), TextColumn("{task.completed:,} entries"), TimeElapsedColumn()
    bar = Progress(*columns, console=console, transient=True, auto_refresh=False)

    def begin(name: str) -> Callable[[int], None]:
        task = bar.add_task(visible(name))

        def advance(count: int) -> None:
            bar.update(task, completed=count)
            if console.is_terminal and (bar.tasks[0].elapsed or 0.0) > _PROGRESS_AFTER_S:
                bar.start()
                bar.refresh()

        return advance

    try:
        yield begin
    finally:
        bar.stop()


def _place(
    audit_dir: Path | None, keys_dir: Path | None, config_path: str, *, is_copy: bool
) -> tuple[Path, Keys | None]:
    if audit_dir is None:
        if is_copy:
            raise click.UsageError("--copy says that --audit-dir is a copy: give --audit-dir too.")
        loaded = load_or_exit(config_path)
        return loaded.settings.audit_dir, keys_or_exit(loaded.settings)
    if keys_dir is not None:
        try:
            return audit_dir, load_keys(keys_dir)
        except KeysRefused as error:
            fail(str(error), EXIT_FAULT)
    if not is_copy:
        raise click.UsageError(
            "Consultations are recorded: give --keys-dir, or --copy when --audit-dir is a copy."
        )
    return audit_dir, None


def _resolve(patients: tuple[str, ...], system: str | None, keys: Keys | None) -> tuple[str, ...]:
    if system is None:
        if any(":" not in patient for patient in patients):
            raise click.UsageError("--patient takes a pseudonym (kid:hex), or an id in clear with --system.")
        return patients
    if keys is None:
        raise click.UsageError("An id in clear needs the pseudonyms key: give --keys-dir.")
    return tuple(name for patient in patients for name in pseudonyms(keys.pseudonyms, system, patient))


def _record(
    directory: Path, keys: Keys | None, act: str, why: str | None, question: Question, *, is_copy: bool
) -> None:
    if is_copy or keys is None:
        return
    if not why:
        raise click.UsageError("Consultations are recorded with their reason: give --reason TEXT.")
    asked = [
        (name, ", ".join(value) if isinstance(value, tuple) else str(value))
        for name in (
            "accounts",
            "realm",
            "apps",
            "establishments",
            "kinds",
            "outcomes",
            "request_id",
            "from_ms",
            "to_ms",
        )
        if (value := getattr(question, name))
    ]
    event = AuditEvent(
        EventKind.AUDIT_QUERIED,
        SystemClock().now_ms(),
        operator=local_user(),
        patients=tuple(name for name in question.patients if len(name) > len(":") + 32),
        reference=question.reference,
        detail=(("act", act), ("reason", why), *asked),
    )
    try:
        with operator_log(directory, LOG_NAME, keys.checkpoint) as log:
            log.record(event)
    except AuditUnavailable as error:
        fail(f"the consultation could not be recorded, so it is refused: {error}", EXIT_FAULT)
