"""The proof that one entry stands in a log, checked without the log: C2SP tlog-proof v1. Pure.

The file carries the leaf hash of its entry as ``extra``. That is no statement of the log's; it is the
inclusion proof that ties it to the signed root, and so the proof still says something when the entry itself
was purged.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.audit.checkpoint import Checkpoint, CheckpointRefused, VerifierKey, open_checkpoint, parse
from gateway.audit.encoding import NotAnEntry, decode
from gateway.audit.merkle import HASH_BYTES, leaf_hash
from gateway.audit.proofs import MOST_HASHES, verify_inclusion

SUFFIX = ".tlog-proof"
MAX_PROOF_BYTES = 200_000
_FIRST_LINE = "c2sp.org/tlog-proof@v1"
_MOST_EXTRA_BYTES = 65_536
_LARGEST = 2**63


class ProofUnreadable(ValueError):
    """This is no proof file. The message says what is wrong with it."""


class ProofFails(Exception):
    """The proof was read and does not hold. The message says why."""


@dataclass(frozen=True, slots=True)
class TlogProof:
    """Entry *index* stands in the tree of *checkpoint*, by *hashes* from the leaf's sibling to the root's child.

    *checkpoint* is the signed note as it was issued, cosignatures included. *extra* is opaque and proves
    nothing by itself; None when there is none.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    @property
    def leaf(self) -> bytes | None:
        """Return the leaf hash the file carries, None when it carries none."""
        return self.extra if self.extra is not None and len(self.extra) == HASH_BYTES else None

    def dump(self) -> bytes:
        """Return the proof file."""
        extra = [f"extra {_encoded(self.extra)}"] if self.extra is not None else []
        lines = [_FIRST_LINE, *extra, f"index {self.index}", *map(_encoded, self.hashes), "", ""]
        return "\n".join(lines).encode() + self.checkpoint


def load_proof(raw: bytes) -> TlogProof:
    """Read a proof file; its truth is not checked.

    Raises:
        ProofUnreadable: malformed.
    """
    if len(raw) > MAX_PROOF_BYTES:
        raise ProofUnreadable(f"longer than {MAX_PROOF_BYTES} bytes: no proof of one entry")
    head, blank, checkpoint = raw.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise ProofUnreadable("not a proof file: it is not text") from None
    if first != _FIRST_LINE or not blank:
        raise ProofUnreadable(
            f"not a proof file: its first line is not {_FIRST_LINE!r}, or its checkpoint is missing"
        )
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = _decoded(lines.pop(0).removeprefix("extra "), "the 'extra' line")
        if len(extra) > _MOST_EXTRA_BYTES:
            raise ProofUnreadable(f"the 'extra' line holds more than {_MOST_EXTRA_BYTES} bytes")
    if not lines or not lines[0].startswith("index "):
        raise ProofUnreadable("the line 'index NUMBER' is missing")
    index = _number(lines.pop(0).removeprefix("index "))
    if len(lines) > MOST_HASHES:
        raise ProofUnreadable(f"more than {MOST_HASHES} hashes")
    hashes = tuple(_decoded(line, "a hash") for line in lines)
    if any(len(item) != HASH_BYTES for item in hashes):
        raise ProofUnreadable(f"a hash is not {HASH_BYTES} bytes long")
    try:
        parse(checkpoint)
    except CheckpointRefused as error:
        raise ProofUnreadable(f"its checkpoint: {error}") from error
    return TlogProof(index, hashes, checkpoint, extra)


def check_proof(proof: TlogProof, keys: Sequence[VerifierKey], entry: bytes | None) -> Checkpoint:
    """Return the checkpoint of *proof* once a log of *keys* signed it and the entry is in its tree.

    *entry* is the entry's line, without line end. Without it the leaf hash that the file carries is
    checked: the proof then says that an entry of this hash stands there, not what it tells.

    Raises:
        ProofFails: signed by nobody known, of another site's log, or not the entry of this proof.
        ProofUnreadable: neither *entry* nor a leaf hash is there.
    """
    try:
        signed = open_checkpoint(proof.checkpoint, keys)
    except CheckpointRefused as error:
        raise ProofFails(f"its checkpoint: {error}") from error
    leaf = leaf_hash(entry) if entry is not None else proof.leaf
    if leaf is None:
        raise ProofUnreadable("the proof carries no leaf hash: give the entry it is about")
    if not verify_inclusion(leaf, proof.index, signed.size, proof.hashes, signed.root):
        what = "this entry" if entry is not None else "an entry of the leaf hash it carries"
        raise ProofFails(
            f"{what} is not entry {proof.index} of the {signed.size} that {signed.origin} signed"
        )
    if entry is not None:
        _check_place(entry, proof.index)
    return signed


def _check_place(entry: bytes, index: int) -> None:
    try:
        said = decode(entry)["seq"]
    except NotAnEntry:
        # Another log's entry, in a form of its own.
        return
    if said != index:
        raise ProofFails(f"the entry calls itself {said}, but stands at {index}")


def _number(text: str) -> int:
    if (
        not (text.isascii() and text.isdigit())
        or (len(text) > 1 and text[0] == "0")
        or len(text) > len(str(_LARGEST))
    ):
        raise ProofUnreadable("the 'index' line holds no entry's number")
    return int(text)


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decoded(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ProofUnreadable(f"{what} is not base64") from None
    if _encoded(raw) != text:
        raise ProofUnreadable(f"{what} is not in the one form base64 gives it")
    return raw
