"""``ecluse audit verify``: check the journals from their files alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.audit import files
from gateway.audit.checkpoint import (
    LOG_NAME,
    Checkpoint,
    CheckpointRefused,
    VerifierKey,
    open_checkpoint,
    parse_verifier_key,
)
from gateway.audit.verify import Broken, CannotRead, Verified, verify_log
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.audit_output import verdict, verdict_values
from gateway.cli.audit_proof import (
    asked_options,
    read_asked,
    stamped_checkpoint,
    verify_proof,
    witnessed_logs,
)
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.cli.progress import progress


@click.command(
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
@asked_options
@config_option
@json_option
def verify(
    directory: Path | None,
    key_texts: tuple[str, ...],
    exported_paths: tuple[Path, ...],
    config_path: str,
    as_json: bool,
    **options: Any,
) -> int:
    """Check journals from their files alone; name the first bad entry of each. 0 sound, 1 broken, 2 unreadable."""
    asked = read_asked(**options)
    try:
        keys = [parse_verifier_key(text) for text in key_texts] or list(asked.trust.logs)
    except CheckpointRefused as error:
        raise click.BadParameter(str(error), param_hint="--key") from None
    if asked.proof_path is not None:
        if directory is not None or exported_paths:
            raise click.UsageError("--proof is checked without a log: give neither DIRECTORY nor --against.")
        keys = keys or list(
            files.verifier_keys(keys_or_exit(load_or_exit(config_path).settings).checkpoint, LOG_NAME)
        )
        return verify_proof(asked, keys, as_json=as_json)
    if directory is None or not keys:
        loaded = load_or_exit(config_path)
        directory = directory or loaded.settings.audit_dir
        keys = keys or list(files.verifier_keys(keys_or_exit(loaded.settings).checkpoint, LOG_NAME))
    try:
        exported = _open_exported((*exported_paths, *stamped_checkpoint(asked, as_json=as_json)), keys)
        logs = _logs(directory)
        seen, unseen = witnessed_logs(logs, keys, asked.trust, as_json=as_json)
        for state in seen:
            exported.setdefault(state.checkpoint.origin, []).append(state.checkpoint)
        with progress() as begin:
            results = [_verify_one(log, keys, exported, begin(log.name)) for log in logs]
        results += unseen
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
