"""``ecluse audit checkpoint``: exchange checkpoints with a witness by files, where no network leads to it."""

from collections.abc import Sequence
from pathlib import Path

import click

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME, CheckpointRefused, VerifierKey, split_note, verify
from gateway.audit.cosignature import WitnessKey, cosignatures, parse_witness_key
from gateway.audit.files import LogDamaged
from gateway.audit.proving import prove_growth, read_checkpoint
from gateway.audit.witness import MAX_REQUEST_BYTES, AddCheckpoint
from gateway.audit.witnessed import check_own, keep_cosigned, last_seen
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.audit_proof import cosigned_by, say
from gateway.cli.audit_publish import witnesses_of
from gateway.cli.loading import keys_or_exit, load_or_exit

SUFFIX = ".add-checkpoint"


@click.group("checkpoint", epilog="Example:  ecluse audit checkpoint export -o /media/usb")
def exchange() -> None:
    """Exchange checkpoints with a witness by files, where no network leads to it."""


@exchange.command(
    "export",
    epilog="Example:  ecluse audit checkpoint export -o /media/usb --witness chu.example/w1+1a2b3c4d+BA...",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder for one file a log: WRITER.add-checkpoint.",
)
@click.option("--log", "names", multiple=True, help="Writer whose log is exported; every one when left out.")
@click.option(
    "--witness",
    "witness_text",
    help="Verifier key of the witness; the configured one when there is one only.",
)
@click.option(
    "--since",
    type=click.IntRange(min=0),
    help="Size the witness saw last, when it is not the one known here.",
)
@config_option
@json_option
def export_command(
    output: Path,
    names: tuple[str, ...],
    witness_text: str | None,
    since: int | None,
    config_path: str,
    as_json: bool,
) -> int:
    """Write what a witness is to cosign, with the proof that the log only grew since it last did."""
    audit_dir, keys, configured = _settled(config_path)
    witness = _witness(witness_text, configured)
    try:
        logs = [log for log in files.log_directories(audit_dir) if not names or log.name in names]
        missing = sorted(set(names) - {log.name for log in logs})
        if missing or not logs:
            fail(f"{audit_dir} holds no log {', '.join(missing)}".rstrip(), EXIT_FAULT)
        if since is not None and len(logs) > 1:
            raise click.UsageError("--since is the size of one log: name it with --log.")
        for log in logs:
            note, signed = read_checkpoint(log / files.CHECKPOINT, keys)
            old = since if since is not None else last_seen(log, witness) if witness is not None else 0
            if old > signed.size:
                fail(
                    f"{signed.origin} holds {signed.size} entries, fewer than {old}: was it put back?",
                    EXIT_REFUSED,
                )
            request = AddCheckpoint(old, tuple(prove_growth(log, old, signed)), note)
            path = output / f"{log.name}{SUFFIX}"
            files.replace_durably(path, request.dump())
            values = {"file": str(path), "origin": signed.origin, "since": old, "size": signed.size}
            say(values, f"{path}: {signed.origin}, {signed.size} entries, {old} seen before", as_json=as_json)
    except (LogDamaged, OSError) as error:
        fail(str(error), EXIT_FAULT)
    return EXIT_DONE


@exchange.command("import", epilog="Example:  ecluse audit checkpoint import /media/usb/gateway.cosigned")
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--witness", "witness_text", help="Verifier key of the witness; the configured ones when left out."
)
@config_option
@json_option
def import_command(paths: tuple[Path, ...], witness_text: str | None, config_path: str, as_json: bool) -> int:
    """Take in what a witness cosigned; proofs and verification then show it. 1 when it is not of these logs."""
    audit_dir, keys, configured = _settled(config_path)
    chosen = _witness(witness_text, ())
    witnesses = [chosen] if chosen is not None else list(configured)
    if not witnesses:
        raise click.UsageError("Nobody's cosignature is known: give --witness KEY, or name audit.witnesses.")
    try:
        logs = {log.name: log for log in files.log_directories(audit_dir)}
        for path in paths:
            with path.open("rb") as file:
                note = file.read(MAX_REQUEST_BYTES + 1)
            values, line = _take(path, note, logs, keys, witnesses)
            say(values, line, as_json=as_json)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", EXIT_FAULT)
    return EXIT_DONE


def _take(
    path: Path,
    note: bytes,
    logs: dict[str, Path],
    keys: Sequence[VerifierKey],
    witnesses: Sequence[WitnessKey],
) -> tuple[dict[str, object], str]:
    try:
        signed = verify(note, keys)
        by = cosignatures(note, witnesses)
        log = logs.get(signed.origin.rpartition("/")[2])
        if log is not None:
            check_own(log, signed)
    except (LogDamaged, CheckpointRefused) as error:
        fail(f"{path}: {error}", EXIT_REFUSED)
    if log is None:
        fail(f"{path}: it is of the log {signed.origin!r}, which is not here", EXIT_REFUSED)
    if not by:
        fail(f"{path}: no known witness cosigned it", EXIT_REFUSED)
    text, lines = split_note(note)
    wanted = {each.line for each in by}
    own = [line for line in lines if line in wanted or _is_own(text, line, keys)]
    keep_cosigned(log, f"{text}\n{''.join(f'{line}\n' for line in own)}".encode())
    values: dict[str, object] = {
        "file": str(path),
        "origin": signed.origin,
        "size": signed.size,
        "by": [each.key.name for each in by],
    }
    return values, f"{path}: {signed.origin}, {signed.size} entries{cosigned_by(by)}"


def _is_own(text: str, line: str, keys: Sequence[VerifierKey]) -> bool:
    try:
        verify(f"{text}\n{line}\n".encode(), keys)
    except CheckpointRefused:
        return False
    return True


def _settled(config_path: str) -> tuple[Path, Sequence[VerifierKey], tuple[WitnessKey, ...]]:
    settings = load_or_exit(config_path).settings
    keys = files.verifier_keys(keys_or_exit(settings).checkpoint, LOG_NAME)
    return settings.audit_dir, keys, tuple(each.key for each in witnesses_of(settings))


def _witness(text: str | None, configured: Sequence[WitnessKey]) -> WitnessKey | None:
    if text is None:
        return configured[0] if len(configured) == 1 else None
    try:
        return parse_witness_key(text)
    except CheckpointRefused as error:
        raise click.BadParameter(str(error), param_hint="--witness") from None
