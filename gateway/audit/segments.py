"""A journal on disk: durable appends, recovery after any crash, signed checkpoints. One thread, one owner."""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.audit import files, locks, mending
from gateway.audit.checkpoint import Checkpoint, CheckpointRefused, is_key_name, sign, verify
from gateway.audit.encoding import NotAnEntry, decode
from gateway.audit.files import LogDamaged
from gateway.audit.marks import Marks
from gateway.audit.merkle import Frontier, leaf_hash
from gateway.vocabulary.keys import KeyRing

_DAY_MS = 86_400_000


class LogInUse(Exception):
    """Another process writes this log."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What opening a log had to mend.

    *cut_bytes* of an unfinished entry were cut off the end; *unsigned* complete entries stood after the
    last checkpoint; *foreign* lines stood there that this site did not write, and are kept in *aside*. All 0
    after a clean stop.
    """

    cut_bytes: int
    unsigned: int
    foreign: int = 0
    aside: Path | None = None

    @property
    def mended(self) -> bool:
        """Tell whether there was anything to mend."""
        return bool(self.cut_bytes or self.unsigned)

    def detail(self) -> tuple[tuple[str, str], ...]:
        """Return what an audit event says of it."""
        told = [("cause", "restart"), ("cut_bytes", str(self.cut_bytes)), ("unsigned", str(self.unsigned))]
        if self.aside is not None:
            told += [("foreign", str(self.foreign)), ("aside", self.aside.name)]
        return tuple(told)


class Journal:
    """One writer's log. Every method may block on the disk; none may be called from two threads at once.

    *origin* is the key name checkpoints are signed under (the site); the log's own origin adds the
    directory's name, so that one writer's files never pass for another's. *segment_bytes* is where a
    segment ends: at the first batch that reaches it.
    """

    def __init__(self, directory: Path, origin: str, ring: KeyRing, *, segment_bytes: int) -> None:
        self.directory = directory
        self.origin = f"{origin}/{directory.name}"
        if not is_key_name(origin) or not is_key_name(self.origin):
            raise ValueError(
                f"audit origin {self.origin!r}: name site and writer without blanks and without '+'"
            )
        self._key_name = origin
        self._ring = ring
        self._marks = Marks(ring, self.origin)
        self._segment_bytes = segment_bytes
        self._tree = Frontier()
        self._start = 0
        self._bytes = 0
        self._first_ms: int | None = None
        self._entries = -1
        self._leaves = -1
        self._lock = -1
        self._signed: int | None = None

    @property
    def size(self) -> int:
        """Return how many entries are durable."""
        return self._tree.size

    @property
    def unsigned(self) -> int:
        """Return how many durable entries no checkpoint covers yet."""
        return self._tree.size - (self._signed or 0)

    def open(self) -> Recovery:
        """Take the lock, mend what a crash left, and check the log against its last checkpoint.

        Entries after that checkpoint are kept: they may have been promised. An unfinished one was not, nor
        was a line without this site's mark, and what follows it; such lines are put aside as evidence.

        Raises:
            LogInUse: another process holds the log.
            LogDamaged: the entries are not those that were signed.
            OSError: the disk refused.
        """
        files.make_directory(self.directory)
        self._take_lock()
        try:
            return self._recover()
        except BaseException:
            self.release()
            raise

    def commit(self, lines: Sequence[bytes]) -> int:
        """Mark and append *lines* (without line ends), return the index of the first once all are durable.

        Raises:
            ValueError: one of them is no entry.
            OSError: nothing of *lines* may be relied on, and the journal must be healed before it is used.
        """
        first = self._tree.size
        lines = [self._marks.mark(line) for line in lines]
        leaves = [leaf_hash(line) for line in lines]
        data = b"\n".join(lines) + b"\n"
        files.write_all(self._leaves, b"".join(leaves))
        files.write_all(self._entries, data)
        os.fdatasync(self._entries)
        # From here on the entries survive a crash: recovery reads them back.
        for leaf in leaves:
            self._tree.append_leaf(leaf)
        self._bytes += len(data)
        if self._first_ms is None:
            self._first_ms = _at_ms(lines[0])
        return first

    @property
    def is_full(self) -> bool:
        """Tell whether the segment has reached its size."""
        return self._bytes >= self._segment_bytes

    def is_of_a_day_before(self, at_ms: int) -> bool:
        """Tell whether the segment began on an earlier UTC day than that of *at_ms* (Unix milliseconds).

        A day's segments are closed with the day: they can then be archived, and purged when their time comes.
        """
        return self._first_ms is not None and self._first_ms // _DAY_MS < at_ms // _DAY_MS

    def checkpoint(self) -> None:
        """Sign and publish the present size and root. Only durable entries are ever signed.

        Raises:
            OSError: the disk refused, or somebody moved, cut or wrote the segment under our hands.
        """
        if self._signed == self._tree.size:
            return
        self._check_in_place()
        files.replace_durably(self.directory / files.CHECKPOINT, self._note())
        self._signed = self._tree.size

    def rotate(self) -> None:
        """End the segment with a checkpoint of its own and start the next one; an empty segment goes on."""
        if self._bytes == 0:
            return
        self.checkpoint()
        os.fsync(self._leaves)
        files.replace_durably(files.segment_path(self.directory, self._start, files.SEAL), self._note())
        self._save_tree()
        # A crash here leaves a tree without segment: recovery makes the segment.
        self._close_segment()
        self._begin_segment(self._tree.size)

    def heal(self) -> None:
        """After an error: trust only what was durable, read it back from the disk, go on in a new segment.

        What a failed write left is cut: nobody was told it was kept. The system may have marked pages
        clean that never reached the disk, so its cache is dropped before reading.

        Raises:
            LogDamaged: something promised is no longer there. The journal stays closed.
            OSError: the disk still refuses.
        """
        start, kept_bytes = self._start, self._bytes
        self._close_segment()
        path = files.segment_path(self.directory, start)
        try:
            handle = files.open_file(path, os.O_RDWR)
        except FileNotFoundError:
            raise LogDamaged(f"{path} is gone: restore it, then restart") from None
        try:
            if os.fstat(handle).st_size < kept_bytes:
                raise LogDamaged(f"{path} is shorter than what was durable: restore it, then restart")
            os.ftruncate(handle, kept_bytes)
            os.fsync(handle)
            self._probe()
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)
        self._recover(promised=(self._tree.size, self._tree.root()))
        self.rotate()

    def close(self) -> None:
        """Sign what is durable and let go of the files.

        Raises:
            OSError: the disk refused; the entries are durable all the same.
        """
        try:
            if self._entries >= 0:
                self.checkpoint()
                os.fsync(self._leaves)
        finally:
            self.release()

    def release(self) -> None:
        """Let go of files and lock without writing."""
        self._close_segment()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> None:
        try:
            self._lock = locks.take(self.directory)
        except BlockingIOError:
            self.release()
            raise LogInUse(
                f"another process writes the log in {self.directory}: give each its own directory"
            ) from None

    def _note(self) -> bytes:
        checkpoint = Checkpoint(self.origin, self._tree.size, self._tree.root())
        return sign(checkpoint, self._key_name, self._ring.key())

    def _save_tree(self) -> None:
        files.replace_durably(self.directory / files.TREE, files.dump_tree(self._tree))

    def _check_in_place(self) -> None:
        if self._entries < 0:
            return
        # A deleted file takes writes as if nothing had happened.
        path = files.segment_path(self.directory, self._start)
        ours, found = os.fstat(self._entries), path.stat()
        if (ours.st_dev, ours.st_ino, self._bytes) != (found.st_dev, found.st_ino, found.st_size):
            raise OSError(errno.ESTALE, "the segment was moved, cut or written by somebody else", str(path))

    def _probe(self) -> None:
        # Cheap, and on the same disk: a full or read-only one is met before a whole segment is read.
        probe = self.directory / "probe"
        files.replace_durably(probe, bytes(8192))
        probe.unlink()

    def _recover(self, promised: tuple[int, bytes] | None = None) -> Recovery:
        starts = files.segment_starts(self.directory)
        signed = self._read_checkpoint(starts)
        tree = files.load_tree(self.directory / files.TREE)
        if tree.size > signed.size:
            raise LogDamaged(
                f"{self.directory / files.CHECKPOINT} signs {signed.size} entries, but a segment "
                f"ended at {tree.size}: it is an old copy; restore the log whole"
            )
        self._check_root(tree, signed)
        if tree.size == 0:
            self._grow_over_purged(tree, signed, starts)
        starts = [start for start in starts if start >= tree.size]
        recovery, kept_bytes, last = Recovery(0, 0), 0, tree.size
        for start in starts:
            if start != tree.size:
                raise LogDamaged(
                    f"{files.segment_path(self.directory, tree.size)} is missing: restore the log whole"
                )
            kept_bytes, recovery = self._read_segment(start, tree, signed, is_last=start == starts[-1])
            last = start
        if tree.size < signed.size:
            raise LogDamaged(
                f"{self.directory} holds {tree.size} entries, its checkpoint signs {signed.size}: "
                "the end is missing; restore the log whole"
            )
        if promised is not None and promised != (tree.size, tree.root()):
            raise LogDamaged(
                f"{self.directory} no longer holds the {promised[0]} entries that were durable: "
                "run 'ecluse audit verify', restore the log"
            )
        self._tree, self._signed = tree, signed.size
        if starts:
            self._continue_segment(last, kept_bytes)
        else:
            self._begin_segment(last)
        return recovery

    def _grow_over_purged(self, tree: Frontier, signed: Checkpoint, starts: list[int]) -> None:
        # Only when the tree file was lost. Purging begins with the first segment and never takes the last.
        for start, end in files.purged_segments(self.directory):
            if start != tree.size or not starts or end > starts[-1]:
                return
            for leaf in files.read_leaves(files.segment_path(self.directory, start)):
                tree.append_leaf(leaf)
                self._check_root(tree, signed)

    def _read_checkpoint(self, starts: list[int]) -> Checkpoint:
        path = self.directory / files.CHECKPOINT
        try:
            note = path.read_bytes()
        except FileNotFoundError:
            if starts:
                raise LogDamaged(f"{path} is missing beside entries: restore the log whole") from None
            # An empty log is signed before its first entry: entries without checkpoint are never normal.
            self._tree, self._signed = Frontier(), None
            self.checkpoint()
            note = path.read_bytes()
        try:
            signed = verify(note, files.verifier_keys(self._ring, self._key_name))
        except CheckpointRefused as error:
            raise LogDamaged(
                f"{path}: {error}; check keys_dir and the site's name, or restore the log"
            ) from error
        if signed.origin != self.origin:
            raise LogDamaged(
                f"{path} is of the log {signed.origin!r}, not {self.origin!r}: restore the right one"
            )
        return signed

    def _check_root(self, tree: Frontier, signed: Checkpoint) -> None:
        if tree.size == signed.size and tree.root() != signed.root:
            raise LogDamaged(
                f"{self.directory}: the entries are not those its checkpoint signed at {signed.size}: "
                "keep this copy as evidence, run 'ecluse audit verify', restore the log or start a new one"
            )

    def _read_segment(
        self, start: int, tree: Frontier, signed: Checkpoint, *, is_last: bool
    ) -> tuple[int, Recovery]:
        path = files.segment_path(self.directory, start)
        kept_bytes, leaves = 0, bytearray()
        for line in files.read_lines(path):
            if not line.endswith(b"\n") or (tree.size >= signed.size and not self._is_ours(line, tree.size)):
                # Durable entries are whole and in order: this and what follows was never promised.
                break
            leaf = leaf_hash(line[:-1])
            tree.append_leaf(leaf)
            leaves += leaf
            kept_bytes += len(line)
            self._check_root(tree, signed)
        cut_bytes = path.stat().st_size - kept_bytes
        if cut_bytes and not is_last:
            raise LogDamaged(
                f"{path} ends in a torn entry, yet another segment follows: restore the log whole"
            )
        foreign, aside = 0, None
        if tree.size >= signed.size:
            if cut_bytes:
                foreign, aside = mending.put_aside(path, kept_bytes)
            mending.mend(path, kept_bytes, bytes(leaves), cut_bytes)
        return kept_bytes, Recovery(cut_bytes, max(0, tree.size - signed.size), foreign, aside)

    def _is_ours(self, line: bytes, seq: int) -> bool:
        return mending.is_entry(line, seq) and self._marks.is_ours(line[:-1])

    def _begin_segment(self, start: int) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC
        self._leaves = files.open_file(files.segment_path(self.directory, start, files.LEAVES), flags)
        # Never onto a file that is there: its entries would be lost.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._entries = files.open_file(files.segment_path(self.directory, start), flags)
        files.sync_directory(self.directory)
        self._start, self._bytes, self._first_ms = start, 0, None

    def _continue_segment(self, start: int, kept_bytes: int) -> None:
        flags = os.O_WRONLY | os.O_APPEND
        self._leaves = files.open_file(files.segment_path(self.directory, start, files.LEAVES), flags)
        self._entries = files.open_file(files.segment_path(self.directory, start), flags)
        self._start, self._bytes = start, kept_bytes
        with files.segment_path(self.directory, start).open("rb") as file:
            self._first_ms = _at_ms(file.readline()) if kept_bytes else None

    def _close_segment(self) -> None:
        handles = (self._entries, self._leaves)
        self._entries = self._leaves = -1
        for handle in handles:
            if handle >= 0:
                os.close(handle)


def _at_ms(line: bytes) -> int | None:
    try:
        found = decode(line).get("at_ms")
    except NotAnEntry:
        return None
    return found if isinstance(found, int) else None
