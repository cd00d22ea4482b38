"""Segments that have ended: which they are, and whether each holds what was signed at its end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from gateway.audit import files
from gateway.audit.checkpoint import Checkpoint, CheckpointRefused, VerifierKey, open_checkpoint
from gateway.audit.merkle import HASH_BYTES, Frontier, leaf_hash


class NotAsSigned(Exception):
    """A log is not what its checkpoints say. The message names the file and the mend."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """One ended segment of the log in *directory*: entries *start* to *end*, excluded."""

    directory: Path
    start: int
    end: int

    @property
    def path(self) -> Path:
        """Return where its entries stand, unless they were purged."""
        return files.segment_path(self.directory, self.start)

    @property
    def writer(self) -> str:
        """Return the name of its writer."""
        return self.directory.name


@dataclass(frozen=True, slots=True)
class Log:
    """A log as its files show it: what is *signed*, and the *sealed* segments whose entries are there."""

    directory: Path
    signed: Checkpoint
    sealed: tuple[Sealed, ...]


def open_log(directory: Path, keys: Sequence[VerifierKey]) -> Log:
    """Return what is signed of the log in *directory* by one of *keys*, and which segments have ended.

    A segment has ended when another follows it: its checkpoint alone may stem from a crash.

    Raises:
        NotAsSigned: the checkpoint is missing, forged or of another log.
        LogDamaged: a file bears no segment's name.
        OSError: a file cannot be read.
    """
    # The names before the checkpoint: what stands before them is then signed, or will never be.
    starts = files.segment_starts(directory)
    signed = _note(directory / files.CHECKPOINT, keys)
    if signed.origin.rpartition("/")[2] != directory.name:
        raise NotAsSigned(
            f"{directory} holds the log {signed.origin!r}: give the directory its own name back"
        )
    sealed = tuple(Sealed(directory, start, end) for start, end in pairwise(starts) if end <= signed.size)
    return Log(directory, signed, sealed)


def tree_at(directory: Path, size: int) -> Frontier:
    """Return the tree of the first *size* entries, made from the leaf hashes: believe what it leads to only.

    Raises:
        NotAsSigned: leaf hashes are missing.
        OSError: a file cannot be read.
    """
    tree = Frontier()
    while tree.size < size:
        path = files.segment_path(directory, tree.size)
        leaves = files.read_leaves(path)[: size - tree.size]
        if not leaves:
            raise NotAsSigned(
                f"{path.with_suffix(files.LEAVES)} is missing or empty: run 'ecluse audit verify', restore it"
            )
        for leaf in leaves:
            tree.append_leaf(leaf)
    return tree


def check(
    segment: Sealed,
    before: Frontier,
    keys: Sequence[VerifierKey],
    each: Callable[[bytes], None] | None = None,
) -> tuple[Frontier, bytes]:
    """Return the tree after *segment* and its leaf hashes in a row, once its entries are those signed at its end.

    *before* is the tree where it starts, *each* is shown every line, without line end, before it is
    known whether it is genuine.

    Raises:
        NotAsSigned: they are not, or nothing signed stands beside them.
        OSError: a file cannot be read.
    """
    seal_path = segment.path.with_suffix(files.SEAL)
    seal = _note(seal_path, keys)
    tree = Frontier.restore(before.size, before.hashes())
    leaves = bytearray()
    for line in files.read_lines(segment.path):
        entry = line.removesuffix(b"\n")
        leaf = leaf_hash(entry)
        leaves += leaf
        tree.append_leaf(leaf)
        if each is not None:
            each(entry)
    if (
        seal.origin.rpartition("/")[2] != segment.writer
        or (seal.size, seal.root) != (tree.size, tree.root())
        or (tree.size, len(leaves)) != (segment.end, (segment.end - segment.start) * HASH_BYTES)
    ):
        raise NotAsSigned(
            f"{segment.path} does not hold entries {segment.start} to {segment.end - 1} as {seal_path.name} "
            "signed them: keep it as evidence, run 'ecluse audit verify'"
        )
    return tree, bytes(leaves)


def _note(path: Path, keys: Sequence[VerifierKey]) -> Checkpoint:
    try:
        return open_checkpoint(path.read_bytes(), keys)
    except FileNotFoundError:
        raise NotAsSigned(f"{path} is missing: run 'ecluse audit verify', restore it") from None
    except CheckpointRefused as error:
        raise NotAsSigned(f"{path}: {error}; check keys_dir, run 'ecluse audit verify'") from error
