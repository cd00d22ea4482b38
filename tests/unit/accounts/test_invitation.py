"""Codes on paper."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accounts import letters
from gateway.accounts.invitation import code_hash, new_invitation
from gateway.vocabulary.keys import KeyRing

RING = KeyRing("names", "n1", {"n1": b"N" * 32})
MARTIN, BEN = "a" * 32, "b" * 32
INVITATION = new_invitation(RING, MARTIN, bytes(range(245, 255)))


def test_eighty_bits_in_four_groups() -> None:
    assert [len(group) for group in INVITATION.code.split("-")] == [4, 4, 4, 4]
    assert set(INVITATION.code) <= set(letters.ALPHABET + "-")
    assert INVITATION.id == INVITATION.hash[:16]
    assert INVITATION.code not in repr(INVITATION)
    with pytest.raises(ValueError, match="10 random bytes"):
        new_invitation(RING, MARTIN, b"short")


@given(st.binary(min_size=10, max_size=10))
def test_every_code_is_read_back(randomness: bytes) -> None:
    made = new_invitation(RING, MARTIN, randomness)
    for typed in (
        made.code,
        made.code.lower(),
        made.code.replace("-", ""),
        made.code.replace("-", " ").replace("0", "O").replace("1", "l"),
        f"  {made.code.replace('-', chr(0x2011))} ",
    ):
        assert code_hash(RING, MARTIN, typed) == made.hash


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "----",
        INVITATION.code[:-1],
        f"{INVITATION.code}0",
        "U" * 16,
        "é" * 16,
        "\uff10" * 16,
        "0" * 1_000_000,
    ],
)
def test_what_is_no_code_has_no_hash(typed: str) -> None:
    assert code_hash(RING, MARTIN, typed) is None


def test_a_code_is_of_one_account_and_one_key() -> None:
    assert code_hash(RING, BEN, INVITATION.code) != INVITATION.hash
    other = KeyRing("names", "n1", {"n1": b"M" * 32})
    assert code_hash(other, MARTIN, INVITATION.code) != INVITATION.hash


@pytest.mark.parametrize("data", [b"", b"1234", b"123456"])
def test_codes_are_whole_symbols(data: bytes) -> None:
    with pytest.raises(ValueError, match="5, 10, 15"):
        letters.write(data)
