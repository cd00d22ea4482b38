"""The audit log: can it be written and made durable, is there room, is it signed, is it whole."""

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.audit import files
from gateway.audit.checkpoint import CheckpointRefused, VerifierKey, open_checkpoint
from gateway.audit.merkle import leaf_hash
from gateway.audit.verify import Broken, CannotRead, verify_log
from gateway.doctor.findings import Finding, failed, ok, warning

WHOLE_BYTES = 200_000_000
"""Up to this size a log is verified whole; of a larger one, its last segment."""
LEAST_FREE_BYTES = 1_000_000_000
FEW_FREE_BYTES = 10_000_000_000
SLOW_SYNC_MS = 200
UNSIGNED_S = 600


@dataclass(frozen=True, slots=True)
class LogFacts:
    """One writer's log. *broken* says what is wrong with it; *unsigned_s* how much younger its last entry is than its
    checkpoint."""

    name: str
    is_signed: bool
    is_whole: bool
    broken: str | None
    unsigned_s: int


@dataclass(frozen=True, slots=True)
class JournalFacts:
    """The folder. *refused* is why nothing can be written there; *sync_ms* how long the disk takes."""

    directory: str
    refused: str | None
    sync_ms: int
    free_bytes: int
    logs: tuple[LogFacts, ...]


def gather(directory: Path, keys: Sequence[VerifierKey]) -> JournalFacts:
    """Look at *directory*. What is written to try the disk has no name and is gone at once."""
    where = next(one for one in (directory, *directory.parents) if one.exists())
    refused, sync_ms = None, 0
    try:
        handle = os.open(where, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, bytes(4_096))
            began_s = time.monotonic()
            os.fsync(handle)
            sync_ms = round((time.monotonic() - began_s) * 1_000)
        finally:
            os.close(handle)
    except OSError as error:
        refused = error.strerror or type(error).__name__
    logs: tuple[LogFacts, ...] = ()
    try:
        if directory.exists():
            logs = tuple(_look(log, keys) for log in files.log_directories(directory))
    except OSError as error:
        refused = refused or error.strerror
    return JournalFacts(str(directory), refused, sync_ms, shutil.disk_usage(where).free, logs)


def _look(log: Path, keys: Sequence[VerifierKey]) -> LogFacts:
    note = log / files.CHECKPOINT
    segments = sorted(log.glob(f"*{files.ENTRIES}"))
    newest_s = max((path.stat().st_mtime for path in segments), default=0.0)
    if not note.exists():
        return LogFacts(log.name, False, False, None, round(time.time() - newest_s))  # noqa: TID251 - of files
    unsigned_s = round(newest_s - note.stat().st_mtime)
    is_whole = sum(path.stat().st_size for path in segments) <= WHOLE_BYTES
    try:
        if is_whole:
            verdict = verify_log(log, keys)
            broken = verdict.what if isinstance(verdict, Broken) else None
        else:
            open_checkpoint(note.read_bytes(), keys)
            broken = _last_segment(log)
    except (CannotRead, CheckpointRefused, OSError) as error:
        broken = str(error)
    return LogFacts(log.name, True, is_whole, broken, unsigned_s)


def _last_segment(log: Path) -> str | None:
    starts = files.segment_starts(log)
    path = files.segment_path(log, starts[-1])
    for number, (line, leaf) in enumerate(zip(files.read_lines(path), files.read_leaves(path), strict=False)):
        if line.endswith(b"\n") and leaf_hash(line.removesuffix(b"\n")) != leaf:
            return f"entry {starts[-1] + number} is not the one that was written"
    return None


def judge(facts: JournalFacts) -> list[Finding]:
    """Return what is to be said of *facts*. Pure."""
    if facts.refused is not None:
        said = f"{facts.directory} cannot be written: {facts.refused}"
        return [failed("log folder", said, "give it to the gateway's user, and run this as that user")]
    findings = [ok("log folder", f"{facts.directory} can be written")]
    if facts.sync_ms > SLOW_SYNC_MS:
        said = f"the disk takes {facts.sync_ms} ms to make an entry durable: every record waits that long"
        findings.append(warning("log disk", said, "put audit.dir on a faster disk"))
    else:
        findings.append(ok("log disk", f"an entry is durable in {facts.sync_ms} ms"))
    free = f"{facts.free_bytes / 1e9:.1f} GB are free"
    mend = "free room, or purge by the retention: `ecluse audit purge`"
    if facts.free_bytes < LEAST_FREE_BYTES:
        findings.append(failed("log space", f"{free}: when it is full, records are withheld", mend))
    elif facts.free_bytes < FEW_FREE_BYTES:
        findings.append(warning("log space", free, mend))
    else:
        findings.append(ok("log space", free))
    return findings + [_judge_log(log) for log in facts.logs]


def _judge_log(log: LogFacts) -> Finding:
    check = f"log {log.name}"
    if log.broken is not None:
        return failed(check, log.broken, "keep everything as it is, and see `ecluse audit verify`")
    if not log.is_signed or log.unsigned_s > UNSIGNED_S:
        said = f"entries have waited for a signature for {max(log.unsigned_s, 0)} s"
        return failed(check, said, "start its writer: it signs what was left; look at the operations log")
    if not log.is_whole:
        return ok(check, "signed, and its last segment is whole; `ecluse audit verify` reads all of it")
    return ok(check, "signed and whole")
