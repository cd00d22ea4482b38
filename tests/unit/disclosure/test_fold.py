"""Aliases of one id count once; ids of two people never fold together by accident."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.disclosure.fold import folding
from gateway.vocabulary.records import Normalisation
from tests.unit.disclosure.exchange import DEFAULT_STEPS

ALL = (
    Normalisation.NFKC,
    Normalisation.DIGITS,
    Normalisation.TRIM,
    Normalisation.CASEFOLD,
    Normalisation.SQUEEZE,
    Normalisation.UNPAD,
)


@pytest.mark.parametrize(
    ("steps", "prefix", "aliases", "one"),
    [
        (DEFAULT_STEPS, None, ["12", " 12\t", "\uff11\uff12", "\u0661\u0662", "12\u00a0"], "12"),
        ((*DEFAULT_STEPS, Normalisation.UNPAD), None, ["7", "007", "\u0660\u0667"], "7"),
        ((*DEFAULT_STEPS, Normalisation.UNPAD), None, ["0", "000"], "0"),
        ((*DEFAULT_STEPS, Normalisation.CASEFOLD), None, ["AbC", "abc", "\uff21bc"], "abc"),
        (ALL, None, ["1 85-07", "1_85.07", "1\u202f85\u201107", "018507"], "18507"),
        (ALL, "PAT-", ["PAT-001", "pat001", "001", "1", "Pat 1"], "1"),
        (DEFAULT_STEPS, "PAT-", ["PAT-001", "001"], "001"),
        ((), None, [" 1"], " 1"),
    ],
)
def test_aliases_fold_to_one_id(
    steps: tuple[Normalisation, ...], prefix: str | None, aliases: list[str], one: str
) -> None:
    fold = folding(steps, prefix)
    assert {fold(alias) for alias in aliases} == {one}


@pytest.mark.parametrize(
    "value", ["1\x00", "1\u200b", "1\ufffd", "\ud800", "x" * 129, "é" * 129, "1\n2", "\ue000"]
)
def test_what_cannot_be_an_id(value: str) -> None:
    assert folding(DEFAULT_STEPS, None)(value) is None


@pytest.mark.parametrize("value", ["", "  ", "\u00a0"])
def test_blank_is_empty(value: str) -> None:
    assert folding(DEFAULT_STEPS, None)(value) == ""


@given(
    st.integers(0, 10**12),
    st.integers(0, 6),
    st.sampled_from(["", " ", "\u2003"]),
    st.sampled_from([0x30, 0x660, 0xFF10]),
)
def test_any_spelling_of_a_number_is_that_number(number: int, zeros: int, blank: str, zero: int) -> None:
    spelled = "".join(chr(zero + int(digit)) for digit in "0" * zeros + str(number))
    assert folding(ALL, None)(blank + spelled + blank) == str(number)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_two_numbers_stay_two(first: int, second: int) -> None:
    fold = folding(ALL, "PAT-")
    assert (fold(str(first)) == fold(str(second))) == (first == second)


@given(
    st.text(max_size=200),
    st.lists(st.sampled_from(list(Normalisation)), max_size=6),
    st.none() | st.text(max_size=3),
)
def test_folding_never_raises(value: str, steps: list[Normalisation], prefix: str | None) -> None:
    folded = folding(tuple(steps), prefix)(value)
    assert folded is None or len(folded) <= 128
