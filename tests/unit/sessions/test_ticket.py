"""A stranger's ticket."""

import pytest

from gateway.sessions import ticket
from gateway.sessions.token import TokenFault, TokenRefused, issue
from gateway.vocabulary.identity import SessionClaims
from gateway.vocabulary.keys import KeyRing

RING = KeyRing("session", "k1", {"k1": b"K" * 32})
NOW_S = 1_790_000_000
HASHES = tuple(f"{n:022d}" for n in range(20))


def test_a_ticket_is_read_back() -> None:
    assert (
        ticket.read(RING, ticket.issue(RING, "parcours", HASHES[:2], NOW_S), "parcours", NOW_S) == HASHES[:2]
    )
    assert ticket.read(RING, ticket.issue(RING, "parcours", (), NOW_S), "parcours", NOW_S) == ()


def test_the_newest_sixteen_are_kept_once_each() -> None:
    made = ticket.issue(RING, "a-rather-long-application-name", (*HASHES, HASHES[19], HASHES[10]), NOW_S)
    read = ticket.read(RING, made, "a-rather-long-application-name", NOW_S)
    assert len(read) == 16
    assert set(read) == set(HASHES[4:])
    assert read[-2:] == (HASHES[19], HASHES[10])


@pytest.mark.parametrize(
    ("token", "app", "now_s", "fault"),
    [
        (ticket.issue(RING, "parcours", HASHES, NOW_S), "annuaire", NOW_S, TokenFault.OTHER_APP),
        (ticket.issue(RING, "parcours", HASHES, NOW_S), "parcours", NOW_S + 3_600, TokenFault.EXPIRED),
        (
            issue(RING, SessionClaims("5" * 32, "a" * 32, "parcours", NOW_S + 60), NOW_S),
            "parcours",
            NOW_S,
            TokenFault.FORGED,
        ),
        (
            ticket.issue(KeyRing("session", "k1", {"k1": b"L" * 32}), "parcours", HASHES, NOW_S),
            "parcours",
            NOW_S,
            TokenFault.FORGED,
        ),
        ("", "parcours", NOW_S, TokenFault.MALFORMED),
    ],
)
def test_other_tickets_are_refused(token: str, app: str, now_s: int, fault: TokenFault) -> None:
    with pytest.raises(TokenRefused) as refused:
        ticket.read(RING, token, app, now_s)
    assert refused.value.fault is fault


def test_its_cookie_has_every_guard() -> None:
    for cookie in (ticket.door_cookie("t"), ticket.clear_door_cookie()):
        assert cookie.startswith("__Host-ecluse-door=")
        assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
    assert "Max-Age=3600" in ticket.door_cookie("t")
    assert "Max-Age=0" in ticket.clear_door_cookie()
