"""The device cookie: a browser that somebody logged in with, known again for a year. Pure.

It opens nothing and belongs to no account: it tells that two logins came from one browser. Whoever drops it is a
new device.
"""

import hashlib
import re

from gateway.sessions.token import TokenFault, TokenRefused, sign, verified
from gateway.vocabulary.keys import KeyRing

COOKIE = "__Host-ecluse-device"
LIFETIME_S = 31_536_000
ID_BYTES = 16
LABEL_DIGITS = 16
_TYPE = "ecluse-device"
_ID = re.compile(r"[0-9a-f]{32}\Z")


def issue(ring: KeyRing, device_id: str, now_s: int) -> str:
    """Return the cookie value of the device *device_id*, 32 hex digits; *ring* is the session ring."""
    return sign(ring, _TYPE, {"did": device_id, "iat": now_s, "exp": now_s + LIFETIME_S})


def read(ring: KeyRing, token: str, now_s: int) -> str:
    """Return the id of a device that we know.

    Raises:
        TokenRefused: in every other case: this browser is a new device then.
    """
    match verified(ring, _TYPE, token):
        case {"did": str(device_id), "exp": int(exp)} if _ID.match(device_id):
            pass
        case _:
            raise TokenRefused(TokenFault.MALFORMED)
    if now_s >= exp:
        raise TokenRefused(TokenFault.EXPIRED)
    return device_id


def label(ring: KeyRing, device_id: str) -> str:
    """Return the pseudonym of a device in the log and the store: 16 hex digits of a keyed hash.

    *ring* is the names ring, whose key never changes.
    """
    key = ring.key()
    digest = hashlib.blake2b(device_id.encode(), digest_size=LABEL_DIGITS // 2, key=key, person=b"device")
    return digest.hexdigest()


def device_cookie(token: str) -> str:
    """Return the Set-Cookie value that hands the device its name."""
    return f"{COOKIE}={token}; Max-Age={LIFETIME_S}; Path=/; Secure; HttpOnly; SameSite=Lax"
