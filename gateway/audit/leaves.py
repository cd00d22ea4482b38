"""Hashes of subtrees of a log on disk, from its leaf hashes alone: entries may be gone, purged after their time."""

from pathlib import Path

from gateway.audit import files
from gateway.audit.files import LogDamaged
from gateway.audit.merkle import HASH_BYTES, Frontier, leaf_hash

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
        return self._read(index, index + 1)[0]

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
            for leaf in self._read(at, end):
                last.append_leaf(leaf)
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
            tree, start = Frontier(), len(self._full) * SUBTREE_LEAVES
            for leaf in self._read(start, start + SUBTREE_LEAVES):
                tree.append_leaf(leaf)
            self._full.append(tree.root())
        return self._full[number]

    def _read(self, start: int, end: int) -> list[bytes]:
        if not 0 <= start < end <= self.size:
            raise ValueError(f"entries {start} to {end - 1} are not among the first {self.size}")
        found: list[bytes] = []
        bounds = [*self._starts[1:], self.size]
        for first, after in zip(self._starts, bounds, strict=True):
            if first < end and start + len(found) < after:
                found += self._of_segment(first, start + len(found), min(end, after))
        if len(found) != end - start:
            raise LogDamaged(
                f"{self.directory}: the leaf hashes of entry {start + len(found)} and after are missing: "
                "restore the .leaves files"
            )
        return found

    def _of_segment(self, first: int, start: int, end: int) -> list[bytes]:
        if start < first:
            return []
        path = files.segment_path(self.directory, first, files.LEAVES)
        raw = b""
        if path.exists():
            with path.open("rb") as file:
                file.seek((start - first) * HASH_BYTES)
                raw = file.read((end - start) * HASH_BYTES)
        if len(raw) == (end - start) * HASH_BYTES:
            return [raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)]
        # Lost leaf hashes can be made again for as long as their entries are there.
        return _from_entries(files.segment_path(self.directory, first), start - first, end - first)


def _starts(directory: Path) -> set[int]:
    names = [path for suffix in (files.ENTRIES, files.LEAVES) for path in directory.glob(f"*{suffix}")]
    return {int(path.stem) for path in names if path.stem.isascii() and path.stem.isdigit()}


def _from_entries(path: Path, skipped: int, end: int) -> list[bytes]:
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(files.read_lines(path)):
        if number >= end:
            break
        if number >= skipped and line.endswith(b"\n"):
            found.append(leaf_hash(line[:-1]))
    return found
