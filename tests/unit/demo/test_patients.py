"""Invented patients: the same at every start, recognisable, and nobody's real numbers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.patients import COUNT, FIRST_ID, make_patients, nir_key

PATIENTS = make_patients()


def test_the_same_seed_makes_the_same_people() -> None:
    assert make_patients(50) == make_patients(50)
    assert make_patients(50, seed=1) != make_patients(50, seed=2)


def test_ids_are_sequential_from_1001() -> None:
    assert [one.id for one in PATIENTS] == list(range(FIRST_ID, FIRST_ID + COUNT))


@pytest.mark.parametrize("what", ["name", "phone", "email", "nir"])
def test_whatever_is_told_of_somebody_is_theirs_alone(what: str) -> None:
    told = [
        (one.surname, one.first_name) if what == "name" else getattr(one, what)
        for one in PATIENTS
        if what == "name" or getattr(one, what)
    ]
    assert len(set(told)) == len(told) > 1_000


def test_numbers_and_addresses_belong_to_nobody() -> None:
    fiction = re.compile(r"(01 99 00|02 61 91|03 53 01|04 65 71|05 36 49|06 39 98) \d\d \d\d")
    assert all(fiction.fullmatch(one.phone) for one in PATIENTS)
    assert all(
        one.email.endswith("@exemple.example") and one.email.isascii() for one in PATIENTS if one.email
    )


@pytest.mark.parametrize(
    ("thirteen", "key"),
    [
        # INSEE keys, the Corsican ones included.
        ("2690549588157", "80"),
        ("180032A004001", "03"),
        ("180032B033001", "33"),
        ("2991299100001", "43"),
        ("1850797105123", "93"),
    ],
)
def test_national_numbers_carry_the_right_key(thirteen: str, key: str) -> None:
    assert nir_key(thirteen) == key


def test_every_national_number_fits_its_person() -> None:
    for one in PATIENTS:
        if one.nir is not None:
            assert one.nir[13:] == nir_key(one.nir[:13])
            assert one.nir[0] == ("1" if one.sex == "M" else "2")
            assert one.nir[1:5] == f"{one.born:%y%m}"


@given(st.integers(min_value=1, max_value=COUNT))
def test_a_smaller_house_is_as_distinct(count: int) -> None:
    few = make_patients(min(count, 60))
    assert len({(one.surname, one.first_name) for one in few}) == len(few)
