"""What the store holds is of no use to whoever has only the store."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accounts.sealing import SealBroken, seal, unseal
from gateway.vocabulary.keys import KeyRing

OLD = KeyRing("sealing", "s1", {"s1": b"1" * 32})
NEW = KeyRing("sealing", "s2", {"s1": b"1" * 32, "s2": b"2" * 32})
MARTIN, BEN = "a" * 32, "b" * 32


@given(st.binary(max_size=200))
def test_what_is_sealed_comes_back(secret: bytes) -> None:
    sealed = seal(NEW, secret, purpose="totp", account_id=MARTIN)
    assert unseal(NEW, sealed, purpose="totp", account_id=MARTIN) == secret


def test_values_of_an_older_key_stay_readable_after_rotation() -> None:
    sealed = seal(OLD, b"secret", purpose="totp", account_id=MARTIN)
    assert sealed.startswith("v1.s1.")
    assert unseal(NEW, sealed, purpose="totp", account_id=MARTIN) == b"secret"
    assert seal(NEW, b"secret", purpose="totp", account_id=MARTIN).startswith("v1.s2.")


def test_two_seals_of_one_secret_differ() -> None:
    assert seal(OLD, b"x", purpose="p", account_id=MARTIN) != seal(OLD, b"x", purpose="p", account_id=MARTIN)


@pytest.mark.parametrize(
    ("ring", "purpose", "account_id"),
    [
        # H17: the value of one account put under another one; another use; another key; a key not held.
        (OLD, "totp", BEN),
        (OLD, "recovery", MARTIN),
        (KeyRing("sealing", "s1", {"s1": b"9" * 32}), "totp", MARTIN),
        (KeyRing("sealing", "s3", {"s3": b"1" * 32}), "totp", MARTIN),
    ],
)
def test_elsewhere_it_does_not_open(ring: KeyRing, purpose: str, account_id: str) -> None:
    sealed = seal(OLD, b"JBSWY3DP", purpose="totp", account_id=MARTIN)
    with pytest.raises(SealBroken) as broken:
        unseal(ring, sealed, purpose=purpose, account_id=account_id)
    assert "JBSWY3DP" not in str(broken.value)


SEALED = seal(OLD, b"JBSWY3DPEHPK3PXP", purpose="totp", account_id=MARTIN, nonce=b"n" * 12)


@given(st.integers(0, len(SEALED) - 1), st.sampled_from("Aa0-_.=\u00e9"))
def test_one_other_character_breaks_it(at: int, character: str) -> None:
    damaged = SEALED[:at] + character + SEALED[at + 1 :]
    if damaged == SEALED:
        return
    with pytest.raises(SealBroken):
        unseal(OLD, damaged, purpose="totp", account_id=MARTIN)


@given(st.text(max_size=60))
def test_anything_else_is_refused_and_nothing_else_raised(text: str) -> None:
    for value in (text, f"v1.s1.{text}", f"v1.s1.{base64.urlsafe_b64encode(b'n' * 12).decode()}.{text}"):
        with pytest.raises(SealBroken):
            unseal(OLD, value, purpose="totp", account_id=MARTIN)


@pytest.mark.parametrize(
    ("ring", "nonce"), [(OLD, b"short"), (KeyRing("s", "a.b", {"a.b": b"1" * 32}), None)]
)
def test_impossible_questions_are_named(ring: KeyRing, nonce: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"nonce|key id"):
        seal(ring, b"x", purpose="p", account_id=MARTIN, nonce=nonce)
