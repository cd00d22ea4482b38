"""What a witness decides when a log asks for its cosignature: C2SP tlog-witness, "add-checkpoint". Pure."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.audit.checkpoint import (
    Checkpoint,
    CheckpointRefused,
    VerifierKey,
    parse,
    parse_verifier_key,
    verify,
)
from gateway.audit.merkle import EMPTY_ROOT, HASH_BYTES
from gateway.audit.proofs import MOST_HASHES, verify_consistency

MAX_REQUEST_BYTES = 128_000
SIZE_TYPE = "text/x.tlog.size"
TEXT_TYPE = "text/plain; charset=utf-8"
_LONGEST_NUMBER = 19

KnownLogs = Mapping[str, tuple[VerifierKey, ...]]
"""The logs a witness knows: the keys that may sign, by origin."""


class RequestRefused(ValueError):
    """A request is malformed, or a file of known logs is. The message says where."""


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request: *note* grew out of the state of *old* entries, by *proof*."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    def dump(self) -> bytes:
        """Return the body of the request."""
        lines = [f"old {self.old}", *(base64.b64encode(item).decode() for item in self.proof), "", ""]
        return "\n".join(lines).encode() + self.note


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer is no: an HTTP *status* of the protocol, and *text*, the body. *size* of the state kept, at 409."""

    status: int
    text: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """*checkpoint* is consistent with what was known: keep it durably, then cosign."""

    checkpoint: Checkpoint


def load_request(body: bytes) -> AddCheckpoint:
    """Read the body of a request.

    Raises:
        RequestRefused: malformed.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise RequestRefused(f"longer than {MAX_REQUEST_BYTES} bytes")
    head, blank, note = body.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise RequestRefused("the lines before the checkpoint are not ASCII") from None
    if not blank:
        raise RequestRefused("there is no empty line before the checkpoint")
    number = first.removeprefix("old ")
    if first == number or not _is_number(number):
        raise RequestRefused("the first line is not 'old SIZE'")
    if len(lines) > MOST_HASHES:
        raise RequestRefused(f"more than {MOST_HASHES} hashes")
    return AddCheckpoint(int(number), tuple(_hash(line) for line in lines), note)


def decide(request: AddCheckpoint, logs: KnownLogs, known: Checkpoint | None) -> Granted | Refused:
    """Decide on *request* by what the witness holds of this log: *known* is the last state it cosigned.

    *known* is of the origin that ``origin_of`` gives for the request; None when it never cosigned one.
    """
    try:
        origin = parse(request.note).origin
    except CheckpointRefused as error:
        return Refused(400, f"the checkpoint: {error}")
    keys = logs.get(origin)
    if keys is None:
        return Refused(404, "this witness does not know the log: its operator must add it")
    try:
        new = verify(request.note, keys)
    except CheckpointRefused as error:
        return Refused(403, f"the checkpoint: {error}")
    if request.old > new.size:
        return Refused(400, "the old size is greater than the checkpoint's")
    size, root = (known.size, known.root) if known is not None else (0, EMPTY_ROOT)
    if request.old != size:
        return Refused(409, str(size), size)
    return _decide_growth(request.proof, Checkpoint(origin, size, root), new)


def origin_of(request: AddCheckpoint) -> str | None:
    """Return the origin the request speaks of, unchecked; None when its checkpoint is malformed."""
    try:
        return parse(request.note).origin
    except CheckpointRefused:
        return None


def parse_logs(text: str) -> dict[str, tuple[VerifierKey, ...]]:
    """Read a file of known logs: on each line an origin, blanks, and a verifier key that may sign for it.

    Several lines of one origin give it several keys, as while a log turns its key. ``#`` begins a comment.

    Raises:
        RequestRefused: the line that is wrong is named.
    """
    logs: dict[str, tuple[VerifierKey, ...]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise RequestRefused(f"line {number}: expected an origin and a verifier key")
        origin, key_text = words
        try:
            key = parse_verifier_key(key_text)
        except CheckpointRefused as error:
            raise RequestRefused(f"line {number}: {error}") from None
        if not key.may_sign(origin):
            raise RequestRefused(f"line {number}: the key of {key.name!r} may not sign for {origin!r}")
        logs[origin] = (*logs.get(origin, ()), key)
    return logs


def _decide_growth(proof: Sequence[bytes], known: Checkpoint, new: Checkpoint) -> Granted | Refused:
    if new.size == 0 and new.root != EMPTY_ROOT:
        return Refused(422, "a checkpoint of size 0 has the root of the empty tree")
    if known.size == 0 and proof:
        return Refused(422, "the proof from size 0 is empty")
    if not verify_consistency(known.size, known.root, new.size, new.root, proof):
        return Refused(422, "the consistency proof does not hold: this log's past was rewritten")
    return Granted(new)


def _is_number(text: str) -> bool:
    is_plain = text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER
    return is_plain and (len(text) == 1 or text[0] != "0")


def _hash(line: str) -> bytes:
    try:
        raw = base64.b64decode(line, validate=True)
    except binascii.Error:
        raise RequestRefused("a proof line is not base64") from None
    if len(raw) != HASH_BYTES:
        raise RequestRefused(f"a proof line is not a hash of {HASH_BYTES} bytes")
    return raw
