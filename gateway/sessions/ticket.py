"""The stranger's ticket: which app cookies this browser got through us before anybody logged in. Pure.

At a login door only these cookies go upstream, so that a cookie obtained elsewhere never does.
"""

from gateway.sessions.token import TokenFault, TokenRefused, sign, verified
from gateway.vocabulary.keys import KeyRing

COOKIE = "__Host-ecluse-door"
LIFETIME_S = 3_600
_TYPE = "ecluse-door"
_AT_MOST = 16


def issue(ring: KeyRing, app: str, hashes: tuple[str, ...], now_s: int) -> str:
    """Return a ticket for *hashes* (credential_hash), at most the last 16; *ring* is the session ring."""
    distinct = tuple(dict.fromkeys(reversed(hashes)))[:_AT_MOST][::-1]
    return sign(ring, _TYPE, {"aud": app, "exp": now_s + LIFETIME_S, "h": list(distinct)})


def read(ring: KeyRing, token: str, app: str, now_s: int) -> tuple[str, ...]:
    """Return the hashes of a ticket of ours for *app*.

    Raises:
        TokenRefused: in every other case: no cookie of this browser is known then.
    """
    match verified(ring, _TYPE, token):
        case {"aud": str(aud), "exp": int(exp), "h": list(hashes)}:
            pass
        case _:
            raise TokenRefused(TokenFault.MALFORMED)
    if now_s >= exp:
        raise TokenRefused(TokenFault.EXPIRED)
    if aud != app:
        raise TokenRefused(TokenFault.OTHER_APP)
    return tuple(hash_ for hash_ in hashes if isinstance(hash_, str))


def door_cookie(token: str) -> str:
    """Return the Set-Cookie value that hands out a ticket."""
    return f"{COOKIE}={token}; Max-Age={LIFETIME_S}; Path=/; Secure; HttpOnly; SameSite=Lax"


def clear_door_cookie() -> str:
    """Return the Set-Cookie value that takes the ticket back."""
    return f"{COOKIE}=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax"
