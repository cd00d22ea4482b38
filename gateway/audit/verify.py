"""Check a log from its files alone: is every entry the one that was signed, and if not, which is the first?

The signed checkpoint decides. The leaf hashes beside each segment only help to name the entry: whoever
edits both is still caught by the checkpoint, and the damage is then named by segment. Of a purged segment
the leaf hashes are all there is, and they must lead to what was signed; that it was purged, and not
robbed, is proven by an entry of a log of commands beside this one, itself signed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.audit import files
from gateway.audit.checkpoint import Checkpoint, CheckpointRefused, VerifierKey, open_checkpoint
from gateway.audit.encoding import NotAnEntry, decode
from gateway.audit.files import LogDamaged
from gateway.audit.merkle import Frontier, leaf_hash
from gateway.audit.purges import claims, is_operators

_PROGRESS_EVERY = 10_000
_ANY = 1 << 62


class CannotRead(Exception):
    """There is no log here, or it cannot be read. The message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The log is whole. *size* entries, the first *signed* of them covered by the log's own checkpoint.

    *exported* is the size of the exported checkpoint it was also held against, None without one.
    *torn_bytes* of an unfinished last entry and *damaged_leaves* (a leaf-hash file that does not fit the
    entries, which the signature proves right) are no loss of evidence, but worth knowing. The first *purged*
    entries are gone, on record, and proven by their leaf hashes only.
    """

    directory: Path
    origin: str
    size: int
    signed: int
    exported: int | None
    torn_bytes: int
    damaged_leaves: bool
    purged: int = 0


@dataclass(frozen=True, slots=True)
class Broken:
    """The log is not what was signed. *file*, *line* (from 1) and *seq* say where it first shows."""

    directory: Path
    file: Path
    line: int | None
    seq: int | None
    what: str


Progress = Callable[[int], None]


def verify_log(
    directory: Path,
    keys: Sequence[VerifierKey],
    *,
    exported: Checkpoint | None = None,
    progress: Progress | None = None,
) -> Verified | Broken:
    """Check the log in *directory* against its checkpoint, signed by one of *keys*, and against *exported*.

    *exported* is a checkpoint taken out earlier, its signature already checked: the only thing that shows a
    whole log put back to an old state. *progress* is told every 10 000 entries how many were read. A log
    may be verified while it is written.

    Raises:
        CannotRead: there is no log here, or a file cannot be read.
    """
    try:
        return _verify(
            directory,
            keys,
            exported,
            progress,
            lambda: purged_on_record(directory.absolute().parent, keys).get(directory.name, 0),
        )
    except OSError as error:
        where = error.filename or directory
        raise CannotRead(f"{where}: {error.strerror}; check the path and your rights") from error


def purged_on_record(audit_dir: Path, keys: Sequence[VerifierKey]) -> dict[str, int]:
    """Return, by writer, below which ``seq`` entries were purged on record: as the sound logs of commands say.

    Raises:
        OSError: a file cannot be read.
    """
    found: dict[str, int] = {}
    for directory in sorted(path for path in audit_dir.iterdir() if path.is_dir() and is_operators(path)):
        # What a log of commands says holds once its root does, even when it was purged itself.
        if not (directory / files.CHECKPOINT).exists():
            continue
        result = _verify(directory, keys, None, None, lambda: _ANY)
        if isinstance(result, Verified):
            for writer, up_to in claims(directory, result.signed).items():
                found[writer] = max(found.get(writer, 0), up_to)
    return found


def _verify(
    directory: Path,
    keys: Sequence[VerifierKey],
    exported: Checkpoint | None,
    progress: Progress | None,
    on_record: Callable[[], int],
) -> Verified | Broken:
    note_path = directory / files.CHECKPOINT
    # Read before the entries: the log may grow meanwhile, and must then hold at least what this signs.
    note = note_path.read_bytes() if note_path.exists() else None
    try:
        starts = files.segment_starts(directory)
    except LogDamaged as error:
        return Broken(directory, directory, None, None, str(error))
    if note is None:
        if not starts:
            raise CannotRead(f"{directory} holds no audit log: give the directory of one writer, or of all")
        return Broken(directory, note_path, None, None, "the signed checkpoint is missing")
    try:
        signed = open_checkpoint(note, keys)
    except CheckpointRefused as error:
        return Broken(directory, note_path, None, None, f"the checkpoint is refused: {error}")
    bodiless = _head_without_entries(directory, starts)
    # Asked after the names were read: a purge is on record before its first file goes.
    allowed = on_record() if bodiless else 0
    purged = [(start, end) for start, end in bodiless if end <= allowed]
    return _Reading(directory, keys, signed, exported, progress, purged).run(starts)


def _head_without_entries(directory: Path, starts: list[int]) -> list[tuple[int, int]]:
    """Return the segments at the head of which only the leaf hashes are there; a purge never takes the last one."""
    found: list[tuple[int, int]] = []
    for start, end in files.purged_segments(directory):
        if start != (found[-1][1] if found else 0) or not starts or end > starts[0]:
            break
        found.append((start, end))
    return found


@dataclass(slots=True)
class _Place:
    file: Path
    line: int | None
    seq: int | None
    what: str


@dataclass(slots=True)
class _Reading:
    """One pass over a log. *suspect* is where something first looked wrong; a root decides whether it is."""

    directory: Path
    keys: Sequence[VerifierKey]
    signed: Checkpoint
    exported: Checkpoint | None
    progress: Progress | None
    purged: Sequence[tuple[int, int]]
    tree: Frontier = field(default_factory=Frontier)
    suspect: _Place | None = None
    leaves_differ: bool = False
    torn_bytes: int = 0
    sound_size: int = 0
    rest: Sequence[bytes] = ()
    bound: int = 0

    def run(self, starts: list[int]) -> Verified | Broken:
        if self.directory.name != self.signed.origin.rpartition("/")[2]:
            what = f"it is of the log {self.signed.origin!r}: give a copied directory its own name back"
            return self._broken(_Place(self.directory / files.CHECKPOINT, None, None, what))
        if self.exported is not None and self.exported.origin != self.signed.origin:
            raise CannotRead(
                f"the exported checkpoint is of {self.exported.origin!r}, this log is "
                f"{self.signed.origin!r}: give the one that was taken from this log"
            )
        self.bound = max(self.signed.size, self.exported.size if self.exported else 0)
        broken = self._check_roots()
        for start, end in self.purged:
            broken = broken or self._read_purged(start, end)
        for start in starts:
            broken = broken or self._read_segment(start, is_last=start == starts[-1])
            if broken:
                return broken
        return self._end(starts)

    def _read_purged(self, start: int, end: int) -> Broken | None:
        path = files.segment_path(self.directory, start)
        for leaf in files.read_leaves(path)[: end - start]:
            self.tree.append_leaf(leaf)
            if self.progress is not None and not self.tree.size % _PROGRESS_EVERY:
                self.progress(self.tree.size)
            broken = self._check_roots()
            if broken is not None:
                return broken
        return self._check_segment_end(path)

    def _read_segment(self, start: int, *, is_last: bool) -> Broken | None:
        path = files.segment_path(self.directory, start)
        if start != self.tree.size:
            gap = (
                f"entries {self.tree.size} to {start - 1} are missing: no purge of them is on record, "
                "or their leaf hashes are gone too"
                if start > self.tree.size
                else "it overlaps"
            )
            place = _Place(path, 1, self.tree.size, f"the segment starts at {start}: {gap}")
            return self._broken(self.suspect or place)
        leaves = files.read_leaves(path)
        for number, line in enumerate(files.read_lines(path), 1):
            seq = self.tree.size
            if not line.endswith(b"\n"):
                if seq >= self.signed.size and is_last:
                    self.torn_bytes = len(line)
                    return None
                self._suspect(path, number, seq, "the line has no end: it was cut")
            entry = line.removesuffix(b"\n")
            leaf = leaf_hash(entry)
            self._look(path, number, entry, leaf, leaves[number - 1] if number <= len(leaves) else None)
            self.tree.append_leaf(leaf)
            if self.progress is not None and not self.tree.size % _PROGRESS_EVERY:
                self.progress(self.tree.size)
            broken = self._check_roots()
            if broken is not None:
                return broken
        self.rest = leaves[self.tree.size - start :]
        return self._check_segment_end(path)

    def _look(self, path: Path, number: int, entry: bytes, leaf: bytes, kept: bytes | None) -> None:
        seq = self.tree.size
        try:
            found = decode(entry)["seq"]
        except NotAnEntry as error:
            self._suspect(path, number, seq, f"the line is {error}")
            return
        if found > seq:
            self._suspect(path, number, seq, f"entry {found} stands where entry {seq} was: deleted or moved")
        elif found < seq:
            self._suspect(path, number, seq, f"entry {found} stands where entry {seq} was: repeated or moved")
        elif leaf != kept and (kept is not None or seq < self.bound):
            self.leaves_differ = True
            if kept is not None:
                self._suspect(path, number, seq, f"entry {seq} was edited", by_leaf=True)

    def _suspect(self, path: Path, line: int, seq: int, what: str, *, by_leaf: bool = False) -> None:
        if self.suspect is None and not (by_leaf and seq >= self.bound):
            self.suspect = _Place(path, line, seq, what)

    def _check_roots(self) -> Broken | None:
        for checkpoint, whose in (
            (self.signed, "its checkpoint"),
            (self.exported, "the exported checkpoint"),
        ):
            if checkpoint is None or checkpoint.size != self.tree.size:
                continue
            if checkpoint.root != self.tree.root():
                return self._broken(self.suspect or self._range(whose, self.tree.size))
            # Everything so far is what was signed: what looked wrong were the leaf hashes beside it.
            self.suspect, self.sound_size = None, self.tree.size
        return None

    def _check_segment_end(self, path: Path) -> Broken | None:
        # Signed when the segment ended: it narrows the damage when the leaf hashes were altered too. One
        # that is missing or of another place proves nothing: the log's own checkpoint will speak.
        note = path.with_suffix(".checkpoint")
        try:
            ended = open_checkpoint(note.read_bytes(), self.keys) if note.exists() else None
        except CheckpointRefused:
            ended = None
        if ended is None or (ended.origin, ended.size) != (self.signed.origin, self.tree.size):
            return None
        if ended.root != self.tree.root():
            return self._broken(self.suspect or self._range("the segment's checkpoint", ended.size))
        self.suspect, self.sound_size = None, self.tree.size
        return None

    def _range(self, whose: str, end: int) -> _Place:
        first = self.sound_size
        for at, after in self.purged:
            if at <= first < after:
                path = files.segment_path(self.directory, at, files.LEAVES)
                what = (
                    f"the leaf hashes of the purged entries {first} to {end - 1} are not those {whose} signed"
                )
                return _Place(path, None, first, what)
        what = (
            f"one of entries {first} to {end - 1} is not what {whose} signed; its leaf hash was altered too"
        )
        within = [known for known in files.segment_starts(self.directory) if known <= first]
        return _Place(
            files.segment_path(self.directory, within[-1]) if within else self.directory, None, first, what
        )

    def _end(self, starts: list[int]) -> Verified | Broken:
        size = self.tree.size
        for checkpoint, whose in (
            (self.signed, "its checkpoint"),
            (self.exported, "the exported checkpoint"),
        ):
            if checkpoint is not None and size < checkpoint.size:
                return self._broken(self.suspect or self._short(checkpoint, whose, starts))
        if self.suspect is not None:
            return self._broken(self.suspect)
        exported = self.exported.size if self.exported else None
        return Verified(
            self.directory,
            self.signed.origin,
            size,
            self.signed.size,
            exported,
            self.torn_bytes,
            self.leaves_differ,
            self.purged[-1][1] if self.purged else 0,
        )

    def _short(self, checkpoint: Checkpoint, whose: str, starts: list[int]) -> _Place:
        size, end = self.tree.size, checkpoint.size
        path = files.segment_path(self.directory, starts[-1]) if starts else self.directory
        for leaf in self.rest[: end - size]:
            self.tree.append_leaf(leaf)
        if size == self.sound_size or (self.tree.size == end and self.tree.root() == checkpoint.root):
            return _Place(path, None, size, f"entries {size} to {end - 1}, which {whose} signed, are missing")
        # Leaf hashes gone too: the end may be missing, or entries before it with the others renumbered.
        what = f"{end - size} of entries {self.sound_size} to {end - 1}, which {whose} signed, are missing"
        return _Place(path, None, self.sound_size, what)

    def _broken(self, place: _Place) -> Broken:
        return Broken(self.directory, place.file, place.line, place.seq, place.what)
