"""The core of a breach's scope: figures and exposures against a plain count over the same events."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.breach.sorting import sorted_sights
from gateway.audit.scope import HOUR_MS, Asked, Exposure, Scope, Survey, fingerprint
from tests.people import CLERK_LEA, DR_MARTIN, INTRUDER, NURSE_BEN
from tests.unit.audit.logs import NOW_MS

STOLEN = (DR_MARTIN.login, NURSE_BEN.login)
ASKED = Asked(STOLEN, NOW_MS, NOW_MS + 10 * HOUR_MS)


def shown(seq: int, account: str, *patients: str, **values: Any) -> dict[str, Any]:
    """One answer that named *patients*, as the reader of the log gives it."""
    return {
        "writer": "gateway",
        "seq": seq,
        "at_ms": NOW_MS + seq,
        "kind": "access",
        "account": account,
        "app": "parcours",
        "route": "dossier",
        "route_kind": "record",
        "opened": True,
        "rows": len(patients),
        "bytes": 100,
        "sensitivity": "administrative",
        "categories": ["identite.nom"],
        "patients": list(patients),
        **values,
    }


def surveyed(events: list[dict[str, Any]], asked: Asked = ASKED) -> tuple[Scope, dict[str, Exposure]]:
    survey = Survey(asked)
    sights = sorted(sight for event in events for sight in survey.take(event))
    exposures = {one.patient: one for one in survey.group(sights)}
    return survey.scope(), exposures


def test_who_was_opened_and_who_only_listed() -> None:
    listing = {"route": "dossiers", "route_kind": "listing", "opened": False, "rows": 3, "bytes": 900}
    export = {"route": "export", "route_kind": "export", "opened": False, "rows": 2, "bytes": 50}
    scope, exposures = surveyed(
        [
            shown(0, DR_MARTIN.login, "k:1", establishment="590000001"),
            shown(1, DR_MARTIN.login, "k:1", "k:2", "k:3", **listing),
            shown(2, NURSE_BEN.login, "k:3", "k:4", **export, app="bis", categories=["contact.tel"]),
            shown(3, NURSE_BEN.login, "k:1", categories=["nir"]),
        ]
    )
    one = exposures["k:1"]
    assert (one.opened, one.listed, one.exported) == (2, 1, 0)
    assert (one.first_ms, one.last_ms) == (NOW_MS, NOW_MS + 3)
    assert one.categories == ("identite.nom", "nir")
    assert one.accounts == (NURSE_BEN.login, DR_MARTIN.login)
    assert one.evidence == (("gateway", 0), ("gateway", 1), ("gateway", 3))
    assert one.bytes == 1_100
    assert (exposures["k:3"].opened, exposures["k:3"].listed, exposures["k:3"].exported) == (0, 1, 1)
    assert exposures["k:3"].apps == ("bis", "parcours")
    assert sorted(exposures) == ["k:1", "k:2", "k:3", "k:4"]
    total = scope.total
    assert (total.patients, total.patients_opened, total.answers, total.rows, total.bytes) == (
        4,
        1,
        4,
        7,
        1_150,
    )
    assert (total.opened, total.listed, total.exported) == (2, 1, 1)
    martin = scope.accounts["", DR_MARTIN.login]
    assert (martin.patients, martin.patients_opened) == (3, 1)
    assert {name: figures.patients for name, figures in scope.apps.items()} == {"bis": 2, "parcours": 3}
    assert scope.establishments["590000001"].patients == 1
    assert [(door.app, door.route, door.figures.patients) for door in scope.doors] == [
        ("bis", "export", 2),
        ("parcours", "dossier", 1),
        ("parcours", "dossiers", 3),
    ]
    assert scope.categories == {"contact.tel": 2, "identite.nom": 3, "nir": 1}
    assert scope.letters == {
        (("contact.tel",), False): 1,
        (("contact.tel", "identite.nom"), False): 1,
        (("identite.nom",), False): 1,
        (("identite.nom", "nir"), False): 1,
    }
    assert scope.evidence == {"gateway": (4, 0, 3)}
    assert [(hour.answers, hour.patients) for hour in scope.hours.values()] == [(4, 4)]


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ({}, True),
        ({"account": INTRUDER.login}, False),
        ({"account": None}, False),
        ({"at_ms": ASKED.from_ms}, True),
        ({"at_ms": ASKED.from_ms - 1}, False),
        ({"at_ms": ASKED.to_ms - 1}, True),
        ({"at_ms": ASKED.to_ms}, False),
        # What was kept back, and what only tried, showed nobody.
        ({"kind": "withheld"}, False),
        ({"kind": "unsafe-sent"}, False),
        ({"kind": "audit-queried"}, False),
        ({"patients": []}, False),
        ({"patients": None}, False),
    ],
)
def test_only_what_left_for_these_accounts_in_this_period_counts(
    values: dict[str, Any], *, counts: bool
) -> None:
    scope, exposures = surveyed([shown(0, DR_MARTIN.login, "k:1") | values])
    assert (list(exposures), scope.total.answers) == ((["k:1"], 1) if counts else ([], 0))


def test_a_realm_keeps_namesakes_apart() -> None:
    events = [shown(0, DR_MARTIN.login, "k:1", realm="a"), shown(1, DR_MARTIN.login, "k:2", realm="b")]
    assert list(surveyed(events)[0].accounts) == [("a", DR_MARTIN.login), ("b", DR_MARTIN.login)]
    only = Asked(STOLEN, ASKED.from_ms, ASKED.to_ms, realm="b")
    assert list(surveyed(events, only)[1]) == ["k:2"]


def test_what_is_no_exposure_is_told_beside_it() -> None:
    lock = {"operator": "root", "reason": "stolen"}
    scope, exposures = surveyed(
        [
            shown(0, DR_MARTIN.login, kind="access", patients=None),
            shown(1, DR_MARTIN.login, kind="sighted", detail={"nirs": "2", "phones": "1", "emails": "0"}),
            shown(2, DR_MARTIN.login, kind="sighted", detail={"pieces": "3"}),
            shown(3, DR_MARTIN.login, kind="unsafe-sent"),
            shown(4, DR_MARTIN.login, kind="account-locked", **lock),
            shown(5, DR_MARTIN.login, kind="session-closed"),
            shown(6, DR_MARTIN.login, kind="session-closed", operator="root"),
            shown(7, NURSE_BEN.login, "k:9", sensitivity="medical", policy_id="p1"),
        ]
    )
    assert (scope.nobody, scope.unsafe, scope.policies) == (1, 1, ("p1",))
    assert scope.sighted == {"answers": 2, "emails": 0, "nirs": 2, "phones": 1, "pieces": 3}
    assert [(act.kind, act.operator, act.reason, act.evidence) for act in scope.acts] == [
        ("account-locked", "root", "stolen", ("gateway", 4)),
        ("session-closed", "root", "", ("gateway", 6)),
    ]
    assert (scope.medical.answers, scope.medical.patients, scope.medical.patients_opened) == (1, 1, 1)
    assert exposures["k:9"].medical
    assert scope.kinds[DR_MARTIN.login]["sighted"] == 2


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([*STOLEN, CLERK_LEA.login]),
        st.lists(st.sampled_from([f"k:{number}" for number in range(8)]), max_size=5),
        st.booleans(),
        st.integers(-2, 12),
        st.sampled_from(["demo", "bis"]),
        st.sampled_from([("nir",), ("identite.nom",), ()]),
    ),
    max_size=30,
)


@given(EVENTS, st.randoms(use_true_random=False))
def test_any_order_gives_the_same_scope_and_a_plain_count_agrees(told: list[Any], chance: Any) -> None:
    events = [
        shown(
            seq,
            account,
            *patients,
            opened=opened,
            at_ms=NOW_MS + hour * HOUR_MS,
            app=app,
            categories=list(kinds),
        )
        for seq, (account, patients, opened, hour, app, kinds) in enumerate(told)
    ]
    scope, exposures = surveyed(events)
    mixed = list(events)
    chance.shuffle(mixed)
    assert surveyed(mixed) == (scope, exposures)
    inside = [
        event
        for event in events
        if event["account"] in STOLEN and ASKED.from_ms <= event["at_ms"] < ASKED.to_ms and event["patients"]
    ]
    assert set(exposures) == {patient for event in inside for patient in event["patients"]}
    assert scope.total.answers == len(inside)
    assert scope.total.rows == sum(event["rows"] for event in inside)
    assert scope.total.patients == len(exposures)
    for patient, one in exposures.items():
        naming = [event for event in inside if patient in event["patients"]]
        assert {seq for _, seq in one.evidence} == {event["seq"] for event in naming}
        assert one.opened == sum(event["opened"] for event in naming)
        assert one.first_ms == min(event["at_ms"] for event in naming)
    for app, figures in scope.apps.items():
        assert figures.patients == len(
            {p for event in inside if event["app"] == app for p in event["patients"]}
        )
        opened = {p for e in inside if e["app"] == app and e["opened"] for p in e["patients"]}
        assert figures.patients_opened == len(opened)
    assert sum(hour.patients for hour in scope.hours.values()) == len(exposures)
    assert sum(scope.letters.values()) == len(exposures)


def test_a_fingerprint_notices_every_field_that_a_scope_is_made_of() -> None:
    event = shown(0, DR_MARTIN.login, "k:1", "k:2", client="192.0.2.1", realm="a")
    same = event | {"patients": ["k:2", "k:1", "k:1"], "detail": None, "method": "GET"}
    assert fingerprint(event) == fingerprint(same)
    for name in (
        "account",
        "app",
        "route",
        "opened",
        "rows",
        "bytes",
        "sensitivity",
        "client",
        "at_ms",
        "seq",
    ):
        assert fingerprint(event) != fingerprint(event | {name: None})
    assert fingerprint(event) != fingerprint(event | {"patients": ["k:1"]})
    assert fingerprint(event) != fingerprint(event | {"categories": []})


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5), st.integers(0, 99)), max_size=60))
def test_sorting_on_disk_is_sorting(told: list[tuple[str, int, int]]) -> None:
    import tempfile

    sights = [(patient, at_ms, "gateway", seq, "opened", 0, 1) for patient, at_ms, seq in told]
    with tempfile.TemporaryDirectory() as held:
        assert list(sorted_sights(sights, Path(held), run=7)) == sorted(sights)
        assert list(sorted_sights(sights, Path(held))) == sorted(sights)
