"""Secrets at rest: AES-256-GCM, bound to their purpose and their account (NIST SP 800-38D)."""

import base64
import binascii
import re
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.vocabulary.keys import KeyRing

_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_MAX_SEALED = 65_536


class SealBroken(ValueError):
    """A sealed value cannot be opened: damaged, moved from another account, or made with a key not held."""


def seal(
    ring: KeyRing, plaintext: bytes, *, purpose: str, account_id: str, nonce: bytes | None = None
) -> str:
    """Return *plaintext* sealed as ``v1.<key id>.<nonce>.<ciphertext>`` (base64url without padding).

    *nonce* is 12 bytes, random when not given; one nonce is never used twice under one key.

    Raises:
        ValueError: when the key id or the nonce has the wrong shape.
    """
    if not _KEY_ID.match(ring.current):
        raise ValueError(
            f"key id {ring.current!r} of ring {ring.purpose!r}: use letters, digits, '-' and '_'"
        )
    fresh = secrets.token_bytes(_NONCE_BYTES) if nonce is None else nonce
    if len(fresh) != _NONCE_BYTES:
        raise ValueError(f"a nonce is {_NONCE_BYTES} bytes, not {len(fresh)}")
    sealed = AESGCM(ring.key()).encrypt(fresh, plaintext, _context(purpose, account_id))
    return f"v1.{ring.current}.{_encode(fresh)}.{_encode(sealed)}"


def unseal(ring: KeyRing, sealed: str, *, purpose: str, account_id: str) -> bytes:
    """Return what was sealed for this *purpose* and *account_id*.

    Raises:
        SealBroken: on anything else; the message names the purpose, never the content.
    """
    parts = sealed.split(".") if len(sealed) <= _MAX_SEALED else []
    match parts:
        case ["v1", key_id, nonce_text, content_text]:
            key = ring.keys.get(key_id)
        case _:
            raise SealBroken(f"sealed {purpose}: not a v1 value")
    if key is None:
        raise SealBroken(f"sealed {purpose}: made with a key that ring {ring.purpose!r} does not hold")
    try:
        nonce, content = _decode(nonce_text), _decode(content_text)
        if len(nonce) != _NONCE_BYTES or len(content) < _TAG_BYTES:
            raise SealBroken(f"sealed {purpose}: truncated")
        return AESGCM(key).decrypt(nonce, content, _context(purpose, account_id))
    except (InvalidTag, binascii.Error, UnicodeEncodeError):
        raise SealBroken(f"sealed {purpose}: damaged, or of another account") from None


def sealed_under(sealed: str) -> str:
    """Return the id of the key that made *sealed*; "" when it is no sealed value."""
    parts = sealed.split(".", 2)
    return parts[1] if len(parts) == 3 and parts[0] == "v1" else ""


def _context(purpose: str, account_id: str) -> bytes:
    return f"{purpose}|{account_id}".encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    wire = text.encode("ascii")
    data = base64.b64decode(wire + b"=" * (-len(wire) % 4), altchars=b"-_", validate=True)
    if _encode(data) != text:
        raise binascii.Error("not the canonical spelling")
    return data
