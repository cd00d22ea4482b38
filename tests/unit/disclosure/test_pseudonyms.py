"""Pseudonyms: HMAC-SHA256 as the standard library makes it."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from gateway.disclosure.pseudonyms import pseudonym
from gateway.vocabulary.keys import KeyRing

RING = KeyRing("pseudonyms", "k2", {"k1": b"a" * 32, "k2": b"b" * 32})


@given(st.binary(min_size=1, max_size=100), st.text(max_size=20).filter(lambda t: t.isascii()), st.integers())
def test_it_is_hmac_sha256(key: bytes, system: str, number: int) -> None:
    ring = KeyRing("pseudonyms", "k", {"k": key})
    wanted = hmac.digest(key, f"{system}\x1f{number}".encode(), hashlib.sha256)[:16]
    made = pseudonym(ring, system, str(number))
    assert made.text == f"k:{wanted.hex()}"
    assert made.member == wanted[:8]


def test_the_current_key_makes_it() -> None:
    assert pseudonym(RING, "urn:a", "1").text.startswith("k2:")
    assert pseudonym(RING, "urn:a", "1") == pseudonym(RING, "urn:a", "1")


def test_system_and_id_do_not_run_together() -> None:
    assert pseudonym(RING, "urn:a", "12") != pseudonym(RING, "urn:a1", "2")
    older = KeyRing("pseudonyms", "k1", RING.keys)
    assert pseudonym(RING, "urn:a", "1").member != pseudonym(older, "urn:a", "1").member
