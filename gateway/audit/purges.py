"""How long entries are kept and why, and the record of what was dropped: written and read in one place."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.audit import files
from gateway.audit.encoding import NotAnEntry, decode
from gateway.vocabulary.events import AuditEvent, EventKind

PRESETS = {
    183: "six months, the least the CNIL advises for such logs",
    365: "one year, the most the CNIL advises without a reason of one's own",
    1_095: "three years, for internal control, the longest the CNIL names",
}
"""Days and their justification: CNIL, délibération 2021-122 of 14 October 2021, on logs."""

_WRITER = "writer"
_UP_TO = "up_to"


@dataclass(frozen=True, slots=True)
class Purge:
    """Entries of *writer* below *up_to* are gone for good; *first* is the first one that went this time.

    When *first* is *up_to* nothing went: the record of an earlier purge is repeated before it is itself
    purged. *segments* counts the segments whose entries went, *size_bytes* what they took.
    """

    writer: str
    first: int
    up_to: int
    segments: int
    size_bytes: int


def justify(days: int, reason: str) -> str:
    """Return why entries are kept for *days*: the *reason* given, or that of a preset.

    Raises:
        ValueError: neither is there.
    """
    why = reason.strip() or PRESETS.get(days)
    if not why:
        raise ValueError(
            f"audit.retention_days: {days} is none of {', '.join(map(str, PRESETS))}: write audit.retention_reason"
        )
    return f"{days} days: {why}"


def purge_event(
    purge: Purge, at_ms: int, operator: str, why: str, *, older_than: str, retention: str
) -> AuditEvent:
    """Return the entry that puts *purge* on record, before it is done.

    *older_than* is the moment (RFC 3339) before which entries go, *retention* the rule and its
    justification, *why* the reason this operator gave.
    """
    detail = (
        (_WRITER, purge.writer),
        ("first_seq", str(purge.first)),
        (_UP_TO, str(purge.up_to)),
        ("segments", str(purge.segments)),
        ("bytes", str(purge.size_bytes)),
        ("older_than", older_than),
        ("retention", retention),
        ("reason", why),
    )
    return AuditEvent(EventKind.AUDIT_PURGED, at_ms, operator=operator, detail=detail)


def is_operators(directory: Path) -> bool:
    """Tell whether *directory* is named as a log of commands: only those put purges on record."""
    return directory.name == files.OPERATOR or directory.name.startswith(f"{files.OPERATOR}.")


def claims(directory: Path, signed: int) -> dict[str, int]:
    """Return, by writer, below which ``seq`` the first *signed* entries of the log of commands say all was purged.

    The entries are read as they are: whoever believes them has the log verified.

    Raises:
        LogDamaged: a file bears no segment's name.
        OSError: a file cannot be read.
    """
    found: dict[str, int] = {}
    for start in files.segment_starts(directory):
        for seq, line in enumerate(files.read_lines(files.segment_path(directory, start)), start):
            # Most entries are something else, and need not be decoded.
            if seq < signed and EventKind.AUDIT_PURGED.value.encode() in line:
                writer, up_to = _claim(line)
                found[writer] = max(found.get(writer, 0), up_to)
    return found


def _claim(line: bytes) -> tuple[str, int]:
    try:
        values = decode(line)
    except NotAnEntry:
        return "", 0
    detail = values.get("detail")
    if values.get("kind") != EventKind.AUDIT_PURGED.value or not isinstance(detail, Mapping):
        return "", 0
    writer, up_to = detail.get(_WRITER), detail.get(_UP_TO)
    if not isinstance(writer, str) or not isinstance(up_to, str):
        return "", 0
    return (writer, int(up_to)) if up_to.isascii() and up_to.isdigit() else ("", 0)
