"""The sample that applications copy does what its page says."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.clock import SystemClock
from gateway.sessions.assertion import LIFETIME_S, PASSWORD_ONLY, AssertionMaker, jwks
from gateway.vocabulary.keys import KeyRing

PAGE = Path(__file__).parents[2] / "docs" / "verifying-assertions.md"
RING = KeyRing("assertion", "e2", {"e1": bytes(range(32)), "e2": bytes(range(40, 72))})
STRANGER = KeyRing("assertion", "e2", {"e2": bytes(range(80, 112))})
ISSUER, APP = "GRADeS Exemple", "parcours"


def sample() -> dict[str, Any]:
    """Return the names that the page's first program defines."""
    program = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(compile(program, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    return names


SAMPLE = sample()
GATE = SAMPLE["Gate"](jwks(RING), ISSUER, APP)


def now_s() -> int:
    return SystemClock().now_ms() // 1000


def claims(**changes: object) -> dict[str, object]:
    made = {"iss": ISSUER, "aud": APP, "sub": "dr.martin", "iat": now_s(), "exp": now_s() + 60, "acr": "2"}
    return {name: value for name, value in (made | changes).items() if value is not None}


def signed(ring: KeyRing = RING, kid: str = "e2", **changes: object) -> str:
    key = Ed25519PrivateKey.from_private_bytes(ring.keys[kid])
    return jwt.encode(claims(**changes), key, "EdDSA", headers={"kid": kid})


def test_what_the_gateway_makes_is_taken() -> None:
    maker = AssertionMaker(RING, ISSUER)
    assert GATE.login(maker.make("5" * 32, APP, "dr.martin", now_s())) == "dr.martin"
    # The last second in which the gateway still hands it out.
    assert (
        GATE.login(AssertionMaker(RING, ISSUER).make("5" * 32, APP, "dr.martin", now_s() - 29)) == "dr.martin"
    )
    assert SAMPLE["LONGEST_S"] == LIFETIME_S


def test_an_assertion_of_an_older_key_is_taken() -> None:
    assert GATE.login(signed(kid="e1")) == "dr.martin"


def test_a_service_passes_only_where_it_is_let() -> None:
    assertion = AssertionMaker(RING, ISSUER).make("5" * 32, APP, "agenda", now_s(), PASSWORD_ONLY)
    assert GATE.login(assertion, second_factor=False) == "agenda"
    with pytest.raises(SAMPLE["NotThroughTheGate"]):
        GATE.login(assertion)


def unsigned() -> str:
    return jwt.encode(claims(), None, "none", headers={"kid": "e2"})  # type: ignore[arg-type]


def signed_with_the_public_key() -> str:
    """The old trick: a symmetric signature whose secret is the published key."""
    return jwt.encode(
        claims(), str(jwks(RING)["keys"][0]["x"]).ljust(64, "="), "HS256", headers={"kid": "e2"}
    )


Make = Callable[[], str | None]


@pytest.mark.parametrize(
    "make",
    [
        # Nothing, or nonsense.
        lambda: None,
        lambda: "",
        lambda: "a.b.c",
        lambda: "é",
        # Somebody else's signature, or none.
        lambda: signed(STRANGER),
        unsigned,
        signed_with_the_public_key,
        # For another app, of another gateway, for several apps at once.
        lambda: signed(aud="annuaire"),
        lambda: signed(aud=[APP, "annuaire"]),
        lambda: signed(iss="Ecluse"),
        # Too old, from the future, or good for too long.
        lambda: signed(iat=now_s() - 120, exp=now_s() - 60),
        lambda: signed(iat=now_s() + 60, exp=now_s() + 120),
        lambda: signed(exp=now_s() + 86_400),
        # A claim is missing.
        *(partial(signed, **{name: None}) for name in ("iss", "aud", "sub", "iat", "exp", "acr")),
    ],
)
def test_everything_else_is_refused(make: Make) -> None:
    with pytest.raises(SAMPLE["NotThroughTheGate"]):
        GATE.login(make())


def test_a_key_that_is_not_published_is_refused() -> None:
    header_of_another = jwt.encode(
        claims(), Ed25519PrivateKey.from_private_bytes(RING.keys["e2"]), "EdDSA", headers={"kid": "e9"}
    )
    with pytest.raises(SAMPLE["NotThroughTheGate"]):
        GATE.login(header_of_another)
