"""Form tokens and cookie attributes: J13, G07 and J03 in docs/attack-cases.md."""

import pytest

from gateway.sessions.forms import clear_cookie, form_token, is_form_token, session_cookie
from gateway.vocabulary.keys import KeyRing

RING = KeyRing("session", "k2", {"k1": b"J" * 32, "k2": b"K" * 32})
TOKEN = form_token(RING, "5" * 32, "code")


def test_a_form_of_ours_is_known() -> None:
    assert is_form_token(RING, "5" * 32, "code", TOKEN)
    old = form_token(KeyRing("session", "k1", {"k1": b"J" * 32}), "5" * 32, "code")
    assert is_form_token(RING, "5" * 32, "code", old)


@pytest.mark.parametrize(
    ("session", "purpose", "token"),
    [
        ("6" * 32, "code", TOKEN),
        ("5" * 32, "logout", TOKEN),
        ("5" * 32, "code", None),
        ("5" * 32, "code", ""),
        ("5" * 32, "code", "."),
        ("5" * 32, "code", TOKEN[:-1]),
        ("5" * 32, "code", TOKEN + "A"),
        ("5" * 32, "code", TOKEN.replace("k2", "k1")),
        ("5" * 32, "code", TOKEN.replace("k2", "k9")),
        ("5" * 32, "code", "k2." + "\u00e9" * 43),
        ("5" * 32, "code", "k2." + "A" * 43),
        ("5" * 32, "code", form_token(KeyRing("session", "k2", {"k2": b"X" * 32}), "5" * 32, "code")),
    ],
)
def test_every_other_one_is_not(session: str, purpose: str, token: str | None) -> None:
    assert not is_form_token(RING, session, purpose, token)


def test_the_session_cookie_has_every_guard() -> None:
    for cookie in (session_cookie("t", 43_200), clear_cookie()):
        assert cookie.startswith("__Host-ecluse=")
        assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
    assert "Max-Age=43200" in session_cookie("t", 43_200)
    assert "Max-Age=0" in clear_cookie()
