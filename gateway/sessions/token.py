"""The gateway's cookie: a signed statement of which session, whose, for which app, until when. Pure.

JWT (RFC 7519) with one algorithm, HS256, and a type of its own (RFC 8725, 3.1 and 3.11).
"""

from enum import StrEnum
from typing import Any

import jwt

from gateway.vocabulary.identity import SessionClaims
from gateway.vocabulary.keys import KeyRing

TYPE = "ecluse-session"
_ALGORITHM = "HS256"
_MAX_CHARACTERS = 1_024


class TokenFault(StrEnum):
    """Why a token counts for nothing."""

    MALFORMED = "malformed"
    FORGED = "forged"
    """Bad signature, another algorithm or type, or a key not held."""
    EXPIRED = "expired"
    OTHER_APP = "other-app"


class TokenRefused(Exception):
    """The token counts for nothing: whoever shows it is a stranger. The message never holds it."""

    def __init__(self, fault: TokenFault) -> None:
        super().__init__(f"token refused: {fault.value}")
        self.fault = fault


def issue(ring: KeyRing, claims: SessionClaims, now_s: int) -> str:
    """Return the cookie value for *claims*; *ring* is the session ring."""
    payload = {
        "sid": claims.session_id,
        "sub": claims.account_id,
        "aud": claims.app,
        "iat": now_s,
        "exp": claims.expires_s,
    }
    return sign(ring, TYPE, payload)


def read(ring: KeyRing, token: str, app: str, now_s: int) -> SessionClaims:
    """Return what *token* says, once it is known to be ours, for *app*, and unexpired.

    Raises:
        TokenRefused: in every other case.
    """
    return _checked(_claims(ring, token), app, now_s)


class TokenReader:
    """Reads tokens and remembers the good ones: a token seen before costs one dictionary look-up.

    At most *size* are kept; the oldest goes first. Expiry and app are checked at every reading.
    """

    def __init__(self, ring: KeyRing, *, size: int = 10_000) -> None:
        self._ring = ring
        self._size = size
        self._known: dict[str, SessionClaims] = {}

    def read(self, token: str, app: str, now_s: int) -> SessionClaims:
        """Return what *token* says.

        Raises:
            TokenRefused: when it is not ours, not for *app*, or expired.
        """
        claims = self._known.get(token)
        if claims is None:
            claims = _claims(self._ring, token)
            if now_s < claims.expires_s:
                if len(self._known) >= self._size:
                    del self._known[next(iter(self._known))]
                self._known[token] = claims
        elif now_s >= claims.expires_s:
            del self._known[token]
        return _checked(claims, app, now_s)


def sign(ring: KeyRing, kind: str, payload: dict[str, Any]) -> str:
    """Return *payload* as a token of type *kind*, signed with the current key."""
    return jwt.encode(payload, ring.key(), _ALGORITHM, headers={"kid": ring.current, "typ": kind})


def verified(ring: KeyRing, kind: str, token: str) -> dict[str, Any]:
    """Return the payload of a token of type *kind* that we signed; its times and app are not checked.

    Raises:
        TokenRefused: malformed or forged.
    """
    if len(token) > _MAX_CHARACTERS or not token.isascii():
        raise TokenRefused(TokenFault.MALFORMED)
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        raise TokenRefused(TokenFault.MALFORMED) from None
    key_id = header.get("kid")
    key = ring.keys.get(key_id) if isinstance(key_id, str) else None
    if key is None or header.get("typ") != kind or header.get("alg") != _ALGORITHM or "crit" in header:
        raise TokenRefused(TokenFault.FORGED)
    options: Any = {
        "verify_aud": False,
        "verify_exp": False,
        "verify_iat": False,
        "verify_nbf": False,
        "verify_sub": False,
        "verify_jti": False,
    }
    try:
        return jwt.decode(token, key, algorithms=[_ALGORITHM], options=options)
    except jwt.InvalidTokenError:
        raise TokenRefused(TokenFault.FORGED) from None


def _claims(ring: KeyRing, token: str) -> SessionClaims:
    match verified(ring, TYPE, token):
        case {"sid": str(sid), "sub": str(sub), "aud": str(aud), "exp": int(exp)}:
            return SessionClaims(session_id=sid, account_id=sub, app=aud, expires_s=exp)
        case _:
            raise TokenRefused(TokenFault.MALFORMED)


def _checked(claims: SessionClaims, app: str, now_s: int) -> SessionClaims:
    if now_s >= claims.expires_s:
        raise TokenRefused(TokenFault.EXPIRED)
    if claims.app != app:
        raise TokenRefused(TokenFault.OTHER_APP)
    return claims
