"""What the app may check."""

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.sessions.assertion import PASSWORD_ONLY, AssertionMaker, jwks
from gateway.vocabulary.keys import KeyRing

RING = KeyRing("assertion", "e2", {"e1": b"1" * 32, "e2": b"2" * 32})
NOW_S = 1_790_000_000
ISSUER = "https://ecluse.example"


def opened(token: str, app: str = "parcours") -> dict[str, object]:
    """Read an assertion as an application would: with the published keys only."""
    keys = jwt.PyJWKSet.from_dict(jwks(RING))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(
        token,
        key,
        algorithms=["EdDSA"],
        audience=app,
        issuer=ISSUER,
        options={"verify_exp": False, "verify_iat": False},
    )


def test_an_application_can_check_it() -> None:
    token = AssertionMaker(RING, ISSUER).make("5" * 32, "parcours", "dr.martin", NOW_S)
    assert opened(token) == {
        "iss": ISSUER,
        "aud": "parcours",
        "sub": "dr.martin",
        "iat": NOW_S,
        "exp": NOW_S + 60,
        "acr": "2",
        "amr": ["pwd", "otp"],
    }
    with pytest.raises(jwt.InvalidAudienceError):
        opened(token, "annuaire")


def test_one_is_made_every_thirty_seconds_for_each_app_and_login() -> None:
    maker = AssertionMaker(RING, ISSUER)
    first = maker.make("5" * 32, "parcours", "dr.martin", NOW_S)
    assert maker.make("5" * 32, "parcours", "dr.martin", NOW_S + 29) == first
    assert opened(maker.make("5" * 32, "parcours", "dr.martin", NOW_S + 30))["exp"] == NOW_S + 90
    # A clock set back makes a new one.
    assert opened(maker.make("5" * 32, "parcours", "dr.martin", NOW_S - 100))["exp"] == NOW_S - 40
    others = {
        maker.make("5" * 32, "annuaire", "dr.martin", NOW_S),
        maker.make("5" * 32, "parcours", "ben.infirmier", NOW_S),
        maker.make("5" * 32, "parcours", "dr.martin", NOW_S, PASSWORD_ONLY),
    }
    assert first not in others


def test_a_service_is_said_to_have_one_factor() -> None:
    token = AssertionMaker(RING, ISSUER).make("", "parcours", "robot", NOW_S, PASSWORD_ONLY)
    assert (opened(token)["acr"], opened(token)["amr"]) == ("1", ["pwd"])


def test_so_many_are_kept() -> None:
    maker = AssertionMaker(RING, ISSUER, size=3)
    for n in range(10):
        maker.make(str(n), "parcours", "dr.martin", NOW_S)
    maker.make("9", "parcours", "dr.martin", NOW_S + 40)
    assert len(maker._made) == 3


def test_the_published_keys_are_public_ones_of_every_generation() -> None:
    keys = jwks(RING)["keys"]
    assert [key["kid"] for key in keys] == ["e2", "e1"]
    assert all(set(key) == {"kty", "crv", "x", "kid", "use", "alg"} for key in keys)
    old = AssertionMaker(KeyRing("assertion", "e1", {"e1": b"1" * 32}), ISSUER)
    assert opened(old.make("5" * 32, "parcours", "dr.martin", NOW_S))["sub"] == "dr.martin"
    assert Ed25519PrivateKey.from_private_bytes(b"1" * 32).public_key() is not None
