"""Secret keys as values. Their repr never shows them."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Symmetric keys of one purpose by key id; *current* is the one that makes new values. Keys are 32 bytes.

    They stand in the order in which they were made. *identity* is what the first key of a ring whose first
    key was dropped said of the ring, 64 hex digits.
    """

    purpose: str
    current: str
    keys: dict[str, bytes] = field(repr=False)
    identity: str | None = field(default=None, repr=False)

    def key(self) -> bytes:
        """Return the current key."""
        return self.keys[self.current]


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key the gateway holds. Ed25519 private keys are their 32 raw bytes.

    session: gateway cookies (HS256) and their forms' tokens. binding: hashes of app cookies. names:
    account ids, and the patients that caps count under them. sealing: secrets at rest (AES-256-GCM).
    pseudonyms: patients in the log. assertion: Ed25519, X-Ecluse-Assertion. checkpoint: Ed25519, audit
    checkpoints.
    """

    session: KeyRing
    binding: KeyRing
    names: KeyRing
    sealing: KeyRing
    pseudonyms: KeyRing
    assertion: KeyRing
    checkpoint: KeyRing
