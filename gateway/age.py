"""Recipients and identities of age (age-encryption.org/v1): who may read what this machine can only write."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyrage

type Recipient = Any
type Identity = Any
"""X25519 keys of pyrage, which ships no types."""

ARMOR_BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
ARMOR_END = b"-----END AGE ENCRYPTED FILE-----"
BINARY_BEGIN = b"age-encryption.org/v1"

_SECRET = "AGE-SECRET-KEY-"  # noqa: S105 - how a secret key begins, not one
_MOST_BYTES = 65_536


class AgeRefused(Exception):
    """A recipient or an identity cannot be used. The message never quotes a secret key."""


def read_recipients(texts: Sequence[str]) -> list[Recipient]:
    """Return the recipients that *texts* name, ``age1...`` each, in order and each once.

    Raises:
        AgeRefused: one of them is none.
    """
    return [_recipient(text) for text in dict.fromkeys(text.strip() for text in texts)]


def _recipient(text: str) -> Recipient:
    if text.upper().startswith(_SECRET):
        raise AgeRefused(
            "this is a secret key, which must never stand on this machine: write its public key, age1..., "
            "and make a new pair"
        )
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise AgeRefused(
            f"{text[:80]!r} is no age recipient: write the public key that age-keygen prints, age1..."
        ) from None


def read_identities(path: Path, ask_passphrase: Callable[[], str]) -> list[Identity]:
    """Return the identities in the file at *path*, as ``age-keygen`` writes them.

    A file that is itself encrypted (``age -p``) is opened with what *ask_passphrase* returns.

    Raises:
        AgeRefused: it cannot be read, or holds no identity.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise AgeRefused(f"{path} cannot be read: {error.strerror}") from error
    if raw.startswith((ARMOR_BEGIN, BINARY_BEGIN)):
        try:
            raw = pyrage.passphrase.decrypt(raw, ask_passphrase())
        except pyrage.DecryptError:
            raise AgeRefused(f"{path} does not open with this passphrase") from None
    found: list[Identity] = []
    for line in raw[:_MOST_BYTES].decode("ascii", "replace").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        try:
            found.append(pyrage.x25519.Identity.from_str(line.strip()))
        except pyrage.IdentityError:
            raise AgeRefused(
                f"{path} is no identity file: give the one that age-keygen wrote ({_SECRET}1...)"
            ) from None
    if not found:
        raise AgeRefused(f"{path} holds no identity: give the file that age-keygen wrote")
    return found
