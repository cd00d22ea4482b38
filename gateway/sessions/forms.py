"""What the gateway's own forms and cookies carry. Pure."""

import hashlib
import hmac
from base64 import b64encode

from gateway.sessions.binding import SESSION_COOKIE
from gateway.vocabulary.keys import KeyRing

_DIGITS = 43
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Lax"


def form_token(ring: KeyRing, session_id: str, purpose: str) -> str:
    """Return the hidden field of a form for *purpose* shown to *session_id*: proof that we showed it.

    *ring* is the session ring. For people without a session, *session_id* is the value of their ticket.
    """
    return f"{ring.current}.{_mac(ring.key(), session_id, purpose)}"


def is_form_token(ring: KeyRing, session_id: str, purpose: str, token: str | None) -> bool:
    """Tell, in constant time, whether *token* is the field that this session got for *purpose*."""
    key_id, _, mac = (token or "").partition(".")
    key = ring.keys.get(key_id)
    if key is None or len(mac) != _DIGITS or not mac.isascii():
        return False
    return hmac.compare_digest(_mac(key, session_id, purpose), mac)


def session_cookie(token: str, max_age_s: int) -> str:
    """Return the Set-Cookie value of the gateway's session (attributes: ASVS 5.0, 3.3)."""
    return f"{SESSION_COOKIE}={token}; Max-Age={max_age_s}; {_ATTRIBUTES}"


def clear_cookie() -> str:
    """Return the Set-Cookie value that ends the gateway's session in the browser."""
    return f"{SESSION_COOKIE}=; Max-Age=0; {_ATTRIBUTES}"


def _mac(key: bytes, session_id: str, purpose: str) -> str:
    message = f"ecluse-form\x1f{session_id}\x1f{purpose}".encode()
    digest = hmac.digest(key, message, hashlib.sha256)
    return b64encode(digest, b"-_").rstrip(b"=").decode("ascii")
