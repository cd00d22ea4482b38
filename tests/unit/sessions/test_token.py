"""A cookie of ours, or nothing."""

import base64
import json
import timeit

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions import ticket
from gateway.sessions.token import TYPE, TokenFault, TokenReader, TokenRefused, issue, read, sign
from gateway.vocabulary.identity import SessionClaims
from gateway.vocabulary.keys import KeyRing

KEY = b"K" * 32
RING = KeyRing("session", "k2", {"k1": b"J" * 32, "k2": KEY})
NOW_S = 1_790_000_000
CLAIMS = SessionClaims("5" * 32, "a" * 32, "parcours", NOW_S + 600)
TOKEN = issue(RING, CLAIMS, NOW_S)
PAYLOAD = {"sid": "5" * 32, "sub": "a" * 32, "aud": "parcours", "iat": NOW_S, "exp": NOW_S + 600}


def made(payload: dict[str, object], key: bytes = KEY, algorithm: str = "HS256", **header: object) -> str:
    return jwt.encode(payload, key, algorithm, headers={"kid": "k2", "typ": TYPE, **header})


def unsigned() -> str:
    parts = ({"alg": "none", "typ": TYPE, "kid": "k2"}, PAYLOAD)
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
        + "."
    )


def test_what_is_issued_is_read() -> None:
    assert read(RING, TOKEN, "parcours", NOW_S) == CLAIMS
    assert jwt.get_unverified_header(TOKEN) == {"alg": "HS256", "kid": "k2", "typ": "ecluse-session"}


def test_tokens_of_an_older_key_stay_good() -> None:
    old = issue(KeyRing("session", "k1", {"k1": b"J" * 32}), CLAIMS, NOW_S)
    assert read(RING, old, "parcours", NOW_S) == CLAIMS


REFUSED = [
    # J02: other keys, algorithms and types, missing and mistyped claims, garbage.
    (made(PAYLOAD, key=b"X" * 32), TokenFault.FORGED),
    (made(PAYLOAD, key=b"K" * 64, algorithm="HS512"), TokenFault.FORGED),
    (made(PAYLOAD, kid="k9"), TokenFault.FORGED),
    (made(PAYLOAD, typ="JWT"), TokenFault.FORGED),
    (made(PAYLOAD, crit=["x"]), TokenFault.MALFORMED),
    (unsigned(), TokenFault.FORGED),
    (unsigned() + TOKEN.rpartition(".")[2], TokenFault.FORGED),
    (ticket.issue(RING, "parcours", ("A" * 22,), NOW_S), TokenFault.FORGED),
    (sign(RING, TYPE, {**PAYLOAD, "sid": 5}), TokenFault.MALFORMED),
    (sign(RING, TYPE, {**PAYLOAD, "exp": "9999999999"}), TokenFault.MALFORMED),
    (sign(RING, TYPE, {**PAYLOAD, "aud": ["parcours", "other"]}), TokenFault.MALFORMED),
    (
        sign(RING, TYPE, {name: value for name, value in PAYLOAD.items() if name != "sub"}),
        TokenFault.MALFORMED,
    ),
    (TOKEN[:-2], TokenFault.MALFORMED),
    (TOKEN + "x" * 1_024, TokenFault.MALFORMED),
    (TOKEN.replace("e", "\u00e9"), TokenFault.MALFORMED),
    ("", TokenFault.MALFORMED),
    ("a.b.c", TokenFault.MALFORMED),
    ("....", TokenFault.MALFORMED),
]


@pytest.mark.parametrize(("token", "fault"), REFUSED)
def test_everything_else_is_refused(token: str, fault: TokenFault) -> None:
    reader = TokenReader(RING)
    for ask in (lambda: read(RING, token, "parcours", NOW_S), lambda: reader.read(token, "parcours", NOW_S)):
        with pytest.raises(TokenRefused) as refused:
            ask()
        assert refused.value.fault is fault
        assert not token or token not in str(refused.value)


def test_expiry_and_app_are_checked_at_every_reading() -> None:
    reader = TokenReader(RING)
    for _ in range(2):
        assert reader.read(TOKEN, "parcours", NOW_S + 599) == CLAIMS
        with pytest.raises(TokenRefused) as refused:
            reader.read(TOKEN, "annuaire", NOW_S)
        assert refused.value.fault is TokenFault.OTHER_APP
    for _ in range(2):
        with pytest.raises(TokenRefused) as refused:
            reader.read(TOKEN, "parcours", NOW_S + 600)
        assert refused.value.fault is TokenFault.EXPIRED
    assert not reader._known


def test_the_reader_keeps_so_many_and_no_forgeries() -> None:
    reader = TokenReader(RING, size=3)
    for n in range(10):
        token = issue(RING, SessionClaims(f"{n:032x}", "a" * 32, "parcours", NOW_S + 600), NOW_S)
        assert reader.read(token, "parcours", NOW_S).session_id == f"{n:032x}"
        with pytest.raises(TokenRefused):
            reader.read(token[:-3], "parcours", NOW_S)
    assert len(reader._known) == 3


@given(st.text(max_size=200), st.integers(0, len(TOKEN) - 1))
def test_nothing_but_token_refused_is_raised(text: str, at: int) -> None:
    for token in (text, TOKEN[:at] + text, TOKEN[:at] + text + TOKEN[at:]):
        if token != TOKEN:
            with pytest.raises(TokenRefused):
                read(RING, token, "parcours", NOW_S)


def test_a_known_token_costs_next_to_nothing() -> None:
    reader = TokenReader(RING)
    reader.read(TOKEN, "parcours", NOW_S)
    best_s = min(timeit.repeat(lambda: reader.read(TOKEN, "parcours", NOW_S), number=1_000, repeat=5)) / 1_000
    # The signature alone takes 20 us: generous, and still far below that.
    assert best_s < 10e-6
