"""Patients as keyed pseudonyms: the same person gives the same value, and nobody without the key can tell who."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gateway.vocabulary.keys import KeyRing

_BLOCK_BYTES = 64
_SIZE_BYTES = 16
_MEMBER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Pseudonym:
    """*text*: ``<kid>:<32 hex>`` for the log; *member*: the first 8 bytes, for the store's sets."""

    text: str
    member: bytes


def pseudonym(ring: KeyRing, system: str, clear_id: str) -> Pseudonym:
    """Return HMAC-SHA256 (RFC 2104) of system, U+001F and id, cut to 16 bytes, under the current key of *ring*."""
    inner, outer = _keyed(ring.keys[ring.current])
    inside = inner.copy()
    inside.update(f"{system}\x1f{clear_id}".encode("utf-8", "surrogatepass"))
    outside = outer.copy()
    outside.update(inside.digest())
    digest: bytes = outside.digest()[:_SIZE_BYTES]
    return Pseudonym(f"{ring.current}:{digest.hex()}", digest[:_MEMBER_BYTES])


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> tuple[Any, Any]:
    # HMAC spends half its time on the two key blocks, which never change; hashlib copies them at once.
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    return (
        hashlib.sha256(bytes(byte ^ 0x36 for byte in block)),
        hashlib.sha256(bytes(byte ^ 0x5C for byte in block)),
    )
