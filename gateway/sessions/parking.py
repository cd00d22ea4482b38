"""The app's answer to a right password, kept sealed until the code is right too."""

import base64
import binascii
import re
import secrets
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.vocabulary.keys import KeyRing

MAX_BYTES = 16_384
_NONCE_BYTES = 12
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class ParkingRefused(ValueError):
    """The answer is too large to be kept, or what was kept cannot be opened for this session."""


@dataclass(frozen=True, slots=True)
class Parked:
    """What of the app's answer is handed on after the code.

    *status* is its HTTP status, *location* where it leads (None: nowhere), *set_cookies* its Set-Cookie
    values verbatim. *return_path* is the path the person first asked for.
    """

    status: int
    location: str | None = field(repr=False)
    set_cookies: tuple[str, ...] = field(repr=False)
    return_path: str | None = field(repr=False)


_DECODER = msgspec.msgpack.Decoder(Parked)


def seal(ring: KeyRing, parked: Parked, account_id: str, session_id: str, nonce: bytes | None = None) -> str:
    """Return *parked* sealed for this account and session (AES-256-GCM); *ring* is the sealing ring.

    *nonce* is 12 bytes, random when not given.

    Raises:
        ParkingRefused: larger than 16 kB, which no login answer is.
    """
    if not _KEY_ID.match(ring.current):
        raise ValueError(f"key id {ring.current!r} of ring {ring.purpose!r}: use letters, digits, - and _")
    content = msgspec.msgpack.encode(parked)
    if len(content) > MAX_BYTES:
        raise ParkingRefused(f"the app's login answer holds {len(content)} bytes of cookies and location")
    fresh = secrets.token_bytes(_NONCE_BYTES) if nonce is None else nonce
    sealed = AESGCM(ring.key()).encrypt(fresh, content, _context(account_id, session_id))
    return f"v1.{ring.current}.{base64.urlsafe_b64encode(fresh + sealed).decode('ascii')}"


def unseal(ring: KeyRing, sealed: str, account_id: str, session_id: str) -> Parked:
    """Return what was parked for this account and session.

    Raises:
        ParkingRefused: anything else.
    """
    match sealed.split("."):
        case ["v1", key_id, text]:
            key = ring.keys.get(key_id)
        case _:
            raise ParkingRefused("parked answer: not a v1 value")
    if key is None:
        raise ParkingRefused(f"parked answer: made with a key that ring {ring.purpose!r} does not hold")
    try:
        wire = base64.b64decode(text, altchars=b"-_", validate=True)
        nonce, content = wire[:_NONCE_BYTES], wire[_NONCE_BYTES:]
        return _DECODER.decode(AESGCM(key).decrypt(nonce, content, _context(account_id, session_id)))
    except (InvalidTag, binascii.Error, ValueError, msgspec.DecodeError):
        raise ParkingRefused("parked answer: damaged, or of another session") from None


def _context(account_id: str, session_id: str) -> bytes:
    return f"parked|{account_id}|{session_id}".encode()
