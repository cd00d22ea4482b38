"""What a patient is told: each act once, in the right manner, on the right day, in words."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.audit.disclosures import Manner, disclosures, manner
from gateway.cli.audit_letter import letter
from gateway.vocabulary.events import EventKind
from tests.people import CLERK_LEA, DR_MARTIN, NURSE_BEN

PARIS = ZoneInfo("Europe/Paris")
NOON_MS = 1_789_984_800_000
"""2026-09-21T10:00:00Z: noon in Paris."""
HOUR_MS = 3_600_000


def access(hours: float = 0, **values: Any) -> dict[str, Any]:
    told = {
        "kind": "access",
        "account": DR_MARTIN.login,
        "app": "demo",
        "opened": True,
        "status": 200,
        **values,
    }
    return {"at_ms": NOON_MS + round(hours * HOUR_MS), "writer": "gw", "seq": 1, "patient": "k1:0", **told}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Manner.OPENED),
        ({"opened": False}, Manner.LISTED),
        ({"opened": None}, Manner.LISTED),
        ({"status": 404}, Manner.REJECTED),
        ({"status": 304}, Manner.OPENED),
        ({"kind": "unsafe-sent"}, Manner.CHANGED),
        ({"kind": "withheld", "status": 429}, Manner.KEPT_BACK),
        ({"kind": "refused"}, Manner.KEPT_BACK),
        ({"kind": "audit-queried"}, Manner.CONSULTED),
        # What a control noticed is no act of its own: the answer itself is told by its own event.
        ({"kind": "near-limit"}, None),
        ({"kind": "would"}, None),
    ],
)
def test_an_act_is_told_in_its_manner(values: dict[str, Any], expected: Manner | None) -> None:
    assert manner(access(**values)) is expected


def test_every_kind_that_can_name_patients_was_thought_of() -> None:
    silent = {kind for kind in EventKind if manner(access(kind=kind.value)) is None}
    assert {EventKind.ACCESS, EventKind.UNSAFE_SENT, EventKind.WITHHELD, EventKind.REFUSED} & silent == set()


def test_one_day_one_person_one_app_is_one_line() -> None:
    told = disclosures(
        [
            access(0, categories=["nir", "identite.nom"]),
            access(1, categories=["identite.nom"], sensitivity="medical"),
            # After midnight in Paris, still the day before in UTC.
            access(12.5),
            access(13, account=NURSE_BEN.login),
            access(13, kind="near-limit"),
        ],
        PARIS,
    )
    assert [(str(one.day), one.account, one.times, one.categories, one.is_medical) for one in told] == [
        ("2026-09-21", DR_MARTIN.login, 2, ("identite.nom", "nir"), True),
        ("2026-09-22", DR_MARTIN.login, 1, (), False),
        ("2026-09-22", NURSE_BEN.login, 1, (), False),
    ]
    assert told[0].first == datetime(2026, 9, 21, 12, tzinfo=PARIS)
    assert told[0].last == datetime(2026, 9, 21, 13, tzinfo=PARIS)


def written(rows: list[dict[str, Any]], *, with_names: bool = False) -> tuple[str, str]:
    until = datetime(2026, 10, 1, 8, tzinfo=UTC).astimezone(PARIS)
    text = letter(
        disclosures(rows, PARIS), since=None, until=until, zone="Europe/Paris",
        titles={"demo": "Dossiers de coordination"}, with_names=with_names,
    )  # fmt: skip
    french, english = text.split("-" * 72)
    return french, english


def test_the_letter_says_who_when_through_what_and_which_data() -> None:
    rows = [
        access(0, account_class="ward", establishment="590000001", categories=["identite.nom", "nir"]),
        access(2, opened=False, account=CLERK_LEA.login),
        access(3, opened=False, account=CLERK_LEA.login),
        access(4, kind="withheld", account=CLERK_LEA.login),
    ]
    french, english = written(rows)
    assert "du plus ancien événement conservé au 1er octobre 2026, 10 h 00" in french
    opened = french[french.index("Votre dossier a été ouvert") :]
    assert opened.startswith(
        "Votre dossier a été ouvert : 1 fois, par 1 personne.\n"
        "  21 septembre 2026, 12 h 00\n"
        "    Qui : professionnel n° 1, catégorie ward, établissement 590000001\n"
        "    Par l'application : Dossiers de coordination\n"
        "    Données : nom, numéro de sécurité sociale\n"
    )
    assert "21 septembre 2026, 14 h 00 – 15 h 00, 2 fois\n    Qui : professionnel n° 2\n" in french
    assert "la passerelle a refusé : rien n'a été transmis : 1 fois" in french
    assert "C-579/21" in french
    assert "You stood in a list that was shown: 2 times, by 1 person." in english
    assert "ne vous demanderons jamais" in french
    assert all(login not in french + english for login in (DR_MARTIN.login, CLERK_LEA.login))
    named, _ = written(rows, with_names=True)
    assert f"professionnel n° 2, {CLERK_LEA.login}" in named
    assert "C-579/21" not in named


def test_the_letter_says_when_there_is_nothing() -> None:
    french, english = written([])
    assert "Aucun événement vous concernant" in french
    assert "No event about you" in english


def test_nothing_hostile_reaches_the_letter() -> None:
    french, english = written([access(app="x\x1b[31m", categories=["\u202enom"], establishment="\r\n0")])
    assert all(char.isprintable() or char == "\n" for char in french + english)
