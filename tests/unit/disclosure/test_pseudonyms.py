"""Pseudonyms: HMAC-SHA256 and keyed BLAKE2b as the standard library makes them, each for its own purpose."""

import hashlib
import hmac
from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.disclosure.pseudonyms import pseudonym
from gateway.vocabulary.keys import KeyRing, Keys

RING = KeyRing("pseudonyms", "k2", {"k1": b"a" * 32, "k2": b"b" * 32})
KEYS = Keys(
    **{item.name: KeyRing(item.name, "k", {"k": item.name.encode().ljust(32, b".")}) for item in fields(Keys)}
)


def under(ring: KeyRing) -> Keys:
    return replace(KEYS, pseudonyms=ring)


@given(st.binary(min_size=1, max_size=100), st.text(max_size=20).filter(lambda t: t.isascii()), st.integers())
def test_it_is_hmac_sha256(key: bytes, system: str, number: int) -> None:
    keys = under(KeyRing("pseudonyms", "k", {"k": key}))
    wanted = hmac.digest(key, f"{system}\x1f{number}".encode(), hashlib.sha256)[:16]
    assert pseudonym(keys, system, str(number)).text == f"k:{wanted.hex()}"


@given(st.binary(min_size=32, max_size=32), st.text(max_size=20).filter(lambda t: t.isascii()), st.integers())
def test_what_the_caps_count_is_keyed_blake2b_under_the_key_of_the_accounts(
    key: bytes, system: str, number: int
) -> None:
    keys = replace(KEYS, names=KeyRing("names", "k", {"k": key}))
    derived = hmac.digest(key, b"ecluse patients in the caps v1", "sha256")
    wanted = hashlib.blake2b(f"{system}\x1f{number}".encode(), key=derived, digest_size=8).digest()
    assert pseudonym(keys, system, str(number)).member == wanted


def test_the_current_key_makes_it() -> None:
    assert pseudonym(under(RING), "urn:a", "1").text.startswith("k2:")
    assert pseudonym(under(RING), "urn:a", "1") == pseudonym(under(RING), "urn:a", "1")


def test_system_and_id_do_not_run_together() -> None:
    one, other = pseudonym(KEYS, "urn:a", "12"), pseudonym(KEYS, "urn:a1", "2")
    assert one.text != other.text
    assert one.member != other.member


def test_a_new_key_of_the_pseudonyms_changes_the_log_and_no_cap() -> None:
    before = pseudonym(under(KeyRing("pseudonyms", "k1", RING.keys)), "urn:a", "1")
    after = pseudonym(under(RING), "urn:a", "1")
    assert before.text != after.text
    assert before.member == after.member


def test_log_and_caps_cannot_be_laid_side_by_side() -> None:
    made = pseudonym(KEYS, "urn:a", "1")
    assert made.member.hex() not in made.text
