"""The signature beside a report: a C2SP signed note over its digest and over the states it stands on.

The checkpoint key signs it. Its second line is no tree size, so that it can never pass for a checkpoint
(C2SP tlog-checkpoint has a decimal number there), nor a checkpoint for it.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.audit.breach.footing import Footing
from gateway.audit.checkpoint import Checkpoint, CheckpointRefused, VerifierKey, open_note, sign_note

SUFFIX = ".sig"
_HEADING = "ecluse/breach-scope"
_DIGEST = re.compile(r"sha256 ([0-9a-f]{64})")
_SIZE = re.compile(r"bytes (0|[1-9][0-9]{0,15})")
_STATE = re.compile(r"(\S+) (0|[1-9][0-9]{0,15}) ([A-Za-z0-9+/]{43}=)")
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Seal:
    """What was signed: SHA-256 (hex) and size of the report, and the state of each log it stands on."""

    sha256: str
    size_bytes: int
    states: tuple[Checkpoint, ...]


def digest_file(path: Path) -> tuple[str, int]:
    """Return SHA-256 (hex) and size in bytes of the file at *path*.

    Raises:
        OSError: it cannot be read.
    """
    made, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            made.update(block)
            size += len(block)
    return made.hexdigest(), size


def seal(report: Path, footings: Sequence[Footing], name: str, private: bytes) -> bytes:
    """Return the note that signs *report* with the Ed25519 *private* key under key name *name*.

    Raises:
        OSError: the report cannot be read.
    """
    sha256, size = digest_file(report)
    lines = [_HEADING, f"sha256 {sha256}", f"bytes {size}", *(footing.line() for footing in footings)]
    return sign_note("\n".join(lines) + "\n", name, private)


def open_seal(note: bytes, keys: Sequence[VerifierKey]) -> Seal:
    """Read a note made by ``seal`` and signed by one of *keys*.

    Raises:
        CheckpointRefused: malformed, altered, of another kind, or not signed by any of *keys*.
    """
    lines = open_note(note, keys).splitlines()
    digest = _DIGEST.fullmatch(lines[1]) if len(lines) > 1 else None
    size = _SIZE.fullmatch(lines[2]) if len(lines) > 2 else None
    if lines[0] != _HEADING or digest is None or size is None:
        raise CheckpointRefused("it is a signed note, but not the signature of a report")
    states = []
    for line in lines[3:]:
        found = _STATE.fullmatch(line)
        if found is None:
            raise CheckpointRefused("a line of the note is no state of a log")
        try:
            states.append(Checkpoint(found[1], int(found[2]), base64.b64decode(found[3], validate=True)))
        except binascii.Error:
            raise CheckpointRefused("a line of the note is no state of a log") from None
    return Seal(digest[1], int(size[1]), tuple(states))
