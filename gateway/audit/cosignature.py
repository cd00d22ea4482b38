"""What a witness says of a checkpoint: C2SP tlog-cosignature, Ed25519 (``cosignature/v1``). Pure."""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.audit.checkpoint import (
    DASH,
    KEY_ID_BYTES,
    CheckpointRefused,
    check_public,
    parse,
    read_signature,
    split_note,
)

_COSIGNATURE = b"\x04"
# Policy files of others name a witness by its plain Ed25519 key as well; the key is the same.
_TYPES = (_COSIGNATURE, b"\x01")
_PUBLIC_BYTES = 32
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64
_SECRET_MARK = "PRIVATE+KEY+"  # noqa: S105 - the first words of a key file, no key
_LATEST_S = 2**63 - 1


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The public key of a witness. *public* is the raw Ed25519 key, 32 bytes."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_public(self.name, self.public)

    @property
    def key_id(self) -> bytes:
        """Return the 4 bytes that name this key in a cosignature line."""
        return _key_id(self.name, _COSIGNATURE, self.public)

    def text(self) -> str:
        """Return the text form, ``name+hash+base64``, of type 4."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_COSIGNATURE + self.public).decode()}"


@dataclass(frozen=True, slots=True)
class WitnessSecret:
    """The key of a witness. *private* is the raw Ed25519 key, 32 bytes; it never shows in a repr."""

    name: str
    private: bytes

    def __repr__(self) -> str:
        return f"WitnessSecret(name={self.name!r})"

    @property
    def public(self) -> WitnessKey:
        """Return the side that others hold."""
        key = Ed25519PrivateKey.from_private_bytes(self.private).public_key()
        return WitnessKey(self.name, key.public_bytes_raw())

    def text(self) -> str:
        """Return the line of a key file: ``PRIVATE+KEY+name+hash+base64``."""
        encoded = base64.b64encode(_COSIGNATURE + self.private).decode()
        return f"{_SECRET_MARK}{self.name}+{self.public.key_id.hex()}+{encoded}"


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A cosignature that holds: *key* saw this state of the log as the largest at *at_s*, Unix seconds."""

    key: WitnessKey
    at_s: int
    line: str


def parse_witness_key(text: str) -> WitnessKey:
    """Read a witness's text form, ``name+hash+base64``, of type 4 or of plain Ed25519, type 1.

    Raises:
        CheckpointRefused: malformed, of another algorithm, or its hash is not its own.
    """
    name, key_id, kind, raw = _split_key(text, "witness key")
    made = WitnessKey(name, raw)
    if key_id != _key_id(name, kind, raw).hex():
        raise CheckpointRefused(f"witness key of {name!r} was altered: its hash is not {key_id!r}")
    return made


def parse_witness_secret(text: str) -> WitnessSecret:
    """Read the line of a witness's key file.

    Raises:
        CheckpointRefused: it is none; the message quotes no key.
    """
    if not text.startswith(_SECRET_MARK):
        raise CheckpointRefused(f"not a witness's key: it does not begin with {_SECRET_MARK}")
    name, key_id, _, raw = _split_key(text.removeprefix(_SECRET_MARK), "witness's private key")
    made = WitnessSecret(name, raw)
    if key_id != made.public.key_id.hex():
        raise CheckpointRefused("the witness's private key was altered: its hash is not its own")
    return made


def cosign(text: str, secret: WitnessSecret, at_s: int) -> str:
    """Return the signature line, with its line end, of *secret* on the checkpoint *text* at *at_s*, Unix seconds.

    Raises:
        ValueError: *at_s* is 0 or less, or beyond what the form holds: a cosignature always tells its time.
    """
    if not 0 < at_s <= _LATEST_S:
        raise ValueError(f"a cosignature cannot be of the second {at_s}")
    key = Ed25519PrivateKey.from_private_bytes(secret.private)
    signature = key.sign(_message(text, at_s))
    raw = secret.public.key_id + at_s.to_bytes(_TIME_BYTES, "big") + signature
    return f"{DASH}{secret.name} {base64.b64encode(raw).decode()}\n"


def cosignatures(note: bytes, keys: Iterable[WitnessKey]) -> list[Cosigned]:
    """Return the cosignatures of *keys* on the checkpoint *note*, at most one a key, each checked.

    Signatures of others are ignored, the log's own among them: check that one apart.

    Raises:
        CheckpointRefused: *note* is no checkpoint, or a signature that names one of *keys* does not hold.
    """
    parse(note)
    text, lines = split_note(note)
    return _held(text, lines, keys)


def check_answer(text: str, answer: str, keys: Iterable[WitnessKey]) -> list[Cosigned]:
    """Return the cosignatures of *keys* on the checkpoint *text* among the signature lines of *answer*.

    Raises:
        CheckpointRefused: a line is no signature, or one that names one of *keys* does not hold.
    """
    if not answer.endswith("\n"):
        raise CheckpointRefused("the answer holds no signature line")
    return _held(text, answer[:-1].split("\n"), keys)


def with_lines(note: bytes, lines: Sequence[str]) -> bytes:
    """Return *note* with the signature *lines* it lacks added at its end."""
    _, there = split_note(note)
    return note + "".join(f"{line}\n" for line in lines if line not in there).encode()


def _held(text: str, lines: Sequence[str], keys: Iterable[WitnessKey]) -> list[Cosigned]:
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[bytes, Cosigned] = {}
    for line in lines:
        name, key_id, signature = read_signature(line)
        key = known.get((name, key_id))
        if key is None:
            continue
        if len(signature) != _TIME_BYTES + _SIGNATURE_BYTES:
            raise CheckpointRefused(f"the cosignature of {name} is of a wrong length")
        at_s = int.from_bytes(signature[:_TIME_BYTES], "big")
        if not 0 < at_s <= _LATEST_S:
            raise CheckpointRefused(f"the cosignature of {name} tells no time")
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(
                signature[_TIME_BYTES:], _message(text, at_s)
            )
        except InvalidSignature:
            raise CheckpointRefused(
                f"the cosignature of {name} does not hold: the note was altered"
            ) from None
        found[key.public] = Cosigned(key, at_s, line)
    return list(found.values())


def _message(text: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


def _key_id(name: str, kind: bytes, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:KEY_ID_BYTES]


def _split_key(text: str, what: str) -> tuple[str, str, bytes, bytes]:
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise CheckpointRefused(f"{what} is not 'name+hash+base64'") from None
    if raw[:1] not in _TYPES or len(raw) != 1 + _PUBLIC_BYTES:
        raise CheckpointRefused(
            f"{what} is not an Ed25519 key of a witness ('name+hash+base64', type 4 or 1)"
        )
    return name, key_id, raw[:1], raw[1:]
