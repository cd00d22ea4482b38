"""Making the proof of one entry: ``ecluse audit prove``."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import duckdb
from rich.console import Console

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME, Checkpoint, CheckpointRefused, VerifierKey, parse_verifier_key
from gateway.audit.files import LogDamaged
from gateway.audit.operator import local_user, operator_log
from gateway.audit.proving import NotProvable, best_checkpoint, prove_entry, read_checkpoint, read_entry
from gateway.audit.query import Question, ask
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, config_option, fail, json_option
from gateway.cli.audit_consult import open_consultation, why_unread
from gateway.cli.audit_proof import say
from gateway.clock import SystemClock
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import KeyRing

_PLACE = re.compile(r"([^/:\s]+):(0|[1-9][0-9]{0,17})")
_MOST_NAMED = 10
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    epilog="Example:  ecluse audit prove gateway:1207 -o access.tlog-proof --with-entry --reason 'complaint 12'"
)
@click.argument("event")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The proof file: NAME.tlog-proof.",
)
@click.option("--with-entry", is_flag=True, help="Write the entry beside it, as NAME.jsonl.")
@click.option(
    "--checkpoint",
    "checkpoint_path",
    type=_FILE,
    help="Prove by this checkpoint, kept elsewhere or cosigned, in place of the log's last.",
)
@click.option("--reason", "why", help="Why you ask: recorded with the proof.")
@click.option(
    "--audit-dir",
    type=click.Path(path_type=Path),
    help="Folder of the journals, in place of the configuration's.",
)
@click.option(
    "--keys-dir", type=click.Path(path_type=Path), help="Keys, with --audit-dir and no configuration."
)
@click.option("--key", "key_texts", multiple=True, help="Verifier key of the log, with --copy.")
@click.option(
    "--copy",
    "is_copy",
    is_flag=True,
    help="--audit-dir is a copy away from the gateway: nothing is recorded.",
)
@config_option
@json_option
def prove(
    event: str,
    output: Path,
    with_entry: bool,
    checkpoint_path: Path | None,
    why: str | None,
    audit_dir: Path | None,
    keys_dir: Path | None,
    key_texts: tuple[str, ...],
    is_copy: bool,
    config_path: str,
    as_json: bool,
) -> int:
    """Write the proof that EVENT stands in the log: WRITER:SEQ, a request id, or a reference shown on a page."""
    if is_copy and (audit_dir is None or not key_texts):
        raise click.UsageError("--copy says that --audit-dir is a copy: give --audit-dir and --key too.")
    ring, node = None, None
    if not is_copy:
        asked = open_consultation(audit_dir, keys_dir, config_path, is_copy=False)
        audit_dir, node = asked.places[0], asked.node
        ring = asked.keys.checkpoint if asked.keys is not None else None
        if not why:
            raise click.UsageError("Proofs are recorded with their reason: give --reason TEXT.")
    if audit_dir is None:
        raise click.UsageError("Give --audit-dir.")
    try:
        keys = [parse_verifier_key(text) for text in key_texts]
    except CheckpointRefused as error:
        raise click.BadParameter(str(error), param_hint="--key") from None
    if ring is not None:
        keys = [*keys, *files.verifier_keys(ring, LOG_NAME)]
    try:
        log, seq = _find(audit_dir, event)
        note, signed = _checkpoint(log, keys, seq, checkpoint_path)
        with _hashing():
            proof = prove_entry(log, note, signed, seq, remember=not is_copy)
        entry = read_entry(log, seq, proof.leaf or b"") if with_entry else None
        if ring is not None:
            _record(audit_dir, ring, node, f"{log.name}:{seq}", str(why))
        files.replace_durably(output, proof.dump())
        beside = output.with_suffix(".jsonl")
        if entry is not None:
            files.replace_durably(beside, entry + b"\n")
    except (NotProvable, LogDamaged) as error:
        fail(str(error), EXIT_FAULT)
    except (OSError, duckdb.Error) as error:
        fail(f"the proof could not be made: {why_unread(error)}", EXIT_FAULT)
    values = {"writer": log.name, "seq": seq, "size": signed.size, "proof": str(output)}
    if entry is not None:
        values["entry"] = str(beside)
    say(values, f"{output}: {signed.origin}, entry {seq} of {signed.size}", as_json=as_json)
    return EXIT_DONE


def _find(audit_dir: Path, event: str) -> tuple[Path, int]:
    logs = {path.name: path for path in files.log_directories(audit_dir)}
    place = _PLACE.fullmatch(event)
    if place is not None:
        if place[1] not in logs:
            raise NotProvable(
                f"{audit_dir} holds no log of the writer {place[1]!r}: {', '.join(logs) or 'none at all'}"
            )
        return logs[place[1]], int(place[2])
    found = [*ask(audit_dir, Question(request_id=event)), *ask(audit_dir, Question(reference=event))]
    places = sorted({(str(each["writer"]), int(each["seq"]), str(each.get("kind", ""))) for each in found})
    if not places:
        raise NotProvable(f"no event bears the request id or reference {event!r}: see 'ecluse audit query'")
    if len(places) > 1:
        told = ", ".join(f"{writer}:{seq} ({kind})" for writer, seq, kind in places[:_MOST_NAMED])
        raise NotProvable(f"{event!r} names {len(places)} events, prove one of them: {told}")
    writer, seq, _ = places[0]
    return logs[writer], seq


def _checkpoint(
    log: Path, keys: Sequence[VerifierKey], seq: int, given: Path | None
) -> tuple[bytes, Checkpoint]:
    if given is None:
        return best_checkpoint(log, keys, seq)
    note, signed = read_checkpoint(given, keys)
    if signed.origin.rpartition("/")[2] != log.name or seq >= signed.size:
        raise NotProvable(
            f"{given} signs {signed.size} entries of {signed.origin}: not entry {seq} of {log.name}"
        )
    return note, signed


def _record(audit_dir: Path, ring: KeyRing, node: str | None, place: str, why: str) -> None:
    event = AuditEvent(
        EventKind.AUDIT_PROVED,
        SystemClock().now_ms(),
        operator=local_user(),
        detail=(("entry", place), ("reason", why)),
    )
    try:
        with operator_log(audit_dir, LOG_NAME, ring, node=node) as log:
            log.record(event)
    except AuditUnavailable as error:
        fail(f"the proof could not be recorded, so it is refused: {error}", EXIT_FAULT)


@contextmanager
def _hashing() -> Iterator[None]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status("reading leaf hashes"):
        yield
