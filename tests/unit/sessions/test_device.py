"""The device cookie."""

import pytest

from gateway.sessions import device, ticket
from gateway.sessions.token import TokenFault, TokenRefused, sign
from gateway.vocabulary.keys import KeyRing

RING = KeyRing("session", "k2", {"k1": b"J" * 32, "k2": b"K" * 32})
OLD = KeyRing("session", "k1", {"k1": b"J" * 32})
NAMES = KeyRing("names", "n1", {"n1": b"N" * 32})
NOW_S = 1_790_000_000
ID = "5a" * 16


def test_a_device_is_known_again_for_a_year_and_across_a_new_key() -> None:
    assert device.read(RING, device.issue(RING, ID, NOW_S), NOW_S + device.LIFETIME_S - 1) == ID
    assert device.read(RING, device.issue(OLD, ID, NOW_S), NOW_S) == ID


@pytest.mark.parametrize(
    ("token", "now_s", "fault"),
    [
        (device.issue(RING, ID, NOW_S), NOW_S + device.LIFETIME_S, TokenFault.EXPIRED),
        (device.issue(KeyRing("session", "k2", {"k2": b"L" * 32}), ID, NOW_S), NOW_S, TokenFault.FORGED),
        (ticket.issue(RING, "parcours", (ID,), NOW_S), NOW_S, TokenFault.FORGED),
        (sign(RING, "ecluse-device", {"did": "../" + "a" * 29, "exp": NOW_S + 60}), NOW_S, TokenFault.MALFORMED),
        (sign(RING, "ecluse-device", {"did": ID}), NOW_S, TokenFault.MALFORMED),
        (ID, NOW_S, TokenFault.MALFORMED),
    ],
)  # fmt: skip
def test_what_we_did_not_sign_is_a_new_device(token: str, now_s: int, fault: TokenFault) -> None:
    with pytest.raises(TokenRefused) as refused:
        device.read(RING, token, now_s)
    assert refused.value.fault is fault


def test_the_log_names_it_by_a_keyed_hash() -> None:
    label = device.label(NAMES, ID)
    assert len(label) == device.LABEL_DIGITS
    assert label == device.label(NAMES, ID)
    assert label not in {
        device.label(NAMES, "5b" * 16),
        device.label(KeyRing("names", "n", {"n": b"M" * 32}), ID),
    }
    assert ID not in label


def test_its_cookie_has_every_guard() -> None:
    cookie = device.device_cookie("t")
    assert cookie.startswith("__Host-ecluse-device=t; ")
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=31536000"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
