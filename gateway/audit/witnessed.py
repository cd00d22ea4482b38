"""The last state of a log that witnesses cosigned, kept beside the log's own checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.audit import files
from gateway.audit.checkpoint import Checkpoint, CheckpointRefused, VerifierKey, parse
from gateway.audit.cosignature import Cosigned, WitnessKey, cosignatures, with_lines
from gateway.audit.files import LogDamaged
from gateway.audit.proving import COSIGNED, holds, read_checkpoint
from gateway.audit.trust import NotWitnessed, Trust
from gateway.audit.verify import Broken


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A state of a log that was cosigned as a policy asks, and by whom."""

    checkpoint: Checkpoint
    by: tuple[Cosigned, ...]


def witnessed(directory: Path, keys: Sequence[VerifierKey], trust: Trust) -> Witnessed | Broken:
    """Return the cosigned state of the log in *directory*, once one of *keys* signed it and *trust* is met.

    Whether the log still holds that state is for ``verify_log`` to say.

    Raises:
        OSError: it cannot be read.
    """
    path = directory / COSIGNED
    if not path.exists():
        return Broken(directory, path, None, None, "no checkpoint of this log was cosigned")
    try:
        note, signed = read_checkpoint(path, keys)
        by = trust.check(note)
    except LogDamaged as error:
        return Broken(directory, path, None, None, str(error))
    except CheckpointRefused as error:
        return Broken(directory, path, None, None, f"the cosigned checkpoint is refused: {error}")
    except NotWitnessed as error:
        return Broken(directory, path, None, None, f"not witnessed as asked: {error}")
    return Witnessed(signed, tuple(by))


def keep_cosigned(directory: Path, note: bytes) -> None:
    """Put the cosigned *note* beside the log in *directory*, unless a later state is kept there already.

    A note of the same state adds its signatures to those that are there.

    Raises:
        CheckpointRefused: *note* is no checkpoint.
        OSError: the disk refused.
    """
    path = directory / COSIGNED
    new = parse(note)
    if path.exists():
        there = path.read_bytes()
        try:
            old = parse(there)
        except CheckpointRefused:
            old = None
        if old is not None and old.size > new.size:
            return
        if old == new:
            note = with_lines(there, note.decode().rpartition("\n\n")[2][:-1].split("\n"))
    files.replace_durably(path, note)


def last_seen(directory: Path, key: WitnessKey) -> int:
    """Return how many entries the witness of *key* last cosigned, as far as is known here; 0 when it is not."""
    path = directory / COSIGNED
    try:
        note = path.read_bytes()
        return parse(note).size if cosignatures(note, [key]) else 0
    except (OSError, CheckpointRefused):
        return 0


def check_own(directory: Path, checkpoint: Checkpoint) -> None:
    """Check that the log in *directory* holds the state *checkpoint*, by its leaf hashes.

    Raises:
        LogDamaged: it is of another log, or of another past.
        OSError: it cannot be read.
    """
    if checkpoint.origin.rpartition("/")[2] != directory.name:
        raise LogDamaged(f"the checkpoint is of {checkpoint.origin!r}, not of the log in {directory}")
    if not holds(directory, checkpoint):
        raise LogDamaged(f"{directory} does not hold the {checkpoint.size} entries of the checkpoint")
