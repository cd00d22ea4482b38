"""What a report stands on: the signed state of each writer's log, and the proof that it was read whole.

Every entry still there is hashed again, so that a report never rests on an altered one (RFC 6962, section 2.1).
The state named in a report is that of the last entry of its period: it does not move while the log grows, so
that a report made again is the same.
"""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from gateway.audit import files
from gateway.audit.checkpoint import Checkpoint, CheckpointRefused, VerifierKey, open_checkpoint
from gateway.audit.encoding import NotAnEntry, decode
from gateway.audit.files import LogDamaged
from gateway.audit.merkle import HASH_BYTES, Frontier, leaf_hash
from gateway.audit.scope import Asked, fingerprint
from gateway.audit.verify import purged_on_record

_AT_MS = b'"at_ms":'
_PROGRESS_EVERY = 10_000
_HEAL = "run `ecluse audit verify`, which names the first bad entry, and keep the folder as it is"


class NotYetSigned(Exception):
    """Entries of the period are on disk, and no checkpoint covers them yet. The message says what to do."""


class ReadingDiffers(Exception):
    """The entries that were counted are not those that are signed. The message names the writer."""


@dataclass(frozen=True, slots=True)
class Footing:
    """One writer's log at the end of the period: its first *size* entries have this *root* (32 bytes).

    *signed_size* entries are covered by the log's own checkpoint, of which these are the first. The text of
    entries before *kept_from* is gone (retention); *kept_from_ms* is when the first that is left was made.
    """

    origin: str
    size: int
    root: bytes
    signed_size: int
    kept_from: int = 0
    kept_from_ms: int | None = None

    @property
    def writer(self) -> str:
        """Return the name of the writer."""
        return self.origin.rpartition("/")[2]

    def line(self) -> str:
        """Return origin, size and root on one line."""
        return f"{self.origin} {self.size} {base64.b64encode(self.root).decode()}"


@dataclass(slots=True)
class Reading:
    """A sum over events that two readings of one log must agree on: by writer, how many and which."""

    asked: Asked
    kept_from: Mapping[str, int] = field(default_factory=dict)
    counted: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, writer: str, event: Mapping[str, Any]) -> None:
        """Add *event* when the question is about it.

        Raises:
            ReadingDiffers: its text is no longer in the journal, so that nothing can prove it.
        """
        asked = self.asked
        if event["seq"] < (gone := self.kept_from.get(writer, 0)):
            raise ReadingDiffers(
                f"{writer}: the archive tells entry {event['seq']}, and the journal's text before {gone} was purged: "
                "move the archive away, the keeper makes it again"
            )
        if (
            event.get("account") not in asked.accounts
            or not asked.from_ms <= event["at_ms"] < asked.to_ms
            or (asked.realm is not None and event.get("realm") != asked.realm)
        ):
            return
        count, total = self.counted.get(writer, (0, 0))
        self.counted[writer] = (count + 1, (total + fingerprint(event)) % (1 << 256))

    def check(self, signed: "Reading") -> None:
        """Hold this reading against the one made of the entries that were hashed.

        Raises:
            ReadingDiffers: an entry was left out, added, counted twice or told otherwise.
        """
        for writer in sorted({*self.counted, *signed.counted}):
            mine, theirs = self.counted.get(writer, (0, 0)), signed.counted.get(writer, (0, 0))
            if mine != theirs:
                raise ReadingDiffers(
                    f"{writer}: {mine[0]} entries of these accounts were counted, {theirs[0]} are signed"
                    + (", but they tell something else" if mine[0] == theirs[0] else "")
                    + ": the archive does not hold what the journal holds"
                )


def stand(
    directory: Path,
    keys: Sequence[VerifierKey],
    reading: Reading,
    *,
    as_of: Checkpoint | None = None,
    progress: Callable[[int], None] | None = None,
) -> Footing | None:
    """Read the log in *directory* whole and return what a report on *reading*'s question stands on.

    *reading* is fed with the entries it asks for. *as_of* bounds the log to an earlier state, which it must
    still hold. None: nothing was written before the end of the period. Text that is gone was purged on record,
    in a log of commands beside this one.

    Raises:
        LogDamaged: an entry is not the one that was signed, or some are missing.
        NotYetSigned: the period ends after the last checkpoint.
        OSError: a file cannot be read.
    """
    note = (directory / files.CHECKPOINT).read_bytes()
    try:
        signed = open_checkpoint(note, keys)
    except CheckpointRefused as error:
        raise LogDamaged(f"{directory / files.CHECKPOINT} is refused: {error}; {_HEAL}") from error
    if signed.origin.rpartition("/")[2] != directory.name:
        raise LogDamaged(f"{directory} holds the log {signed.origin!r}: give a copy its own name back")
    if as_of is not None and as_of.size > signed.size:
        raise LogDamaged(
            f"{directory} was put back to {signed.size} entries, {as_of.size} were signed before"
        )
    reader = _Pass(directory, signed, reading, as_of, progress)
    footing = reader.run()
    gone = reader.kept_from
    if gone and gone > purged_on_record(directory.parent, keys).get(directory.name, 0):
        raise LogDamaged(
            f"{directory}: the text of entries before {gone} is missing and no purge of them is on record; {_HEAL}"
        )
    return footing


@dataclass(slots=True)
class _Pass:
    directory: Path
    signed: Checkpoint
    reading: Reading
    as_of: Checkpoint | None
    progress: Callable[[int], None] | None
    tree: Frontier = field(default_factory=Frontier)
    size: int = 0
    root: bytes = b""
    kept_from: int = 0
    kept_from_ms: int | None = None
    needles: tuple[bytes, ...] = ()

    def run(self) -> Footing | None:
        self.needles = tuple(
            b'"account":' + msgspec.json.encode(name) for name in self.reading.asked.accounts
        )
        for seq, line, leaf in self._entries():
            if seq >= self.signed.size:
                # A clock that was set back may put a later one of these into the period.
                self._beyond(line)
                continue
            inside = line is None or self._is_inside(seq, line)
            if not inside and self.size == seq and not self.root:
                self.root = self.tree.root()
            self.tree.append_leaf(leaf)
            if inside:
                self.size, self.root = seq + 1, b""
            self._check(seq + 1)
        if self.tree.size < self.signed.size:
            raise LogDamaged(
                f"{self.directory}: {self.tree.size} entries are there, {self.signed.size} were signed; {_HEAL}"
            )
        if self.size == 0:
            return None
        root = self.root or self.tree.root()
        return Footing(
            self.signed.origin, self.size, root, self.signed.size, self.kept_from, self.kept_from_ms
        )

    def _entries(self) -> Iterator[tuple[int, bytes | None, bytes]]:
        """Yield seq, line (None when its text is gone) and leaf hash of every entry, in order."""
        starts = {*files.segment_starts(self.directory)}
        starts |= {int(path.stem) for path in self.directory.glob(f"*{files.LEAVES}") if path.stem.isdigit()}
        seq = 0
        for start in sorted(starts):
            if start != seq:
                raise LogDamaged(f"{self.directory}: entries {seq} to {start - 1} are missing; {_HEAL}")
            path = files.segment_path(self.directory, start)
            if not path.exists():
                leaves = path.with_suffix(files.LEAVES).read_bytes()
                for at in range(0, len(leaves) - HASH_BYTES + 1, HASH_BYTES):
                    yield seq, None, leaves[at : at + HASH_BYTES]
                    seq += 1
                self.kept_from = seq
                continue
            for line in files.read_lines(path):
                if not line.endswith(b"\n"):
                    # A writer is at it, or a crash cut it: nobody was ever answered for this entry.
                    return
                yield seq, line[:-1], leaf_hash(line[:-1])
                seq += 1

    def _is_inside(self, seq: int, line: bytes) -> bool:
        at_ms = _moment(line)
        if seq == self.kept_from:
            self.kept_from_ms = at_ms
        if at_ms >= self.reading.asked.to_ms or (self.as_of is not None and seq >= self.as_of.size):
            return False
        if any(needle in line for needle in self.needles):
            try:
                self.reading.add(self.directory.name, decode(line))
            except (NotAnEntry, KeyError):
                # No entry of ours: if it was not signed so, the root will tell.
                return True
        return True

    def _beyond(self, line: bytes | None) -> None:
        if self.as_of is None and line is not None and _moment(line) < self.reading.asked.to_ms:
            raise NotYetSigned(
                f"{self.signed.origin}: entries from {self.signed.size} on are on disk and not yet signed: "
                "try again in a few seconds; a gateway that stopped signs them when it starts"
            )

    def _check(self, size: int) -> None:
        if self.progress is not None and not size % _PROGRESS_EVERY:
            self.progress(size)
        for known in (self.signed, self.as_of):
            if known is not None and known.size == size and known.root != self.tree.root():
                raise LogDamaged(
                    f"{self.directory}: the first {size} entries are not those that were signed; {_HEAL}"
                )


def _moment(line: bytes) -> int:
    # Within a value the quotes would be escaped, so that this is the key; verify reads the line itself.
    at = line.find(_AT_MS) + len(_AT_MS)
    end = at
    while line[end : end + 1].isdigit():
        end += 1
    return int(line[at:end]) if end > at >= len(_AT_MS) else 0
