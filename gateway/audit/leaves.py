"""Hashes of subtrees of a log on disk, from its leaf hashes alone: entries may be gone, purged after their time."""

from bisect import bisect_right
from pathlib import Path

from gateway.audit import files
from gateway.audit.files import LogDamaged
from gateway.audit.merkle import HASH_BYTES, Frontier, full_root, leaf_hash

SUBTREES = "subtrees"
"""The file that keeps the hashes of full subtrees, so that a proof need not hash every leaf again."""
SUBTREE_LEAVES = 4_096


class Leaves:
    """The first *size* leaf hashes of the log in *directory*: those that a checkpoint signed.

    The hashes of full subtrees are remembered in a file. Nothing here is trusted: whoever makes a proof
    checks it against a signed root, and calls ``forget`` and asks again when it does not hold.

    Raises:
        OSError: a file cannot be read.
    """

    def __init__(self, directory: Path, size: int) -> None:
        self.directory = directory
        self.size = size
        self._starts = sorted(_starts(directory))
        self._full = self._remembered()
        self._known = len(self._full)

    def leaf(self, index: int) -> bytes:
        """Return the leaf hash of entry *index*.

        Raises:
            LogDamaged: it is missing.
            ValueError: it is beyond *size*.
        """
        return self._read(index, index + 1)

    def subtree(self, start: int, end: int) -> bytes:
        """Return the hash of the subtree of entries *start* to *end*, exclusive: one that stands in a proof.

        Raises:
            LogDamaged: leaf hashes are missing.
            ValueError: it reaches beyond *size*.
        """
        tree = Frontier()
        at = start
        # A subtree of RFC 6962 begins at a multiple of its size, rounded up to a power of two.
        while end - at >= SUBTREE_LEAVES and not start % SUBTREE_LEAVES:
            tree.append_leaf(self._full_subtree(at // SUBTREE_LEAVES))
            at += SUBTREE_LEAVES
        if at < end:
            last = Frontier()
            raw = self._read(at, end)
            for place in range(0, len(raw), HASH_BYTES):
                last.append_leaf(raw[place : place + HASH_BYTES])
            tree.append_leaf(last.root())
        return tree.root()

    def root(self, size: int) -> bytes:
        """Return the root of the first *size* entries.

        Raises:
            LogDamaged: leaf hashes are missing.
            ValueError: *size* is beyond the leaves known.
        """
        return self.subtree(0, size)

    def forget(self) -> bool:
        """Drop what was remembered; tell whether there was anything."""
        had, self._full, self._known = bool(self._known), [], 0
        return had

    def remember(self) -> None:
        """Keep what was learnt for the next time. A disk that refuses is no loss: it is learnt again."""
        if len(self._full) == self._known:
            return
        try:
            files.replace_durably(self.directory / SUBTREES, b"".join(self._full))
        except OSError:
            return
        self._known = len(self._full)

    def _remembered(self) -> list[bytes]:
        path = self.directory / SUBTREES
        raw = path.read_bytes() if path.exists() else b""
        count = min(len(raw) // HASH_BYTES, self.size // SUBTREE_LEAVES)
        return [raw[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(count)]

    def _full_subtree(self, number: int) -> bytes:
        while len(self._full) <= number:
            start = len(self._full) * SUBTREE_LEAVES
            self._full.append(full_root(self._read(start, start + SUBTREE_LEAVES)))
        return self._full[number]

    def _read(self, start: int, end: int) -> bytes:
        if not 0 <= start < end <= self.size:
            raise ValueError(f"entries {start} to {end - 1} are not among the first {self.size}")
        found, at = bytearray(), start
        while at < end:
            within = bisect_right(self._starts, at) - 1
            if within < 0:
                break
            after = self._starts[within + 1] if within + 1 < len(self._starts) else end
            raw = self._of_segment(self._starts[within], at, min(end, after))
            if not raw:
                break
            found += raw
            at += len(raw) // HASH_BYTES
        if at != end:
            raise LogDamaged(
                f"{self.directory}: the leaf hashes of entry {at} and after are missing: restore the .leaves files"
            )
        return bytes(found)

    def _of_segment(self, first: int, start: int, end: int) -> bytes:
        path = files.segment_path(self.directory, first, files.LEAVES)
        raw = b""
        if path.exists():
            with path.open("rb") as file:
                file.seek((start - first) * HASH_BYTES)
                raw = file.read((end - start) * HASH_BYTES)
        if len(raw) == (end - start) * HASH_BYTES:
            return raw
        # Lost leaf hashes can be made again for as long as their entries are there.
        return _from_entries(files.segment_path(self.directory, first), start - first, end - first)


def _starts(directory: Path) -> set[int]:
    names = [path for suffix in (files.ENTRIES, files.LEAVES) for path in directory.glob(f"*{suffix}")]
    return {int(path.stem) for path in names if path.stem.isascii() and path.stem.isdigit()}


def _from_entries(path: Path, skipped: int, end: int) -> bytes:
    if not path.exists():
        return b""
    found = bytearray()
    for number, line in enumerate(files.read_lines(path)):
        if number >= end:
            break
        if number >= skipped and line.endswith(b"\n"):
            found += leaf_hash(line[:-1])
    return bytes(found)
