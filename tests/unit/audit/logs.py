"""Logs for the tests of this folder: keys, events, and journals written to disk."""

from collections.abc import Iterable
from pathlib import Path

from gateway.audit.checkpoint import VerifierKey, verifier_of
from gateway.audit.encoding import encode
from gateway.audit.merkle import Frontier
from gateway.audit.segments import Journal
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import KeyRing
from tests.people import DR_MARTIN

SITE = "site"
PRIVATE = bytes(range(32))
RING = KeyRing("checkpoint", "k1", {"k1": PRIVATE})
OTHER_RING = KeyRing("checkpoint", "k2", {"k2": bytes(range(1, 33))})
KEY: VerifierKey = verifier_of(SITE, PRIVATE)
NOW_MS = 1_790_000_000_000
SALT = bytes(16)


def an_event(number: int = 0, **values: object) -> AuditEvent:
    """One access of Dr Martin; *number* tells one from another."""
    told: dict[str, object] = {
        "at_ms": NOW_MS + number,
        "account": DR_MARTIN.login,
        "app": "demo",
        "request_id": f"r{number}",
        "reason": "within-caps",
        "patients": (f"k1:{number:032x}",),
    }
    return AuditEvent(EventKind.ACCESS, **{**told, **values})  # type: ignore[arg-type]


def journal(directory: Path, segment_bytes: int = 64_000_000, ring: KeyRing = RING) -> Journal:
    """A journal that is not open yet."""
    return Journal(directory, SITE, ring, segment_bytes=segment_bytes)


def write(directory: Path, count: int, *, per_segment: int = 1_000_000, first: int = 0) -> None:
    """Write *count* events, one batch each, and close; a segment ends after *per_segment* of them."""
    made = journal(directory)
    made.open()
    for number in range(first, first + count):
        if made.size and made.size % per_segment == 0:
            made.rotate()
        made.commit([encode(an_event(number), seq=made.size, salt=SALT)])
    made.close()


def root_of(entries: Iterable[bytes]) -> bytes:
    """Return the root hash of a tree of *entries*."""
    frontier = Frontier()
    for entry in entries:
        frontier.append(entry)
    return frontier.root()
