"""Checkpoints: what a log signs. C2SP tlog-checkpoint in a C2SP signed-note, Ed25519. Pure."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.audit.merkle import HASH_BYTES

LOG_NAME = "ecluse"
"""The key name of the gateway's checkpoints; a log's origin is this, a slash and its writer's name."""

_ED25519 = b"\x01"
KEY_ID_BYTES = 4
_PUBLIC_BYTES = 32
_MAX_NOTE_BYTES = 100_000
_CHECKPOINT_LINES = 3
DASH = "\N{EM DASH} "
"""How a signature line begins."""


class CheckpointRefused(ValueError):
    """A checkpoint or verifier key is malformed, or nobody trusted signed it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: *root* (32 bytes) of its first *size* entries. *origin* names the log."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the note text that is signed: origin, size and root, a line each."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key as auditors hold it. *public* is the raw Ed25519 key, 32 bytes."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_public(self.name, self.public)

    @property
    def key_id(self) -> bytes:
        """Return the 4 bytes that name this key in a signature line (signed-note, "Signatures")."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:KEY_ID_BYTES]

    def may_sign(self, origin: str) -> bool:
        """Tell whether this key may sign for the log *origin*: its own name, or a writer's under it."""
        return origin == self.name or origin.startswith(self.name + "/")

    def text(self) -> str:
        """Return the text form, ``name+hash+base64``."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"


def check_public(name: str, public: bytes) -> None:
    """Look at the name and the raw bytes of a public key before anything is made of them.

    Raises:
        CheckpointRefused: *name* names no key, or *public* is no Ed25519 key.
    """
    if not is_key_name(name):
        raise CheckpointRefused(f"key name {name!r} is empty or holds a blank, a control or '+'")
    if len(public) != _PUBLIC_BYTES:
        raise CheckpointRefused(f"an Ed25519 public key is {_PUBLIC_BYTES} bytes, not {len(public)}")


def is_key_name(name: str) -> bool:
    """Tell whether *name* may name a key: not empty, no blank, no control character, no plus sign."""
    return bool(name) and "+" not in name and not any(c.isspace() or not c.isprintable() for c in name)


def parse_verifier_key(text: str) -> VerifierKey:
    """Read a key's text form, ``name+hash+base64``.

    Raises:
        CheckpointRefused: it is malformed, of another algorithm, or its hash is not its own.
    """
    name, _, rest = text.strip().partition("+")
    hash_text, _, key_text = rest.partition("+")
    try:
        key = base64.b64decode(key_text, validate=True)
    except binascii.Error:
        raise CheckpointRefused("verifier key is not 'name+hash+base64'") from None
    if key[:1] != _ED25519:
        raise CheckpointRefused("verifier key is not an Ed25519 key ('name+hash+base64', type 1)")
    made = VerifierKey(name, key[1:])
    if hash_text != made.key_id.hex():
        raise CheckpointRefused(f"verifier key of {name!r} was altered: its hash is not {hash_text!r}")
    return made


def verifier_of(name: str, private: bytes) -> VerifierKey:
    """Return the verifier key of an Ed25519 *private* key (32 raw bytes) used under *name*."""
    public = Ed25519PrivateKey.from_private_bytes(private).public_key()
    return VerifierKey(name, public.public_bytes_raw())


def sign_note(text: str, name: str, private: bytes) -> bytes:
    """Return *text* as a note signed by the Ed25519 *private* key (32 raw bytes) under *name*.

    Raises:
        CheckpointRefused: *text* does not end in a newline, holds other controls, or *name* is no key name.
    """
    if not text.endswith("\n") or _has_controls(text):
        raise CheckpointRefused("a note's text ends in a newline and holds no other control character")
    key = verifier_of(name, private)
    signature = Ed25519PrivateKey.from_private_bytes(private).sign(text.encode())
    line = base64.b64encode(key.key_id + signature).decode()
    return f"{text}\n{DASH}{name} {line}\n".encode()


def open_note(note: bytes, keys: Sequence[VerifierKey]) -> str:
    """Return the text of *note* once a signature of one of *keys* holds.

    A signature that names a known key and does not hold refuses the whole note; signatures of unknown
    keys are ignored (signed-note, "Signatures").

    Raises:
        CheckpointRefused: malformed, or not signed by any of *keys*.
    """
    text, lines = split_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    signed = False
    for line in lines:
        name, key_id, signature = read_signature(line)
        key = known.get((name, key_id))
        if key is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())
        except InvalidSignature:
            raise CheckpointRefused(f"the signature of {name} does not hold: the note was altered") from None
        signed = True
    if not signed:
        raise CheckpointRefused("not signed by any of the given keys: another key, or a forgery")
    return text


def sign(checkpoint: Checkpoint, name: str, private: bytes) -> bytes:
    """Return *checkpoint* as a note signed by the Ed25519 *private* key under key name *name*."""
    return sign_note(checkpoint.text(), name, private)


def parse(note: bytes) -> Checkpoint:
    """Read a checkpoint without checking its signatures: good for its origin, never for its truth.

    Raises:
        CheckpointRefused: malformed.
    """
    text, _ = split_note(note)
    return _from_text(text)


def verify(note: bytes, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Read a checkpoint that one of *keys* signed.

    Raises:
        CheckpointRefused: malformed, altered, or not signed by any of *keys*.
    """
    return _from_text(open_note(note, keys))


def open_checkpoint(note: bytes, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Read a checkpoint of a log of one of *keys*: signed by one of them, and of a log that one of them may sign.

    Raises:
        CheckpointRefused: malformed, forged, or of another site's log.
    """
    signed = verify(note, keys)
    if not any(key.may_sign(signed.origin) for key in keys):
        raise CheckpointRefused(f"it is of the log {signed.origin!r}, which none of the given keys may sign")
    return signed


def _from_text(text: str) -> Checkpoint:
    parts = text[:-1].split("\n")
    if len(parts) < _CHECKPOINT_LINES or not all(parts):
        raise CheckpointRefused("a checkpoint has three lines: origin, size and root hash")
    origin, size_text, root_text = parts[:3]
    if not (size_text.isascii() and size_text.isdigit()) or (len(size_text) > 1 and size_text[0] == "0"):
        raise CheckpointRefused("the checkpoint's second line is not a tree size")
    try:
        root = base64.b64decode(root_text, validate=True)
    except binascii.Error:
        raise CheckpointRefused("the checkpoint's third line is not base64") from None
    if len(root) != HASH_BYTES or base64.b64encode(root).decode() != root_text:
        raise CheckpointRefused("the checkpoint's third line is not a SHA-256 root hash")
    return Checkpoint(origin, int(size_text), root)


def split_note(note: bytes) -> tuple[str, list[str]]:
    """Return the text of *note*, with its last newline, and its signature lines, without checking any.

    Raises:
        CheckpointRefused: not a signed note.
    """
    if len(note) > _MAX_NOTE_BYTES:
        raise CheckpointRefused(f"longer than {_MAX_NOTE_BYTES} bytes: not a checkpoint")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError:
        raise CheckpointRefused("not UTF-8: not a signed note") from None
    if _has_controls(whole):
        raise CheckpointRefused("holds control characters: not a signed note")
    text, blank, signatures = whole.rpartition("\n\n")
    if not blank or not text or not signatures.endswith("\n"):
        raise CheckpointRefused("no signature lines after a blank line: not a signed note")
    return text + "\n", signatures[:-1].split("\n")


def read_signature(line: str) -> tuple[str, bytes, bytes]:
    """Return key name, key id (4 bytes) and signature of a note's signature *line*.

    Raises:
        CheckpointRefused: it is no signature line.
    """
    name, blank, value = line.removeprefix(DASH).rpartition(" ")
    if not line.startswith(DASH) or not blank or not is_key_name(name):
        raise CheckpointRefused("a signature line is not '\N{EM DASH} name base64'")
    try:
        raw = base64.b64decode(value, validate=True)
    except binascii.Error:
        raise CheckpointRefused("a signature is not base64") from None
    if len(raw) <= KEY_ID_BYTES:
        raise CheckpointRefused("a signature is too short")
    return name, raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:]


def _has_controls(text: str) -> bool:
    return any(char < " " and char != "\n" for char in text)
