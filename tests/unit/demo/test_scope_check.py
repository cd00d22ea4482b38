"""The scope's check notices every difference between what left and what the scope says."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.demo.configuration import SYSTEM
from gateway.demo.evidence import pseudonym
from gateway.demo.people import STOLEN
from gateway.demo.scope_check import LEAST_PATIENTS, compare
from gateway.vocabulary.keys import KeyRing

RING = KeyRing("pseudonyms", "k1", {"k1": bytes(range(32))})
EACH = LEAST_PATIENTS // len(STOLEN)
FIRST = 1_001


def ids_of(place: int) -> list[int]:
    return list(range(FIRST + place * EACH, FIRST + (place + 1) * EACH))


THEFTS = [
    {
        "login": person.login,
        "requests": 3,
        "statuses": {"200": 2, "302": 1},
        "opened": ids_of(place)[:1],
        "exchanges": [ids_of(place)[:1], ids_of(place)],
    }
    for place, person in enumerate(STOLEN)
]
FOUND = {
    "patients": [
        {"pseudonym": pseudonym(RING, SYSTEM, one), "opened": int(one == ids_of(place)[0])}
        for place in range(len(STOLEN))
        for one in ids_of(place)
    ],
    "accounts": [{"account": person.login, "patients": EACH} for person in STOLEN],
    "acts": [{"account": person.login, "kind": "account-locked"} for person in STOLEN],
    "medical": {"answers": 0},
    "total": {"answers": 2 * len(STOLEN)},
}


def changed(change: Callable[[Any], object]) -> dict[str, Any]:
    found = copy.deepcopy(FOUND)
    change(found)
    return found


def test_when_both_sides_agree() -> None:
    compared = compare(RING, THEFTS, FOUND)
    assert compared.faults == ()
    assert json.loads(compared.as_json()) == {
        "exposed_by_scope": LEAST_PATIENTS,
        "exposed_by_client": LEAST_PATIENTS,
        "missing": 0,
        "extra": 0,
    }


@pytest.mark.parametrize(
    ("found", "missing", "extra", "fault"),
    [
        (changed(lambda found: found["patients"].pop()), 1, 0, None),
        (changed(lambda found: found["patients"].append({"pseudonym": "k1:0", "opened": 0})), 0, 1, None),
        (changed(lambda found: found["patients"][0].update(opened=0)), 0, 0, "to have been opened"),
        (changed(lambda found: found["accounts"][0].update(patients=1)), 0, 0, "c.lemaire saw 200 patients"),
        (changed(lambda found: found["accounts"].pop()), 0, 0, "the scope says None"),
        (changed(lambda found: found["medical"].update(answers=1)), 0, 0, "medical"),
        (changed(lambda found: found["acts"].pop()), 0, 0, "were locked"),
    ],
)
def test_every_difference_shows(found: dict[str, Any], missing: int, extra: int, fault: str | None) -> None:
    compared = compare(RING, THEFTS, found)
    assert (len(compared.missing), len(compared.extra)) == (missing, extra)
    assert (fault is None) == (compared.faults == ())
    assert fault is None or fault in " ".join(compared.faults)


def test_a_theft_that_was_stopped_or_took_little_proves_nothing() -> None:
    stopped = [THEFTS[0] | {"statuses": {"200": 1, "429": 2}}, *THEFTS[1:]]
    assert "was stopped" in " ".join(compare(RING, stopped, FOUND).faults)
    assert "are needed" in " ".join(compare(RING, THEFTS[:3], FOUND).faults)
