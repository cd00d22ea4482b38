"""Making proofs from a log's files: one entry is in it, it grew out of an earlier state."""

from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.audit import files
from gateway.audit.checkpoint import Checkpoint, CheckpointRefused, VerifierKey, open_checkpoint
from gateway.audit.files import LogDamaged
from gateway.audit.leaves import Leaves
from gateway.audit.merkle import leaf_hash
from gateway.audit.proof import TlogProof
from gateway.audit.proofs import consistency_ranges, inclusion_ranges, verify_consistency, verify_inclusion

COSIGNED = "cosigned"
"""The last checkpoint of a log that a witness cosigned, beside the log's own."""


class NotProvable(Exception):
    """There is no such entry, or no checkpoint covers it. The message says which and what to do."""


def read_checkpoint(path: Path, keys: Sequence[VerifierKey]) -> tuple[bytes, Checkpoint]:
    """Return the signed note at *path*, and what it signs once one of *keys* did.

    Raises:
        LogDamaged: it is no checkpoint of a log of these keys.
        OSError: it cannot be read.
    """
    note = path.read_bytes()
    try:
        return note, open_checkpoint(note, keys)
    except CheckpointRefused as error:
        raise LogDamaged(f"{path}: {error}") from error


def best_checkpoint(directory: Path, keys: Sequence[VerifierKey], index: int) -> tuple[bytes, Checkpoint]:
    """Return the note to prove entry *index* by: one that a witness cosigned when it covers the entry.

    Raises:
        NotProvable: no checkpoint covers it.
        LogDamaged: a checkpoint is not of this log.
        OSError: it cannot be read.
    """
    size = 0
    for name in (COSIGNED, files.CHECKPOINT):
        path = directory / name
        if not path.exists():
            continue
        note, signed = read_checkpoint(path, keys)
        size = signed.size
        if index < size:
            return note, signed
    raise NotProvable(
        f"{directory.name} has signed {size} entries, entry {index} is not among them: "
        "there is none, or it is younger than a second; ask again"
    )


def prove_entry(
    directory: Path, note: bytes, signed: Checkpoint, index: int, *, remember: bool = True
) -> TlogProof:
    """Return the proof that entry *index* stands in the log in *directory* as *note* signed it.

    Without *remember* nothing is written beside the log, as on a copy that is evidence.

    Raises:
        LogDamaged: the leaf hashes are missing, or are not those that were signed.
        OSError: a file cannot be read.
        ValueError: *signed* does not cover the entry.
    """
    leaves = Leaves(directory, signed.size)

    def make() -> TlogProof | None:
        hashes = tuple(leaves.subtree(*each) for each in inclusion_ranges(index, signed.size))
        leaf = leaves.leaf(index)
        if not verify_inclusion(leaf, index, signed.size, hashes, signed.root):
            return None
        return TlogProof(index, hashes, note, leaf)

    return _made(leaves, make, remember=remember)


def prove_growth(directory: Path, old: int, signed: Checkpoint) -> list[bytes]:
    """Return the proof that the tree of *signed* began with its first *old* entries.

    Raises:
        LogDamaged: the leaf hashes are missing, or are not those that were signed.
        OSError: a file cannot be read.
        ValueError: *old* is greater than what was signed.
    """
    leaves = Leaves(directory, signed.size)

    def make() -> list[bytes] | None:
        proof = [leaves.subtree(*each) for each in consistency_ranges(old, signed.size)]
        before = leaves.root(old) if old else b""
        if old and not verify_consistency(old, before, signed.size, signed.root, proof):
            return None
        return proof

    return _made(leaves, make)


def holds(directory: Path, checkpoint: Checkpoint) -> bool:
    """Tell whether the log in *directory* began with the entries of *checkpoint*, by its leaf hashes.

    Raises:
        LogDamaged: leaf hashes are missing.
        OSError: a file cannot be read.
    """
    leaves = Leaves(directory, checkpoint.size)
    found = leaves.root(checkpoint.size) == checkpoint.root
    if not found and leaves.forget():
        found = leaves.root(checkpoint.size) == checkpoint.root
    return found


def read_entry(directory: Path, index: int, leaf: bytes) -> bytes:
    """Return the line of entry *index*, without line end, once its hash is *leaf*.

    Raises:
        NotProvable: the entry is no longer there: it was purged after its time.
        LogDamaged: another line stands in its place.
        OSError: the segment cannot be read.
    """
    within = [start for start in files.segment_starts(directory) if start <= index]
    if within:
        path = files.segment_path(directory, within[-1])
        for number, line in enumerate(files.read_lines(path), within[-1]):
            if number == index:
                if leaf_hash(line.removesuffix(b"\n")) != leaf:
                    raise LogDamaged(
                        f"{path}: entry {index} is not the one that was signed: run 'ecluse audit verify'"
                    )
                return line.removesuffix(b"\n")
    raise NotProvable(
        f"the text of entry {index} of {directory.name} is no longer here: prove it without the entry"
    )


def _made[Proof](leaves: Leaves, make: Callable[[], Proof | None], *, remember: bool = True) -> Proof:
    made = make()
    if made is None and leaves.forget():
        made = make()
    if made is None:
        raise LogDamaged(
            f"{leaves.directory}: the leaf hashes are not those that were signed: run 'ecluse audit verify'"
        )
    if remember:
        leaves.remember()
    return made
