"""X-Ecluse-Assertion: what the app may check, so as to refuse whoever came round the gateway.

An EdDSA JWT (RFC 8037) of 60 s; its public keys are published as a JWKS (RFC 7517).
"""

from base64 import urlsafe_b64encode
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.vocabulary.keys import KeyRing

LIFETIME_S = 60
REUSED_S = 30
TWO_FACTORS = ("pwd", "otp")
"""Authentication methods (RFC 8176) of a person who gave the app's password and a code."""
PASSWORD_ONLY = ("pwd",)
_ALGORITHM = "EdDSA"


class AssertionMaker:
    """Makes assertions, each used for 30 s. *ring* is the assertion ring, *issuer* our public name."""

    def __init__(self, ring: KeyRing, issuer: str, *, size: int = 10_000) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(ring.key())
        self._key_id = ring.current
        self._issuer = issuer
        self._size = size
        self._made: dict[tuple[str, str, str, tuple[str, ...]], tuple[int, str]] = {}

    def make(
        self, session_id: str, app: str, login: str, now_s: int, methods: tuple[str, ...] = TWO_FACTORS
    ) -> str:
        """Return an assertion that *login* acts on *app* in *session_id*, good for 30 to 60 s."""
        return self.lasting(session_id, app, login, now_s, methods)[0]

    def lasting(
        self, session_id: str, app: str, login: str, now_s: int, methods: tuple[str, ...] = TWO_FACTORS
    ) -> tuple[str, int]:
        """Return an assertion, as ``make`` does, and until when (Unix seconds) it is the one to use."""
        question = (session_id, app, login, methods)
        made = self._made.get(question)
        if made is not None and made[0] <= now_s < made[0] + REUSED_S:
            return made[1], made[0] + REUSED_S
        claims = {
            "iss": self._issuer,
            "aud": app,
            "sub": login,
            "iat": now_s,
            "exp": now_s + LIFETIME_S,
            "acr": "2" if len(methods) > 1 else "1",
            "amr": list(methods),
        }
        token = jwt.encode(claims, self._key, _ALGORITHM, headers={"kid": self._key_id})
        if made is None and len(self._made) >= self._size:
            del self._made[next(iter(self._made))]
        self._made[question] = (now_s, token)
        return token, now_s + REUSED_S


def jwks(ring: KeyRing) -> dict[str, list[dict[str, Any]]]:
    """Return the public half of every key of *ring*, the current one first: old assertions stay readable."""
    ids = sorted(ring.keys, key=lambda key_id: (key_id != ring.current, key_id))
    return {"keys": [_public(key_id, ring.keys[key_id]) for key_id in ids]}


def _public(key_id: str, private: bytes) -> dict[str, Any]:
    key = Ed25519PrivateKey.from_private_bytes(private).public_key()
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": urlsafe_b64encode(raw).rstrip(b"=").decode("ascii"),
        "kid": key_id,
        "use": "sig",
        "alg": _ALGORITHM,
    }
