"""Invitation codes: what an operator hands to a professional, so that the password alone never enrols. Pure.

80 random bits (G03 in docs/attack-cases.md asks for 64), written ``XXXX-XXXX-XXXX-XXXX``; only a keyed hash is kept.
"""

import hashlib
import hmac
from dataclasses import dataclass, field

from gateway.accounts import letters
from gateway.vocabulary.keys import KeyRing

RANDOM_BYTES = 10
_SYMBOLS = 16
_ID_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Invitation:
    """A new invitation: *code* is shown once and forgotten, *hash* (64 hex digits) is kept."""

    code: str = field(repr=False)
    hash: str = field(repr=False)

    @property
    def id(self) -> str:
        """Return the public name of this invitation."""
        return invitation_id(self.hash)


def new_invitation(ring: KeyRing, account_id: str, randomness: bytes) -> Invitation:
    """Make an invitation for *account_id* out of 10 random bytes; *ring* is the names ring.

    Raises:
        ValueError: when *randomness* is not 10 bytes.
    """
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"an invitation is made of {RANDOM_BYTES} random bytes, not {len(randomness)}")
    code = letters.write(randomness)
    return Invitation(code, _hash(ring, account_id, code.replace("-", "")))


def code_hash(ring: KeyRing, account_id: str, typed: str) -> str | None:
    """Return the hash of a typed code, or None when it cannot be one.

    Case, spaces and hyphens do not matter.
    """
    code = letters.read(typed, _SYMBOLS)
    return None if code is None else _hash(ring, account_id, code)


def invitation_id(hash_: str) -> str:
    """Return the public name of the invitation kept as *hash_*: its first 16 hex digits."""
    return hash_[:_ID_DIGITS]


def _hash(ring: KeyRing, account_id: str, code: str) -> str:
    message = f"ecluse-invitation\x1f{account_id}\x1f{code}".encode()
    return hmac.digest(ring.key(), message, hashlib.sha256).hex()
