"""The journal of commands: what operators and auditors do is recorded before they see its result."""

import os
import pwd
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gateway.audit import files
from gateway.audit.encoding import SALT_BYTES, encode
from gateway.audit.files import LogDamaged
from gateway.audit.segments import Journal, LogInUse, Recovery
from gateway.audit.writer import AuditUnavailable
from gateway.clock import Clock, SystemClock
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import KeyRing

_SEGMENT_BYTES = 64_000_000
_LOCK_WAIT_S = 5.0
_LOCK_POLL_S = 0.05


class OperatorLog:
    """The open log of commands. Each record is durable when it returns."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.broken: str | None = None
        """Why it takes nothing more, once a write has failed."""

    def record(self, event: AuditEvent) -> int:
        """Append *event* and return its sequence number once it is on disk.

        Raises:
            AuditUnavailable: it could not be written: do not carry on.
            ValueError: it cannot be encoded; the field is named.
        """
        if self.broken is not None:
            raise AuditUnavailable(self.broken)
        line = encode(event, seq=self._journal.size, salt=secrets.token_bytes(SALT_BYTES))
        try:
            if self._journal.is_full or self._journal.is_of_a_day_before(event.at_ms):
                self._journal.rotate()
            return self._journal.commit([line])
        except OSError as error:
            self.broken = f"{self._journal.directory}: {error.strerror}: free or repair the disk"
            raise AuditUnavailable(self.broken) from error


@contextmanager
def operator_log(
    audit_dir: Path,
    origin: str,
    ring: KeyRing,
    *,
    node: str | None = None,
    clock: Clock | None = None,
    wait_s: float = _LOCK_WAIT_S,
) -> Iterator[OperatorLog]:
    """Open the log of commands under *audit_dir*, sign and close it at the end.

    *origin* names the site, *ring* holds the checkpoint keys, *node* names this node where nodes have
    names. Commands that run at the same time wait for each other up to *wait_s* seconds.

    Raises:
        AuditUnavailable: held by another command for longer, not the log that was signed, or no disk; at the
            end, when what was recorded could not be signed.
    """
    directory = audit_dir / files.writer_name(files.OPERATOR, node)
    journal = Journal(directory, origin, ring, segment_bytes=_SEGMENT_BYTES)
    deadline_s = time.monotonic() + wait_s
    try:
        recovery = _open(journal, deadline_s)
        log = OperatorLog(journal)
        try:
            if recovery.mended:
                now_ms = (clock or SystemClock()).now_ms()
                log.record(AuditEvent(EventKind.GAP, now_ms, detail=recovery.detail()))
            yield log
            if log.broken is None:
                _sign(journal)
        finally:
            journal.release()
    except LogDamaged as error:
        raise AuditUnavailable(str(error)) from error
    except LogInUse as error:
        raise AuditUnavailable(
            f"{error} (waited {wait_s:.0f} s; another command is still running)"
        ) from error


@contextmanager
def record_when_needed(
    audit_dir: Path, origin: str, ring: KeyRing, *, node: str | None = None, wait_s: float = _LOCK_WAIT_S
) -> Iterator[Callable[[AuditEvent], int]]:
    """Give a function that records, and opens the log at its first event: what only looks needs no log.

    The function raises what operator_log and OperatorLog.record raise; a log that could not be opened is
    not tried a second time.
    """
    with ExitStack() as stack:
        log: OperatorLog | None = None
        refused: AuditUnavailable | None = None

        def record(event: AuditEvent) -> int:
            nonlocal log, refused
            if refused is not None:
                raise AuditUnavailable(str(refused))
            if log is None:
                try:
                    opened = operator_log(audit_dir, origin, ring, node=node, wait_s=wait_s)
                    log = stack.enter_context(opened)
                except AuditUnavailable as error:
                    refused = error
                    raise
            return log.record(event)

        yield record


def local_user() -> str:
    """Return who runs this command, as the system knows it; behind sudo, who asked for it."""
    uid = os.geteuid()
    asked = os.environ.get("SUDO_UID", "") if uid == 0 else ""
    if asked.isascii() and asked.isdigit():
        uid = int(asked)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _sign(journal: Journal) -> None:
    try:
        journal.close()
    except OSError as error:
        raise AuditUnavailable(
            f"{journal.directory}: {error.strerror}: what was recorded is on disk and not yet signed; "
            "free or repair the disk, the next command signs it"
        ) from error


def _open(journal: Journal, deadline_s: float) -> Recovery:
    while True:
        try:
            recovery = journal.open()
        except LogInUse:
            if time.monotonic() >= deadline_s:
                raise
            time.sleep(_LOCK_POLL_S)
        except OSError as error:
            raise AuditUnavailable(
                f"{journal.directory}: {error.strerror}: free or repair the disk"
            ) from error
        else:
            return recovery
