"""Patients as keyed pseudonyms: the same person gives the same value, and nobody without the key can tell who."""

import hashlib
import hmac
from functools import lru_cache
from typing import Any

import msgspec

from gateway.vocabulary.keys import Keys

_BLOCK_BYTES = 64
_SIZE_BYTES = 16
_MEMBER_BYTES = 8
_MEMBERS = b"ecluse patients in the caps v1"


class Pseudonym(msgspec.Struct, frozen=True):
    """*text*: ``<kid>:<32 hex>`` for the log; *member*: 8 bytes for the store's sets."""

    text: str
    member: bytes


def pseudonym(keys: Keys, system: str, clear_id: str) -> Pseudonym:
    """Return what stands for the patient *clear_id* of the numbering *system*, in the log and in the caps.

    *text* is HMAC-SHA256 (RFC 2104) of system, U+001F and id, cut to 16 bytes, under the current key of the
    pseudonyms. *member* is keyed BLAKE2b (RFC 7693) of the same under a key derived from that of the account
    ids: a cap counts the same patient once, whether the pseudonyms' key was replaced meanwhile or not.
    """
    told = f"{system}\x1f{clear_id}".encode("utf-8", "surrogatepass")
    ring = keys.pseudonyms
    inner, outer = _keyed(ring.keys[ring.current])
    inside = inner.copy()
    inside.update(told)
    outside = outer.copy()
    outside.update(inside.digest())
    text = f"{ring.current}:{outside.digest()[:_SIZE_BYTES].hex()}"
    member = _counted(keys.names.key()).copy()
    member.update(told)
    return Pseudonym(text, member.digest())


@lru_cache(maxsize=8)
def _counted(key: bytes) -> Any:
    return hashlib.blake2b(key=hmac.digest(key, _MEMBERS, "sha256"), digest_size=_MEMBER_BYTES)


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> tuple[Any, Any]:
    # HMAC spends half its time on the two key blocks, which never change; hashlib copies them at once.
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    return (
        hashlib.sha256(bytes(byte ^ 0x36 for byte in block)),
        hashlib.sha256(bytes(byte ^ 0x5C for byte in block)),
    )
