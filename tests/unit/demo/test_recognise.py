"""Whom an answer shows: found by every trace of a person, and by nothing else."""

import dataclasses
import json

import pytest

from gateway.demo.patients import make_patients
from gateway.demo.recognise import Recogniser

PATIENTS = make_patients(500)
KNOWS = Recogniser(PATIENTS)
ONE = next(one for one in PATIENTS if one.nir and one.email)


@pytest.mark.parametrize(
    "content",
    [
        # Names, either way round, in HTML, CSV and JSON.
        f"{ONE.surname} {ONE.first_name}",
        f"<td>{ONE.first_name}</td>\n<td>{ONE.surname}</td>",
        f"{ONE.surname};{ONE.first_name};80",
        json.dumps({"nom": ONE.surname, "prenom": ONE.first_name}),
        json.dumps({"n": ONE.surname.upper(), "p": ONE.first_name}, ensure_ascii=True),
        # Telephone, address and national number.
        f"tel:{ONE.phone}",
        ONE.phone.replace(" ", ""),
        ONE.phone.replace(" ", "."),
        f"mailto:{ONE.email}?subject=x",
        str(ONE.email).replace("@", "&#64;"),
        str(ONE.nir),
        # Ids as the app marks them.
        f'<tr data-dossier="{ONE.id}">',
        f'{{"id": {ONE.id}}}',
    ],
)
def test_every_trace_of_somebody_is_seen(content: str) -> None:
    assert KNOWS.ids_in(content.encode()) == {ONE.id}


@pytest.mark.parametrize(
    "content",
    [
        "",
        # What the client itself wrote into an address, years and counters, and somebody nobody knows.
        f"Location: /connexion?suite=/dossiers/{ONE.id}",
        "<footer>2026, page 1001</footer>",
        '<tr data-dossier="999999">',
        "Zyxwv Abcdefg",
        f"{ONE.surname}",
        "\x00\xff",
    ],
)
def test_nothing_else_is(content: str) -> None:
    assert KNOWS.ids_in(content.encode("latin-1", "replace")) == frozenset()


def test_two_lines_of_a_table_are_not_one_person() -> None:
    patients = make_patients(400)
    knows = Recogniser(patients)
    rows = [f"{one.id};{one.surname};{one.first_name};{one.age};{one.phone};" for one in patients[:200]]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv; charset=utf-8\r\n\r\n"
    assert knows.ids_in(head + "\r\n".join(rows).encode()) == {one.id for one in patients[:200]}


def test_people_of_one_name_are_told_apart_by_their_other_traces() -> None:
    twin = dataclasses.replace(PATIENTS[1], surname=ONE.surname, first_name=ONE.first_name)
    knows = Recogniser((ONE, twin))
    assert knows.ids_in(f"{ONE.surname};{ONE.first_name};{ONE.phone}".encode()) == {ONE.id}
    assert knows.ids_in(f"{ONE.surname} {ONE.first_name}".encode()) == {ONE.id, twin.id}


def test_each_line_of_the_whole_export_is_its_own_patient() -> None:
    patients = make_patients()
    knows = Recogniser(patients)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv; charset=utf-8\r\n\r\n"
    for start in range(0, len(patients), 100):
        lot = patients[start : start + 100]
        rows = [
            f"{one.id};{one.surname};{one.first_name};{one.age};{one.phone};{one.email or ''}" for one in lot
        ]
        assert knows.ids_in(head + "\r\n".join(rows).encode()) == {one.id for one in lot}
